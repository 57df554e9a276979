"""How progress is shown: a rich bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_LINES = 50
"""Plain progress lines of a whole run: a log file is not filled with thousands."""


class TrainDisplay:
    """Shows a training run; a context manager, so that the bar is always taken down."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar: Progress | None = None
        if console.is_terminal:
            self.bar = Progress(
                TextColumn("[bold]step"),
                MofNCompleteColumn(),
                BarColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[text]}"),
                console=console,
            )
        self._task = self.bar.add_task("", total=None, text="") if self.bar else None
        self._last, self._step, self._warning = -1, 0, ""
        self._begun: tuple[int, float] | None = None

    def __enter__(self) -> TrainDisplay:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()

    def note(self, text: str) -> None:
        """Say one thing, above the bar."""
        # Who reads may be gone (`| head`): rich would end the process, and the run is worth more than its display.
        with contextlib.suppress(OSError, SystemExit):
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Say what goes wrong; what stands before its first colon stays beside the bar."""
        self._warning = f"  ! {text.partition(':')[0]}"
        self.note(f"warning: {text}")

    def progress(self, step: int, steps: int, entry: Mapping[str, float]) -> None:
        """Show the position and the newest log entry."""
        terms = "  ".join(f"{key} {value:.3g}" for key, value in entry.items() if "/" in key)
        text = f"{entry['images_per_second']:.1f} images/s  {terms}"
        if step <= self._step:  # another run begins
            self._last, self._begun, self._warning = -1, None, ""
            if self.bar and self._task is not None:
                self.bar.reset(self._task)
        text += self._warning
        self._step = step
        if self.bar and self._task is not None:
            with contextlib.suppress(OSError, SystemExit):
                self.bar.update(self._task, completed=step, total=steps, text=escape(text))
            return
        if self._begun is None:
            self._begun = (step, time.perf_counter())
        mark = step * PLAIN_LINES // steps
        if mark != self._last:
            self._last = mark
            first, began = self._begun
            left = (time.perf_counter() - began) / (step - first) * (steps - step) if step > first else None
            self.note(f"step {step}/{steps}  {text}  " + (f"{_clock(left)} left" if left is not None else ""))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


Result = TypeVar("Result")


def each(console: Console, results: Iterator[Result], count: int) -> Iterator[Result]:
    """Pass results through, with a bar that counts them where there is a terminal."""
    if not console.is_terminal:
        yield from results
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        yield from bar.track(results, total=count)
