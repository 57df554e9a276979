"""The built-in world: random street scenes and towns, drawn on the spot, each as aligned pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np

from i2i.contracts import Count, ImageSpec, Natural
from i2i.errors import UsageError
from i2i.sources.layers import assigned, converted
from i2i.sources.scenes import street_view, town_view
from i2i.sources.scenes.materials import CLASSES, COLOURS_OF, PALETTE
from i2i.sources.scenes.street import draw_street
from i2i.sources.scenes.street_view import StreetFrame
from i2i.sources.scenes.town import Town, draw_town

if TYPE_CHECKING:
    from i2i.contracts import Sample

__all__ = ["CLASSES", "LAYERS", "PALETTE", "Scenes"]


class _Scene:
    """One scene, whose parts are drawn when a layer first needs them."""

    def __init__(self, seed: int, index: int, size: int):
        self.entropy = (seed, index)
        self.size = size

    @cached_property
    def street(self) -> StreetFrame:
        """The street, seen by who stands in it."""
        return StreetFrame(draw_street(self._generator(0)), self.size)

    @cached_property
    def town(self) -> Town:
        """The town from above."""
        return draw_town(self._generator(1))

    def _generator(self, stream: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64((*self.entropy, stream)))


LAYERS: Mapping[str, Callable[[_Scene], np.ndarray]] = {
    "day": lambda scene: street_view.day(scene.street),
    "night": lambda scene: street_view.night(scene.street),
    "thermal": lambda scene: street_view.thermal(scene.street),
    "labels": lambda scene: street_view.labels(scene.street),
    "edges": lambda scene: street_view.edges(scene.street),
    "aerial": lambda scene: town_view.aerial(scene.town, scene.size),
    "map": lambda scene: town_view.plan(scene.town, scene.size),
}
_DEFAULTS = {"a": "day", "b": "night", "photo": "day", "label": "labels", **{layer: layer for layer in LAYERS}}


class Scenes:
    """Random scenes, C x H x W uint8, size x size pixels; scene i is the same for the same seed, in every process.

    Layers of one street: `day` and `night` photos, `labels` (indices of CLASSES, or their PALETTE colours where the
    task wants a picture), `edges` (dark outlines on white) and `thermal`, grey, as a camera of heat sees the day.
    Layers of one town from above: `aerial` and `map`.
    layers: which layer serves which picture of the task. Unless it says otherwise: a is day, b is night, photo is
    day, label is labels, and a layer's own name is that layer.
    """

    def __init__(
        self,
        images: Mapping[str, ImageSpec],
        *,
        size: Count = 128,
        count: Count = 1000,
        seed: Natural = 0,
        layers: dict[str, str] | None = None,
    ):
        self.size = size
        self.count = count
        self.seed = seed
        self.images = dict(images)
        self.layers = assigned("scenes", self.images, layers or {}, _DEFAULTS, LAYERS)
        for name, layer in self.layers.items():
            _check(name, self.images[name], layer)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(f"scene {index} of {self.count}")
        scene = _Scene(self.seed, index, self.size)
        drawn = {layer: LAYERS[layer](scene) for layer in dict.fromkeys(self.layers.values())}
        return {name: _as_wanted(drawn[layer], layer, self.images[name]) for name, layer in self.layers.items()}

    def describe(self, index: int, /) -> str:
        """Return what reports call scene `index`."""
        return f"scene {index} of seed {self.seed}"


def _check(name: str, spec: ImageSpec, layer: str) -> None:
    """Raise UsageError where a map of classes is wanted that the layer is not."""
    if spec.classes is not None and layer != "labels":
        raise UsageError(
            f"scenes: the picture {name!r} is a map of classes, which the layer {layer!r} is not. "
            f'Choose layers = {{ {name} = "labels" }}.'
        )
    if spec.classes is not None and spec.classes < len(CLASSES):
        raise UsageError(
            f"scenes: the layer 'labels' has {len(CLASSES)} classes, and the task's picture {name!r} only "
            f"{spec.classes}. Give the task at least {len(CLASSES)}."
        )


def _as_wanted(picture: np.ndarray, layer: str, spec: ImageSpec) -> np.ndarray:
    """Return a layer as the task wants it: class indices, grey or RGB, C x H x W uint8."""
    if layer == "labels" and spec.classes is None:
        indices, picture = picture[0], np.empty((3, *picture.shape[1:]), np.uint8)
        for plane, colours in zip(picture, COLOURS_OF, strict=True):
            cv2.LUT(indices, colours, dst=plane)
    return converted(picture, spec.channels)
