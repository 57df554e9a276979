"""A finished model, ready to translate pictures in Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from i2i import images
from i2i.checkpoint import find_model, load_model
from i2i.compose import multiple_of, predict, rebuild
from i2i.contracts import Images, ImageSpec, Task
from i2i.engine import enough_memory, pick_device, pick_precision
from i2i.errors import DataError, UsageError, nearest
from i2i.products import PRODUCTS, lay_out, use_products

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

    def __call__(self, image: Any, mask: Any = None, guide: Any = None) -> Any:
        """Translate one picture, or one tensor of pictures."""
        if isinstance(image, Tensor):
            return self._tensor(image, mask, guide)
        if isinstance(image, np.ndarray):
            return self._array(image, mask, guide)
        if hasattr(image, "convert"):  # a PIL image, whose library need not be imported to ask
            return self._pil(image, mask, guide)
        raise DataError(f"cannot translate a {type(image).__name__}: give a PIL image, an array or a tensor.")

    @property
    def spec(self) -> ImageSpec:
        """What the model's input picture is."""
        return self.task.images.get(self.task.inputs[0]) or ImageSpec(self.task.in_channels)

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
        """Raise UsageError for a format that cannot hold what this model makes."""
        if getattr(self.task, "palette", None) and extension != "png":
            raise UsageError(f"--format {extension}: class maps are written as png, which keeps indices and palette.")
        if hasattr(self.task, "present") and extension == "jpg":
            raise UsageError("--format jpg: holds no transparency, which this model makes: png, webp or tif do.")

    def read(self, path: Path) -> images.Picture:
        """Read a file as the model's input picture."""
        return _read(path, self.spec)

    def read_guide(self, path: Path) -> images.Picture:
        """Read a file as the picture that guides."""
        return _read(path, self.guide_spec)

    def translate_picture(
        self, picture: images.Picture, mask: np.ndarray | None = None, guide: Any = None
    ) -> np.ndarray:
        """Translate a picture as read from a file; guide: another such, or a picture of any type that a call takes.

        The answer is H × W × C of the same depth, C = 4 for colours with their alpha, or H × W × 1 class indices.
        """
        with enough_memory(*scarce(picture)):
            (output,) = self.run([self.prepare(picture, mask, guide)])
            return self.finish(output.cpu(), picture)

    def prepare(self, picture: images.Picture, mask: np.ndarray | None = None, guide: Any = None) -> Images:
        """Bring what `translate_picture` takes into picture space, on the host; DataError for what does not fit."""
        if mask is not None and not self.wants_mask:
            raise DataError("this model fills no holes: leave mask out.")
        holes = None
        if self.wants_mask:
            hole = mask if mask is not None else _hole(picture.alpha)
            if hole is None:
                raise DataError("has no hole to fill: erase it to transparent, or give --mask FOLDER.")
            if hole.shape[:2] != picture.pixels.shape[:2]:
                raise DataError(f"its mask is of another size: {hole.shape[:2]} and {picture.pixels.shape[:2]} (H, W).")
            holes = torch.from_numpy((hole > 0.5).astype(np.float32))[None, None]
        return self._pictures(_to_tensor(picture.pixels, self.spec), holes, _guide(guide, self.guide_spec))

    def run(self, pictures: Sequence[Images]) -> list[Tensor]:
        """Translate what `prepare` made, all at once: of equal size when padded; the answers are on the device."""
        there = [{name: x.to(self.device, non_blocking=True) for name, x in one.items()} for one in pictures]
        outputs = predict(self.task, self.method, there, self.precision)
        present = getattr(self.task, "present", None)
        return [present(y, one) for y, one in zip(outputs, there, strict=True)] if present else outputs

    def finish(self, output: Tensor, picture: images.Picture) -> np.ndarray:
        """Bring one of the answers of `run`, on the host, to pixels of the depth of its picture, H × W × C."""
        if not output.is_floating_point():
            index = output[0, 0, :, :, None].numpy()
            return index.astype(np.uint8 if index.max() < 256 else np.uint16)
        return images.to_pixels(output, bits=8 if self.spec.classes is not None else picture.bits)

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

    def _array(self, image: np.ndarray, mask: Any, guide: Any) -> np.ndarray:
        grey = image.ndim == 2
        if self.spec.classes is not None:
            picture = _indices(image)
        else:
            picture = _picture(image).to_channels(self.spec.channels)
        alpha = picture.alpha
        hole = None if mask is None else np.asarray(mask, dtype=np.float32)
        result = self.translate_picture(picture, hole, guide)
        if alpha is not None and result.shape[2] == 3 and not self.wants_mask:
            result = np.concatenate([result, alpha[:, :, None]], axis=2)
        return result[:, :, 0] if grey and result.shape[2] == 1 else result

    def _pil(self, image: Any, mask: Any, guide: Any) -> Any:
        from PIL import Image

        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            raise DataError(f"a PIL image of mode {image.mode} has no fixed range: give an array, uint16 or float.")
        if self.spec.classes is not None:
            pixels = np.asarray(image)
        else:
            pixels = np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
        output = self._array(pixels, None if mask is None else np.asarray(mask, dtype=np.float32), guide)
        result = Image.fromarray(output[:, :, 0] if output.shape[2] == 1 else output)
        if palette := getattr(self.task, "palette", None):
            result.putpalette([value for colour in palette for value in colour])
        return result


def scarce(picture: images.Picture) -> tuple[str, str]:
    """Return where memory ran out on a picture, and the remedy, for `enough_memory`."""
    return (
        f"on a picture of {picture.pixels.shape[1]}x{picture.pixels.shape[0]} pixels",
        "a smaller picture, or another --device",
    )


def _read(path: Path, spec: ImageSpec) -> images.Picture:
    if spec.classes is not None:
        return images.Picture(images.read_index(path)[..., None])
    return images.read(path, channels=spec.channels)


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
            guide = _picture(np.asarray(guide.convert("RGB") if hasattr(guide, "convert") else guide))
    return _to_tensor((guide if indices else guide.to_channels(spec.channels)).pixels, spec)


def _indices(array: np.ndarray) -> images.Picture:
    """Take an array of integers H × W or H × W × 1 as a map of indices; DataError for another."""
    if not np.issubdtype(array.dtype, np.integer) or array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,)):
        raise DataError(f"expected class indices, H x W of integers, not {array.dtype} {array.shape}.")
    return images.Picture(array[:, :, None] if array.ndim == 2 else array)


def _picture(image: np.ndarray) -> images.Picture:
    """Take an array H × W or H × W × C as a picture; DataError for another shape or type."""
    pixels = image[:, :, None] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise DataError(f"expected an array H x W, or H x W x C of 1, 3 or 4 channels, not {image.shape}.")
    if not pixels.size:
        raise DataError(f"expected a picture, not an empty array {image.shape}.")
    if np.issubdtype(pixels.dtype, np.floating):
        pixels = pixels.astype(np.float32)
        _check_range(*map(float, (pixels.min(), pixels.max())))
    elif pixels.dtype not in (np.uint8, np.uint16):
        raise DataError(f"expected uint8, uint16 or float in [0, 1], not {pixels.dtype}.")
    alpha = pixels[:, :, 3] if pixels.shape[2] == 4 else None
    return images.Picture(np.ascontiguousarray(pixels[:, :, :3]), alpha)


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
) -> Translator:
    """Load a model: `path` is a run's directory or a model folder.

    device: auto, cpu, cuda, cuda:1, mps. precision: float32, bf16 (twice as fast where the hardware has it) or auto.
    stochastic: keep the generator's dropout, pix2pix's only noise (Isola et al. 2017, section 3.3), and have a method
    draw that can: the same picture comes out different each time, as torch's global generator goes on. UsageError for
    a model without noise.
    reverse: translate the other way, with a model that learnt both (CycleGAN); UsageError for another.
    """
    if precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise UsageError(f"--precision {precision}: no such precision.{nearest(precision, PRECISIONS)} Known: {known}.")
    where = pick_device(device)
    folder = find_model(Path(path))
    description, weights = load_model(folder)
    task, method = rebuild(description, weights)
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
    dtype = pick_precision(precision, where)
    method.to(where)
    if not stochastic:  # noise is drawn in the order in which a map lies in memory, and a seed is to stay what it was
        _made_quick(method, where, dtype)
    return Translator(task, method, where, dtype, folder)


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
