"""What several processes gain and what their messages cost: `python -m bench.ranks`; figures of `docs/scale.md`."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from i2i.compose import compose
from i2i.contracts import Batch
from i2i.engine import fit
from i2i.launch import environments
from i2i.ranks import ALONE, World, joined
from i2i.recipe import parse
from i2i.train import readied

RECIPE = """
task = "paired"
[source]
name = "scenes"
size = {size}
count = 4
[train]
steps = 100000
batch = {batch}
"""


def main() -> None:
    """Start the processes, or be one of them."""
    parser = argparse.ArgumentParser(prog="python -m bench.ranks", description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4], help="Of each process.")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args()
    if "RANK" in os.environ:
        with joined(chosen.device) as (world, device):
            measure(chosen, world, torch.device(device))
        return
    words = [sys.executable, "-m", "bench.ranks", *sys.argv[1:]]
    started = [subprocess.Popen(words, env={**os.environ, **own}) for own in environments(chosen.processes)]
    sys.exit(max(process.wait() for process in started))


def measure(chosen: argparse.Namespace, world: World, device: torch.device) -> None:
    """Time a sum of all gradients, steps of processes that work side by side, and of those that work together."""
    torch.set_num_threads(1)
    for batch in chosen.batch:
        text = RECIPE.format(size=chosen.size, batch=batch * world.size)
        steps, sizes = {}, {}
        for name, own in (("side by side", ALONE), ("together", world)):
            pipeline = compose(parse(Path("pix2pix.toml"), text.encode()))
            pipeline.method.to(device)
            training = readied(pipeline, device, torch.contiguous_format, world=own)
            made = Batch(*(torch.rand(batch, 3, chosen.size, chosen.size, device=device) * 2 - 1 for _ in "ab"))
            reports = fit(training, iter(lambda made=made: made, None))  # type: ignore[misc]
            steps[name] = _stepper(reports, device)
            sizes = {player: sum(row.numel() for row in rows) for player, rows in training.rows.items()}
        gradients = [torch.zeros(count, device=device) for count in sizes.values()]
        ways: dict[str, Callable[[], object]] = {**steps, "sum of gradients": lambda g=gradients: world.add_up(g)}  # type: ignore[misc]
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(chosen.turns + 1):
            for name, way in ways.items():
                world.texts("")  # all begin at once
                began = time.perf_counter()
                way()
                _wait(device)
                if turn:
                    times[name].append(time.perf_counter() - began)
        found = {name: statistics.median(several) for name, several in times.items()}
        if world.leads:
            _print(found, sizes, world, batch)


def _stepper(reports: object, device: torch.device) -> Callable[[], object]:
    return lambda: [float(value) for value in next(reports).terms.values()]  # type: ignore[call-overload]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _print(found: dict[str, float], sizes: dict[str, int], world: World, batch: int) -> None:
    size = 4 * sum(sizes.values())
    alone, message, together = found["side by side"], found["sum of gradients"], found["together"]
    row = {
        "processes": world.size,
        "batch of each": batch,
        "gradient bytes": {name: 4 * count for name, count in sizes.items()},
        "step side by side, s": round(alone, 3),
        "sum of gradients, s": round(message, 3),
        "sum of gradients, GB/s": round(2 * (world.size - 1) / world.size * size / message / 1e9, 2),
        "step together, s": round(together, 3),
        "efficiency": round(alone / together, 3),
        "efficiency by the formula": round(alone / (alone + message), 3),
    }
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
