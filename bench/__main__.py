"""The comparisons of `docs/performance.md`: `python -m bench train`, `python -m bench memory`."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from bench import memory, train
from bench.pictures import side_by_side
from i2i.engine import pick_device


def main() -> None:
    """Run a comparison and print its table, or write it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", choices=["train", "memory"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", type=Path, help="A folder of side-by-side JPEG files, in place of drawn scenes.")
    parser.add_argument("--json", type=Path, help="A file for the rows.")
    chosen = parser.parse_args()
    rows: list[dict[str, Any]]
    if chosen.what == "memory":
        rows = memory.main(pick_device(chosen.device))
    else:
        rows = _train(chosen)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2))


def _train(chosen: argparse.Namespace) -> list[dict[str, float]]:
    with tempfile.TemporaryDirectory() as made:
        folder = chosen.data or side_by_side(Path(made), 64)
        return train.main(folder, chosen.batch, chosen.turns, pick_device(chosen.device))


if __name__ == "__main__":
    main()
