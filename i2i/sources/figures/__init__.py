"""The built-in people: random figures and portraits, drawn on the spot, each as aligned pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from i2i.contracts import Count, ImageSpec, Natural
from i2i.errors import UsageError
from i2i.sources.figures.pictures import Sitting, Subject
from i2i.sources.layers import assigned, converted

if TYPE_CHECKING:
    from i2i.contracts import Sample

__all__ = ["LAYERS", "Figures"]

LAYERS: Mapping[str, Callable[[Sitting], np.ndarray]] = {
    "photo": Sitting.photo,
    "alpha": Sitting.alpha,
    "pose": Sitting.stick,
    "sketch": Sitting.sketch,
}
_DEFAULTS: Mapping[Subject, Mapping[str, str]] = {
    "figure": {"a": "pose", "b": "photo", **{layer: layer for layer in LAYERS}},
    "portrait": {"a": "sketch", "b": "photo", **{layer: layer for layer in LAYERS}},
}


class Figures:
    """Random people, C x H x W uint8, size x size pixels; person i is the same for the same seed, in every process.

    subject: `figure` is a whole body in a pose, `portrait` a face close by. Layers of either: `photo`, the person in a
    place; `alpha`, how much of each pixel the person covers; `pose`, the stick figure in OpenPose's colours; `sketch`,
    a pencil drawing. people: how many there are, each with their own looks and place, the same for every seed, so that
    others of their poses can be held out; a stick figure does not tell who it is, and one person can be learned from
    it. Unless it is given, every sample shows somebody else.
    layers: which layer serves which picture of the task. Unless it says otherwise: a is the pose of a figure and the
    sketch of a portrait, b is photo, and a layer's own name is that layer.
    """

    def __init__(
        self,
        images: Mapping[str, ImageSpec],
        *,
        subject: Subject = "figure",
        people: Count | None = None,
        size: Count = 128,
        count: Count = 1000,
        seed: Natural = 0,
        layers: dict[str, str] | None = None,
    ):
        self.subject = subject
        self.people = people
        self.size = size
        self.count = count
        self.seed = seed
        self.images = dict(images)
        self.layers = assigned("figures", self.images, layers or {}, _DEFAULTS[subject], LAYERS)
        for name, spec in self.images.items():
            _check(name, spec)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(f"person {index} of {self.count}")
        sitting = self._sitting(index)
        drawn = {layer: LAYERS[layer](sitting) for layer in dict.fromkeys(self.layers.values())}
        return {name: converted(drawn[layer], self.images[name].channels) for name, layer in self.layers.items()}

    def _sitting(self, index: int) -> Sitting:
        entropy = (self.seed, index)
        if self.people is None:
            return Sitting(entropy, entropy, self.subject, self.size)
        who = int(np.random.Generator(np.random.PCG64((*entropy, 9))).integers(self.people))
        return Sitting(entropy, (who,), self.subject, self.size)

    def describe(self, index: int, /) -> str:
        """Return what reports call sample `index`."""
        return f"{self.subject} {index} of seed {self.seed}"


def _check(name: str, spec: ImageSpec) -> None:
    if spec.classes is not None:
        raise UsageError(
            f"figures: the picture {name!r} is a map of classes, which no layer of figures is. "
            "Use the source 'scenes', whose layer 'labels' is."
        )
