"""How much faster a step of i2i is than the usual code's: `python -m bench train [--batch 1 4 16] [--turns 5]`.

All train pix2pix at 256 × 256 with the paper's networks from the same side-by-side JPEG files, reading and
augmentation included, in turns of a few steps. "alike" is i2i without the moving average of its generator, which the
usual code has not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import torch

from bench import usual
from bench.sides import Side, compared, turns
from i2i import recipe
from i2i.compose import compose
from i2i.engine import fit
from i2i.train import batches, training_of
from i2i.watch import Averages

RECIPE = """
task = "paired"
augment = [
  {{ name = "Resize", size = [286, 286] }},
  {{ name = "RandomCrop", size = [256, 256] }},
  {{ name = "RandomHorizontalFlip" }},
]
source = {{ name = "pairs", root = "{root}", a = "right", b = "left" }}
[method]
name = "pix2pix"
generator = {{ name = "unet", norm = "batch" }}
discriminator = {{ name = "patch", norm = "batch" }}
[train]
steps = 1000000
batch = {batch}
ema = {ema}
"""


def ours(folder: Path, batch: int, device: torch.device, ema: float = 0.999) -> Iterator[None]:
    """Train for ever as `i2i train` does, one step at each `next`."""
    plan = recipe.parse(folder / "bench.toml", RECIPE.format(root=folder, batch=batch, ema=ema).encode())
    pipeline = compose(plan)
    training = training_of(pipeline, device)
    averages = Averages()
    for report in fit(training, batches(pipeline, device, 0)):
        averages.add(report)
        if report.step % plan.train.log_every == 0:
            averages.read()
        yield


def main(folder: Path, sizes: Sequence[int], count: int, device: torch.device) -> list[dict[str, float]]:
    """Print and return a row for each batch size: both speeds, and the ratio of paired turns with its spread."""
    rows = []
    for batch in sizes:
        steps = max(2, 8 // batch)
        sides: dict[str, Side] = {
            "usual": (usual.training, (folder, batch, device)),
            "i2i": (ours, (folder, batch, device)),
            "alike": (ours, (folder, batch, device, 0)),
        }
        taken = turns(sides, steps, count)
        speed = {name: steps * batch / median(turn[name] for turn in taken) for name in sides}
        rows.append({"batch": batch, **speed, **compared(taken, "usual", "i2i")})
        rows[-1]["ratio alike"] = compared(taken, "usual", "alike")["ratio"]
        print("  ".join(f"{key} {value:.3g}" for key, value in rows[-1].items()), flush=True)
    return rows
