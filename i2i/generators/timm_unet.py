"""A U-Net whose encoder is any convolutional model of timm, pretrained or not."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from i2i.backbones import Standardise, Weights, features
from i2i.contracts import Count
from i2i.errors import UsageError
from i2i.nn import Norm, Upsampling, doubling, initialise, normalisation


class TimmUNet(nn.Module):
    """Feature maps of a timm model, and a decoder that joins them from coarse to fine (Ronneberger et al. 2015).

    x: N × in_channels × H × W in [-1, 1], both sides divisible by `multiple` (32 for most models), to raw scores
    N × out_channels × H × W. At full size the decoder sees x itself beside what it has made. Three channels are taken
    for RGB and brought to the mean and deviation that the model knows; other numbers go in as they are, through a first
    convolution whose pretrained weights are repeated, or summed for one channel.

    backbone: a timm model; one without feature maps of pictures of every size raises UsageError. weights: a file;
    "random"; by default the model's own, downloaded at the first use. statistics: by what its batch normalisation goes.
    "kept" is what came with pretrained weights, in training as well: right for small batches, whose own are noise, and
    for random weights no normalisation at all. "learnt" is the batch's in training and a running average in
    translation. "auto" keeps those of pretrained weights, and learns others. width: the decoder's maps at full size,
    doubled at each halving up to max_width. norm, upsampling: the decoder's.

    ```toml
    [method.generator]
    name = "timm_unet"
    backbone = "convnext_atto"
    ```
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        backbone: str = "resnet18",
        weights: Weights = None,
        statistics: Literal["auto", "kept", "learnt"] = "auto",
        width: Count = 32,
        max_width: Count = 256,
        norm: Norm = "instance",
        upsampling: Upsampling = "resize",
    ) -> None:
        super().__init__()
        self.kept = statistics == "kept" or (statistics == "auto" and str(weights) != "random")
        self.backbone = features("timm_unet", backbone, weights, in_channels=in_channels)
        self.standardise = Standardise(self.backbone) if in_channels == 3 else nn.Identity()
        info: Any = self.backbone.feature_info
        self.reductions: list[int] = info.reduction()
        # Of several maps of a size, the last has seen most.
        channels = dict(zip(self.reductions, info.channels(), strict=True))
        self.multiple = max(channels)
        if self.multiple.bit_count() != 1:
            raise UsageError(f"timm_unet: {backbone!r} makes pictures {self.multiple} times smaller, no power of 2.")
        self.decoder = nn.ModuleList()
        before, reduction = channels[self.multiple], self.multiple
        while reduction > 1:
            reduction //= 2
            skip = channels.get(reduction, 0) + (in_channels if reduction == 1 else 0)
            after = min(width * reduction, max_width)
            self.decoder.append(Join(before, skip, after, norm, upsampling))
            before = after
        self.last = nn.Conv2d(before, out_channels, 3, padding=1, padding_mode="reflect")
        initialise(self.decoder)
        initialise(self.last)
        self.train()

    def train(self, mode: bool = True) -> TimmUNet:
        """Switch to training, the backbone's kept statistics left out."""
        super().train(mode)
        if self.kept:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Map x, N × in_channels × H × W, to raw scores N × out_channels × H × W."""
        x = self.standardise(x)
        maps = dict(zip(self.reductions, self.backbone(x), strict=True))
        y, reduction = maps[self.multiple], self.multiple
        for join in self.decoder:
            reduction //= 2
            skips = ([maps[reduction]] if reduction in maps else []) + ([x] if reduction == 1 else [])
            y = join(y, skips)
        scores: Tensor = self.last(y)
        return scores


class Join(nn.Module):
    """One step of the decoder: double the maps, and join them with those of the encoder."""

    def __init__(self, before: int, skip: int, after: int, norm: Norm, upsampling: Upsampling) -> None:
        super().__init__()
        bias = norm == "none"
        self.up = nn.Sequential(
            doubling(upsampling, before, after, kernel=4, bias=bias), normalisation(norm, after), nn.ReLU()
        )
        conv = nn.Conv2d(after + skip, after, 3, padding=1, padding_mode="reflect", bias=bias)
        self.join = nn.Sequential(conv, normalisation(norm, after), nn.ReLU())

    def forward(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        """Map N × before × h × w and maps of 2h × 2w to N × after × 2h × 2w."""
        y: Tensor = self.join(torch.cat([self.up(x), *skips], 1))
        return y
