"""A finished model, ready to translate pictures in Python."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from i2i import images
from i2i.checkpoint import find_model, load_model
from i2i.compose import multiple_of, predict, rebuild
from i2i.contracts import Images, ImageSpec, Task, deep
from i2i.engine import enough_memory, pick_device, pick_precision
from i2i.errors import DataError, ResourceError, UsageError, nearest
from i2i.products import PRODUCTS, lay_out, use_products
from i2i.stored import depth, scale
from i2i.tiles import OVERLAP, SMALLEST, Tiled, fits, in_smaller

PRECISIONS = ("auto", "float32", "bf16")
MULTIPLIED = {nn.Conv2d, nn.ConvTranspose2d, nn.Linear, *PRODUCTS.values()}
"""The layers whose products autocast makes in bfloat16; subclasses may do something else with their weights."""
DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


@dataclass(frozen=True)
class Translator:
    """A model ready to translate; what `i2i.load` returns.

    Call it with one picture: a PIL image, an array H × W × C (uint8, uint16, or float in [0, 1]) or a tensor C × H × W
    or N × C × H × W (float in [0, 1]). The answer is of the same type, the same H × W. A model that starts from class
    maps takes indices: a PIL image of mode P or L, an integer array H × W, an int64 tensor 1 × H × W or N × 1 × H × W.

    A task that fills holes takes `mask` too, H × W, true or above one half where the hole is; an image's own
    transparency is taken otherwise. A task that is guided (by a palette, by an instance map) takes `guide`, a picture
    of the same type, or indices where the guide is a map of them.
    """

    task: Task
    method: nn.Module = field(repr=False)
    device: torch.device
    precision: torch.dtype = torch.float32
    path: Path = field(default_factory=Path)
    exact: bool = False
    """Whether CUDA's convolutions keep the bits of float32, of which they otherwise use 10 after the first (TF32)."""

    def __call__(
        self, image: Any, mask: Any = None, guide: Any = None, *, tile: int | None = None, overlap: int | None = None
    ) -> Any:
        """Translate one picture, or one tensor of pictures.

        tile: translate a PIL image or an array that is larger than so many pixels a side tile by tile, in memory that
        does not grow with the picture. overlap: how many pixels tiles share at least, in which they are blended, 64.
        """
        if isinstance(image, Tensor):
            if tile is not None:
                raise UsageError("tensors are not cut into tiles: give a PIL image or an array.")
            return self._tensor(image, mask, guide)
        cut = checked(tile, overlap)
        if isinstance(image, np.ndarray):
            return self._array(image, mask, guide, cut)
        if hasattr(image, "convert"):  # a PIL image, whose library need not be imported to ask
            return self._pil(image, mask, guide, cut)
        raise DataError(f"cannot translate a {type(image).__name__}: give a PIL image, an array or a tensor.")

    @property
    def spec(self) -> ImageSpec:
        """What the model's input picture is."""
        return self.task.images.get(self.task.inputs[0]) or ImageSpec(self.task.in_channels)

    @property
    def target_spec(self) -> ImageSpec:
        """What the picture is that the model makes: of any depth where the task presents it its own way."""
        made = hasattr(self.task, "present") or self.task.target not in self.task.images
        return ImageSpec(self.task.out_channels) if made else self.task.images[self.task.target]

    @property
    def guide(self) -> str | None:
        """The name of the picture that guides the task, if it takes one."""
        return next((name for name in self.task.inputs[1:] if name != "mask"), None)

    @property
    def guide_spec(self) -> ImageSpec:
        """What the picture that guides is: RGB where the source gives none."""
        return self.task.images.get(self.guide or "") or ImageSpec()

    @property
    def needs_guide(self) -> bool:
        """Whether the task cannot do without the picture that guides it."""
        return self.guide is not None and self.guide not in getattr(self.task, "optional", ())

    @property
    def guided(self) -> str:
        """Words for what guides the task: `guided by a palette`."""
        return f"guided by a{'n' if (self.guide or '')[:1] in 'aeiou' else ''} {self.guide}"

    @property
    def wants_mask(self) -> bool:
        """Whether the task needs to be told of a hole."""
        return "mask" in self.task.inputs

    def check_format(self, extension: str) -> None:
        """Raise UsageError for a format that cannot hold what this model makes; "auto" holds everything."""
        if extension == "auto":
            return
        if getattr(self.task, "palette", None) and extension != "png":
            raise UsageError(f"--format {extension}: class maps are written as png, which keeps indices and palette.")
        spec = self.target_spec
        if (hasattr(self.task, "present") or spec.channels == 4) and extension == "jpg":
            raise UsageError("--format jpg: holds no transparency, which this model makes: png, webp or tif do.")
        if spec.classes is None and extension not in ("tif", "npy"):
            if spec.bits == 32 or (spec.range and spec.range[0] < 0):
                raise UsageError(
                    f"--format {extension}: holds no float nor signed values, as this model makes: tif and npy do."
                )
            if spec.channels not in (1, 3, 4):
                raise UsageError(
                    f"--format {extension}: holds no {spec.channels} channels, as this model makes: tif and npy do."
                )
            if spec.bits == 16 and extension != "png":
                raise UsageError(
                    f"--format {extension}: holds 8 bits a sample, and this model makes 16: png, tif and npy do."
                )

    def extension(self, path: Path) -> str:
        """Return the format that holds what is made of a file: png, or else tif, or npy where the file is one."""
        if getattr(self.task, "palette", None):
            return "png"
        spec, suffix = self.target_spec, path.suffix.lower()
        given, fourth = np.dtype(np.uint8), True
        if suffix in (".tif", ".tiff", ".npy", ".png"):  # all others have 8 bits
            try:
                head = images.head(path)
            except DataError:  # which is told when its turn comes
                return "png"
            given, fourth = head.dtype, head.fourth_is_alpha
        dtype, channels = depth(spec, given), (1, 3, 4) if fourth else (1, 3)
        fits = dtype.kind == "u" and (spec.channels in channels or hasattr(self.task, "present"))
        return "npy" if suffix == ".npy" else "png" if fits else "tif"

    def read(self, path: Path) -> images.Picture:
        """Read a file as the model's input picture."""
        return _read(path, self.spec)

    def read_guide(self, path: Path) -> images.Picture:
        """Read a file as the picture that guides."""
        return _read(path, self.guide_spec)

    def translate_picture(
        self,
        picture: images.Picture,
        mask: np.ndarray | None = None,
        guide: Any = None,
        cut: tuple[int, int] | None = None,
        say: Callable[[str], object] = warnings.warn,
    ) -> np.ndarray:
        """Translate a picture as read from a file; guide: another such, or a picture of any type that a call takes.

        cut: the side of tiles and their overlap, for a picture that is larger. Without, a picture that memory does not
        hold is translated by tiles that it does, which is told to `say`. The answer is H × W × C of the same depth,
        C = 4 for colours with their alpha, or H × W × 1 class indices.
        """
        if cut and not fits(self, picture, cut[0]):
            return self.by_tiles(picture, mask, guide, cut)
        try:
            with enough_memory(*scarce(picture)):
                (output,) = self.run([self.prepare(picture, mask, guide)])
                return self.finish(output.cpu(), picture)
        except ResourceError as error:
            reason = str(error)  # of the error nothing else is kept: its frames hold what has filled the memory
        return self.by_smaller_tiles(picture, mask, guide, reason, say)

    def by_tiles(
        self,
        picture: images.Picture,
        mask: np.ndarray | None,
        guide: Any,
        cut: tuple[int, int],
        say: Callable[[str], object] = lambda text: None,
    ) -> np.ndarray:
        """Translate by tiles of a given side and overlap; say is told now and then how far it is."""
        tiled = Tiled(self, picture, mask, guide, tile=cut[0], overlap=cut[1], say=say)
        with enough_memory(f"{scarce(picture)[0]} in tiles of {tiled.tile}", "a smaller --tile"):
            return tiled.translate()

    def by_smaller_tiles(
        self,
        picture: images.Picture,
        mask: np.ndarray | None,
        guide: Any,
        reason: str,
        say: Callable[[str], object],
    ) -> np.ndarray:
        """Translate what memory does not hold at once, by the largest tiles that it holds; reason: what is raised."""
        made, tile = in_smaller(self, picture, mask, guide, reason)
        say(f"memory ran out {scarce(picture)[0]}: translated in tiles of {tile}")
        return made

    def prepare(self, picture: images.Picture, mask: np.ndarray | None = None, guide: Any = None) -> Images:
        """Bring what `translate_picture` takes into picture space, on the host; DataError for what does not fit."""
        if self.precision == torch.bfloat16 and self.spec.classes is None and picture.dtype != np.uint8:
            warnings.warn(f"bf16 keeps 8 bits of {picture.dtype} samples: use float32 for all of them.", stacklevel=2)
        hole = self.hole(picture, mask)
        holes = None if hole is None else torch.from_numpy(hole.astype(np.float32))[None, None]
        return self._pictures(_to_tensor(picture.pixels, self.spec), holes, _guide(guide, self.guide_spec))

    def hole(self, picture: images.Picture, mask: np.ndarray | None) -> np.ndarray | None:
        """Return where a picture is to be filled, H × W, true in the hole; None for a model that fills none."""
        if not self.wants_mask:
            if mask is not None:
                raise DataError("this model fills no holes: leave mask out.")
            return None
        hole = mask if mask is not None else _hole(picture.alpha)
        if hole is None:
            raise DataError("has no hole to fill: erase it to transparent, or give --mask FOLDER.")
        if hole.shape[:2] != picture.pixels.shape[:2]:
            raise DataError(f"its mask is of another size: {hole.shape[:2]} and {picture.pixels.shape[:2]} (H, W).")
        return hole > 0.5

    def run(self, pictures: Sequence[Images]) -> list[Tensor]:
        """Translate what `prepare` made, all at once: of equal size when padded; the answers are on the device."""
        there = [{name: x.to(self.device, non_blocking=True) for name, x in one.items()} for one in pictures]
        with _bits_kept(self.exact and self.device.type == "cuda"):
            outputs = predict(self.task, self.method, there, self.precision)
        present = getattr(self.task, "present", None)
        return [present(y, one) for y, one in zip(outputs, there, strict=True)] if present else outputs

    def finish(self, output: Tensor, picture: images.Picture) -> np.ndarray:
        """Bring one of the answers of `run`, on the host, to pixels of the depth of its picture, H × W × C."""
        if not output.is_floating_point():
            index = output[0, 0, :, :, None].numpy()
            return index.astype(np.uint8 if index.max() < 256 else np.uint16)
        given = np.dtype(np.uint8) if self.spec.classes is not None else picture.dtype
        return images.to_samples(output, self.target_spec, given)

    def _pictures(self, x: Tensor, holes: Tensor | None, guide: Tensor | None) -> Images:
        if x.shape[1] != self.spec.channels:
            raise DataError(f"expected {self.spec.channels} channel(s), not {x.shape[1]}.")
        if self.wants_mask and holes is None:
            raise DataError("this model fills holes: give mask, H x W, true where the hole is.")
        if holes is not None and not self.wants_mask:
            raise DataError("this model fills no holes: leave mask out.")
        if guide is None and self.needs_guide:
            raise DataError(f"this model is {self.guided}: give a picture of one as guide.")
        if guide is not None and not self.guide:
            raise DataError("this model takes no guide: leave it out.")
        pictures = {self.task.inputs[0]: x}
        if self.wants_mask and holes is not None:
            pictures["mask"] = holes
        if self.guide and guide is not None:
            pictures[self.guide] = guide
        return pictures

    def _tensor(self, image: Tensor, mask: Any, guide: Any) -> Tensor:
        x = image[None] if image.ndim == 3 else image
        indices = self.spec.classes is not None
        if x.ndim != 4 or x.is_floating_point() == indices:
            kind = f"{image.dtype} with {image.ndim} dimensions".removeprefix("torch.")
            wanted = "an int64 tensor of class indices" if indices else "a float tensor in [0, 1]"
            raise DataError(f"expected {wanted}, C x H x W or N x C x H x W, not {kind}.")
        if not x.numel():
            raise DataError(f"expected a picture, not an empty tensor {tuple(image.shape)}.")
        if not indices:
            _check_range(*torch.stack(x.aminmax()).tolist())
        holes = None
        if mask is not None:
            holes = (torch.as_tensor(mask).float() > 0.5).float()
            if holes.shape[-2:] != x.shape[-2:] or holes.numel() not in (x[:1, 0].numel(), x[:, 0].numel()):
                raise DataError(f"a mask of shape {tuple(holes.shape)} does not fit pictures {tuple(x.shape)}.")
            holes = holes.reshape(-1, 1, *x.shape[2:]).expand(len(x), -1, -1, -1)
        leading = _guide(guide, self.guide_spec)
        if leading is not None:
            if len(leading) not in (1, len(x)):
                raise DataError(
                    f"{len(leading)} guides do not fit {len(x)} pictures: give one for all, or one for each."
                )
            leading = leading.expand(len(x), -1, -1, -1)
        (y,) = self.run([self._pictures(x.long() if indices else x.float(), holes, leading)])
        y = y.to(image.device)
        return y[0] if image.ndim == 3 else y

    def _array(self, image: np.ndarray, mask: Any, guide: Any, cut: tuple[int, int] | None) -> np.ndarray:
        grey = image.ndim == 2
        if self.spec.classes is not None:
            picture = _indices(image)
        else:
            picture = _picture(image, self.spec)
        alpha = picture.alpha
        hole = None if mask is None else np.asarray(mask, dtype=np.float32)
        result = self.translate_picture(picture, hole, guide, cut)
        if alpha is not None and result.shape[2] == 3 and not self.wants_mask:
            result = np.concatenate([result, alpha[:, :, None]], axis=2)
        return result[:, :, 0] if grey and result.shape[2] == 1 else result

    def _pil(self, image: Any, mask: Any, guide: Any, cut: tuple[int, int] | None) -> Any:
        from PIL import Image

        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            raise DataError(f"a PIL image of mode {image.mode} has no fixed range: give an array, uint16 or float.")
        if self.spec.classes is not None:
            pixels = np.asarray(image)
        else:
            pixels = np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
        output = self._array(pixels, None if mask is None else np.asarray(mask, dtype=np.float32), guide, cut)
        result = Image.fromarray(output[:, :, 0] if output.shape[2] == 1 else output)
        if palette := getattr(self.task, "palette", None):
            result.putpalette([value for colour in palette for value in colour])
        return result


@contextlib.contextmanager
def _bits_kept(wanted: bool) -> Iterator[None]:
    """Have cuDNN multiply in float32 for a while; a setting of the whole process, so translate in turn."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = before and not wanted
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def checked(tile: int | None, overlap: int | None) -> tuple[int, int] | None:
    """Return a tile's side and overlap, OVERLAP or less by default, where there is one; UsageError for what is none."""
    if tile is None:
        if overlap is not None:
            raise UsageError(f"--overlap {overlap}: is of tiles: add --tile 512.")
        return None
    if tile < SMALLEST:
        raise UsageError(f"--tile {tile}: must be at least {SMALLEST}: 512 suits most models.")
    if overlap is None:
        return tile, min(OVERLAP, tile - 1)
    if not 0 <= overlap < tile:
        raise UsageError(f"--overlap {overlap}: must be in 0 ... {tile - 1}, less than --tile {tile}.")
    return tile, overlap


def scarce(picture: images.Picture) -> tuple[str, str]:
    """Return where memory ran out on a picture, and the remedy, for `enough_memory`."""
    return (
        f"on a picture of {picture.pixels.shape[1]}x{picture.pixels.shape[0]} pixels",
        "a smaller picture, --tile 512, or another --device",
    )


def _read(path: Path, spec: ImageSpec) -> images.Picture:
    if spec.classes is not None:
        return images.Picture(images.read_index(path)[..., None])
    return images.read(path, spec=spec)


def _to_tensor(pixels: np.ndarray, spec: ImageSpec) -> Tensor:
    """Bring H × W × C to picture space, 1 × C × H × W."""
    if spec.classes is None:
        return images.to_tensor(pixels)
    return torch.from_numpy(pixels.astype(np.int64).transpose(2, 0, 1))[None]


def _guide(guide: Any, spec: ImageSpec) -> Tensor | None:
    """Take a guide of any type into picture space, N × C × H × W; DataError for what is none such."""
    if guide is None:
        return None
    indices = spec.classes is not None
    if isinstance(guide, Tensor):
        known = guide.ndim in (3, 4) and guide.shape[-3] in (1, spec.channels)
        if not known or guide.is_floating_point() == indices:
            kind = f"{guide.dtype} {tuple(guide.shape)}".removeprefix("torch.")
            wanted = "integers, 1" if indices else f"floats in [0, 1], 1 or {spec.channels}"
            raise DataError(f"expected a guide of {wanted} x H x W or N x these, not {kind}.")
        x = guide[None] if guide.ndim == 3 else guide
        return x.long() if indices else x.float().expand(-1, spec.channels, -1, -1)
    if not isinstance(guide, images.Picture):
        if indices:
            guide = _indices(np.asarray(guide))
        else:
            guide = _picture(np.asarray(guide.convert("RGB") if hasattr(guide, "convert") else guide), spec)
    return _to_tensor((guide if indices else guide.to_channels(spec.channels)).pixels, spec)


def _indices(array: np.ndarray) -> images.Picture:
    """Take an array of integers H × W or H × W × 1 as a map of indices; DataError for another."""
    if not np.issubdtype(array.dtype, np.integer) or array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,)):
        raise DataError(f"expected class indices, H x W of integers, not {array.dtype} {array.shape}.")
    return images.Picture(array[:, :, None] if array.ndim == 2 else array)


def _picture(image: np.ndarray, spec: ImageSpec) -> images.Picture:
    """Take an array H × W or H × W × C, of the values that a file would have, as a picture; DataError for another."""
    pixels = image[:, :, None] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4, spec.channels):
        wanted = "1, 3 or 4" if spec.channels in (1, 3, 4) else str(spec.channels)
        raise DataError(f"expected an array H x W, or H x W x C of {wanted} channels, not {image.shape}.")
    if not pixels.size:
        raise DataError(f"expected a picture, not an empty array {image.shape}.")
    given = pixels.dtype
    if np.issubdtype(given, np.floating) or spec.range is not None:
        pixels = pixels.astype(np.float32)
    elif given not in (np.uint8, np.uint16):
        raise DataError(f"expected uint8, uint16 or float in [0, 1], not {given}.")
    if spec.range is None and pixels.dtype == np.float32:
        _check_range(*map(float, (pixels.min(), pixels.max())))
    elif spec.range is not None:
        pixels = scale(pixels, given, spec)
    alpha = pixels[:, :, 3] if pixels.shape[2] == 4 and spec.channels != 4 else None
    picture = images.Picture(
        np.ascontiguousarray(pixels[:, :, :3] if alpha is not None else pixels), alpha, None, given
    )
    return picture.to_channels(spec.channels)


def _check_range(lowest: float, highest: float) -> None:
    """Raise DataError for floats in 0 ... 255 or -1 ... 1, and for NaN; resampling goes a little beyond [0, 1]."""
    if not (lowest > -0.5 and highest < 2):
        found = f"from {lowest:.6g} to {highest:.6g}"
        raise DataError(f"floats are taken in [0, 1], and these go {found}: bring them there, or give uint8.")


def _hole(alpha: np.ndarray | None) -> np.ndarray | None:
    """Return 1 where a picture is transparent by half or more, None where it is opaque everywhere."""
    if alpha is None:
        return None
    half = 0.5 if np.issubdtype(alpha.dtype, np.floating) else np.iinfo(alpha.dtype).max // 2
    return (alpha <= half).astype(np.float32) if alpha.min() <= half else None


class Backwards(nn.Module):
    """A method that learnt both ways, turned round: N × out_channels × H × W to N × in_channels × H × W."""

    def __init__(self, method: nn.Module) -> None:
        super().__init__()
        self.training = False  # and what is in it stays in the mode that it has
        self.method = method
        self.multiple = multiple_of(method)

    def translate(self, x: Tensor) -> Tensor:
        """Map an encoded target to an input in network space."""
        y: Tensor = self.method.back(x)  # type: ignore[operator]
        return y


def load(
    path: str | Path,
    device: str = "auto",
    precision: str = "float32",
    *,
    stochastic: bool = False,
    reverse: bool = False,
    exact: bool = False,
) -> Translator:
    """Load a model: `path` is a run's directory or a model folder.

    device: auto, cpu, cuda, cuda:1, mps. precision: float32, bf16 (twice as fast where the hardware has it, and good
    for 8 bits a sample) or auto, which is float32 for a task that says that there are more.
    stochastic: keep the generator's dropout, pix2pix's only noise (Isola et al. 2017, section 3.3), and have a method
    draw that can: the same picture comes out different each time, as torch's global generator goes on. UsageError for
    a model without noise.
    exact: more than 8 bits a sample are to be kept, also where the task does not say so: auto is float32, and on CUDA
    convolutions are not rounded to TF32.
    reverse: translate the other way, with a model that learnt both (CycleGAN); UsageError for another.
    """
    if precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise UsageError(f"--precision {precision}: no such precision.{nearest(precision, PRECISIONS)} Known: {known}.")
    where = pick_device(device)
    folder = find_model(Path(path))
    description, weights = load_model(folder)
    task, method = rebuild(folder, description, weights)
    if stochastic:
        noise = [module for module in method.modules() if isinstance(module, DROPOUT) and module.p > 0]
        if not noise and not hasattr(method, "stochastic"):
            raise UsageError(f"{folder}: this model has neither dropout nor other noise to be stochastic by.")
        if hasattr(method, "stochastic"):
            method.stochastic = True  # type: ignore[assignment]
        for module in noise:
            module.train()
    if reverse:
        if not (hasattr(task, "reverse") and hasattr(method, "back")):
            raise UsageError(f"{folder}: this model learnt one direction only; leave --reverse out.")
        task, method = task.reverse(), Backwards(method)
    exact = exact or deep(task.images)
    dtype = pick_precision(precision, where, deep=exact)
    method.to(where)
    if not stochastic:  # noise is drawn in the order in which a map lies in memory, and a seed is to stay what it was
        _made_quick(method, where, dtype)
    return Translator(task, method, where, dtype, folder, exact)


def _made_quick(method: nn.Module, device: torch.device, precision: torch.dtype) -> None:
    """Lay a method's weights out as its device multiplies them best; its answers stay the same up to rounding."""
    if device.type != "mps":
        lay_out(method, torch.channels_last)
    if device.type == "cpu":
        use_products(method)
    if precision != torch.float32:  # once, and not at each picture: on 2 cores 50 ms for 54 M weights
        for layer in method.modules():
            if type(layer) in MULTIPLIED:
                layer.to(precision)
