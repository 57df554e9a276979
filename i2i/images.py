"""Image files to arrays and tensors and back: the one strict reader, the writer, padding and contact sheets.

Pillow identifies a file from its header; OpenCV decodes PNG and whatever has more than 8 bits; Pillow decodes the rest,
save what is no picture to either, which is `stored`'s.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import uuid
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageDraw, ImageFont
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from i2i import stored
from i2i.contracts import ImageSpec
from i2i.errors import DataError, DivergedError, UsageError, nearest
from i2i.files import disk_errors
from i2i.stored import Head

# What it says of a damaged file would go to the terminal, beside our sentence.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
warnings.filterwarnings("ignore", "Corrupt EXIF", module="PIL")  # without which a picture is whole

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile
    from torch import Tensor

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".npy"})
MAX_PIXELS = 200_000_000
"""Larger pictures are refused from the header: 200 megapixels of 16-bit RGB take 1.2 GB."""

PROBED = 64
"""Pictures of a folder that are read whole before a training, to see whether their values lie in the range stated."""

_TIFF = rb"II\*\0|MM\0\*|II\+\0|MM\0\+"
_SAMPLES = {"1": (1, False), "L": (1, False), "I": (1, False), "I;16": (1, False), "I;16B": (1, False)}
_SAMPLES |= {"LA": (2, True), "La": (2, True), "RGBA": (4, True), "RGBa": (4, True), "PA": (4, True)}
"""Samples a pixel by Pillow's mode, and whether the last is alpha; 3 for any other."""

# The allow-list, by the first bytes of the file. The classes are called instead of Image.open, whose bomb check is a
# process-wide setting that warns from 89 megapixels on, and which hands the further pictures of a phone's JPEG to MPO.
_FORMATS: dict[bytes, type[ImageFile]] = {
    rb"\x89PNG\r\n\x1a\n": PngImageFile,
    rb"\xff\xd8\xff": JpegImageFile,
    rb"RIFF....WEBP": WebPImageFile,
    rb"BM": BmpImageFile,
    _TIFF: TiffImageFile,
}
_REPLACE = "Replace the file or remove it"
_RESAVE = "Save it as 8- or 16-bit grey or RGB"


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture, upright.

    pixels: H × W × C, C = 1 grey, 3 RGB or any number; uint8, uint16, or float32 in [0, 1]. alpha: H × W, of the same
    type as a rule, not premultiplied. icc: the colour profile of `pixels`. stored: the type of the samples in the
    file, where `pixels` has another one.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    icc: bytes | None = None
    stored: np.dtype[Any] | None = None

    @property
    def channels(self) -> int:
        """1 grey, 3 RGB."""
        return int(self.pixels.shape[2])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the samples in the file."""
        return self.pixels.dtype if self.stored is None else self.stored

    @property
    def bits(self) -> int:
        """Bits a sample: 8, 16, or 32 for float."""
        return 8 * self.pixels.dtype.itemsize

    def to_channels(self, channels: int) -> Picture:
        """Return the picture as grey (1: ITU-R BT.601 luma) or RGB (3), or with its alpha as the last channel (2, 4).

        A profile describes grey or RGB, not both: where the channels change, 8-bit values are converted to sRGB and
        the profile goes. Deeper values are taken as sRGB, with a warning, as no library at hand converts them.
        DataError for other channels than these.
        """
        if channels == self.channels:
            return self
        if self.alpha is not None and channels in (2, 4):
            colours = self.to_channels(channels - 1)
            return replace(colours, pixels=np.dstack([colours.pixels, self.alpha]), alpha=None)
        if channels not in (1, 3) or self.channels not in (1, 3):
            alpha = " and alpha" if self.alpha is not None else ""
            raise DataError(
                f"has {self.channels} channel(s){alpha}, and {channels} are wanted. Set the task's channels, or "
                "give other pictures."
            )
        pixels = self.pixels if self.icc is None else _to_srgb(self.pixels, self.icc)
        if pixels.shape[2] != channels:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB if channels == 3 else cv2.COLOR_RGB2GRAY)
        return replace(self, pixels=pixels.reshape(*pixels.shape[:2], channels), icc=None)


def read(path: Path | str, *, channels: int | None = None, spec: ImageSpec | None = None) -> Picture:
    """Read a picture strictly: one that is truncated, damaged or not understood is a DataError.

    channels: 1 for luma, 3 for RGB, None as the file is. spec: what a task says of the picture; channels, bits and
    range are then checked, and stored values come as picture space has them: float32 in [0, 1] where there is a range.
    EXIF orientation is applied, 16 bits stay 16, palettes and CMYK become RGB, 1-bit becomes 0 or 255. In a PNG no
    damage goes unseen; the other formats hold no checksum, so there a flipped bit inside the pixels does. `.npy` holds
    H × W or H × W × C.
    """
    channels = spec.channels if spec else channels
    with _reading(path):
        with _regular(path) as (file, start):
            raw = _read_beyond(file, start, channels)
        picture = _read_plain(path) if raw is None else raw
        if spec and (problem := stored.misfit(_head_of(picture), spec)):
            raise DataError(f"{problem}.")
        given = picture.dtype
        picture = picture if channels is None else picture.to_channels(channels)
        pixels = stored.scale(picture.pixels, given, spec)
        return picture if pixels is picture.pixels else replace(picture, pixels=pixels, stored=given)


def _head_of(picture: Picture) -> Head:
    height, width = picture.pixels.shape[:2]
    alpha = picture.alpha is not None
    return Head(height, width, picture.channels + alpha, alpha, picture.dtype)


def _read_beyond(file: BinaryIO, start: bytes, channels: int | None) -> Picture | None:
    """Read a picture with `stored` if it is one of those that only it reads."""
    found = _beyond(file, start, channels)
    if found is None:
        return None
    head, tags = found
    stored.check_size(head, MAX_PIXELS)
    if tags is None:
        pixels, alpha, orientation, icc = stored.read_npy(file), None, 1, None
    else:
        pixels, alpha = stored.read_tiff(file, head, tags)
        orientation = stored.exif_orientation(tags)
        icc = tags.get(34675) if head.samples - head.alpha in (1, 3) else None
    given = pixels.dtype
    if given not in (np.uint8, np.uint16, np.float32):  # which OpenCV does not convert from colour to grey
        pixels = pixels.astype(np.float32)
    alpha = None if alpha is None else _contiguous(alpha, orientation)
    return Picture(_contiguous(pixels, orientation), alpha, icc, given)


def _beyond(file: BinaryIO, start: bytes, channels: int | None) -> tuple[Head, ImageFileDirectory_v2 | None] | None:
    """Return what the header says of a file that only `stored` reads, None for any other."""
    if start.startswith(stored.NPY):
        return stored.head_npy(file), None
    if re.match(_TIFF, start, re.DOTALL):
        head, tags = stored.head_tiff(file)
        ours = stored.beyond(head, tags, channels)
        stored.check_compression(tags, ours=ours)
        return (head, tags) if ours else None
    return None


def _read_plain(path: Path | str) -> Picture:
    """Read a picture of 8 or 16 bits, or grey float, that Pillow or OpenCV reads."""
    with _identified(path) as (file, image):
        orientation = _orientation(file, image)
        height_width = _size(image, orientation)
        if isinstance(image, PngImageFile):
            color, alpha = _decode_png(file, image)
        elif isinstance(image, TiffImageFile) and max(image.tag_v2.get(258, (1,))) > 8 and image.mode != "F":
            color, alpha = _decode_deep_tiff(file, image)
        else:
            color, alpha = _decode_pillow(image)
            orientation = 1 if isinstance(image, TiffImageFile) else orientation  # Pillow has turned it
        pixels = _contiguous(color if color.ndim == 3 else color[..., None], orientation)
        if pixels.shape[:2] != height_width:
            raise DataError(f"has other pixels than its header says. {_REPLACE}.")
        icc = None if image.mode == "CMYK" else image.info.get("icc_profile") or None
        return Picture(pixels, None if alpha is None else _contiguous(alpha, orientation), icc)


def read_index(path: Path | str) -> np.ndarray:
    """Read a map of class indices, H × W, uint8 or uint16, from a grey or palette PNG or TIFF.

    The sample as it is stored counts: a palette's index and not its colour, 0 or 1 in a 1-bit file.
    """
    with _reading(path), _identified(path) as (file, image):
        if not isinstance(image, PngImageFile | TiffImageFile):
            raise DataError("a class map must be a PNG or TIFF, as other formats blur the indices. Save it as PNG.")
        orientation = _orientation(file, image)
        if image.mode not in ("1", "L", "P") and not image.mode.startswith("I;16"):
            raise DataError(
                f"a class map must be single-channel, and this file is {image.mode}. "
                "Save the class index of each pixel as a grey or palette PNG."
            )
        if isinstance(image, PngImageFile):
            return _contiguous(_png_samples(file), orientation)
        if image.tag_v2.get(258, (1,)) not in ((1,), (8,), (16,)):
            raise DataError(f"a class map of {image.tag_v2[258]} bits is not understood. Save it as PNG.")
        index = np.array(image)  # Pillow turns a TIFF upright by itself
        return index.astype(np.uint16 if index.dtype.itemsize == 2 else np.uint8)


def head(path: Path | str) -> Head:
    """Return what a picture's header says of it, about 0.1 ms."""
    with _reading(path):
        with _regular(path) as (file, start):
            found = _beyond(file, start, 4)
            if found is not None:
                own, tags = found
                stored.check_size(own, MAX_PIXELS)
                turned = tags is not None and stored.exif_orientation(tags) >= 5
                return replace(own, height=own.width, width=own.height) if turned else own
        with _identified(path) as (file, image):
            height, width = _size(image, _orientation(file, image))
            if isinstance(image, TiffImageFile):
                return replace(stored.head_tiff(file)[0], height=height, width=width)
            file.seek(0)
            dtype = stored.png_dtype(file.read(26)) if isinstance(image, PngImageFile) else np.dtype(np.uint8)
            samples, alpha = _SAMPLES.get(image.mode, (3, False))
            if not alpha and "transparency" in image.info:
                samples, alpha = samples + 1, True
            return Head(height, width, samples, alpha, dtype)


def size(path: Path | str) -> tuple[int, int]:
    """Return (H, W) of the upright picture from the header alone, about 0.1 ms."""
    found = head(path)
    return found.height, found.width


def sizes(paths: Iterable[Path], spec: ImageSpec | None = None) -> tuple[dict[Path, tuple[int, int]], list[str]]:
    """Return (H, W) of every picture whose header can be read, and a line for each problem of others (10 at most).

    spec: what a task says of them; a header that says otherwise (channels, bits) is a problem as well. Where the task
    states a range, or the first picture holds no plain integers, PROBED of them, evenly spread, are read whole.
    Eight threads, which hide the latency of network disks; 10,000 local files take 1 to 3 s.
    """

    def attempt(path: Path) -> Head | DataError:
        try:
            found = head(path)
        except DataError as error:
            return error
        problem = stored.misfit(found, spec) if spec else ""
        return DataError(f"{path}: {problem}.") if problem else found

    def whole(path: Path) -> DataError | None:
        try:
            read(path, spec=spec)
        except DataError as error:
            return error
        return None

    paths = list(paths)
    with ThreadPoolExecutor(8) as pool:
        results = list(zip(paths, pool.map(attempt, paths), strict=True))
        good = {path: found for path, found in results if isinstance(found, Head)}
        bad = {path: found for path, found in results if isinstance(found, DataError)}
        if spec and not bad and good and spec.classes is None and (spec.range or next(iter(good.values())).bits > 16):
            there = list(good)
            chosen = dict.fromkeys(there[i * (len(there) - 1) // max(1, PROBED - 1)] for i in range(PROBED))
            bad = {path: error for path, error in zip(chosen, pool.map(whole, chosen), strict=True) if error}
    lines = _gathered(bad)
    if len(lines) > 10:
        lines[10:] = [f"... and {len(lines) - 10} more such lines."]
    return {path: (found.height, found.width) for path, found in good.items()}, lines


def _gathered(errors: Mapping[Path, DataError]) -> list[str]:
    """Return a line for each problem, whichever files have it; values out of a range are one problem."""
    alike: dict[str, list[Path]] = {}
    outside = {path: error for path, error in errors.items() if isinstance(error, stored.OutOfRange)}
    for path, error in errors.items():
        text = "" if path in outside else str(error).removeprefix(f"{path}: ")
        alike.setdefault(text, []).append(path)
    lines = []
    for text, (first, *more) in alike.items():
        if not more:
            lines.append(str(errors[first]))
            continue
        names = [str(path.relative_to(first.parent)) if first.parent in path.parents else str(path) for path in more]
        named = ", ".join([str(first), *names[:4]]) + (f" and {len(more) - 4} more pictures" if len(more) > 4 else "")
        if text:
            lines.append(f"{named}: each {text}")
        else:
            low, high = min(error.low for error in outside.values()), max(error.high for error in outside.values())
            lines.append(f"{named}: {stored.out_of_range(low, high, outside[first].limits, many=True)}")
    return lines


def list_images(root: Path | str) -> list[Path]:
    """Return the image files below a folder, numbers in names by value (2 before 10), the same on every machine.

    Links are followed. Hidden files and folders and other extensions are passed over. What bears such a name and is no
    regular file (a pipe, a device, a link to nowhere) is among them: reading it says so.
    """
    root = Path(root)
    if not root.exists():
        raise DataError(f"{root}: there is no such folder.{_sibling(root)} Give a folder of pictures.")
    if not root.is_dir():
        raise DataError(f"{root}: is a file, not a folder. Give the folder that holds it: {root.parent}.")
    found = [path for path in _walk(root) if path.suffix.lower() in EXTENSIONS and not path.is_dir()]
    if not found:
        raise DataError(
            f"{root}: holds no pictures, also in its sub-folders. "
            f"Give a folder with files that end in {', '.join(sorted(EXTENSIONS))}."
        )
    return ordered(found, root)


def ordered(paths: Iterable[Path], root: Path | None = None) -> list[Path]:
    """Sort paths by their names below a folder, numbers in them by value."""
    return sorted(paths, key=lambda path: _natural((path.relative_to(root) if root else path).as_posix()))


def list_others(root: Path | str) -> list[Path]:
    """Return the files below a folder that `list_images` passes over for their extensions."""
    return sorted(path for path in _walk(Path(root)) if path.suffix.lower() not in EXTENSIONS and path.is_file())


def write(
    path: Path | str,
    pixels: np.ndarray,
    *,
    alpha: np.ndarray | None = None,
    icc: bytes | None = None,
    palette: np.ndarray | None = None,
    overwrite: bool = False,
) -> None:
    """Write a picture in the format of its extension, whole or not at all; the folder is made if need be.

    pixels: H × W, or H × W × C with C = 1 or 3, or any number (TIFF, .npy); uint8, uint16 (PNG, TIFF, .npy), int8,
    int16 or float32 (TIFF, .npy). alpha: H × W of the same type (not JPEG, BMP); the last channel of a .npy. palette:
    K × 3 uint8, the colours of `pixels` as indices (PNG). JPEG and WebP are written
    at quality 95. What the format cannot hold and a file that exists are UsageErrors, a full disk or a place that
    cannot be written a ResourceError.
    """
    path = Path(path)
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    _check_writable(path, pixels, alpha, icc, palette, overwrite)
    data = _encode(path, pixels, alpha, icc, palette)
    # Short, so that it fits wherever the name itself does; hidden, so that no listing takes it for a picture.
    temporary = path.with_name(f".{uuid.uuid4().hex[:12]}.part")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Bring H × W × C (or H × W) pixels, uint8, uint16 or float in [0, 1], to 1 × C × H × W float32 in [0, 1]."""
    import torch

    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    x = np.array(pixels.transpose(2, 0, 1), np.float32, order="C")
    x /= {"uint8": 255, "uint16": 65535}.get(pixels.dtype.name, 1)
    return torch.from_numpy(x)[None]


def converted(alpha: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Bring alpha, or whatever has all values that its type has (float: [0, 1]), to another type."""
    unit = alpha if alpha.dtype.kind == "f" else alpha / np.iinfo(alpha.dtype).max
    return stored.unscale(unit, dtype, None)


def to_samples(tensor: Tensor, spec: ImageSpec, given: np.dtype[Any]) -> np.ndarray:
    """Bring a picture in [0, 1], as `to_pixels` takes it, to what is written of it, H × W × C.

    Depth and range are as the spec says, or else those of the input, whose samples were `given`.
    """
    dtype = stored.depth(spec, given)
    if spec.range is None and dtype.kind != "i":
        return to_pixels(tensor, bits=8 * dtype.itemsize)
    return stored.unscale(to_pixels(tensor, bits=32), dtype, spec.range)


def to_pixels(tensor: Tensor, *, bits: int = 8) -> np.ndarray:
    """Bring C × H × W or 1 × C × H × W in [0, 1] to H × W × C, rounded and clamped; bits: 8, 16, or 32 for float32."""
    import torch

    tensor = tensor.detach().to("cpu", torch.float32)
    picture = (tensor[0] if tensor.ndim == 4 else tensor).numpy()
    if np.isnan(picture.min()):
        raise DivergedError("a picture to be written holds NaN: the model has diverged. Use an earlier checkpoint.")
    picture = picture.clip(0, 1)
    if bits < 32:
        picture *= 2**bits - 1
        picture = np.rint(picture, out=picture).astype(f"uint{bits}")
    if len(picture) == 1 or len(picture) > 4 or not picture.flags.c_contiguous:
        return np.ascontiguousarray(picture.transpose(1, 2, 0))
    return np.asarray(cv2.merge(list(picture)))  # numpy takes eight times as long


def pad_to_multiple(x: Tensor, multiple: int) -> tuple[Tensor, tuple[int, int]]:
    """Pad ... × H × W on the right and below until both sides divide by `multiple`; return it and (H, W) for `crop`.

    The border mirrors the picture where the side is longer than the padding, and repeats the last pixel elsewhere.
    Works for any type and any size from 1 × 1, where torch's own reflection does not.
    """
    height, width = x.shape[-2:]
    for dim in (-2, -1):
        if padding := -x.shape[dim] % multiple:
            x = x.index_select(dim, _mirror(x, x.shape[dim], padding))
    return x, (height, width)


def crop(x: Tensor, hw: tuple[int, int]) -> Tensor:
    """Return the upper left H × W of ... × H' × W': the inverse of `pad_to_multiple`."""
    return x[..., : hw[0], : hw[1]]


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray]], *, titles: Sequence[str] | None = None, cell: int | None = None
) -> np.ndarray:
    """Lay pictures out on white, each row as high as its highest picture, H × W × 3 uint8.

    rows: pictures H × W × C or H × W as `read` gives them. titles: one a column. cell: the longer side in pixels that
    every picture is scaled to; None leaves them as they are.
    """
    shown = [[_thumbnail(picture, cell) for picture in row] for row in rows]
    heights = [max(picture.shape[0] for picture in row) for row in shown]
    width = max(picture.shape[1] for row in shown for picture in row)
    columns, margin, head = max(map(len, shown)), 4, 18 if titles else 0
    shape = (head + margin + sum(heights) + len(shown) * margin, margin + columns * (width + margin), 3)
    sheet = np.full(shape, 255, np.uint8)
    for r, row in enumerate(shown):
        top = head + margin + sum(heights[:r]) + r * margin
        for c, picture in enumerate(row):
            left = margin + c * (width + margin)
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    for c, title in enumerate(titles or ()):
        left = margin + c * (width + margin)
        sheet[margin : head + margin, left : left + width] = _title(title, head, width)[:, : shape[1] - left]
    return sheet


# ---- reading ----


@contextmanager
def _reading(path: Path | str) -> Iterator[None]:
    """Turn whatever goes wrong while reading into a DataError that begins with the path."""
    try:
        yield
    except DataError as error:
        error.args = (f"{path}: {error}",)
        raise
    except (UsageError, MemoryError):
        raise
    except FileNotFoundError as error:
        if Path(path).is_symlink():
            text = f"is a link to {os.readlink(path)}, which is not there. Mend the link or remove it."
            raise DataError(f"{path}: {text}") from error
        raise DataError(f"{path}: there is no such file.{_sibling(Path(path))} Give an existing picture.") from error
    except (struct.error, EOFError, IndexError) as error:  # bytes are asked for that are not there
        raise DataError(f"{path}: is truncated or damaged. {_REPLACE}.") from error
    except Exception as error:  # the parsers raise a dozen types on malformed bytes
        reason = str(getattr(error, "strerror", None) or error).rstrip(".")
        raise DataError(f"{path}: cannot be read ({reason}). {_REPLACE}.") from error


@contextmanager
def _regular(path: Path | str) -> Iterator[tuple[BinaryIO, bytes]]:
    """Open a regular file that is not empty; yield its first 12 bytes as well."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # opening a FIFO would wait for ever
        raise DataError("is not a regular file. Give a picture file.")
    with open(path, "rb") as file:
        start = file.read(12)
        if not start:
            raise DataError(f"is empty. {_REPLACE}.")
        yield file, start


@contextmanager
def _identified(path: Path | str) -> Iterator[tuple[BinaryIO, ImageFile]]:
    """Open a regular file of an allowed format and size; no pixel is decoded yet."""
    with _regular(path) as (file, start):
        opener = next((kind for magic, kind in _FORMATS.items() if re.match(magic, start, re.DOTALL)), None)
        if opener is None:
            raise DataError(f"is not a PNG, JPEG, WebP, BMP or TIFF picture nor .npy, whatever its name. {_REPLACE}.")
        file.seek(0)
        image = opener(file)
        if image.width * image.height > MAX_PIXELS:
            raise DataError(
                f"has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}. Scale it down or cut it up."
            )
        if getattr(image, "n_frames", 1) > 1:
            raise DataError(f"holds several pictures (an animation or pages). {stored.PAGES}.")
        yield file, image


def _size(image: ImageFile, orientation: int) -> tuple[int, int]:
    """Return (H, W) of the upright picture."""
    # Pillow's `size` of a TIFF is already turned, though not where the orientation stands in the XMP alone.
    width, height = (image.tag_v2[256], image.tag_v2[257]) if isinstance(image, TiffImageFile) else image.size
    return (width, height) if orientation >= 5 else (height, width)


def _orientation(file: BinaryIO, image: ImageFile) -> int:
    """Return the EXIF orientation, 1 ... 8; 1 where there is none or it means nothing."""
    exif = Image.Image.getexif(image)  # not PngImageFile's own, which decodes the picture to look behind it
    if not exif and isinstance(image, PngImageFile):
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"eXIf":  # exiftool puts it after the pixels
                exif.load(file.read(length))
                break
            file.seek(length + 4, os.SEEK_CUR)
    orientation = exif.get(274, 1)
    return orientation if orientation in range(1, 9) else 1


def _contiguous(array: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation to H × W (× C)."""
    array = array.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else array
    array = array[:, ::-1] if orientation in (2, 3, 6, 7) else array
    return np.ascontiguousarray(array[::-1] if orientation in (3, 4, 7, 8) else array)


def _decode_pillow(image: ImageFile) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode with Pillow what has 8 bits or fewer, and grey float; a truncated file is an error."""
    image.load()
    if image.mode == "F":
        return np.array(image), None
    if image.mode == "CMYK":
        return np.array(_convert(image, image.info.get("icc_profile"))), None
    simple = {"1": "L", "P": "RGB", "RGBX": "RGB", "YCbCr": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}
    mode = simple.get(image.mode, image.mode)
    array = np.array(image if mode == image.mode else image.convert(mode))
    if mode in ("L", "RGB"):
        return array, None
    if mode in ("LA", "RGBA"):
        return array[..., 0] if mode == "LA" else array[..., :3], array[..., -1]
    raise DataError(f"has pixels of a kind that is not understood ({image.mode}). {_RESAVE}.")


def _decode_png(file: BinaryIO, image: PngImageFile) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode a PNG of any kind with OpenCV."""
    file.seek(0)
    data = file.read()
    depth, kind = data[24], data[25]  # of the IHDR chunk; kind 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGB + alpha
    array = _imdecode(_png_essence(data))
    alpha = array[..., 3] if array.ndim == 3 and array.shape[2] == 4 else None
    color = array if array.ndim == 2 else array[..., 0] if kind == 4 else array[..., 2::-1]
    key = image.info.get("transparency")
    if kind == 0 and isinstance(key, int):  # the one grey value that is transparent: OpenCV drops it
        peak = np.iinfo(array.dtype).max
        scaled = key if depth >= 8 else min(key * (peak // (2**depth - 1)), peak)
        alpha = np.where(array == scaled, 0, peak).astype(array.dtype)
    return color, alpha


def _png_samples(file: BinaryIO) -> np.ndarray:
    """Return the samples of a grey or palette PNG as they are stored, H × W."""
    file.seek(0)
    data = file.read()
    array = _imdecode(_png_essence(data, grey=True))
    return array if data[24] >= 8 else array // (255 // (2 ** data[24] - 1))


def _png_essence(data: bytes, *, grey: bool = False) -> bytes:
    """Return a PNG with the chunks that make the pixels, after checking the CRC of every chunk.

    The rest never reaches libpng, which would drop a damaged one or write complaints about it to the terminal.
    grey: present the indices of a palette as grey.
    """
    kept, at, kind = [data[:8]], 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", data[at : at + 8].ljust(8, b"\0"))
        body, at = data[at + 8 : at + 8 + length], at + 12 + length
        if at > len(data):
            raise DataError(f"is truncated. {_REPLACE}.")
        if data[at - 4 : at] != struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))):
            raise DataError(f"is damaged (the checksum of chunk {kind.decode('latin-1')!r} is wrong). {_REPLACE}.")
        if kind == b"IHDR" and grey:
            body = body[:9] + b"\0" + body[10:]
        if kind in (b"IHDR", b"IDAT", b"IEND") or (kind in (b"PLTE", b"tRNS") and not grey):
            kept.append(_chunk(kind, body))
        elif kind[:1].isupper() and kind != b"PLTE":
            raise DataError(f"holds {kind.decode('latin-1')!r}, which no PNG of the standard does. {_REPLACE}.")
    return b"".join(kept)


def _chunk(kind: bytes, body: bytes) -> bytes:
    """Return a PNG chunk with its length and checksum."""
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def _imdecode(data: bytes) -> np.ndarray:
    """Decode with OpenCV as the file is: BGR(A), or H × W grey."""
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise DataError(f"is damaged or incomplete. {_REPLACE}.")
    return array  # type: ignore[no-any-return]


def _decode_deep_tiff(file: BinaryIO, image: TiffImageFile) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode a TIFF of 16-bit grey, RGB or RGBA with OpenCV."""
    tags = image.tag_v2
    known = image.mode in ("RGB", "RGBA", "RGBX") or image.mode.startswith("I;16")
    if not known or set(tags[258]) != {16} or set(tags.get(339, (1,))) != {1}:
        raise DataError(f"has pixels of a kind that is not understood ({image.mode}, {tags[258]} bits). {_RESAVE}.")
    if tags.get(284, 1) == 2 and image.mode[0] == "R":  # OpenCV takes them as interleaved, in silence
        raise DataError("stores its 16-bit channels one after the other. Save it with interleaved channels, or as PNG.")
    file.seek(0)
    data = file.read()
    array = _imdecode(data if tags.get(274, 1) == 1 else _without_orientation(data))
    color = array[..., 2::-1] if array.ndim == 3 else array
    if tags[262] == 0:  # white is zero
        color = 65535 - color
    if image.mode != "RGBA":
        return color, None
    alpha = array[..., 3]
    if tags.get(338) == (1,):  # the colours are stored multiplied by alpha
        straight = np.rint(color * (65535.0 / np.maximum(alpha, 1)[..., None]))
        color = np.minimum(straight, 65535).astype(np.uint16)
    return color, alpha


def _without_orientation(data: bytes) -> bytes:
    """Return a TIFF with its orientation set to 1: OpenCV turns 2 ... 4 by itself and cannot read 5 ... 8."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    directory = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    entry = struct.pack(order + ("HHQ" if big else "HHI"), 274, 3, 1)
    at = data.index(entry, directory) + len(entry)
    return data[:at] + struct.pack(order + "H", 1) + data[at + 2 :]


def _to_srgb(pixels: np.ndarray, icc: bytes) -> np.ndarray:
    """Convert H × W × C through a colour profile to sRGB H × W × 3."""
    if pixels.dtype != np.uint8:
        warnings.warn("A colour profile is not applied to 16-bit or float pixels: taken as sRGB.", stacklevel=3)
        return pixels
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return np.array(_convert(image, icc))


def _convert(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Convert to RGB, in sRGB where the profile fits the pixels (browsers ignore one that does not, too)."""
    if icc:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError) as error:
            warnings.warn(f"A colour profile is not applied, as it does not fit its picture: {error}.", stacklevel=3)
    return image.convert("RGB")


def _sibling(path: Path) -> str:
    """Return ` Did you mean 'x'?` for the nearest name beside a missing path, or beside its first missing parent."""
    while not path.parent.is_dir() and path != path.parent:
        path = path.parent
    return nearest(path.name, os.listdir(path.parent)) if os.access(path.parent, os.R_OK) else ""


def _walk(root: Path) -> Iterator[Path]:
    """Yield what is no folder below root, through links, each real folder once; hidden ones are passed over."""
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_unlisted):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _unlisted(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be listed ({error.strerror}). Check its permissions.") from error


def _natural(name: str) -> tuple[list[str | int], str]:
    """Return a key that sorts numbers by value."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


# ---- writing ----


def _check_writable(
    path: Path,
    pixels: np.ndarray,
    alpha: np.ndarray | None,
    icc: bytes | None,
    palette: np.ndarray | None,
    overwrite: bool,
) -> None:
    """Raise a UsageError for a file that exists, or that its format cannot hold."""
    suffix = path.suffix.lower()
    arrays = suffix in (".tif", ".tiff", ".npy")  # which hold whatever there is
    kinds = (np.uint8, np.uint16, *((np.int8, np.int16, np.float32) if arrays else ()))
    faults = {
        "exists already. Allow overwriting (--overwrite) or give another place": os.path.lexists(path)
        and not overwrite,
        f"{path.suffix!r} is not the name of an image format. Use .png": suffix not in EXTENSIONS,
        f"pixels of shape {pixels.shape} are neither grey nor RGB. Use .tif or .npy": pixels.ndim != 2
        and (pixels.ndim != 3 or pixels.shape[2] != 3)
        and not (arrays and pixels.ndim == 3),
        f"{suffix} holds no {pixels.dtype} pixels. Use .tif or .npy": pixels.dtype not in kinds,
        f"{suffix} holds 8 bits a sample. Use .png or .tif": pixels.dtype == np.uint16
        and suffix != ".png"
        and not arrays,
        f"{suffix} holds no alpha. Use .png": alpha is not None and suffix in (".jpg", ".jpeg", ".bmp"),
        "alpha must have the size and type of the pixels": alpha is not None
        and (alpha.shape != pixels.shape[:2] or alpha.dtype != pixels.dtype),
        f"{suffix} holds no colour profile. Use .png": bool(icc) and suffix == ".bmp",
        "the colour profile is not of the kind of the pixels (grey, RGB). Leave it out": bool(icc)
        and (icc or b"")[16:20] in {b"CMYK", b"GRAY" if pixels.ndim == 3 else b"RGB "},
        "indices with a palette are stored as .png only": palette is not None and suffix != ".png",
    }
    for fault, present in faults.items():
        if present:
            raise UsageError(f"{path}: {fault}.")
    if palette is not None and (pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.max() >= len(palette)):
        raise UsageError(f"{path}: the indices go up to {pixels.max()}, the palette to {len(palette) - 1}. Extend it.")


def _encode(
    path: Path, pixels: np.ndarray, alpha: np.ndarray | None, icc: bytes | None, palette: np.ndarray | None
) -> bytes:
    """Return the bytes of the file; nothing is on disk yet."""
    suffix = path.suffix.lower()
    if alpha is not None:
        if pixels.ndim == 2 and pixels.dtype == np.uint16 and suffix == ".png":  # which no library writes in grey
            pixels = np.dstack([pixels] * 3)
        pixels = np.dstack([pixels, alpha])
    try:
        if suffix == ".npy":
            return stored.write_npy(pixels)
        if suffix in (".tif", ".tiff"):
            return _tiff(pixels, icc, alpha is not None)
        if suffix == ".png" and palette is None and pixels.shape[2:] in ((), (3,), (4,)):
            return _png(pixels, icc)
        image = Image.fromarray(np.ascontiguousarray(pixels))
        if palette is not None:
            image.putpalette(np.ascontiguousarray(palette, dtype=np.uint8).tobytes())
        options: dict[str, object] = {"icc_profile": icc} if icc else {}
        if suffix in (".jpg", ".jpeg"):
            options |= {"quality": 95, "subsampling": 0}
        elif suffix == ".webp":
            options |= {"quality": 95, "exact": True}  # exact: keep the colours where alpha is 0
        buffer = io.BytesIO()
        image.save(buffer, "JPEG" if suffix == ".jpg" else suffix[1:], **options)
    except (OSError, ValueError, cv2.error) as error:  # sides over 65,535 in JPEG, over 16,383 in WebP
        raise UsageError(f"{path}: cannot be stored in this format ({error}). Use .png.") from error
    return buffer.getvalue()


def _png(pixels: np.ndarray, icc: bytes | None) -> bytes:
    """Encode grey, RGB or RGBA of 8 or 16 bits as PNG with OpenCV, which cannot add the profile before 4.12.

    A picture of 256 x 256 takes a fifth of Pillow's time, and of the space a tenth more; of 16 bits Pillow has no RGB.
    """
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(pixels))
    if not done:
        raise ValueError("OpenCV cannot encode it")
    data = encoded.tobytes()
    profile = _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)) if icc else b""
    return data[:33] + profile + data[33:] if profile else data  # right after IHDR


def _tiff(pixels: np.ndarray, icc: bytes | None, alpha: bool) -> bytes:
    """Encode as one deflated TIFF strip; Pillow cannot store 16-bit RGB, OpenCV no profile.

    alpha: whether the last channel is transparency. Of other channels, 3 or 4 are taken for colours.
    """
    height, width = pixels.shape[:2]
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    strip = zlib.compress(pixels.astype(pixels.dtype.newbyteorder("<")).tobytes())
    tags = ImageFileDirectory_v2(prefix=b"II")
    tags[256], tags[257] = width, height
    tags[258] = (8 * pixels.dtype.itemsize,) * samples
    tags[259] = 8  # deflate
    tags[262] = colours = 2 if samples in (3, 4) else 1  # RGB, or black is zero
    tags[273], tags[278], tags[279] = 0, height, len(strip)  # Pillow adds the length of the directory to the offset
    tags[277] = samples
    if extra := samples - (3 if colours == 2 else 1):
        tags[338] = 2 if alpha and extra == 1 else (0,) * extra  # alpha, not premultiplied, or nothing said of it
    tags[339] = ({"f": 3, "i": 2}.get(pixels.dtype.kind, 1),) * samples
    if icc:
        tags.tagtype[34675] = 7
        tags[34675] = icc
    return b"II*\0" + struct.pack("<I", 8) + tags.tobytes(8) + strip


# ---- tensors and sheets ----


def _mirror(x: Tensor, side: int, padding: int) -> Tensor:
    """Return the index of the pixel that each of side + padding places repeats."""
    import torch

    index = torch.arange(side + padding, device=x.device)
    if padding < side:
        return torch.minimum(index, 2 * (side - 1) - index)
    return index.clamp(max=side - 1)


def _thumbnail(pixels: np.ndarray, cell: int | None) -> np.ndarray:
    """Return H × W × 3 uint8, scaled so that the longer side is `cell`."""
    if pixels.dtype != np.uint8:
        peak = 65535 if pixels.dtype == np.uint16 else 1
        pixels = np.rint(pixels.clip(0, peak) * (255 / peak)).astype(np.uint8)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    pixels = np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
    scale = cell / max(pixels.shape[:2]) if cell else 1
    if scale == 1:
        return pixels
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    return np.asarray(resized)


def _title(text: str, height: int, width: int) -> np.ndarray:
    """Draw a line of text in the largest size that fits, height × width × 3."""
    image = Image.new("RGB", (width, height), "white")
    fonts = [ImageFont.load_default(points) for points in (14, 12, 10, 8)]
    font = next((font for font in fonts if font.getlength(text) <= width), fonts[-1])
    ImageDraw.Draw(image).text((width // 2, height // 2), text, "black", font, anchor="mm")
    return np.array(image)
