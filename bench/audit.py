"""What `i2i data check` finds of shifts that were planted in drawn scenes, and how long 10,000 samples take."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np

from i2i import shifts
from i2i.audit import fingerprint, likest
from i2i.contracts import ImageSpec
from i2i.shifts import Plane
from i2i.sources.scenes import Scenes

PLANTED = (0, 1, 2, 3, 4, 8, 16)
MARGIN = 16
LABELS = ImageSpec(1, classes=12)
KINDS = {("day", "night"): ImageSpec(3), ("edges", "day"): ImageSpec(3), ("labels", "day"): LABELS}


def main(scenes: int = 100, samples: int = 10_000) -> list[dict[str, Any]]:
    """Print and return rows: of each kind, size and planted shift, and of the search for near duplicates."""
    rows = []
    print(f"{'pair':14}{'side':>6}{'planted':>9}{'found':>8}{'wrong':>8}{'error, px':>11}{'all together, px':>18}")
    for layers, spec in KINDS.items():
        for side in (128, 256):
            rows += _planted(layers, spec, side, scenes)
    return [*rows, _twins(samples)]


def _planted(layers: tuple[str, str], first: ImageSpec, side: int, count: int) -> list[dict[str, Any]]:
    specs = {layers[0]: first, layers[1]: ImageSpec(3)}
    source = Scenes(specs, size=side + 2 * MARGIN, count=count, layers={name: name for name in specs})
    pairs = [source[index] for index in range(count)]
    aligned = [shifts.correlated(*_edges(pair, specs, 0, 0)) for pair in pairs]
    together = shifts.of_all([middle for near in aligned if (middle := _middle(near)) is not None])
    rng, rows = np.random.default_rng(0), []
    for planted in PLANTED:
        turns = rng.uniform(0, 2 * np.pi, count)
        where = [(round(planted * np.cos(turn)), round(planted * np.sin(turn))) for turn in turns]
        told = [_told(pair, specs, *place, together) for pair, place in zip(pairs, where, strict=True)]
        off = [np.hypot(s.right - x, s.down - y) for s, (x, y) in zip(told, where, strict=True) if s]
        row: dict[str, Any] = {"pair": " ".join(layers), "side": side, "planted": planted}
        row |= {"found": len(off) / count, "wrong": sum(error > 1.5 or not planted for error in off) / count}
        row |= {"error": float(np.mean(off)) if off else None, "together": _together(pairs, specs, planted)}
        error = f"{row['error']:.2f}" if off else "-"
        print(f"{row['pair']:14}{side:6}{planted:9}{row['found']:8.0%}{row['wrong']:8.0%}{error:>11}", end="")
        print(f"{row['together']:18.2f}" if planted <= shifts.FEW else f"{'-':>18}", flush=True)
        rows.append(row)
    return rows


def _edges(pair: dict[str, np.ndarray], specs: dict[str, ImageSpec], right: int, down: int) -> tuple[Plane, Plane]:
    """Return the edges of a pair whose second picture is cut so that it lies off the first."""
    found = []
    for (name, spec), (x, y) in zip(specs.items(), ((0, 0), (right, down)), strict=True):
        height, width = pair[name].shape[1:]
        cut = pair[name][:, MARGIN - y : height - MARGIN - y, MARGIN - x : width - MARGIN - x]
        found.append(shifts.edges(cut.mean(axis=0, dtype=np.float32), classes=spec.classes is not None))
    return found[0], found[1]


def _middle(near: Plane | None) -> Plane | None:
    return None if near is None else shifts.around_zero(near)


def _told(
    pair: dict[str, np.ndarray], specs: dict[str, ImageSpec], right: int, down: int, together: shifts.Shift | None
) -> shifts.Shift | None:
    """Return the shift that the audit would tell of one pair among aligned ones."""
    edges = _edges(pair, specs, right, down)
    near = shifts.correlated(*edges)
    shift = None if near is None else shifts.apart(near, *edges)
    return shift if shift and shifts.sure(shift, together) else None


def _together(pairs: list[dict[str, np.ndarray]], specs: dict[str, ImageSpec], planted: int) -> float | None:
    """Return the shift to the right that is measured where all pairs are shifted by so much."""
    if planted > shifts.FEW:
        return None
    seen = [_middle(shifts.correlated(*_edges(pair, specs, planted, 0))) for pair in pairs]
    found = shifts.of_all([middle for middle in seen if middle is not None])
    return found.right if found else None


def _twins(count: int) -> dict[str, Any]:
    """Time the search for near duplicates among drawn noise, of which every hundredth is a copy."""
    rng = np.random.default_rng(0)
    prints = [{name: fingerprint(rng.random((64, 64), np.float32)) for name in "ab"} for _ in range(count)]
    copies = range(100, count, 100)
    for index in copies:
        prints[index] = prints[index - 50]
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        found = likest(prints, "ab", count)
        taken.append(time.perf_counter() - start)
    assert set(found) == set(copies)
    print(f"near duplicates among {count:,} samples of two pictures: {median(taken):.1f} s")
    return {"near duplicates of": count, "seconds": median(taken)}
