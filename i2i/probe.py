"""What `quiet` runs in a process of its own: imports modules and tells what that did besides."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import operator
import os
import sys
import tempfile
import threading
from typing import BinaryIO, TextIO

from i2i.plugins import failure, random_states

ABSENT = "in a fresh process gets nothing"
"""Said of a target that is not there, or cannot be read: none of its package's code has failed."""


def probe(targets: list[str], said: BinaryIO, answer: TextIO) -> None:
    """Import `module` or `module:object`, one after the other, and write a line [target, problems] after each.

    Before them goes a line that all is ready. said: where all output goes.
    """
    for library in ("random", "numpy.random", "torch"):  # first, so that what they do is not laid to a part
        with contextlib.suppress(Exception):
            importlib.import_module(library)
    print("ready", file=answer, flush=True)
    for target in targets:
        print(json.dumps([target, _import(target, said)]), file=answer, flush=True)


def _import(target: str, said: BinaryIO) -> list[str]:
    module, _, attribute = target.partition(":")
    if module == "__main__" or (not attribute and importlib.util.find_spec(module.partition(".")[0]) is None):
        return []  # a script, or a test file that pytest has imported in its own way
    drawn, threads, start = _drawn(), set(threading.enumerate()), _position(said)
    try:
        imported = importlib.import_module(module)
        if attribute and not callable(operator.attrgetter(attribute)(imported)):
            return [f"{target} gives something that cannot be called"]
    except BaseException as error:  # SystemExit too
        what, place = failure(error, module)
        return [f"{target} in a fresh process fails: {what} ({place})" if place else f"{target} {ABSENT}: {what}"]
    new = sorted(thread.name for thread in set(threading.enumerate()) - threads)
    end = _position(said)
    moved = [name for name, state in _drawn().items() if state != drawn.get(name, state)]
    problems = [f"{module} draws from {name}'s random generator" for name in moved]
    if new:
        problems.append(f"{module} starts the thread {new[0]!r}")
    if end > start:
        said.seek(start)
        problems.append(f"{module} prints {said.read(60).decode(errors='replace')!r}")
        said.seek(end)
    return problems


def _position(said: BinaryIO) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    return os.fstat(said.fileno()).st_size


def _drawn() -> dict[str, object]:
    return {library: state for library, (state, _) in random_states().items()}


def main() -> None:
    """Answer the question on standard input."""
    targets = json.load(sys.stdin)
    with tempfile.TemporaryFile() as said, os.fdopen(os.dup(1), "w") as answer:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        probe(targets, said, answer)
    os._exit(0)  # a thread that a module has started may never end
