"""The projected discriminator: small heads that judge by the frozen features of a pretrained network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from i2i.backbones import Frozen, Weights
from i2i.contracts import Count, Natural
from i2i.errors import UsageError

SCALES = 4


class TimmProjected(nn.Module):
    """Judge pictures by what a pretrained network sees in them (Sauer et al. 2021, "Projected GANs converge faster").

    x: N × in_channels × H × W in [-1, 1], of which the last `pictures` channels are the picture to be judged, RGB or
    grey. To a list of maps of logits N × 1 × h × w, one a scale, all about as large as the coarsest feature map. A
    frozen timm model gives the features; random convolutions, never trained, mix them across channels and from coarse
    to fine; a head at each scale judges, with spectral normalisation (section 3.2). What the picture is judged beside,
    the channels before it, is not in the paper: each head sees it averaged to its scale, through a convolution of its
    own.

    backbone: a timm model, the authors' choice by default. weights: a file; "random", for trials; by default the
    model's own, downloaded at the first use. layers: which of its feature maps, counted from 0; the last 4 by default.
    width: the mixed channels at the finest scale, doubled scale by scale.

    ```toml
    [method]
    name = "pix2pix"
    adversarial = "hinge"   # the paper's

    [method.discriminator]
    name = "timm_projected"
    ```
    """

    def __init__(
        self,
        in_channels: int,
        *,
        backbone: str = "tf_efficientnet_lite0",
        weights: Weights = None,
        layers: tuple[Natural, ...] | None = None,
        width: Count = 64,
        pictures: Count = 3,
    ) -> None:
        super().__init__()
        if pictures not in (1, 3) or in_channels < pictures:
            raise UsageError(
                f"timm_projected judges the last 1 or 3 channels: it is given {in_channels}, and pictures = {pictures}."
            )
        self.pictures = pictures
        self.backbone = Frozen("timm_projected", backbone, weights, layers)
        channels = self.backbone.channels[-SCALES:] if layers is None else self.backbone.channels
        widths = [width * 2**scale for scale in range(len(channels))]
        self.mixing = Mixing(channels, widths)
        beside = in_channels - pictures
        self.beside = nn.ModuleList(_conv(beside, width, 3) for _ in widths if beside)
        self.heads = nn.ModuleList(_head(widths, scale, width if beside else 0) for scale in range(len(widths)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map x, N × in_channels × H × W, to maps of logits; UsageError when the pictures are too small."""
        beside, picture = x[:, : -self.pictures], x[:, -self.pictures :]
        maps = self.mixing(self.backbone(picture)[-len(self.heads) :])
        if self.beside:
            seen = [F.interpolate(beside, size=y.shape[2:], mode="area") for y in maps]
            maps = [torch.cat([y, conv(a)], 1) for y, conv, a in zip(maps, self.beside, seen, strict=True)]
        return [head(y) for head, y in zip(self.heads, maps, strict=True)]


class Mixing(nn.Module):
    """Mix feature maps across channels, then from coarse to fine, by convolutions drawn once with a fixed seed.

    Maps N × channels[i] × h × w, fine to coarse, to N × widths[i] × h × w.
    """

    def __init__(self, channels: list[int], widths: list[int]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.across = nn.ModuleList(nn.Conv2d(*pair, 1) for pair in zip(channels, widths, strict=True))
            coarse_to_fine = zip(widths[1:], widths, strict=False)
            self.down = nn.ModuleList(nn.Conv2d(*pair, 3, padding=1) for pair in coarse_to_fine)
            for convolution in (*self.across, *self.down):
                nn.init.kaiming_normal_(convolution.weight, nonlinearity="linear")
                nn.init.zeros_(convolution.bias)
        self.requires_grad_(False)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Mix the maps, the coarsest first."""
        mixed = [convolution(x) for convolution, x in zip(self.across, maps, strict=True)]
        for scale in reversed(range(len(self.down))):
            coarser = F.interpolate(self.down[scale](mixed[scale + 1]), size=mixed[scale].shape[2:], mode="bilinear")
            mixed[scale] = mixed[scale] + coarser
        return mixed


def _head(widths: list[int], scale: int, beside: int) -> nn.Sequential:
    """Make the head of a scale: from N × (widths[scale] + beside) × h × w down to the coarsest scale's size."""
    layers: list[nn.Module] = [_conv(widths[scale] + beside, widths[scale], 3)]
    for before, after in zip(widths[scale:], widths[scale + 1 :], strict=False):
        layers.append(_conv(before, after, 4, stride=2))
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1)))


def _conv(before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, kernel, stride=stride, padding=1)
    return nn.Sequential(spectral_norm(convolution), nn.LeakyReLU(0.2))
