"""How much faster a folder is translated than by the usual script: `python -m bench translate [--count 64]`.

Both take the same JPEG files through the paper's U-Net: the usual script one after the other, with PIL, in float32; i2i
as `i2i translate` does, in turns. Then reading, the network and writing are timed alone, for comparison with the whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

from bench import usual
from bench.sides import Side, compared, turns
from i2i.checkpoint import save_model
from i2i.contracts import ImageSpec
from i2i.engine import keep_freed_memory
from i2i.folder import Item, Job, Pace, plan, translate_folder
from i2i.generators.unet import UNet
from i2i.sources.scenes import Scenes
from i2i.translate import Translator, load

MODEL = {
    "task": {"name": "paired"},
    "method": {"name": "pix2pix", "generator": {"name": "unet", "norm": "batch"}},
    "packages": {},
}


def model(folder: Path) -> Path:
    """Save the paper's U-Net with random weights as a model; return its folder."""
    torch.manual_seed(0)
    save_model(folder, MODEL, UNet(3, 3, norm="batch").state_dict())
    return folder


def pictures(folder: Path, count: int, size: int, data: Path | None) -> Path:
    """Write square JPEG files: drawn streets, or the left squares of the files in `data`, over and over."""
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted(data.glob("*.jpg")) if data else []
    scenes = Scenes({"day": ImageSpec(3)}, size=size, count=count)
    for index in range(count):
        if files:
            whole = Image.open(files[index % len(files)]).convert("RGB")
            side = min(whole.size)
            picture = whole.crop((0, 0, side, side)).resize((size, size))
        else:
            picture = Image.fromarray(np.ascontiguousarray(scenes[index]["day"].transpose(1, 2, 0)))
        picture.save(folder / f"{index:05}.jpg", quality=95)
    return folder


def ours(work: Path, device: torch.device) -> Iterator[None]:
    """Translate the folder as `i2i translate` does, all of it at each `next`."""
    translator, items = load(work / "model", str(device), "auto"), plan(work / "in", work / "i2i")
    while True:
        for _, error in translate_folder(translator, items):
            assert error is None, error
        yield


def usually(work: Path, device: torch.device, size: int) -> Iterator[None]:
    """Translate the folder as the usual script does, all of it at each `next`."""
    g, files, out = usual.unet().to(device).eval(), sorted((work / "in").iterdir()), work / "usual"
    out.mkdir()
    while True:
        for _ in usual.translate(g, files, out, device, size):
            pass
        yield


def main(
    work: Path, data: Path | None, count: int, size: int, repeats: int, device: torch.device
) -> list[dict[str, float]]:
    """Print and return one row: both speeds in images/s, the ratio of paired turns, and i2i's stages alone."""
    pictures(work / "in", count, size, data)
    model(work / "model")
    sides: dict[str, Side] = {"usual": (usually, (work, device, size)), "i2i": (ours, (work, device))}
    taken = turns(sides, 1, repeats)
    row = {"size": size, **{name: count / median(turn[name] for turn in taken) for name in sides}}
    row |= compared(taken, "usual", "i2i")
    translator, items = load(work / "model", str(device), "auto"), plan(work / "in", work / "alone")
    stages(translator, items)
    row |= {name: count / seconds for name, seconds in stages(translator, items).items()}
    print("  ".join(f"{key} {value:.3g}" for key, value in row.items()), flush=True)
    return [row]


def stages(translator: Translator, items: Sequence[Item]) -> dict[str, float]:
    """Return how many seconds each stage takes for the items when the others do nothing."""
    keep_freed_memory()
    pace, job = Pace.of(translator.device, len(items)), Job(translator, None, None, 0, None, print)
    job.pace, job.alone = pace, False
    with ThreadPoolExecutor(pace.workers) as pool:
        start = time.perf_counter()
        read = list(pool.map(job.read, items))
        seconds = {"read": time.perf_counter() - start}
        assert read[0].picture is not None
        together = pace.together(read[0].picture.pixels.shape[:2])
        groups = [read[place : place + together] for place in range(0, len(read), together)]
        start = time.perf_counter()
        done = [work for group in pool.map(job.translate, groups) for work in group]
        if translator.device.type == "cuda":
            torch.cuda.synchronize(translator.device)
        seconds["network"] = time.perf_counter() - start
        start = time.perf_counter()
        for _ in pool.map(job.write, done):
            pass
        seconds["write"] = time.perf_counter() - start
    return seconds
