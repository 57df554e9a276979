"""The encoder-decoder of pix2pix: the U-Net without its skip connections."""

from __future__ import annotations

from i2i.contracts import Count, Probability
from i2i.generators.unet import UNet
from i2i.nn import Norm, Upsampling


def encoder_decoder(
    in_channels: int,
    out_channels: int,
    *,
    depth: Count = 8,
    width: Count = 64,
    max_width: Count = 512,
    norm: Norm = "instance",
    dropout: Probability = 0.5,
    dropout_blocks: tuple[Count, ...] = (1, 2, 3),
    upsampling: Upsampling = "transposed",
) -> UNet:
    """Make the generator that the paper compares with its U-Net (Isola et al. 2017, section 4.3 and Table 2).

    All that it knows of x, N × in_channels × H × W, passes through the bottleneck. The parameters are those of `UNet`.
    """
    return UNet(
        in_channels,
        out_channels,
        depth=depth,
        width=width,
        max_width=max_width,
        norm=norm,
        dropout=dropout,
        dropout_blocks=dropout_blocks,
        skips=False,
        upsampling=upsampling,
    )
