"""The U-Net of pix2pix, at any depth, with its skip connections or without."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from i2i.contracts import Count, Probability
from i2i.errors import UsageError
from i2i.nn import Norm, Upsampling, doubling, initialise, normalisation


class UNet(nn.Module):
    """An encoder and a decoder with a skip connection at every scale (Isola et al. 2017, sections 3.2.1 and 6.1.1).

    x: N × in_channels × H × W, both sides divisible by `multiple` = 2**depth, to raw scores N × out_channels × H × W:
    the paper's tanh is left to the task. The depth of 8 is the paper's, for 256 × 256 and above; 7 suits 128 × 128.

    depth: how often the picture is halved. width: the feature maps at half size, doubled at each halving up to
    max_width. norm: "instance" equals the paper's batch normalisation at its batch size of 1, and means the same at
    every batch size; "batch" mixes the pictures of a batch while training. dropout: the share of values dropped, the
    paper's only noise, in dropout_blocks of the decoder, counted from the bottleneck: the paper has it in the first
    three, the authors' PyTorch code in 2, 3, 4 of 8. skips: false makes the encoder-decoder of section 4.3.
    upsampling: "transposed" is the paper's 4 × 4 convolution; "resize" and "bilinear" leave no checkerboard.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        depth: Count = 8,
        width: Count = 64,
        max_width: Count = 512,
        norm: Norm = "instance",
        dropout: Probability = 0.5,
        dropout_blocks: tuple[Count, ...] = (1, 2, 3),
        skips: bool = True,
        upsampling: Upsampling = "transposed",
    ) -> None:
        super().__init__()
        if dropout_blocks != (1, 2, 3) and (none := [block for block in dropout_blocks if block >= depth]):
            raise UsageError(
                f"unet: dropout_blocks names block {none[0]}, but a depth of {depth} has the blocks 1 ... {depth - 1} "
                "to drop values in: leave it out, or raise 'depth'"
            )
        self.multiple = 2**depth
        self.skips = skips
        widths = [min(width * 2**level, max_width) for level in range(depth)]
        self.encoder = nn.ModuleList()
        for level, (before, after) in enumerate(zip([in_channels, *widths], widths, strict=False)):
            # Neither the first block nor the bottleneck is normalised: a bottleneck of 1 × 1 would become a constant.
            ends = level in (0, depth - 1)
            # The authors' code has these two biases with instance normalisation only; their weights are to fit.
            conv = nn.Conv2d(before, after, 4, stride=2, padding=1, bias=ends and norm == "instance")
            activation = nn.Identity() if level == 0 else nn.LeakyReLU(0.2)
            self.encoder.append(Block(activation, conv, normalisation("none" if ends else norm, after)))
        self.decoder = nn.ModuleList()
        for level in reversed(range(depth)):
            before = widths[level] * (2 if skips and level < depth - 1 else 1)
            after = widths[level - 1] if level else out_channels
            deconv = doubling(upsampling, before, after, kernel=4, bias=level == 0)
            norms = normalisation(norm if level else "none", after)
            drop = dropout if level and depth - level in dropout_blocks else 0.0
            self.decoder.append(Block(nn.ReLU(), deconv, norms, drop))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map x, N × in_channels × H × W, to raw scores N × out_channels × H × W."""
        skips: list[Tensor] = []
        for block in self.encoder:
            skips.append(x)
            x = block(x)
        x = self.decoder[0](x)
        for block in self.decoder[1:]:
            # The skip comes first, as in the authors' code, so that their weights fit.
            x = block(torch.cat([skips.pop(), x], 1) if self.skips else x)
        return x


class Block(nn.Module):
    """One step of the U-Net: activation, convolution, normalisation, dropout."""

    def __init__(self, activation: nn.Module, conv: nn.Module, norm: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.activation = activation
        self.conv = conv
        self.norm = norm
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Halve or double x, N × C × H × W."""
        y: Tensor = self.dropout(self.norm(self.conv(self.activation(x))))
        return y
