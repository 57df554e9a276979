"""Starts the processes of a training on this machine, one a device, and ends them together."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO

GRACE = 25.0
"""Seconds that the others have to end by themselves, once one has failed."""


def launch(words: Sequence[str], count: int) -> int:
    """Run `python -m i2i` with these words in so many processes; return the exit code of the first that failed, or 0.

    The first speaks at once; what the others say, which is why they failed, when all have ended. SIGTERM and Ctrl-C go
    to all.
    """
    with contextlib.ExitStack() as files:
        said = [files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(count)]
        processes = _started(words, count, said)
        before = {number: signal.signal(number, _to(processes)) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            first = _ended(processes)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if first is None:
            return 0
        texts = []
        for file in said:
            file.seek(0)
            texts.append(file.read())
        for text in dict.fromkeys(texts):
            print(text, end="", file=sys.stderr)
        code = processes[first].returncode
        if code < 0:
            name = signal.Signals(-code).name
            print(f"error: process {first} of {count} was ended by {name}. Go on: --resume", file=sys.stderr)
        return code if code > 0 else 128 - code


def environments(count: int) -> list[dict[str, str]]:
    """Return what each of so many processes of this machine finds in its environment: what torchrun would say."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if "OMP_NUM_THREADS" not in os.environ:  # else every process would take all cores
        shared["OMP_NUM_THREADS"] = max(1, (os.cpu_count() or 1) // count)
    every = [{**shared, "RANK": rank, "LOCAL_RANK": rank} for rank in range(count)]
    return [{key: str(value) for key, value in own.items()} for own in every]


def _started(words: Sequence[str], count: int, said: Sequence[IO[str]]) -> list[subprocess.Popen[bytes]]:
    return [
        subprocess.Popen(
            [sys.executable, "-m", "i2i", *words],
            env={**os.environ, **own},
            stdout=subprocess.DEVNULL if rank else None,
            stderr=said[rank] if rank else None,
            start_new_session=True,  # Ctrl-C comes from here alone, and once
        )
        for rank, own in enumerate(environments(count))
    ]


def _to(processes: Sequence[subprocess.Popen[bytes]]):  # type: ignore[no-untyped-def]
    def handle(number: int, frame: object) -> None:
        for process in processes:
            with contextlib.suppress(OSError):
                process.send_signal(number)

    return handle


def _ended(processes: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Wait for all; return which one failed first, None where none did. The others of a failed one end within GRACE."""
    first: int | None = None
    deadline = float("inf")
    while any(process.poll() is None for process in processes):
        if first is None:
            first = next((rank for rank, process in enumerate(processes) if process.poll()), None)
            deadline = time.monotonic() + GRACE if first is not None else deadline
        if time.monotonic() > deadline:
            for process in processes:
                process.kill()
        time.sleep(0.05)
    return first if first is not None else next((rank for rank, one in enumerate(processes) if one.returncode), None)
