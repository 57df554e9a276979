"""How well the distribution of colours is matched."""

from __future__ import annotations

import math

import torch
from kornia.color import rgb_to_lab
from torch import Tensor

from i2i.contracts import Images, Positive
from i2i.errors import DataError
from i2i.metrics.pictures import check
from i2i.nn import precise

REACH = 110
"""The colours of sRGB lie within ±108 on a and b, under a D65 white."""


class LabHistogram:
    """The intersection of the histograms of fake and real on L, a and b: 1 is the same distribution, 0 none shared.

    Isola et al. 2017, section 4.2 and figure 7: the marginal distributions over all pixels of all pictures, sRGB
    N × 3 × H × W in [0, 1], each summing to 1; the intersection is the sum over bins of the lesser of the two (Swain
    and Ballard 1991). The paper does not name its bins: width is theirs here, in units of CIE Lab.
    """

    higher_is_better = True
    paired = False

    def __init__(self, *, width: Positive = 1.0) -> None:
        self.width = width
        self.edges = {"L": _edges(100, width), "a": _around_0(REACH, width), "b": _around_0(REACH, width)}
        self.counts = {name: torch.zeros(2, len(edges) - 1, dtype=torch.int64) for name, edges in self.edges.items()}

    def update(self, fake: Tensor, real: Tensor, *, mask: Tensor | None = None, images: Images | None = None) -> None:
        """Take in N pictures, whole; UsageError for class indices, DataError for grey pictures."""
        check("lab_histogram", fake, real, channels=3)
        for row, picture in enumerate((fake, real)):
            lab = rgb_to_lab(precise(picture))
            for axis, (name, edges) in enumerate(self.edges.items()):
                counts = self.counts[name][row]
                index = ((lab[:, axis] - edges[0].item()) / self.width).floor().long().clamp(0, len(counts) - 1)
                counts += torch.bincount(index.flatten(), minlength=len(counts)).cpu()

    def histograms(self) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """Return, by name, (the edges of the bins in Lab units, B + 1; the shares of fake; of real, B), float64."""
        shares = {}
        for name, counts in self.counts.items():
            if not counts.sum():
                raise DataError("lab_histogram: there are no pictures to measure")
            fake, real = counts.double() / counts.sum(1, keepdim=True)
            shares[name] = (self.edges[name], fake, real)
        return shares

    def compute(self) -> dict[str, Tensor]:
        """Return the intersections on L, a and b, in [0, 1]; DataError if there are no pictures."""
        return {name: torch.minimum(fake, real).sum() for name, (_, fake, real) in self.histograms().items()}


def _edges(most: float, width: float) -> Tensor:
    """Return the edges of bins that cover 0 ... most."""
    return width * torch.arange(math.ceil(most / width) + 1, dtype=torch.float64)


def _around_0(most: float, width: float) -> Tensor:
    """Return the edges of bins that cover -most ... most, 0 in the middle of one: a grey is never quite 0."""
    half = math.ceil(most / width)
    return width * (torch.arange(-half, half + 2, dtype=torch.float64) - 0.5)
