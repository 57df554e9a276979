"""Augmentation: albumentations on the host, Kornia on the device, and one draw for all the pictures of a sample."""

from __future__ import annotations

import copy
import functools
import importlib.metadata
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from i2i.contracts import ImageSpec
from i2i.errors import I2IError, PluginError, UsageError, nearest

if TYPE_CHECKING:
    from i2i.contracts import Images, Sample
    from i2i.recipe import Step

# Both flags would smear the coordinates that _source_index sends through an augmentation, and a fill would be read as
# a coordinate.
_NO_FILL = {"fill": 0.0, "fill_value": None, "pad_value": 0.0, "antialias": False}
_NEAREST, _NEAREST_EXACT = 0, 6  # as OpenCV numbers them
# Of albumentations 2.0.8, of which no other version is installed: where they always act, they draw nothing, unless a
# place is "random" or a size is one of several. What is not named here is taken to draw.
_SETTLED = {
    *("CenterCrop", "InvertImg", "LongestMaxSize", "PadIfNeeded", "Resize", "SmallestMaxSize", "ToGray", "ToSepia"),
}

Rows = tuple[int, int]
"""Where a batch's own rows begin in a larger one, and how many that has."""
Cut = Callable[[Tensor], Tensor]
"""What becomes of one picture C × H × W: a slice of it, or its mirror image."""


class DeviceAugment:
    """A chain of Kornia augmentations for the pictures of one task.

    What moves pixels (flips, crops, warps) acts on every picture of the sample; what changes values (colour, noise,
    blur, erasing) acts on the first picture that the task names, its input. `on` says otherwise. Either way each
    sample is drawn once and all the pictures share the draw. All draws come from torch's global generator of the CPU,
    whatever the device: they are the same everywhere, and crops are placed without waiting for the device.

    Class maps are moved by nearest neighbour along the very path of the pictures, never blended, keep their dtype, and
    get `void` (0 where the map has none) where the picture is padded.

    steps: the constructors, parameters filled in. UsageError when a name in `on` is unknown, when a class map should
    change values, or when Kornia refuses a parameter; PluginError when a part is no 2-D augmentation of Kornia's.
    """

    def __init__(self, steps: Sequence[Step], images: Mapping[str, ImageSpec]) -> None:
        self._steps = [_device_step(i, step, images) for i, step in enumerate(steps)]

    @torch.no_grad()
    def __call__(self, images: Images, rows: Rows | None = None) -> Images:
        """Augment a batch: pictures N × C × H × W in [0, 1], class maps N × 1 × H × W; pictures stay in [0, 1].

        rows: which of a larger batch these pictures are, for all of which is then drawn: other processes have the
        others. UsageError names the augmentation that cannot act on these sizes or channels.
        """
        images = dict(images)
        for step in self._steps:
            with _blame(step.place):
                images |= step.move(images, rows) if step.moves else step.recolour(images, rows)
        return images


@dataclass(frozen=True)
class _DeviceStep:
    """One Kornia augmentation and the pictures it acts on; `voids` holds the fill of those that are class maps.

    cuts: for one that only slices or mirrors, what draws the cut of every sample of a batch of some shape; None from it
    for a shape for which that is not all. fixed: whether it resizes to one size, and draws nothing.
    """

    place: str
    module: Any
    names: tuple[str, ...]
    moves: bool
    voids: Mapping[str, int]
    cuts: Callable[[torch.Size], list[Cut] | None] | None = None
    fixed: bool = False

    def recolour(self, images: Images, rows: Rows | None) -> Images:
        first = images[self.names[0]]
        params = _drawn(self.module, first.shape, rows)
        return {name: self.module(images[name], params=params).clamp(0, 1) for name in self.names}

    def move(self, images: Images, rows: Rows | None) -> Images:
        first = images[self.names[0]]
        _check_one_size(self.place, {name: images[name].shape[-2:] for name in self.names})
        start, count = rows or (0, len(first))
        if self.cuts and (cuts := self.cuts(torch.Size((count, *first.shape[1:])))) is not None:
            cuts = cuts[start : start + len(first)]
            return {name: self._cut(images[name], cuts, name in self.voids) for name in self.names}
        # A resize to one size draws nothing and needs nothing of it, save to lead class maps along.
        params = {} if self.fixed and not self.voids else _drawn(self.module, first.shape, rows)
        pictures = [name for name in self.names if name not in self.voids]
        moved = self._move_pictures({name: images[name] for name in pictures}, params)
        if self.voids:
            source = _source_index(self.module, params, first.shape, first.device)
            moved |= {name: _gather(images[name], source, void) for name, void in self.voids.items()}
        return moved

    @staticmethod
    def _cut(pictures: Tensor, cuts: list[Cut], indices: bool) -> Tensor:
        cut = torch.stack([cut(picture) for cut, picture in zip(cuts, pictures, strict=True)])
        return cut if indices else cut.clamp_(0, 1)

    def _move_pictures(self, pictures: Images, params: dict[str, Tensor]) -> Images:
        fill = self.module.flags.get("fill", 0.0)
        if not pictures or not isinstance(fill, int | float):  # one fill value a channel: the channels must stay apart
            return {name: self.module(picture, params=params).clamp(0, 1) for name, picture in pictures.items()}
        # One call on the stacked channels takes half the time of a call for each picture.
        stack = torch.cat(list(pictures.values()), dim=1)
        flags = self.module.flags
        stack = self.module.apply_transform(stack, params, flags) if self.fixed else self.module(stack, params=params)
        parts = stack.split([picture.shape[1] for picture in pictures.values()], dim=1)
        return {name: part.clamp(0, 1) for name, part in zip(pictures, parts, strict=True)}


def _device_step(index: int, step: Step, images: Mapping[str, ImageSpec]) -> _DeviceStep:
    # Imported here: a worker process that prepares samples on the host never needs it.
    from kornia.augmentation import AugmentationBase2D, IntensityAugmentationBase2D

    place = f"augment.{index} ({step.name})"
    with _blame(place):
        module = step.make()
    if not isinstance(module, AugmentationBase2D):
        raise PluginError(f"{place}: is not a 2-D augmentation of Kornia's but {type(module).__name__}.")
    moves = not isinstance(module, IntensityAugmentationBase2D)
    names = _names(place, step, images, moves)
    voids = {name: _void(images[name]) for name in names if images[name].classes is not None}
    if not moves:
        _check_colours(place, module, {name: images[name].channels for name in names})
    if "antialias" in module.flags and "antialias" not in step.chosen:
        module.flags["antialias"] = True
    return _DeviceStep(place, module, names, moves, voids, _cuts(module), _fixed(module))


@torch.no_grad()
def _check_colours(place: str, module: Any, channels: Mapping[str, int]) -> None:
    """Raise UsageError for what acts on RGB alone and is given another picture: by chance no rehearsal may meet it."""

    def fails(count: int) -> bool:
        picture = torch.full((1, count, 64, 64), 0.5)
        with torch.random.fork_rng(devices=[]):
            params = module.forward_parameters(picture.shape)
            params["batch_prob"] = torch.ones_like(params["batch_prob"])
            try:
                module(picture, params=params)
            except (ValueError, TypeError, RuntimeError):
                return True
        return False

    for name, count in channels.items():
        if count != 3 and fails(count) and not fails(3):
            raise UsageError(
                f"{place}: acts on RGB alone, and {name!r} has {count} channel{'s' * (count > 1)}. Leave it out, or "
                "take one for any channels, such as RandomBrightness, RandomContrast or RandomGaussianNoise."
            )


def _drawn(module: Any, shape: torch.Size, rows: Rows | None) -> dict[str, Tensor]:
    """Return what an augmentation draws for pictures of a shape, which are rows of a larger batch."""
    if rows is None:
        return dict(module.forward_parameters(shape))
    start, count = rows
    params = dict(module.forward_parameters(torch.Size((count, *shape[1:]))))
    params["forward_input_shape"] = torch.tensor(shape)
    return params | {key: params[key][start : start + shape[0]] for key in ("batch_prob", *_one_each(module, shape))}


@functools.cache
def _one_each(module: Any, shape: torch.Size) -> list[str]:
    """Return the names of what an augmentation draws once a picture: as often as there are pictures."""
    with torch.random.fork_rng(devices=[]):
        few, many = (module.generate_parameters(torch.Size((count, *shape[1:]))) for count in (3, 5))
    return [key for key in few if few[key].ndim and (len(few[key]), len(many[key])) == (3, 5)]


def _fixed(module: Any) -> bool:
    """Whether this is Kornia's plain resize to one size: what it draws for that, nothing, takes it 0.7 ms."""
    from kornia.augmentation import Resize

    return type(module) is Resize and isinstance(module.flags["size"], tuple | list) and module.p_batch == 1


def _cuts(module: Any) -> Callable[[torch.Size], list[Cut] | None] | None:
    """Return what draws the cuts of a plain random crop or flip, as Kornia draws them; None for all else.

    Kornia takes 1.4 and 1.9 ms for what a slice does in 0.2 (256 × 256 pixels, 6 channels).
    """
    from kornia.augmentation import RandomCrop, RandomHorizontalFlip, RandomVerticalFlip

    kind, flags = type(module), module.flags
    if module.p_batch != 1 or module.same_on_batch or module.keepdim:
        return None
    if kind is RandomCrop and flags["cropping_mode"] == "slice" and not flags["padding"] and not flags["pad_if_needed"]:
        return functools.partial(_crops, tuple(flags["size"]))
    if kind in (RandomHorizontalFlip, RandomVerticalFlip):
        return functools.partial(_flips, module, -1 if kind is RandomHorizontalFlip else -2)
    return None


def _crops(size: tuple[int, int], shape: torch.Size) -> list[Cut] | None:
    (h, w), (n, _, height, width) = size, shape
    if h > height or w > width:  # Kornia makes such a picture larger
        return None
    x, y = ((torch.rand(n) * (side + 1)).floor().int().tolist() for side in (width - w, height - h))
    return [functools.partial(_crop, top, left, h, w) for top, left in zip(y, x, strict=True)]


def _crop(top: int, left: int, h: int, w: int, picture: Tensor) -> Tensor:
    return picture[:, top : top + h, left : left + w]


def _flips(module: Any, side: int, shape: torch.Size) -> list[Cut]:
    drawn = module.forward_parameters(shape)["batch_prob"] > 0.5
    return [functools.partial(torch.flip, dims=(side,)) if flipped else _whole for flipped in drawn.tolist()]


def _whole(picture: Tensor) -> Tensor:
    return picture


def _source_index(module: Any, params: dict[str, Tensor], shape: torch.Size, device: torch.device) -> Tensor:
    """Return N × 1 × H' × W': the flat index of the pixel that each output pixel shows, -1 where it is padding.

    Coordinates are sent through the augmentation as a picture would be, which serves any augmentation, also those
    that cannot resample by nearest, and keeps a map on the pictures' own sampling grid.
    """
    n, _, h, w = shape
    y, x = torch.meshgrid(torch.arange(h, device=device), torch.arange(w, device=device), indexing="ij")
    grid = torch.stack([x, y, torch.ones_like(x)]).float().expand(n, 3, h, w)
    flags = {key: value for key, value in _NO_FILL.items() if key in module.flags}
    moved = module(grid, params=params, **flags)
    weight = moved[:, 2:]  # the share of the output pixel that lies inside the picture
    xy = (moved[:, :2] / weight.clamp_min(0.5)).round().long()
    index = xy[:, 1:].clamp(0, h - 1) * w + xy[:, :1].clamp(0, w - 1)
    return torch.where(weight < 0.5, -1, index)


def _gather(labels: Tensor, source: Tensor, void: int) -> Tensor:
    moved = labels.flatten(2).gather(2, source.clamp_min(0).flatten(2)).view(source.shape)
    return moved.masked_fill_(source < 0, void)


class HostPrepare:
    """A chain of albumentations transforms for the pictures of one task, a sample at a time.

    What moves pixels acts on every picture of the sample, what changes values on the first picture that the task
    names; `on` says otherwise, and all share one draw. Class maps are albumentations' masks: resampled by nearest,
    padded with `void` (0 where the map has none) unless the step sets `fill_mask`. Pictures that are made smaller are
    averaged over area unless the step says which `interpolation` or `area_for_downscale` it wants.

    paired: False where the pictures of a sample show different scenes: each is then drawn for by itself.

    Can be pickled for worker processes; one instance serves one thread. The errors are those of `DeviceAugment`.
    """

    def __init__(self, steps: Sequence[Step], images: Mapping[str, ImageSpec], *, paired: bool = True) -> None:
        if steps:
            check_albumentations()
        self._order = None if paired else {name: place for place, name in enumerate(images)}
        self._steps = [_host_step(i, step, images) for i, step in enumerate(steps)]
        self._first = 0

    def split(self) -> tuple[HostPrepare | None, HostPrepare | None]:
        """Return the leading steps, which draw nothing, and the others, each of which draws what it does in the whole.

        Either is None where it would have no step. What the first gives for a sample is the same for every seed.
        """
        count = next((i for i, step in enumerate(self._steps) if not step.settled), len(self._steps))
        settled, drawn = copy.copy(self), copy.copy(self)
        settled._steps, drawn._steps, drawn._first = self._steps[:count], self._steps[count:], self._first + count
        return settled if settled._steps else None, drawn if drawn._steps else None

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """Prepare a sample of pictures C × H × W: uint8, uint16 or float32 in [0, 1]; dtypes and channels are kept.

        The result is a function of the sample and of `seed` (0 or more) alone, whatever came before.

        UsageError names the transform that cannot work on such a picture, or that would tear apart pictures of
        different sizes.
        """
        names = {name for step in self._steps for name in step.specs}
        # Once for all the steps: turning the axes round costs as much as a resize.
        pictures = {name: np.ascontiguousarray(sample[name].transpose(1, 2, 0)) for name in names}
        for index, step in enumerate(self._steps, self._first):
            if self._order is None:
                pictures |= step.apply({name: pictures[name] for name in step.specs}, _seed(seed, index))
            else:
                for name in step.specs:
                    pictures |= step.apply({name: pictures[name]}, _seed(seed, index, self._order[name]))
        return sample | {name: np.ascontiguousarray(p.transpose(2, 0, 1)) for name, p in pictures.items()}


@dataclass(frozen=True)
class _HostStep:
    """One albumentations transform and the pictures it acts on."""

    place: str
    transform: Any
    specs: Mapping[str, ImageSpec]
    moves: bool
    fills: bool

    @property
    def settled(self) -> bool:
        """Whether it does the same to a picture every time, and draws nothing."""
        kind, own = type(self.transform), vars(self.transform)
        known = kind.__module__.startswith("albumentations.") and kind.__name__ in _SETTLED and self.transform.p == 1
        one_size = not isinstance(own.get("max_size"), list | tuple)
        return known and one_size and "random" not in (own.get("position"), own.get("pad_position"))

    def apply(self, before: Sample, seed: int) -> Sample:
        """Transform pictures H × W × C, of those that the step acts on, by one draw."""
        after, draws = {}, []
        for name, picture in before.items():
            h, w, c = picture.shape
            with _blame(f"{self.place}: fails on {name!r} ({w}x{h}x{c} {picture.dtype})"):
                after[name], draw = self._apply_one(name, picture, seed)
            draws.append(draw)
        if self.moves and draws[0] is not None and len({picture.shape[:2] for picture in before.values()}) > 1:
            # Pictures of different sizes may pass where they come out alike and the draw knew nothing of their size.
            blind = all(_same(draws[0], draw) for draw in draws[1:])
            _check_one_size(self.place, {name: p.shape[:2] for name, p in (after if blind else before).items()})
        return after

    def _draw(self, picture: np.ndarray, seed: int) -> dict[str, Any] | None:
        """Return the drawn parameters, None when the transform sits this sample out."""
        self.transform.set_random_seed(seed)
        if not self.transform.should_apply():
            return None
        data = {"image": picture}
        params = self.transform.update_transform_params(self.transform.get_params(), data)
        return {**params, **self.transform.get_params_dependent_on_data(params, data)}

    def _apply_one(self, name: str, picture: np.ndarray, seed: int) -> tuple[np.ndarray, dict[str, Any] | None]:
        """Transform one picture H × W × C; return it together with what was drawn."""
        spec = self.specs[name]
        if self.fills:
            self.transform.fill_mask = _void(spec)
        params = self._draw(picture, seed)
        if params is None:
            result = picture
        elif spec.classes is not None:
            result = self.transform.apply_with_params(params, mask=picture[..., 0])["mask"]
        else:
            result = self.transform.apply_with_params(params, image=picture)["image"]
            result = result.clip(0, 1) if result.dtype == np.float32 else result
        result = result if result.ndim == 3 else result[..., None]
        self._check_kept(name, picture, result)
        return result, params

    def _check_kept(self, name: str, picture: np.ndarray, result: np.ndarray) -> None:
        if result.dtype != picture.dtype:
            raise UsageError(
                f"{self.place}: cannot work on {name!r}, whose pixels are {picture.dtype}. Leave it out, or give it "
                "pictures of 8 bits."
            )
        if result.shape[2] != picture.shape[2]:
            raise UsageError(
                f"{self.place}: makes {result.shape[2]} channels of the {picture.shape[2]} of {name!r}, and the task "
                "needs those. Leave it out, or change its parameters."
            )


def _host_step(index: int, step: Step, images: Mapping[str, ImageSpec]) -> _HostStep:
    import albumentations  # 1.4 s, spared where nothing is prepared

    place = f"prepare.{index} ({step.name})"
    with _blame(place):
        transform = step.make()
    if not isinstance(transform, albumentations.DualTransform | albumentations.ImageOnlyTransform):
        raise PluginError(f"{place}: is not a transform of albumentations' but {type(transform).__name__}.")
    moves = isinstance(transform, albumentations.DualTransform)
    names = _names(place, step, images, moves)
    specs = {name: images[name] for name in names}
    has_map = any(spec.classes is not None for spec in specs.values())
    if has_map and getattr(transform, "mask_interpolation", _NEAREST) not in (_NEAREST, _NEAREST_EXACT):
        raise UsageError(
            f"{place}: mask_interpolation would blend classes. Leave it out: they are resampled by nearest."
        )
    if hasattr(transform, "area_for_downscale"):  # it resizes
        if not step.chosen.keys() & {"interpolation", "area_for_downscale"}:
            transform.area_for_downscale = "image"
        if "mask_interpolation" not in step.chosen:
            transform.mask_interpolation = _NEAREST_EXACT  # the other shifts a map by half a pixel against its picture
    fills = hasattr(transform, "fill_mask") and "fill_mask" not in step.chosen
    return _HostStep(place, transform, specs, moves, fills)


def check_albumentations() -> None:
    """Keep albumentations off the network, and raise PluginError when its AGPL successor stands in its place."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        version = importlib.metadata.version("albumentationsx")
    except importlib.metadata.PackageNotFoundError:
        return
    raise PluginError(
        f"the package albumentationsx {version} (AGPL) is installed and takes the import name of albumentations (MIT). "
        "Run: pip uninstall albumentationsx && pip install --force-reinstall albumentations==2.0.8"
    )


def _names(place: str, step: Step, images: Mapping[str, ImageSpec], moves: bool) -> tuple[str, ...]:
    """Return the pictures that a step acts on."""
    names = tuple(step.on) if step.on is not None else tuple(images) if moves else tuple(images)[:1]
    for name in names:
        if name not in images:
            known = ", ".join(images)
            raise UsageError(f"{place}: on: the task has no picture {name!r}.{nearest(name, images)} It has: {known}.")
        if not moves and images[name].classes is not None:
            pictures = [other for other, spec in images.items() if spec.classes is None]
            raise UsageError(
                f"{place}: changes values, and {name!r} is a map of class indices, which has none to change. "
                f"Say on which pictures it acts: on = {pictures}."
            )
    return names


def _check_one_size(place: str, sizes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise UsageError unless the sizes (H, W) of the named pictures are one."""
    first = next(iter(sizes))
    for other, (h, w) in sizes.items():
        if (h, w) != tuple(sizes[first]):
            raise UsageError(
                f"{place}: moves pictures of one size only, and {first!r} is {sizes[first][1]}x{sizes[first][0]} but "
                f"{other!r} {w}x{h}. Bring them to one size first (a resize in [[source.prepare]]), or name those that "
                "it moves: on = [...]."
            )


def _same(draw: dict[str, Any] | None, other: dict[str, Any] | None) -> bool:
    if draw is None or other is None:
        return draw is other
    return all(np.array_equal(draw[key], other[key]) for key in draw if key != "shape")


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _void(spec: ImageSpec) -> int:
    return spec.void if spec.void is not None else 0


@contextmanager
def _blame(place: str) -> Iterator[None]:
    """Turn whatever a foreign part raises into a UsageError that names it, save running out of memory."""
    try:
        yield
    except (I2IError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # both libraries raise bare exceptions of every kind for unfit sizes and parameters
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{place}: {reason}") from error
