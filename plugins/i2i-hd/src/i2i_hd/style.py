"""The style of a picture: the encoder of SPADE's variational autoencoder, and the generator that it plays with."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.contracts import Count, Slot
from i2i.nn import Norm, initialise, normalisation

MakeEncoder = Annotated[Callable[[int], Any], Slot("encoders", ("in_channels",))]
"""`Encoder(in_channels, *, ...)`: N × C × H × W to the mean and the log variance of a code, N × `latent` each."""


class VAEEncoder(nn.Module):
    """Tell a picture's style as a normal distribution of codes (Park et al. 2019, section 3).

    x: N × in_channels × H × W, brought to 2 ** (halvings + 2) pixels a side, 256 with the paper's 6: a mean and a log
    variance, N × latent each. width: the feature maps of the first layer, doubled up to eight times. norm: "instance"
    is the paper's; "none" keeps mean colours for a generator that is to normalise each picture by itself.
    """

    def __init__(
        self, in_channels: int, *, latent: Count = 256, width: Count = 64, halvings: Count = 6, norm: Norm = "instance"
    ) -> None:
        super().__init__()
        self.latent = latent
        self.side = 2 ** (halvings + 2)
        widths = [in_channels, *(width * min(2**layer, 8) for layer in range(halvings))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            conv = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=norm == "none")
            layers += [conv, normalisation(norm, after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.mean = nn.Linear(16 * widths[-1], latent)
        self.log_variance = nn.Linear(16 * widths[-1], latent)
        initialise(self)
        for layer in (self.mean, self.log_variance):  # near zero, as by the authors: codes begin near the prior
            nn.init.xavier_normal_(layer.weight, 0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (mean, log variance) of the code of x."""
        y = self.layers(F.interpolate(x, (self.side, self.side), mode="area"))
        return self.mean(y).float(), self.log_variance(y).float()


class Styled(nn.Module):
    """A generator that takes a code, and the encoder that makes it of the last `channels` of x.

    x: N × C × H × W, label map and picture. Where that picture is zero everywhere, which no picture in [-1, 1] of whole
    levels is, there is none: its code is that of the prior.
    """

    def __init__(self, generator: nn.Module, encoder: nn.Module, channels: int) -> None:
        super().__init__()
        self.generator, self.encoder, self.channels = generator, encoder, channels
        self.multiple = int(getattr(generator, "multiple", 1))

    def forward(self, x: Tensor, *, draw: bool) -> tuple[Tensor, Tensor]:
        """Return the raw scores, and how far the codes are from the prior, N; draw: codes, instead of their means."""
        labels, picture = x[:, : -self.channels], x[:, -self.channels :]
        there = (picture != 0).flatten(1).any(1)[:, None]
        mean, log_variance = (torch.where(there, value, 0.0) for value in self.encoder(picture))
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean) if draw else mean
        return self.generator(labels, z), divergence(mean, log_variance)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the divergence of N(mean, variance) from N(0, 1) of Kullback and Leibler, N, from N × latent each.

    Kingma and Welling 2014, appendix B.
    """
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
