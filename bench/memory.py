"""What `i2i check` says of a step's memory, and what steps take: `python -m bench memory [--device cpu]`.

Each row is a process of its own, which trains three steps. On a CPU: `allocated` is the peak of what torch's allocator
gave out (from its profiler, in one process), `resident` how far the process grew beyond what it held when small steps
had loaded the libraries (in another). On CUDA both come from torch's caching allocator: allocated, and reserved.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from i2i import recipe
from i2i.check import step_memory
from i2i.compose import Pipeline, compose
from i2i.engine import fit
from i2i.train import batches, training_of

TABLE = """
task = "paired"
source = {{ name = "scenes", size = {side}, count = 16 }}
method = {method}
[train]
steps = 1000000
batch = {batch}
workers = 0
precision = "{precision}"
activation_checkpointing = {again}
"""
SMALL = '{ name = "pix2pix", generator = { name = "unet", depth = 3, width = 4 } }'
METHODS = {
    "unet": '{ name = "pix2pix" }',
    "resnet": '{ name = "pix2pix", generator = { name = "resnet" } }',
    "cyclegan": '{ name = "cyclegan" }',
    "pix2pixhd": '{ name = "pix2pixhd" }',
}
ROWS = [
    *(("unet", 256, batch, precision, False) for batch in (1, 4, 16) for precision in ("float32", "bf16")),
    *(("unet", 1024, 1, precision, again) for precision in ("float32", "bf16") for again in (False, True)),
    *(("resnet", 256, 1, precision, again) for precision in ("float32", "bf16") for again in (False, True)),
    *((method, 256, 1, precision, False) for method in ("cyclegan", "pix2pixhd") for precision in ("float32", "bf16")),
]


def pipeline_of(method: str, side: int, batch: int, precision: str, again: bool) -> Pipeline:
    """Compose a row of the table; method: a key of METHODS, or a table."""
    table = METHODS.get(method, method)
    text = TABLE.format(side=side, batch=batch, precision=precision, method=table, again=str(again).lower())
    return compose(recipe.parse(Path("bench.toml"), text.encode()))


def train(pipeline: Pipeline, device: torch.device, steps: int = 3) -> None:
    """Train some steps."""
    training = training_of(pipeline, device)
    for report in fit(training, batches(pipeline, device, 0)):
        if report.step == steps:
            return


def measure(what: str, row: tuple[str, int, int, str, bool], device: torch.device) -> int:
    """Return the bytes that a row takes in this process. what: "allocated", "resident", or "predicted"."""
    precision = row[3]
    train(pipeline_of(SMALL, 64, 1, precision, row[4]), device)
    if what == "predicted":
        pipeline = pipeline_of(*row)
        return step_memory(pipeline, next(batches(pipeline, device, 0)), row[2], device)
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        train(pipeline_of(*row), device)
        kind = torch.cuda.max_memory_allocated if what == "allocated" else torch.cuda.max_memory_reserved
        return kind(device) - before
    if what == "resident":
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        train(pipeline_of(*row), device)
        return status("VmHWM") - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        train(pipeline_of(*row), device, 2)
    with tempfile.TemporaryDirectory() as folder:
        watched.export_chrome_trace(f"{folder}/trace.json")
        events = json.loads(Path(folder, "trace.json").read_text())["traceEvents"]
    return max(int(e["args"]["Total Allocated"]) for e in events if e.get("name") == "[memory]")


def status(field: str) -> int:
    """Return a size in bytes that the kernel knows of this process."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def main(device: torch.device) -> list[dict[str, Any]]:
    """Print and return the table: MiB, and what was predicted over what was measured."""
    rows = []
    for row in ROWS:
        found = {}
        for what in ("predicted", "allocated", "resident"):
            asked = [sys.executable, "-m", "bench.memory", what, json.dumps(row), str(device)]
            found[what] = int(subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True).stdout) >> 20
        ratios = {f"of {what}": round(found["predicted"] / found[what], 3) for what in ("allocated", "resident")}
        keys = ("method", "side", "batch", "precision", "checkpointing")
        rows.append({**dict(zip(keys, row, strict=True)), **found, **ratios})
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    return rows


if __name__ == "__main__":
    print(measure(sys.argv[1], tuple(json.loads(sys.argv[2])), torch.device(sys.argv[3])))
