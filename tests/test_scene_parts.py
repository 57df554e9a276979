"""The short cuts that scenes are drawn by, each against the plain way: polygon by polygon."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from i2i.sources.scenes import town_view
from i2i.sources.scenes.canvas import FRACTION_BITS, OVERSAMPLING
from i2i.sources.scenes.town import draw_town
from i2i.sources.scenes.walls import SPACING, View, Walls, cut

SIDE = 192


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def houses(rng: np.random.Generator) -> list[np.ndarray]:
    """Walls with windows: rectangles of y0, y1, z0, z1, the first of them the whole wall."""
    walls = []
    for _ in range(6):
        width, height = 6 + 8 * rng.random(), 6 + 12 * rng.random()
        rects = [(0.0, height, 0.0, width)]
        for z in np.arange(0.5, width - 2, 2.2):
            rects += [(y, y + 1.6, z, z + 1.1) for y in np.arange(1.0, height - 2, 2.9)]
        walls.append(np.array(rects))
    return walls


@pytest.mark.parametrize("seed", range(6))
def test_walls_are_where_their_rectangles_are(seed: int) -> None:
    rng = generator(seed)
    walls, near = houses(rng), -4.0
    view = View(2.5, 0.6, 0.35 + 0.3 * rng.random(), 0.55)
    left, right = -6.0, 7.0
    placed, expected = [], np.zeros((SIDE, SIDE), np.uint16)
    first, number = [], 1
    for x in (left, right):
        near = -4.0
        for wall in rng.permutation(len(walls)).tolist():
            placed.append((wall, x, near))
            first.append(number)
            number += len(walls[wall])
            near += walls[wall][0, 3]
    # The far before the near; within a wall, what comes later lies above.
    for (wall, x, near), start in sorted(zip(placed, first, strict=True), key=lambda one: -one[0][2]):
        for offset, (y0, y1, z0, z1) in enumerate(walls[wall]):
            z0, z1 = max(near + z0, 1.0), max(near + z1, 1.0)
            if z1 > z0:
                points = np.array([(x, x, x, x), (y0, y1, y1, y0), (z0, z0, z1, z1)], np.float32)
                corners = np.clip(view.project(points), -8, 9).T * (SIDE << FRACTION_BITS) - (1 << FRACTION_BITS) / 2
                fixed = corners.astype(np.int32)
                cv2.fillConvexPoly(expected, fixed, start + offset, cv2.LINE_8, FRACTION_BITS)
    drawn = Walls(
        strips=cut(walls),
        keys=np.array([near + 1e3 * (x > 0) for _, x, near in placed]),
        width=np.array([walls[wall][0, 3] for wall, _, _ in placed]),
        wall=np.array([wall for wall, _, _ in placed]),
        first=np.array(first),
        distance=(-left * view.focal, right * view.focal),
    ).draw(view, SIDE)
    assert max(wall[0, 3] for wall in walls) < SPACING
    assert (drawn > 0).mean() > 0.2
    # `fillConvexPoly` covers what comes within half a pixel, on either side of an edge.
    edges = cv2.morphologyEx(expected, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    assert (drawn != expected)[~edges].mean() < 0.005


@pytest.mark.parametrize("seed", range(20))
def test_a_sheet_of_a_map_has_no_overlaps(seed: int) -> None:
    town, size = draw_town(generator(seed)), 96
    side = size * OVERSAMPLING
    expected = np.empty((side, side, 3), np.uint8)
    expected[:] = (255, 255, 255)
    kinds = town.plan.materials()
    outlines = sorted(town.plan.outlines(town.project(town.plan.points()), side), key=lambda one: kinds[one[0]])
    for number, corners in outlines:
        colour = list(town_view._SHEETS.values())[kinds[number]]
        cv2.fillPoly(expected, [corners], colour, cv2.LINE_8, FRACTION_BITS)
    reference = cv2.resize(expected, (size, size), interpolation=cv2.INTER_AREA).transpose(2, 0, 1)
    assert np.array_equal(town_view.plan(town, size), reference)


def test_houses_of_a_town_cast_shadows_away_from_the_sun() -> None:
    behind, before = [], []
    for seed in range(12):
        town, size = draw_town(generator(seed)), 96
        dark = town_view._shadow(town, size) > 127
        # On the map, buildings: the ground beside them is darker where the shadows of high things fall.
        colour = town_view._SHEETS[town_view.Sheet.BUILDING]
        building = (town_view.plan(town, size).transpose(1, 2, 0) == colour).all(axis=2)
        there = town.project(np.array([[0.0], [4.0], [0.0]], np.float32), town.cast)[:, 0] - 0.5
        right, down = (2 * np.sign(there)).astype(int).tolist()
        behind.append(dark[np.roll(building, (down, right), (0, 1)) & ~building].mean())
        before.append(dark[np.roll(building, (-down, -right), (0, 1)) & ~building].mean())
    assert np.mean(behind) > 0.5
    assert np.mean(behind) > np.mean(before) + 0.1
