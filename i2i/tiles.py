"""Translation of a picture tile by tile, in memory bounded by the tile, with the statistics of the whole picture.

Where a network normalises by the statistics of its picture, tiles would differ in colour. Here each such mean and
variance is taken over the tiles, one after the other, the earlier ones fixed: what a network makes of a tile is then
what it makes of the same place in the whole picture, but for what lies beyond the tile's border.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from i2i import images
from i2i.compose import multiple_of
from i2i.engine import enough_memory
from i2i.errors import DataError, ResourceError, UsageError
from i2i.nn import SUMMED_ELSEWHERE, combined, moments

if TYPE_CHECKING:
    from i2i.contracts import Images
    from i2i.translate import Translator

OVERLAP = 64
CONTEXT = 3
"""Cells of a network's coarsest map that tiles share at least: it sees about one beyond a tile's border.

With two, a U-Net of cells of 64 pixels differed by 1.7 levels of 255 from the whole picture's translation, with three
by 0.1.
"""
SMALLEST = 32
"""The side of the smallest tile that may be asked for: of smaller ones nearly all is overlap."""
LEAST = 128
"""The side of a tile below which no smaller one is tried when memory runs out."""
LARGEST = 2048
"""The side of the largest that is tried then."""
TOLD_EVERY = 20.0
"""Seconds between two words on how far a picture is."""


@dataclass(frozen=True)
class Span:
    """One tile along one axis: where it begins, and what each of its pixels counts, 0 ... 1."""

    start: int
    weights: Tensor


def spans(side: int, tile: int, overlap: int, multiple: int) -> list[Span]:
    """Cut a side, which divides by `multiple`, into tiles whose weights add up to 1 at every pixel.

    Every tile begins where the network's own grid does, so that its halvings fall on the same pixels as in the whole
    picture; the tiles share at least `overlap` pixels, and are spread evenly. Of what two of them share, the outer
    three eighths come from one alone, and the middle quarter is blended.
    """
    tile = min(tile, side)
    stride = max((tile - overlap) // multiple * multiple, multiple)
    steps = -(-(side - tile) // stride)
    starts = [(side - tile) // multiple * i // max(steps, 1) * multiple for i in range(steps + 1)]
    pairs = list(pairwise(starts))
    cuts = [(left + tile + right) / 2 for left, right in pairs]
    reaches = [(left + tile - right) / 8 for left, right in pairs] + [(b - a) / 2 for a, b in pairwise(cuts)]
    reach = max(min(reaches, default=0.0), 0.25)
    at = torch.arange(side) + 0.5
    rising = [torch.ones(side), *(((at - cut + reach) / (2 * reach)).clamp(0, 1) for cut in cuts), torch.zeros(side)]
    return [Span(start, (rising[i] - rising[i + 1])[start : start + tile]) for i, start in enumerate(starts)]


class Reached(Exception):
    """A network has come to the statistics that were asked for: the rest of it need not be run."""


class Statistics(TorchFunctionMode):
    """Gives a network, in the place of its map's own mean and variance, those that are known of the whole picture.

    Within it every function of torch that takes statistics over a map's pixels takes these: instance normalisation,
    batch normalisation by the batch at hand, group normalisation, global average pooling. Those that are not known yet
    are measured, each pixel counting by `weights`, H × W; with `stop` the first ends the run. A function that looks
    over the whole map otherwise (attention, a maximum) raises UsageError with the name of its module. Only the thread
    that is within it is concerned.
    """

    def __init__(
        self, method: nn.Module, known: list[tuple[Tensor, Tensor]], weights: Tensor | None = None, *, stop: bool = True
    ) -> None:
        super().__init__()
        self.method, self.known, self.weights, self.stop = method, known, weights, stop
        self.place = 0
        self.measured: list[tuple[Tensor, Tensor]] = []

    def __enter__(self) -> Statistics:
        """Begin to answer."""
        super().__enter__()  # type: ignore[no-untyped-call]
        self.token = SUMMED_ELSEWHERE.set(True)
        return self

    def __exit__(self, *error: Any) -> None:
        """End it."""
        SUMMED_ELSEWHERE.reset(self.token)
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Answer for a function of torch."""
        kwargs = kwargs or {}
        x = args[0] if args else kwargs.get("input")
        if isinstance(x, Tensor) and x.is_floating_point():
            if func in TAKEN:
                answer = TAKEN[func](self, *args, **kwargs)
                if answer is not None:
                    return answer
            elif func in GLOBAL and GLOBAL[func](*args, **kwargs):
                self.refuse(func)
        return func(*args, **kwargs)

    def of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and variance of the channels of x, 1 × C × H × W, in the whole picture; float32, C each."""
        self.place += 1
        if self.place <= len(self.known):
            return self.known[self.place - 1]
        share = None
        if self.weights is not None:
            share = F.adaptive_avg_pool2d(self.weights[None, None].to(x.device), (x.shape[2], x.shape[3]))[0, 0]
        self.measured.append(moments(x, share))
        if self.stop:
            raise Reached
        return self.measured[-1]

    def refuse(self, func: Any) -> NoReturn:
        """Raise UsageError for a function that looks over the whole map."""
        names = {module: name for name, module in self.method.named_modules()}
        frame = sys._getframe()
        while frame.f_back and frame.f_locals.get("self") not in names:
            frame = frame.f_back
        module = frame.f_locals.get("self")
        what = f"{type(module).__name__} ({names[module]})" if module in names else "it"
        raise UsageError(
            f"this model cannot go tile by tile: {what} looks over the whole picture at once, by {func.__name__}. "
            "Leave --tile out, or give a smaller picture."
        )


def _normalised(x: Tensor, mean: Tensor, var: Tensor, weight: Any, bias: Any, eps: float) -> Tensor:
    return F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)


def _batch_norm(
    s: Statistics, input: Tensor, running_mean: Any = None, running_var: Any = None, weight: Any = None,
    bias: Any = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor | None:  # fmt: skip
    return _normalised(input, *s.of(input), weight, bias, eps) if training else None


def _instance_norm(
    s: Statistics, input: Tensor, running_mean: Any = None, running_var: Any = None, weight: Any = None,
    bias: Any = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor | None:  # fmt: skip
    return _normalised(input, *s.of(input), weight, bias, eps) if use_input_stats else None


def _group_norm(
    s: Statistics, input: Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor | None:
    if input.ndim != 4:
        s.refuse(F.group_norm)
    mean, var = (one.view(num_groups, -1) for one in s.of(input))
    middle = mean.mean(1, keepdim=True)
    spread = (var + (mean - middle).square()).mean(1, keepdim=True).expand_as(var)
    return _normalised(input, middle.expand_as(mean).flatten(), spread.flatten(), weight, bias, eps)


def _mean(s: Statistics, input: Tensor, dim: Any = None, keepdim: bool = False, **rest: Any) -> Tensor | None:
    if input.ndim != 4 or not _over_pixels(input, dim):
        return None
    if _dims(input, dim) != {2, 3}:
        s.refuse(torch.mean)
    mean = s.of(input)[0].to(input.dtype)[None]
    return mean[:, :, None, None] if keepdim else mean


def _average_pool(s: Statistics, input: Tensor, output_size: Any) -> Tensor | None:
    if output_size not in (1, (1, 1), [1, 1]):
        s.refuse(F.adaptive_avg_pool2d)
    return s.of(input)[0].to(input.dtype)[None, :, None, None]


TAKEN: dict[Any, Callable[..., Tensor | None]] = {
    F.batch_norm: _batch_norm,
    F.instance_norm: _instance_norm,
    F.group_norm: _group_norm,
    torch.group_norm: lambda s, input, groups, weight=None, bias=None, eps=1e-5, cudnn=True: _group_norm(
        s, input, groups, weight, bias, eps
    ),
    torch.mean: _mean,
    Tensor.mean: _mean,
    F.adaptive_avg_pool2d: _average_pool,
}
"""Functions that take means and variances, each by its answer from known ones; None where it takes none."""


def _dims(x: Tensor, dim: Any) -> set[int]:
    if dim is None:
        return set(range(x.ndim))
    return {int(one) % x.ndim for one in (dim if isinstance(dim, Sequence) else [dim])}


def _over_pixels(x: Tensor, dim: Any = None, *rest: Any, **more: Any) -> bool:
    """Whether a reduction of a map goes over its pixels: a single last dimension is that of channels that lie there."""
    return x.ndim == 4 and _dims(x, more.get("axis", dim)) not in ({1}, {3}, {0}, {0, 1}, set())


def _softmax(x: Tensor, dim: Any = None, *rest: Any, **more: Any) -> bool:
    return x.ndim >= 3 and _dims(x, dim) != {1}


def _activations(x: Tensor, other: Any, *rest: Any, **more: Any) -> bool:
    return x.ndim >= 3 and isinstance(other, Tensor) and other.ndim >= 3


def _always(*args: Any, **kwargs: Any) -> bool:
    return True


def _norms(x: Tensor, p: Any = 2, dim: Any = None, *rest: Any, **more: Any) -> bool:
    return x.ndim == 4 and _over_pixels(x, dim)


GLOBAL: dict[Any, Callable[..., bool]] = {
    **dict.fromkeys(
        [
            torch.sum, Tensor.sum, torch.var, Tensor.var, torch.std, Tensor.std, torch.var_mean, torch.std_mean,
            torch.amax, Tensor.amax, torch.amin, Tensor.amin, torch.logsumexp, Tensor.logsumexp,
        ],
        _over_pixels,
    ),
    **dict.fromkeys([F.softmax, torch.softmax, Tensor.softmax], _softmax),
    **dict.fromkeys([torch.bmm, Tensor.bmm, torch.matmul, Tensor.matmul, Tensor.__matmul__], _activations),
    **dict.fromkeys([torch.norm, Tensor.norm, torch.linalg.vector_norm], _norms),
    F.layer_norm: lambda x, shape, *rest, **more: len(shape) > 1,
    **dict.fromkeys(
        [F.adaptive_max_pool2d, F.scaled_dot_product_attention, F.multi_head_attention_forward, torch.fft.fft2,
         torch.fft.rfft2, torch.fft.fftn, torch.fft.rfftn],
        _always,
    ),
}  # fmt: skip
"""Functions that see a whole map, each with whether they do so when called with certain arguments."""


class Tiled:
    """One picture, to be translated by tiles.

    picture, mask, guide: as `Translator.translate_picture` takes them, all of one size. tile: the side of what goes
    through the network at once, in pixels, brought up to what the network's multiple and the overlap ask for. overlap:
    how many pixels neighbours share at least, brought up to CONTEXT times the multiple.
    """

    def __init__(
        self,
        model: Translator,
        picture: images.Picture,
        mask: np.ndarray | None = None,
        guide: Any = None,
        *,
        tile: int,
        overlap: int = OVERLAP,
        say: Callable[[str], object] = lambda text: None,
    ) -> None:
        self.model, self.picture, self.guide = model, picture, guide
        self.mask = model.hole(picture, mask)
        self.sides = picture.pixels.shape[:2]
        if guide is not None and _sides(guide) != self.sides:
            raise DataError(f"its guide is of another size: {_sides(guide)} and {self.sides} (H, W).")
        multiple = multiple_of(model.method)
        overlap = shared(overlap, multiple)
        self.tile = at_least(tile, overlap, multiple)
        self.axes = [spans(-(-side // multiple) * multiple, self.tile, overlap, multiple) for side in self.sides]
        self.known: list[tuple[Tensor, Tensor]] = []
        self.say, self.measures, self.done, self.told = say, 0, 0.0, time.monotonic()

    def translate(self) -> np.ndarray:
        """Translate; the answer is that of `Translator.translate_picture`."""
        self.learn()
        height, width = self.sides
        made = np.empty(0)
        top = 0
        for band in self.bands():
            if not top:
                made = np.empty((height, width, band.shape[2]), band.dtype)
            elif band.dtype.itemsize > made.dtype.itemsize:  # the first index beyond 255
                made = made.astype(band.dtype)
            made[top : top + len(band)] = band
            top += len(band)
        return made

    def learn(self) -> None:
        """Take the statistics of the whole picture, one after the other, each over all tiles.

        The network is run as far as the statistics in question: for n of them it works n / 2 times as long as for the
        translation. A part of the tiles would not do, nor the picture at a lower resolution: an error of the first
        statistics grows from layer to layer.
        """
        tiles = list(product(*self.axes))
        # Whether a tile fits in memory, and whether the model can go by tiles, is known before the work is begun.
        first = Statistics(self.model.method, [], stop=False)
        with first:
            self.model.run([self.inputs(*tiles[0])])
        self.measures = len(first.measured)
        for _ in first.measured:
            parts = [self.measured(*tile) for tile in tiles]
            counts, means, spreads = map(list, zip(*parts, strict=True))
            self.known.append(combined(counts, means, spreads))

    def measured(self, row: Span, column: Span) -> tuple[float, Tensor, Tensor]:
        """Return the first statistics of a tile that are not known, and what they count."""
        weights = row.weights[:, None] * column.weights
        run = Statistics(self.model.method, self.known, weights)
        with contextlib.suppress(Reached), run:
            self.model.run([self.inputs(row, column)])
        self.follow((len(self.known) + 1) / self.measures)
        return float(weights.sum()), *run.measured[0]

    def follow(self, work: float) -> None:
        """Count some work, in runs of the whole network over a tile, and tell now and then how far it is."""
        self.done += work
        if time.monotonic() - self.told > TOLD_EVERY:
            self.told = time.monotonic()
            self.say(f"{self.done / (math.prod(map(len, self.axes)) * ((self.measures + 1) / 2 + 1)):.0%} done")

    def bands(self) -> Iterator[np.ndarray]:
        """Translate row by row of tiles; yield the pixels that no further row changes, from top to bottom."""
        rows, columns = self.axes
        height, width = self.sides
        rest: Tensor | None = None
        for row, after in zip(rows, [*(row.start for row in rows[1:]), height], strict=True):
            band: Tensor | None = None
            for column in columns:
                with Statistics(self.model.method, self.known):
                    output = self.model.run([self.inputs(row, column)])[0].cpu()
                self.follow(1)
                if band is None:
                    band = output.new_zeros(*output.shape[:2], self.tile, columns[-1].start + self.tile)
                    if rest is not None:
                        band[:, :, : rest.shape[2]] = rest
                _lay(output, row, column, band)
            assert band is not None
            done = after - row.start
            rest = band[:, :, done:].clone()
            yield self.model.finish(band[:, :, :done, :width], self.picture)

    def inputs(self, row: Span, column: Span) -> Images:
        """Return the pictures of one tile; beyond the picture's edge they mirror it, as the whole picture is padded."""
        at = np.ix_(*(_mirrored(span, side) for span, side in zip((row, column), self.sides, strict=True)))
        part = replace(self.picture, pixels=self.picture.pixels[at], alpha=None, icc=None)
        mask = None if self.mask is None else self.mask[at]
        return self.model.prepare(part, mask, None if self.guide is None else _part(self.guide, at))


def at_least(tile: int, overlap: int, multiple: int) -> int:
    """Return the side of a tile, no smaller than asked for, that a network of this multiple and the overlap need."""
    tile = -(-tile // multiple) * multiple
    return max(tile, multiple + -(-shared(overlap, multiple) // multiple) * multiple)


def shared(overlap: int, multiple: int) -> int:
    """Return how many pixels tiles share at least, no fewer than asked for."""
    return max(overlap, CONTEXT * multiple)


def raised(model: Translator, cut: tuple[int, int]) -> str:
    """Return words for a tile and an overlap that are smaller than a model needs; "" where they are not."""
    multiple = multiple_of(model.method)
    overlap = shared(cut[1], multiple)
    tile = at_least(cut[0], overlap, multiple)
    if (tile, overlap) == cut:
        return ""
    return f"tiles of {tile} pixels that share {overlap}, as the model's coarsest cells are of {multiple} pixels"


def fits(model: Translator, picture: images.Picture, tile: int) -> bool:
    """Whether a picture is no larger than a tile, and so goes the usual way."""
    longer: int = max(picture.pixels.shape[:2])
    return longer <= at_least(tile, 0, multiple_of(model.method))


def in_smaller(
    model: Translator, picture: images.Picture, mask: np.ndarray | None, guide: Any, reason: str
) -> tuple[np.ndarray, int]:
    """Translate by tiles what memory ran out on, halving the tile as long as it does: (as `translate`, the tile).

    reason: what the ResourceError says when the smallest tile is too large.
    """
    longer = max(picture.pixels.shape[:2])
    side = min(2 ** (longer - 1).bit_length(), 2 * LARGEST)
    while side > LEAST:
        side //= 2
        tiled = Tiled(model, picture, mask, guide, tile=side)
        if tiled.tile < longer:
            with contextlib.suppress(ResourceError), enough_memory("on a tile", "a smaller one"):
                return tiled.translate(), tiled.tile
        if tiled.tile > side:  # the network takes no smaller one
            break
    raise ResourceError(reason)


def _lay(output: Tensor, row: Span, column: Span, band: Tensor) -> None:
    """Add a tile's output to its row by its weights; indices, which cannot be blended, are cut in the middle."""
    place = band[:, :, : output.shape[2], column.start : column.start + output.shape[3]]
    if output.is_floating_point():
        place += output * (row.weights[:, None] * column.weights)
    else:
        place.copy_(torch.where((row.weights[:, None] >= 0.5) & (column.weights >= 0.5), output, place))


def _mirrored(span: Span, side: int) -> np.ndarray:
    """Return which pixels of a side a tile shows."""
    at = np.arange(span.start, span.start + len(span.weights))
    padding = max(0, int(at[-1]) + 1 - side)
    return np.where(at < side, at, 2 * (side - 1) - at) if padding < side else np.minimum(at, side - 1)


def _sides(guide: Any) -> tuple[int, ...]:
    if isinstance(guide, Tensor):
        return tuple(guide.shape[-2:])
    return (guide.pixels if isinstance(guide, images.Picture) else np.asarray(guide)).shape[:2]


def _part(guide: Any, at: tuple[np.ndarray, ...]) -> Any:
    if isinstance(guide, Tensor):
        return guide[..., torch.from_numpy(at[0]), torch.from_numpy(at[1])]
    if isinstance(guide, images.Picture):
        return images.Picture(guide.pixels[at])
    return np.asarray(guide.convert("RGB") if getattr(guide, "mode", "P") not in "LP" else guide)[at]
