"""The task of translating between two sets of pictures, none of which shows what another shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor

from i2i.contracts import Batch, Bits, Count, ImageSpec

if TYPE_CHECKING:
    from i2i.contracts import Images


class Unpaired:
    """Translate pictures of set `a` into pictures as those of set `b`, or the other way; all are in [0, 1].

    channels, bits, range: of every picture, as of the task `paired`: 1 for grey, 3 for RGB or any number; 8, 16, or 32
    for float; the stored values that are 0 and 1 here. to: the set that is made. In network space both are in [-1, 1].
    """

    paired = False

    def __init__(
        self,
        *,
        channels: Count = 3,
        bits: Bits | None = None,
        range: tuple[float, float] | None = None,
        to: Literal["a", "b"] = "b",
    ) -> None:
        self.spec = ImageSpec(channels, bits=bits, range=range)
        self.images: Mapping[str, ImageSpec] = {"a": self.spec, "b": self.spec}
        self.inputs: tuple[str, ...] = ("a" if to == "b" else "b",)
        self.target: str = to
        self.in_channels = self.out_channels = channels

    def batch(self, images: Images) -> Batch:
        """Bring both pictures into network space; they need not be of one size."""
        return Batch(self.encode(images), images[self.target] * 2 - 1)

    def encode(self, images: Images) -> Tensor:
        """Bring the input into network space, N × channels × H × W."""
        return images[self.inputs[0]] * 2 - 1

    def activate(self, output: Tensor) -> Tensor:
        """Bound raw scores by tanh, in float32."""
        return torch.tanh(output.float())

    def decode(self, output: Tensor, images: Images) -> Tensor:
        """Bring a translation back to [0, 1], N × channels × H × W."""
        return ((output + 1) / 2).clamp(0, 1)

    def reverse(self) -> Unpaired:
        """Return the task of translating the other way."""
        bits = cast("Bits | None", self.spec.bits)
        to: Literal["a", "b"] = "a" if self.target == "b" else "b"
        return Unpaired(channels=self.in_channels, bits=bits, range=self.spec.range, to=to)
