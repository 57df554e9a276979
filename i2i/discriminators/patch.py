"""The PatchGAN of pix2pix: a convolutional discriminator that judges each patch of a picture by itself."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from i2i.contracts import Count
from i2i.errors import UsageError
from i2i.nn import Norm, initialise, normalisation

STRIDED = {1: 0, 16: 1, 34: 2, 70: 3, 142: 4, 286: 5}
"""How many convolutions of stride 2 give a receptive field of so many pixels."""


class PatchGAN(nn.Module):
    """Judge overlapping patches of N × in_channels × H × W (Isola et al. 2017, sections 3.2.2 and 6.1.2).

    The answer is a list of one map of logits, N × 1 × h × w, each seeing `field` × `field` pixels; 70 is the paper's
    choice, 286 sees its whole pictures, and 1 is its PixelGAN of 1 × 1 convolutions. width: the feature maps of the
    first layer, doubled layer by layer up to eight times. norm: what lies beyond the field counts only by the mean and
    variance of its features, and with "none" not at all. Pictures too small for the field raise UsageError.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        field: Literal[1, 16, 34, 70, 142, 286] = 70,
        width: Count = 64,
        norm: Norm = "instance",
    ) -> None:
        super().__init__()
        self.field = field
        strided = STRIDED[field]
        kernel, padding = (1, 0) if field == 1 else (4, 1)
        widths = [width * min(2**layer, 8) for layer in range(strided + 1 if strided else 2)]
        layers: list[nn.Module] = []
        for layer, (before, after) in enumerate(zip([in_channels, *widths], widths, strict=False)):
            plain = layer == 0 or norm == "none"
            stride = 2 if layer < strided else 1
            layers += [
                nn.Conv2d(before, after, kernel, stride=stride, padding=padding, bias=plain),
                normalisation("none" if plain else norm, after),
                nn.LeakyReLU(0.2),
            ]
        # The authors' PixelGAN has no bias here, unlike their PatchGAN.
        layers.append(nn.Conv2d(widths[-1], 1, kernel, padding=padding, bias=field != 1 or norm != "batch"))
        self.layers = nn.Sequential(*layers)
        initialise(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map x, N × in_channels × H × W, to one map of logits N × 1 × h × w."""
        least = 1 if self.field == 1 else 3 * 2 ** STRIDED[self.field]
        if min(x.shape[-2:]) < least:
            raise UsageError(
                f"the discriminator 'patch' with a field of {self.field} needs pictures of at least {least} x {least} "
                f"pixels, but these are {x.shape[-1]} x {x.shape[-2]}: choose a smaller field or larger pictures"
            )
        return [self.layers(x)]
