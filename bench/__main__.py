"""The comparisons of `docs/performance.md`: `python -m bench`, or only some of them: `python -m bench train start`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import audit, memory, start, train, translate
from bench.pictures import side_by_side
from i2i.engine import has_bf16, pick_device

ALL = ("train", "translate", "start", "memory", "audit")


def main() -> None:
    """Run comparisons, print their rows, write them as JSON, and judge their ratios if told to."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="*", metavar="|".join(ALL), default=ALL, help="All of them by default.")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--count", type=int, default=64, help="Pictures of a turn of translate.")
    parser.add_argument("--size", type=int, default=256, help="Their sides, which divide by 256.")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", type=Path, help="A folder of side-by-side JPEG files, in place of drawn scenes.")
    parser.add_argument("--json", type=Path, help="A file for the rows.")
    parser.add_argument(
        "--at-least",
        type=float,
        default=0,
        help="End with 1 where a ratio's median is below this, or below two thirds of it where nothing multiplies bf16 "
        "in hardware.",
    )
    chosen = parser.parse_args()
    if unknown := [name for name in chosen.what if name not in ALL]:
        parser.error(f"no comparison {unknown[0]!r}; there are {', '.join(ALL)}")
    rows = {}
    with tempfile.TemporaryDirectory() as made:
        for name in chosen.what:
            print(f"== {name}", flush=True)
            rows[name] = _way(name, chosen, Path(made, name))()
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2))
    bound = chosen.at_least * (1 if has_bf16(pick_device(chosen.device)) else 2 / 3)
    low = [f"{name}: {row}" for name in rows for row in rows[name] if row.get("ratio", 1e9) < bound]
    if low:
        sys.exit(f"slower than {bound:.3g} times the usual code:\n" + "\n".join(low))


def _way(name: str, chosen: argparse.Namespace, made: Path) -> Callable[[], list[dict[str, Any]]]:
    device = pick_device(chosen.device)
    return {
        "train": lambda: train.main(chosen.data or side_by_side(made, 64), chosen.batch, chosen.turns, device),
        "translate": lambda: translate.main(made, chosen.data, chosen.count, chosen.size, chosen.turns, device),
        "start": lambda: start.main(made, chosen.turns),
        "memory": lambda: memory.main(device),
        "audit": audit.main,
    }[name]  # type: ignore[return-value]


if __name__ == "__main__":
    main()
