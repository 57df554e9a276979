"""What `--tile` costs and changes: `python -m bench.tiles [MODEL] [--side 2048 4096] [--tile 512] [--overlap 64]`.

A mosaic of drawn streets, as uneven as a picture may be, goes through a model at once, by tiles, and in tiles each of
which is translated for itself, as without shared statistics. Without MODEL (a run or a model folder) it is an untrained
ResNet of 9 blocks. Each way is a process of its own. `resident`: how far it grew beyond what it held with model and
picture; `mean`, `most`: the difference from the picture translated at once, in levels of 255; `seam`: how far that
difference jumps between two rows or columns, on average along the worst of them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import i2i
from bench.memory import status
from i2i import images
from i2i.compose import compose
from i2i.contracts import ImageSpec
from i2i.recipe import parse
from i2i.tiles import Tiled
from i2i.translate import Translator

CELL = 512
UNTRAINED = b"""
task = "paired"
source = { name = "scenes" }
method = { name = "pix2pix", generator = { name = "resnet", width = 16 } }
[train]
steps = 1
"""


def mosaic(side: int) -> np.ndarray:
    """Draw streets by day and by night, one beside the other: side × side × 3, uint8."""
    from i2i.sources.scenes import Scenes

    drawn = Scenes({"day": ImageSpec(3), "night": ImageSpec(3)}, size=CELL, count=(side // CELL) ** 2)
    cells = [drawn[i][("day", "night")[i % 2]] for i in range(len(drawn))]
    rows = [np.concatenate(cells[i : i + side // CELL], 2) for i in range(0, len(cells), side // CELL)]
    return np.ascontiguousarray(np.moveaxis(np.concatenate(rows, 1), 0, -1))


def translator(model: str) -> Translator:
    """Load a model, or make the untrained one."""
    if model:
        return i2i.load(model, precision="float32", device="cpu")
    torch.manual_seed(0)
    pipeline = compose(parse(Path("bench.toml"), UNTRAINED))
    return Translator(pipeline.task, pipeline.method.eval(), torch.device("cpu"))


def way(name: str, model: Translator, picture: images.Picture, tile: int, overlap: int) -> np.ndarray:
    """Translate in one of the ways: "whole", "tiles", "own"."""
    if name == "whole":
        return model.translate_picture(picture)
    if name == "tiles":
        return Tiled(model, picture, tile=tile, overlap=overlap).translate()
    rows = range(0, len(picture.pixels), tile)
    parts = [[model(np.ascontiguousarray(picture.pixels[y : y + tile, x : x + tile])) for x in rows] for y in rows]
    return np.concatenate([np.concatenate(row, 1) for row in parts])


def measured(name: str, model: str, file: str, tile: int, overlap: int, made: str) -> dict[str, float]:
    """Go one way in this process: MiB and seconds; the answer is saved."""
    network, picture = translator(model), images.read(file)
    network(picture.pixels[:CELL, :CELL])  # the libraries are loaded
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    began = time.perf_counter()
    answer = way(name, network, picture, tile, overlap)
    seconds = time.perf_counter() - began
    resident = (status("VmHWM") - before) >> 20
    np.save(made, answer)
    return {"resident": resident, "seconds": round(seconds, 1)}


def differences(one: np.ndarray, whole: np.ndarray) -> dict[str, float]:
    """Compare with the picture translated at once, in levels of 255."""
    apart = one.astype(np.float32) - whole
    lines = [np.abs(np.diff(apart, axis=axis)).mean((1 - axis, 2)).max() for axis in (0, 1)]
    found = {"mean": np.abs(apart).mean(), "most": np.abs(apart).max(), "seam": max(lines)}
    return {name: round(float(value), 4) for name, value in found.items()}


def compared(model: str, side: int, tiles: list[int], overlap: int, folder: Path) -> list[dict[str, Any]]:
    """Print and return the rows of one picture; the answers are left in a folder, as PNG."""
    file, rows, whole = folder / f"{side}.png", [], np.empty(0)
    images.write(file, mosaic(side), overwrite=True)
    for name, tile in [("whole", side), *(("tiles", tile) for tile in tiles), ("own", max(tiles))]:
        made = folder / f"{side}-{name}-{tile}.npy"
        asked = [
            sys.executable,
            "-m",
            "bench.tiles",
            "--one",
            json.dumps([name, model, str(file), tile, overlap, str(made)]),
        ]
        found = json.loads(subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True).stdout)
        answer = np.load(made)
        made.unlink()
        images.write(made.with_suffix(".png"), answer, overwrite=True)
        whole = answer if name == "whole" else whole
        apart = {} if name == "whole" else differences(answer, whole)
        rows.append({"side": side, "way": name, "tile": tile, **found, **apart})
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    return rows


def main() -> None:
    """Measure every way for every side."""
    parser = argparse.ArgumentParser(prog="python -m bench.tiles", description=__doc__)
    parser.add_argument("model", nargs="?", default="")
    parser.add_argument("--side", type=int, nargs="+", default=[2048, 4096], help=f"Sides, which divide by {CELL}.")
    parser.add_argument("--tile", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--overlap", type=int, default=64)
    parser.add_argument("--keep", type=Path, help="A folder for the pictures.")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measured(*json.loads(chosen.one))))
        return
    with tempfile.TemporaryDirectory() as made:
        for side in chosen.side:
            compared(chosen.model, side, chosen.tile, chosen.overlap, chosen.keep or Path(made))


if __name__ == "__main__":
    main()
