"""A script, run by `quiet` in a process of its own: imports modules and tells what that did besides."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import random
import sys
import tempfile
import threading
from typing import Any, BinaryIO

import numpy as np
import torch


def probe(modules: list[str], said: BinaryIO) -> dict[str, list[str]]:
    """Import the modules one after the other: {module: problems}. said: where all output goes."""
    return {module: _import(module, said) for module in modules}


def _import(module: str, said: BinaryIO) -> list[str]:
    if module == "__main__" or importlib.util.find_spec(module.partition(".")[0]) is None:
        return []  # a script, or a test file that pytest has imported in its own way
    drawn, threads, start = _generators(), set(threading.enumerate()), _position(said)
    try:
        importlib.import_module(module)
    except BaseException as error:  # SystemExit too
        return [f"{module} in a fresh process fails: {type(error).__name__}: {error}"]
    new = sorted(thread.name for thread in set(threading.enumerate()) - threads)
    end = _position(said)
    moved = [name for name, state in _generators().items() if state != drawn[name]]
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


def _generators() -> dict[str, Any]:
    return {
        "Python": random.getstate(),
        "numpy": pickle.dumps(np.random.get_state()),
        "torch": torch.get_rng_state().tolist(),
    }


def main() -> None:
    """Answer the question on standard input."""
    asked = json.load(sys.stdin)
    sys.path[:] = asked["path"]
    answer = os.fdopen(os.dup(1), "w")
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        found = probe(asked["modules"], said)
    with answer:
        answer.write("\n" + json.dumps(found))  # the last line, whatever was said before
    os._exit(0)  # a thread that a module has started may never end


if __name__ == "__main__":
    main()
