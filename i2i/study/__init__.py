"""The paper's perceptual study: people tell real pictures from a run's translations on a web page of this machine."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from i2i.checkpoint import Run, read_description
from i2i.errors import UsageError
from i2i.study.answers import AnswerFile, read_answers, results
from i2i.study.design import Design
from i2i.study.pictures import render
from i2i.study.server import Server
from i2i.study.sessions import Study

__all__ = ["Design", "read_answers", "results", "study"]


def study(
    runs: Sequence[Path],
    answers: Path,
    design: Design,
    *,
    settings: Sequence[str] = (),
    host: str = "127.0.0.1",
    port: int = 8000,
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> dict[str, dict[str, Any]]:
    """Serve a study of runs until Ctrl-C, and return its results; each participant sees the pictures of one run.

    answers: the file that answers are added to; a study that it was begun with goes on. port: 0 takes any free one.
    """
    if not runs:
        raise UsageError("give a run, or several to be compared: i2i study runs/a runs/b.")
    name, times = Counter(path.resolve().name for path in runs).most_common(1)[0]
    if times > 1:
        raise UsageError(f"{name!r} is given {times} times: a study needs runs of different names.")
    models = {run.path.resolve().name: str(read_description(run.model)["sha256"]) for run in map(Run.open, runs)}
    # Both fail before the pictures are made.
    with Server(host, port, say) as server, contextlib.closing(AnswerFile(answers)) as file:
        for name, model in models.items():
            file.check_model(name, model)
        pictures = []
        for path in runs:
            pictures.append(of_run := render(path, design, settings, device))
            say(f"{of_run.run}: {len(of_run.samples)} held-out pictures translated")
            if len(of_run.samples) < design.pictures:
                say(f"  they repeat, so that fakes are told more easily; {design.pictures} would show no scene twice")
        server.study = Study(pictures, design, file)
        shown_host = f"[{host}]" if ":" in host else host
        say(f"study:   http://{shown_host}:{server.server_address[1]}/")
        say(f"results: http://{shown_host}:{server.server_address[1]}/results (Ctrl-C ends the study and prints them)")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
        with server.study.lock:  # what is being written is written
            return results(read_answers(answers), design.seed)
