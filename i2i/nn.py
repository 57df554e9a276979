"""What several of the built-in networks share: normalisation and upsampling by name, and how their weights begin."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["batch", "instance", "none"]
"""How a network normalises its feature maps: over the batch, over each picture by itself, or not at all."""

Upsampling = Literal["transposed", "resize", "bilinear"]
"""How a network doubles its feature maps: by transposed convolution, or by resizing and then a convolution."""


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """Make the normalisation called `norm` for feature maps N × `channels` × H × W."""
    return nn.Identity() if norm == "none" else ChannelNorm(channels, over_batch=norm == "batch")


class ChannelNorm(nn.Module):
    """Normalise each channel of N × C × H × W to mean 0 and variance 1, then scale and shift it by learnt numbers.

    The statistics are those of each picture by itself (instance normalisation, Ulyanov et al. 2016), or with
    `over_batch` those of the whole batch while training (batch normalisation, Ioffe and Szegedy 2015). Pix2pix
    translates with the statistics of the test batch (Isola et al. 2017, section 3.3), so no running average is kept;
    here each picture is then normalised by itself, so that its translation does not depend on its neighbours.
    At batch 1 the two are the same to the last bit.
    """

    def __init__(self, channels: int, *, over_batch: bool = False) -> None:
        super().__init__()
        self.over_batch = over_batch
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x, N × C × H × W; a single value, which has no statistics, is only scaled and shifted."""
        pooled = len(x) == 1 or (self.over_batch and self.training)
        if x.shape[-2] * x.shape[-1] * (len(x) if pooled else 1) == 1:
            return x * self.weight[:, None, None] + self.bias[:, None, None]
        if pooled:
            return dense(self._pooled(x))
        if x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last):
            # Instance normalisation would copy x to N × C × H × W and leave it so: it takes two to four times as long.
            return dense(torch.cat([self._pooled(one) for one in torch.split(x, 1)]))
        return dense(F.instance_norm(x, weight=self.weight, bias=self.bias))

    def _pooled(self, x: Tensor) -> Tensor:
        large = not self.training and len(x) == 1 and x.device.type == "cpu" and x.shape[2] * x.shape[3] > LARGE
        if large and not SUMMED_ELSEWHERE.get():
            mean, var = moments(x)
            return F.batch_norm(x, mean, var, self.weight, self.bias, training=False)
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True)

    def extra_repr(self) -> str:
        """Name the channels and what the statistics are taken over."""
        return f"{len(self.weight)}, over_batch={self.over_batch}"


SUMMED_ELSEWHERE: ContextVar[bool] = ContextVar("summed_elsewhere", default=False)
"""Whether torch's functions are answered by someone who knows the statistics of the whole picture (`i2i.tiles`)."""
LARGE = 2**18
"""Values of a channel beyond which torch's own sums, one by one in float32 where channels lie last, lose digits.

At 2048 x 2048 they put a map off by up to 1 % of its deviation, and a translation by up to one level of 255.
"""


def moments(x: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance of each channel of 1 × C × H × W over its pixels: float32, C each.

    weights: H × W, how much each pixel counts; None counts all alike. Summed over a few rows and then over these, by
    the formula of Chan et al. 1979, so that no digit is lost however large x is, and no copy of x is made.
    """
    step = max(1, 2**14 // x.shape[3])
    counts, means, spreads = [], [], []
    for place in range(0, x.shape[2], step):
        values = x[0, :, place : place + step].permute(1, 2, 0).reshape(-1, x.shape[1]).float()
        if weights is None:
            count, share = float(len(values)), values.new_full((len(values),), 1 / len(values))
        else:
            share = weights[place : place + step].flatten().to(values)
            count = float(share.sum())
            share = share / max(count, 1e-12)
        mean = share @ values
        counts.append(count)
        means.append(mean)
        spreads.append(share @ (values - mean).square())
    return combined(counts, means, spreads)


def combined(counts: list[float], means: list[Tensor], spreads: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance of what has been summed in parts: float32. Each part counts by its count."""
    share = torch.tensor(counts, dtype=torch.float64)[:, None] / sum(counts)
    every = torch.stack(means).cpu().double()
    mean = (share * every).sum(0)
    var = (share * (torch.stack(spreads).cpu().double() + (every - mean).square())).sum(0)
    return mean.to(means[0].device, torch.float32), var.to(means[0].device, torch.float32)


class Spread(Protocol):
    """The processes that a batch is spread over."""

    def together(self, x: Tensor) -> Tensor:
        """Return the rows of all."""

    def cut(self, x: Tensor) -> Tensor:
        """Return this process's rows."""


SPREAD: ContextVar[Spread | None] = ContextVar("spread", default=None)
"""The processes that the batch of a training step is spread over, None where there is one."""


def together(x: Tensor) -> Tensor:
    """Return the rows N × ... that all processes of a training have of a batch, in a step; without a gradient.

    For a method that remembers pictures: what it remembers is then the same in every process. Where there is one, x.
    """
    spread = SPREAD.get()
    return x.detach() if spread is None else spread.together(x)


def own_rows(x: Tensor) -> Tensor:
    """Return of what `together` gave this process's rows."""
    spread = SPREAD.get()
    return x if spread is None else spread.cut(x)


def dense(x: Tensor) -> Tensor:
    """Return x, whose gradient will come back without gaps: with those of a slice, a norm takes 13 times as long."""
    if x.requires_grad:
        last = x.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format
        x.register_hook(lambda grad: grad.contiguous(memory_format=layout))  # type: ignore[no-untyped-call]
    return x


def doubling(upsampling: Upsampling, before: int, after: int, *, kernel: int, bias: bool) -> nn.Module:
    """Make the layer from N × `before` × H × W to N × `after` × 2H × 2W.

    "transposed" is a transposed convolution of stride 2 and size `kernel` (3 or 4). "resize" repeats each value 2 × 2
    and then takes a 3 × 3 convolution: every output then sees as many weights as its neighbours, so no checkerboard can
    appear (Odena et al. 2016), for 9/16 of the weights of a kernel of 4 and 9/4 of its multiplications. "bilinear"
    interpolates in the place of repeating, so that a shifted picture is not translated otherwise (Zhang 2019).
    """
    if upsampling == "transposed":
        # An odd kernel leaves out the last row and column.
        return nn.ConvTranspose2d(before, after, kernel, stride=2, padding=1, output_padding=kernel % 2, bias=bias)
    if upsampling == "bilinear":  # its zeros around are those of CUT, whose weights are to fit
        return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(before, after, 3, 1, 1, bias=bias))
    # Zeros around would draw a frame: reflection costs a copy of the larger map.
    conv = nn.Conv2d(before, after, 3, padding=1, padding_mode="reflect", bias=bias)
    return nn.Sequential(nn.Upsample(scale_factor=2), conv)


def initialise(network: nn.Module) -> None:
    """Draw every convolution's weights from N(0, 0.02) and every gain from N(1, 0.02); biases become 0.

    Isola et al. 2017, section 6.2; the gains as in the authors' code.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, ChannelNorm):
            nn.init.normal_(module.weight, 1.0, 0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def precise(image: Tensor) -> Tensor:
    """Convert to float64 where there is such a thing: a variance is a small difference of large numbers."""
    return image.float() if image.device.type == "mps" else image.double()
