"""The command line: one short function a verb; torch is imported inside the body of those that need it."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from i2i.cli import recipes, runs
from i2i.cli.app import app, terminal
from i2i.errors import I2IError, Terminated, told

__all__ = ["main", "recipes", "runs"]


def main() -> None:
    """Run the command line; an expected error is one clear text and its exit code, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        # A code page without lambda is no reason to stop.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
    try:
        with _sigterm_as_ctrl_c():
            app(prog_name="i2i")
    except Exception as error:
        wanted = error.__cause__ or not isinstance(error, I2IError)
        if wanted and os.environ.get("I2I_TRACEBACK"):
            raise
        if isinstance(error, I2IError):
            _end(str(error), error.exit_code)
        _end(f"{told(error)}\nA fault in that code; with I2I_TRACEBACK=1 before the command, all the way to it.", 4)
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, SystemExit) and stop.code != 130:
            if not _ended_by_us(stop):
                _end(f"a part ends the process, which none may: {told(stop)}", 4)
            _leave(stop.code if isinstance(stop.code, int) else 0)
        terminal(stderr=True).print("stopped; what was finished is whole.")
        _leave(75 if _by_sigterm(stop) else 130)


def _by_sigterm(stop: BaseException | None) -> bool:
    return isinstance(stop, Terminated) or (stop is not None and _by_sigterm(stop.__cause__ or stop.__context__))


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    def handle(number: int, frame: object) -> NoReturn:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # whose signals are another's
        yield
        return
    atexit.register(_deaf)
    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _deaf() -> None:
    """Let no signal spoil the exit code of what is complete, while Python takes half a second to end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _end(text: str, code: int) -> NoReturn:
    if text:  # else another process says it
        terminal(stderr=True).print(f"error: {text}", markup=False, highlight=False, soft_wrap=True)
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process; as one of several at once, for threads of torch's messages may abort a slow end."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _ended_by_us(stop: SystemExit) -> bool:
    """Whether typer, which ends every command so, or this module has ended the process."""
    (*_, last) = traceback.extract_tb(stop.__traceback__)
    return bool({"typer", "click"} & {*Path(last.filename).parts}) or last.filename == __file__
