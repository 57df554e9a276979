"""The sides of a comparison, that take turns, each in a process of its own: what one tells its C library is its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from statistics import median

import torch

Side = tuple[Callable[..., Iterator[None]], tuple[object, ...]]
"""A function that gives an iterator whose `next` is a step of work, and its arguments."""


def turns(sides: Mapping[str, Side], steps: int, count: int) -> list[dict[str, float]]:
    """Return the seconds that each side takes for so many steps, `count` times in turn, after a turn that is dropped.

    A machine whose speed drifts is fair to both of a pair of turns. While one side works the others wait.
    """
    with contextlib.ExitStack() as stack:
        ends = {name: stack.enter_context(_process(side, steps)) for name, side in sides.items()}
        taken = [{name: _turn(name, end) for name, end in ends.items()} for _ in range(count + 1)]
    return taken[1:]  # libraries choose their ways in the first


def compared(taken: list[dict[str, float]], one: str, other: str) -> dict[str, float]:
    """Return how many times as quick the other is: the median of the turns' ratios, the least and the most."""
    ratios = [turn[one] / turn[other] for turn in taken]
    return {"ratio": median(ratios), "least": min(ratios), "most": max(ratios)}


def _turn(name: str, end: Connection) -> float:
    end.send("go")
    try:
        return float(end.recv())
    except EOFError:
        raise SystemExit(f"{name} has ended: its error is above") from None


@contextlib.contextmanager
def _process(side: Side, steps: int) -> Iterator[Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, side, steps))
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()  # at which it ends
        process.join()


def _work(end: Connection, side: Side, steps: int) -> None:
    make, given = side
    work = make(*given)
    with contextlib.suppress(EOFError):
        while end.recv():
            start = time.perf_counter()
            for _ in range(steps):
                next(work)
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
            end.send(time.perf_counter() - start)
