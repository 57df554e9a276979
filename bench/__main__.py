"""The comparisons of `docs/performance.md`: `python -m bench train`, `python -m bench translate`."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from bench import train, translate
from bench.pictures import side_by_side
from i2i.engine import pick_device


def main() -> None:
    """Run a comparison and print its table, or write it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", choices=["train", "translate"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--count", type=int, default=64, help="Pictures of a turn of translate.")
    parser.add_argument("--size", type=int, default=256, help="Their sides, which divide by 256.")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", type=Path, help="A folder of side-by-side JPEG files, in place of drawn scenes.")
    parser.add_argument("--json", type=Path, help="A file for the rows.")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        device = pick_device(chosen.device)
        if chosen.what == "train":
            folder = chosen.data or side_by_side(Path(made), 64)
            rows = train.main(folder, chosen.batch, chosen.turns, device)
        else:
            rows = translate.main(Path(made), chosen.data, chosen.count, chosen.size, chosen.turns, device)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
