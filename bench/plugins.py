"""How long a scan of installed distributions takes: `python bench/plugins.py [distributions, 2000 unless said]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from i2i import plugins

ROUNDS = 15
STRANGERS = "[console_scripts]\nstranger = stranger.cli:main\n\n[pytest11]\nstranger = stranger.plugin\n"
OURS = "[i2i.losses]\nloss_{0} = package_{0}:Loss\n\n[i2i.generators]\nnet_{0} = package_{0}:Net\n"


def install(folder: Path, count: int) -> None:
    """Write the metadata of `count` distributions: one in a hundred is a plugin, half of the others has a script."""
    for i in range(count):
        info = folder / f"package_{i}-1.{i}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: package-{i}\nVersion: 1.{i}\n")
        if i % 100 == 0:
            (info / "entry_points.txt").write_text(OURS.format(i))
        elif i % 2:
            (info / "entry_points.txt").write_text(STRANGERS)


def main() -> None:
    """Time the scan with and without them in turn, so that other work on the machine falls on both."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    path = list(sys.path)
    seconds: dict[str, list[tuple[float, float]]] = {"this environment alone": [], f"and {count:,} distributions": []}
    with tempfile.TemporaryDirectory() as folder:
        install(Path(folder), count)
        for _ in range(ROUNDS):
            for name, ahead in zip(seconds, ([], [folder]), strict=True):
                sys.path[:] = [*ahead, *path]
                plugins.scan.cache_clear()
                began, busy = perf_counter(), process_time()
                parts = plugins.scan().parts()
                seconds[name].append((perf_counter() - began, process_time() - busy))
            assert len(parts) > count // 100
    print(f"{'scanned':32}{'median':>10}{'best':>10}{'processor':>11}   milliseconds, of {ROUNDS} rounds in turn")
    for name, rounds in seconds.items():
        wall, busy_all = [1e3 * wall for wall, _ in rounds], [1e3 * busy for _, busy in rounds]
        print(f"{name:32}{median(wall):10.0f}{min(wall):10.0f}{median(busy_all):11.0f}")


if __name__ == "__main__":
    main()
