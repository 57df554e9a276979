"""Networks laid out for a processor: channels last, and convolutions of small maps as matrix products.

The library that convolves on CPUs lays the weights out anew at every call. Where a map is small and the weights are
many, as in the inner half of a U-Net, that is most of the time; a matrix product takes the weights as they lie. With
the channels last in memory the rows of such a product are copied in long runs, and its answer is a map already.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW = 16
"""Rows up to which a product is taken in float32."""


class Window(NamedTuple):
    """How a kernel goes over a map: each pair is (down, across), and a kernel's side divides by its stride."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    @classmethod
    def of(cls, layer: nn.Conv2d | nn.ConvTranspose2d) -> Window:
        """Return that of a layer."""
        return cls(*(cast(tuple[int, int], pair) for pair in (layer.kernel_size, layer.stride, layer.padding)))

    def places(self, sides: torch.Size) -> list[int]:
        """Return how many places the kernel has on a map of so many rows and columns."""
        return [(side + 2 * pad - kernel) // stride + 1 for side, kernel, stride, pad in zip(sides, *self, strict=True)]


class Unfold(torch.autograd.Function):
    """What a kernel sees at each of its places: N × H × W × C to (N · places) × (kernel · C)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: Window) -> Tensor:
        """Copy."""
        ctx.window, ctx.sides = window, x.shape[1:3]
        (down, across), (sy, sx), (py, px) = window
        h, w = window.places(x.shape[1:3])
        x = F.pad(x, (0, 0, px, px, py, py))
        n, y, z, c = x.stride()
        seen = x.as_strided((len(x), h, w, down, across, x.shape[3]), (n, sy * y, sx * z, y, z, c))
        return seen.reshape(-1, down * across * x.shape[3])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Add up again."""
        return Fold.apply(grad, ctx.window, ctx.sides), None


class Fold(torch.autograd.Function):
    """The sum of what lies over each pixel: (N · places) × (kernel · C) to N × H × W × C."""

    @staticmethod
    def forward(ctx: Any, columns: Tensor, window: Window, sides: torch.Size) -> Tensor:
        """Add, in blocks of one stride: a kernel of 4 that strides by 2 lies over 2 × 2 blocks."""
        ctx.window = window
        (down, across), (sy, sx), (py, px) = window
        h, w = window.places(sides)
        high, wide = down // sy, across // sx
        parts = columns.view(-1, h, w, high, sy, wide, sx, columns.shape[1] // (down * across))
        rows, lines = (-(-(side + pad) // stride) for side, pad, stride in zip(sides, (py, px), (sy, sx), strict=True))
        y = columns.new_zeros(len(parts), max(rows, h + high - 1), sy, max(lines, w + wide - 1), sx, parts.shape[7])
        for row in range(high):
            for line in range(wide):
                y[:, row : row + h, :, line : line + w] += parts[:, :, :, row, :, line].transpose(2, 3)
        return y.flatten(1, 2).flatten(2, 3)[:, py : py + sides[0], px : px + sides[1]].contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Copy."""
        return Unfold.apply(grad, ctx.window), None, None


class ProductConv2d(nn.Conv2d):
    """A convolution that is taken as a product where its columns are no more than its weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Map N × in_channels × H × W as `Conv2d` does."""
        window = Window.of(self)
        h, w = window.places(x.shape[2:])
        if len(x) * h * w > self.out_channels or min(h, w) < 1:
            return super().forward(x)
        with _product(x, len(x) * h * w, self.weight) as x:
            rows = Unfold.apply(x.permute(0, 2, 3, 1), window)
            y = F.linear(rows, self.weight.permute(0, 2, 3, 1).flatten(1), self.bias)
        return y.view(-1, h, w, self.out_channels).permute(0, 3, 1, 2)


class ProductConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution that is taken so, up to twice its weights: the library is slower at these."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map N × in_channels × H × W as `ConvTranspose2d` does."""
        count = len(x) * x.shape[2] * x.shape[3]
        if count > 2 * self.in_channels or output_size is not None:
            return super().forward(x, output_size)
        window = Window.of(self)
        sides = [
            (side - 1) * stride - 2 * pad + kernel + more
            for side, kernel, stride, pad, more in zip(x.shape[2:], *window, self.output_padding, strict=True)
        ]
        with _product(x, count, self.weight) as x:
            columns = x.permute(0, 2, 3, 1).flatten(0, 2) @ self.weight.permute(0, 2, 3, 1).flatten(1)
            y = Fold.apply(columns, window, sides)
            if self.bias is not None:
                y = y + self.bias.to(y.dtype)
        return cast(Tensor, y.permute(0, 3, 1, 2))


@contextlib.contextmanager
def _product(x: Tensor, rows: int, weight: Tensor) -> Iterator[Tensor]:
    """Give x in the precision of a product with so many rows: few are multiplied in float32, whatever autocast says.

    To bring the weights to bfloat16 and their gradient back takes longer than to multiply FEW rows with them; not so
    where they are stored in it.
    """
    if not torch.is_autocast_enabled("cpu"):
        yield x
    elif rows > FEW or weight.dtype != torch.float32:
        yield x.to(torch.get_autocast_dtype("cpu"))
    else:
        with torch.autocast("cpu", enabled=False):
            yield x.float()


PRODUCTS: dict[type, Any] = {nn.Conv2d: ProductConv2d, nn.ConvTranspose2d: ProductConvTranspose2d}


def use_products(network: nn.Module) -> None:
    """Let the convolutions in a network, whoever wrote it, take small maps as products; its weights stay as they are.

    Left alone: subclasses of torch's layers, groups, dilation, padding by reflection, a kernel that does not divide by
    its stride.
    """
    for layer in _convolutions(network):
        ways = zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)
        divides = all(kernel % stride == 0 and dilation == 1 for kernel, stride, dilation in ways)
        if layer.groups == 1 and divides and layer.padding_mode == "zeros" and layer.padding not in ("same", "valid"):
            layer.__class__ = PRODUCTS.get(type(layer), type(layer))


def lay_out(network: nn.Module, layout: torch.memory_format) -> None:
    """Store the weights of a network's convolutions in a layout; what it computes stays the same up to rounding."""
    for layer in _convolutions(network):
        layer.weight.data = layer.weight.data.contiguous(memory_format=layout)


def _convolutions(network: nn.Module) -> list[nn.Conv2d | nn.ConvTranspose2d]:
    known = {*PRODUCTS, *PRODUCTS.values()}
    return [cast(nn.Conv2d, module) for module in network.modules() if type(module) in known]
