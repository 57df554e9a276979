"""Convolutions of small maps as matrix products: the same sums, several times faster on a CPU.

The library that convolves on CPUs lays the weights out anew at every call. Where a map is small and the weights are
many, as in the inner half of a U-Net, that is most of the time; a matrix product takes the weights as they lie.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALL = 16 * 16
"""Pixels of an input up to which a convolution is taken as a product."""
SMALL_TRANSPOSED = 8 * 8
"""The same of a transposed convolution, whose columns are as many as its larger output has."""

FEW = 16
"""Rows up to which a product is taken in float32."""


class ProductConv2d(nn.Conv2d):
    """A convolution whose small inputs are unfolded to columns, and multiplied."""

    def forward(self, x: Tensor) -> Tensor:
        """Map N × in_channels × H × W as `Conv2d` does."""
        if x.shape[2] * x.shape[3] > SMALL:
            return super().forward(x)
        padding = cast(tuple[int, int], self.padding)
        sides = [
            (side + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
            for side, pad, dilation, kernel, stride in zip(
                x.shape[2:], padding, self.dilation, self.kernel_size, self.stride, strict=True
            )
        ]
        columns = F.unfold(x, self.kernel_size, self.dilation, padding, self.stride)
        with _as_it_lies(columns, self.weight) as rows:
            y = F.linear(rows, self.weight.flatten(1), self.bias)
        return y.transpose(1, 2).reshape(len(x), -1, *sides)


class ProductConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution whose small inputs are multiplied, and folded from columns."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map N × in_channels × H × W as `ConvTranspose2d` does."""
        if x.shape[2] * x.shape[3] > SMALL_TRANSPOSED or output_size is not None:
            return super().forward(x, output_size)
        sides = [
            (side - 1) * stride - 2 * pad + dilation * (kernel - 1) + more + 1
            for side, stride, pad, dilation, kernel, more in zip(
                x.shape[2:],
                self.stride,
                self.padding,
                self.dilation,
                self.kernel_size,
                self.output_padding,
                strict=True,
            )
        ]
        with _as_it_lies(x.flatten(2), self.weight) as rows:
            columns = rows @ self.weight.flatten(1)
        y = F.fold(columns.transpose(1, 2), sides, self.kernel_size, self.dilation, self.padding, self.stride)  # type: ignore[arg-type]
        return y if self.bias is None else y + self.bias[:, None, None]


@contextlib.contextmanager
def _as_it_lies(columns: Tensor, weight: Tensor) -> Iterator[Tensor]:
    """Give columns N × K × L as rows N × L × K, with which so few are multiplied in float32, whatever the precision.

    To bring the weights to bfloat16 and their gradient back takes longer than to multiply FEW rows with them. Weights
    that are stored in it already are multiplied in it.
    """
    rows = columns.transpose(1, 2)
    stored = weight.dtype != torch.float32
    if stored or rows.shape[0] * rows.shape[1] > FEW or not torch.is_autocast_enabled("cpu"):
        yield rows
        return
    with torch.autocast("cpu", enabled=False):
        yield rows.float()


PRODUCTS: dict[type, type] = {nn.Conv2d: ProductConv2d, nn.ConvTranspose2d: ProductConvTranspose2d}


def use_products(network: nn.Module) -> None:
    """Let the convolutions in a network, whoever wrote it, take small maps as products; its weights stay as they are.

    Subclasses of torch's layers, groups, and padding by reflection are left alone.
    """
    for module in network.modules():
        plain = (
            getattr(module, "groups", 0) == 1
            and module.padding_mode == "zeros"
            and module.padding not in ("same", "valid")
        )
        if type(module) in PRODUCTS and plain:
            module.__class__ = PRODUCTS[type(module)]
