"""Differentiable augmentation: a discriminator that never sees the same picture twice, for small data sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.contracts import Count, MakeDiscriminator
from i2i.discriminators.patch import PatchGAN
from i2i.errors import UsageError

SHIFT = 1 / 8
"""The largest shift, as a share of a side."""
HOLE = 1 / 2
"""The side of the square that is cut out, as a share of the picture's."""


class DiffAugment(nn.Module):
    """Show a discriminator augmented pictures alone, real and fake alike, while training (Zhao et al. 2020, section 3).

    x: N × in_channels × H × W in [-1, 1], the picture to be judged in its last `pictures` channels. The changes are
    differentiable, so the generator learns through them, and are drawn anew for each picture at each call, from torch's
    global generator.

    discriminator: the one that judges. policy: "color" changes brightness, saturation and contrast of the picture to be
    judged, and not what it is judged beside; "translation" shifts all channels alike by up to 1/8 of a side;
    "cutout" hides a square of half the side in all channels. What comes in is 0, the middle grey. pictures: the
    channels of the picture, 3 for RGB. The wrapped discriminator's `features` are there where it has them; what they
    are asked about one after the other is changed alike, so that they can be compared.

    ```toml
    [method.discriminator]
    name = "diff_augment"
    policy = ["color", "translation"]
    discriminator = { name = "patch", width = 32 }
    ```
    """

    def __init__(
        self,
        in_channels: int,
        *,
        discriminator: MakeDiscriminator = PatchGAN,
        policy: tuple[Literal["color", "translation", "cutout"], ...] = ("color", "translation", "cutout"),
        pictures: Count = 3,
    ) -> None:
        super().__init__()
        if in_channels < pictures:
            raise UsageError(
                f"diff_augment: the picture is to be the last {pictures} of {in_channels} channels: set 'pictures'."
            )
        self.policy = policy
        self.pictures = pictures
        self.discriminator = discriminator(in_channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the wrapped discriminator's maps of logits for x, augmented in training."""
        logits: list[Tensor] = self.discriminator(self.augment(x))
        return logits

    @property
    def features(self) -> Callable[[Tensor], list[list[Tensor]]]:
        """What the wrapped discriminator calls so; AttributeError where it has none."""
        inner: Callable[[Tensor], list[list[Tensor]]] = self.discriminator.features

        def augmented(x: Tensor) -> list[list[Tensor]]:
            with torch.random.fork_rng(devices=[]):  # the next call draws the same
                x = self.augment(x)
            return inner(x)

        return augmented

    def augment(self, x: Tensor) -> Tensor:
        """Change each picture of x, N × in_channels × H × W, by chance; in eval mode return x."""
        if not self.training:
            return x
        if "color" in self.policy:
            x = torch.cat([x[:, : -self.pictures], color(x[:, -self.pictures :])], 1)
        if "translation" in self.policy:
            x = translation(x)
        return cutout(x) if "cutout" in self.policy else x


# Not Kornia's: it draws on the device, where each kind draws other numbers, and cuts colours off at 0 and 1.


def color(x: Tensor) -> Tensor:
    """Shift brightness by up to 0.5, scale saturation by 0 to 2 and contrast by 0.5 to 1.5, N × C × H × W."""
    brightness, saturation, contrast = _draw(x, 3)
    x = x + (brightness - 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (2 * saturation)
    middle = x.mean((1, 2, 3), keepdim=True)
    return middle + (x - middle) * (contrast + 0.5)


def translation(x: Tensor) -> Tensor:
    """Shift by whole pixels up to an eighth of a side, N × C × H × W; what comes in is 0."""
    n, _, height, width = x.shape
    down, right = int(height * SHIFT + 0.5), int(width * SHIFT + 0.5)
    padded = F.pad(x, (right, right, down, down))
    tops, lefts = _whole(n, 2 * down + 1), _whole(n, 2 * right + 1)
    shifted = [one[:, y : y + height, z : z + width] for one, y, z in zip(padded, tops, lefts, strict=True)]
    return torch.stack(shifted)


def cutout(x: Tensor) -> Tensor:
    """Set to 0 a rectangle of half of each side around a random pixel, cut off at the edges, N × C × H × W."""
    n, _, height, width = x.shape
    rows, columns = (_outside(n, side, x.device) for side in (height, width))
    return x * (rows[:, :, None] | columns[:, None, :])[:, None]


def _outside(n: int, side: int, device: torch.device) -> Tensor:
    """Draw N intervals of half of `side`; return N × side booleans, true outside of them."""
    centre = torch.tensor(_whole(n, side), device=device)[:, None]
    place = torch.arange(side, device=device)
    half = int(side * HOLE + 0.5) // 2
    return (place < centre - half) | (place >= centre + half)


def _draw(x: Tensor, count: int) -> list[Tensor]:
    """Draw numbers in [0, 1), `count` tensors N × 1 × 1 × 1; on the CPU, so that every device sees the same."""
    drawn = torch.rand(len(x), count, 1, 1, 1, device="cpu")
    return [*drawn.to(x).unbind(1)]


def _whole(n: int, bound: int) -> list[int]:
    """Draw N whole numbers in 0 ... bound - 1."""
    drawn: list[int] = torch.randint(bound, (n,), device="cpu").tolist()
    return drawn
