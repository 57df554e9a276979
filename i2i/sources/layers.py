"""The layers of a drawn source: which serves which picture of a task, and in which form it is handed over."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import cv2
import numpy as np
import numpy.typing as npt

from i2i.contracts import ImageSpec
from i2i.errors import UsageError, nearest


def assigned(
    source: str,
    images: Mapping[str, ImageSpec],
    chosen: Mapping[str, str],
    defaults: Mapping[str, str],
    layers: Collection[str],
) -> dict[str, str]:
    """Return the layer of every picture: the chosen one, or else the default; UsageError where there is none."""
    for name in chosen:
        if name not in images:
            raise UsageError(
                f"{source}: layers names a picture {name!r} that the task does not have."
                f"{nearest(name, images)} It has: {', '.join(images)}."
            )
    found = {}
    for name, spec in images.items():
        known = f"Layers: {', '.join(layers)}."
        layer = chosen.get(name, defaults.get(name))
        if layer is None:
            raise UsageError(
                f"{source}: no layer is known to serve the picture {name!r}.{nearest(name, defaults)} "
                f'Choose one, as in layers = {{ {name} = "{next(iter(layers))}" }}. {known}'
            )
        if layer not in layers:
            raise UsageError(f"{source}: layers.{name}: unknown layer {layer!r}.{nearest(layer, layers)} {known}")
        if spec.channels not in (1, 3):
            raise UsageError(
                f"{source}: the picture {name!r} has {spec.channels} channels; {source} are made with 1 or 3."
            )
        if spec.bits not in (None, 8) or spec.range not in (None, (0, 255)):
            raise UsageError(
                f"{source}: are drawn with 8 bits a sample, and the task says other bits or another range of {name!r}. "
                "Leave both out, or set bits = 8."
            )
        found[name] = layer
    return found


def converted(picture: npt.NDArray[np.uint8], channels: int) -> npt.NDArray[np.uint8]:
    """Return a layer, C x H x W, as grey or RGB: 1 or 3 channels."""
    if picture.shape[0] < channels:
        return np.repeat(picture, channels, axis=0)
    if picture.shape[0] > channels:
        return np.asarray(cv2.cvtColor(cv2.merge(list(picture)), cv2.COLOR_RGB2GRAY))[None]
    return picture
