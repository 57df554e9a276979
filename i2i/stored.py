"""What files store: `.npy`, TIFF of any depth and number of channels, headers, and the range of stored values."""

from __future__ import annotations

import importlib.util
import io
import logging
import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from i2i.contracts import ImageSpec
from i2i.errors import DataError

NPY = b"\x93NUMPY"
MAX_BYTES = 1_600_000_000
"""Larger pictures are refused from the header, however few their pixels."""
_READ = "H x W or H x W x C"
PAGES = "Save each as a file of its own; pages that are channels as one page of so many samples, or as .npy, H x W x C"
_DEFLATE = (8, 32946)
_CODECS = {5: "LZW", 50000: "Zstandard"}
"""Compressions of TIFF for which tifffile needs imagecodecs, of 79 MB; Pillow and OpenCV bring LZW along."""
_UNREAD = {34712: "JPEG 2000", 34887: "LERC", 50001: "WebP", 50002: "JPEG XL"}


@dataclass(frozen=True)
class Head:
    """What a file's header says of its picture, upright.

    samples: values a pixel, transparency among them. alpha: whether the last one is transparency. dtype: as stored.
    """

    height: int
    width: int
    samples: int
    alpha: bool
    dtype: np.dtype[Any]

    @property
    def bits(self) -> int:
        """8, 16, or 32: whatever is float is read as float32."""
        return 32 if self.dtype.kind == "f" else min(32, 8 * self.dtype.itemsize)

    @property
    def fourth_is_alpha(self) -> bool:
        """Whether the fourth channel of what is made of it is transparency: not where it has four without any."""
        return self.alpha or self.samples < 4

    def gives(self, channels: int) -> bool:
        """Whether the file can be read as so many channels: as they are, as RGB of grey and back, with its alpha."""
        colours = self.samples - self.alpha
        plain = colours in (1, 3) or (self.samples == 4 and not self.alpha)
        return channels in (self.samples, colours) or (plain and (channels in (1, 3) or (channels == 4 and self.alpha)))


class OutOfRange(DataError):
    """Values lie outside the range that the task says; it keeps them."""

    low = high = 0.0
    limits = 0.0, 0.0


def out_of_range(low: float, high: float, limits: tuple[float, float], *, many: bool = False) -> OutOfRange:
    """Return the error for the values found; many: in several files."""
    error = OutOfRange(
        f"{'have' if many else 'has'} values from {low:.9g} to {high:.9g}, and the task says range = {shown(limits)}. "
        f"Mend the file{'s' * many}, or train with a range that holds them, such as {shown(_rounded(low, high))}."
    )
    error.low, error.high, error.limits = low, high, limits
    return error


def _rounded(low: float, high: float) -> tuple[float, float]:
    """Return a range that holds two values: of whole numbers, that of so many bits."""
    if not (low.is_integer() and high.is_integer()):
        return low, high
    bits = int(max(high, -low - 1)).bit_length()
    return (-(2.0**bits) if low < 0 else 0.0), 2.0**bits - 1


def misfit(head: Head, spec: ImageSpec) -> str:
    """Return in what a file is another one than the task says, and the remedy; "" where it fits, by its header."""
    if spec.classes is not None:
        return ""
    if not head.gives(spec.channels):
        text = f"has {_channels(head)}, and the task says {spec.channels}"
        if spec.channels == head.height and head.samples > 4:
            return f"{text}. It seems to lie C x H x W: save numpy.moveaxis(array, 0, -1), as pictures are {_READ}"
        return f"{text}. Give pictures of {spec.channels}, or train with channels = {head.samples} of the task"
    if spec.bits is not None and head.bits != spec.bits:
        return (
            f"has {head.bits} bits a sample ({head.dtype}), and the task says bits = {spec.bits}. "
            f"Save it with {spec.bits}, or train with bits = {head.bits}"
        )
    if head.dtype.kind == "f":
        return ""
    if spec.range is None:
        if head.dtype in (np.uint8, np.uint16):
            return ""
        return f"holds {head.dtype} samples, of which nothing says the range. State it: range = [LOW, HIGH] of the task"
    held = np.iinfo(head.dtype)
    if not held.min <= spec.range[0] <= spec.range[1] <= held.max:  # a copy of 8 bits among pictures of 12
        return (
            f"has {head.bits} bits a sample ({head.dtype}: {held.min} to {held.max}), which do not hold the task's "
            f"range = {shown(spec.range)}. Save it as the others are, or train with the range that its values have"
        )
    return ""


def shown(limits: tuple[float, float]) -> str:
    """Return a range as a recipe has it."""
    return f"[{limits[0]:.9g}, {limits[1]:.9g}]"


def _channels(head: Head) -> str:
    return f"{head.samples} channel{'s' * (head.samples > 1)}{', one of them alpha' if head.alpha else ''}"


def check_size(head: Head, most: int) -> None:
    """Raise DataError for a picture of more pixels than `most`, or of more than MAX_BYTES bytes."""
    if head.height * head.width > most:
        raise DataError(f"has {head.width} x {head.height} pixels, more than {most:,}. Scale it down or cut it up.")
    need = head.height * head.width * head.samples * head.dtype.itemsize
    if need > MAX_BYTES:
        raise DataError(f"takes {need:,} bytes when read, more than {MAX_BYTES:,}. Scale it down or cut it up.")


# ---- .npy ----


def head_npy(file: BinaryIO) -> Head:
    """Read the header of a `.npy` file; DataError for what is no picture, or of another length than its header says."""
    shape, _, dtype = _npy_header(file)
    if dtype.hasobject or dtype.kind not in "uif":
        raise DataError(f"holds {dtype}, which are no pixels. Save the array as uint8, uint16 or float32.")
    if len(shape) not in (2, 3) or 0 in shape:
        raise DataError(f"holds an array of shape {shape}, which is no picture. Save one as {_READ}.")
    begin, end = file.tell(), file.seek(0, 2)
    if math.prod(shape) * dtype.itemsize != end - begin:
        what = "is truncated" if math.prod(shape) * dtype.itemsize > end - begin else "is longer than its header says"
        raise DataError(f"{what}. Replace the file or remove it.")
    height, width, samples = (*shape, 1)[:3]
    return Head(height, width, samples, False, dtype.newbyteorder("="))


def read_npy(file: BinaryIO) -> np.ndarray:
    """Read the array of a file that `head_npy` has passed, H × W × C; nothing in it is ever run."""
    file.seek(0)
    array = np.lib.format.read_array(file, allow_pickle=False)
    return np.ascontiguousarray(array if array.ndim == 3 else array[..., None], dtype=array.dtype.newbyteorder("="))


def _npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    file.seek(0)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise DataError(f"is .npy of version {version[0]}.{version[1]}, which no plain array needs. Save it anew.")


# ---- TIFF ----


def head_tiff(file: BinaryIO) -> tuple[Head, ImageFileDirectory_v2]:
    """Read the directory of a TIFF's first picture, whatever its pixels are; sizes are as stored, not yet turned."""
    file.seek(0)
    start = file.read(8)
    if start[:4] == b"MM\0\x2b":  # of which Pillow, and OpenCV, know nothing
        raise DataError("is a BigTIFF of big-endian order, which is not read here. Save it as plain TIFF.")
    if start[2:3] == b"\x2b":  # BigTIFF
        start += file.read(8)
    tags = ImageFileDirectory_v2(start)
    file.seek(tags.next)
    tags.load(file)
    samples = int(tags.get(277, 1))
    bits, kind = tags.get(258, (1,)), tags.get(339, (1,))
    if len(set(bits)) != 1 or len(set(kind)) != 1:
        raise DataError(f"has channels of different kinds ({bits} bits). Save them all with the same.")
    alpha = tags.get(338, ())[:1] in ((1,), (2,)) and len(tags.get(338, ())) == 1
    samples = 3 if tags.get(262) in (3, 5) else samples  # a palette's colours; CMYK becomes RGB
    letter = {1: "u", 2: "i", 3: "f", 4: "u"}.get(kind[0], "")
    size = max(1, -(-bits[0] // 8))
    if size not in (1, 2, 4, 8) or not letter or (letter == "f" and size == 1):
        raise DataError(f"has pixels of a kind that is not understood ({bits[0]} bits). Save it with 8, 16 or 32.")
    return Head(int(tags[257]), int(tags[256]), samples, alpha, np.dtype(f"{letter}{size}")), tags


def beyond(head: Head, tags: ImageFileDirectory_v2, channels: int | None) -> bool:
    """Whether a TIFF is one that neither Pillow nor OpenCV reads right, when asked for so many channels.

    These are: channels that are no colours, colours in float, integers but for 8 and 16 bits, 16 bits channel by
    channel or by Zstandard, 16-bit grey with alpha.
    """
    bits, extra = tags.get(258, (1,))[0], tags.get(338, ())
    if tags.get(262) not in (1, 2) or bits not in (8, 16, 32, 64):
        return False
    if head.samples not in (1, 3) and not (head.samples in (2, 4) and head.alpha):
        return not (head.samples == 4 and extra == (0,) and channels != 4 and tags.get(262) == 2)
    if head.dtype == np.uint8:
        return False
    if head.dtype == np.uint16:
        return (tags.get(284, 1) == 2 and head.samples > 1) or head.samples == 2 or tags.get(259) == 50000
    return not (head.dtype == np.float32 and head.samples == 1)


def check_compression(tags: ImageFileDirectory_v2, *, ours: bool) -> None:
    """Raise DataError for a TIFF whose compression is not read; ours: by tifffile, and not by Pillow or OpenCV."""
    found = tags.get(259, 1)
    known = not ours or found in (1, 32773, *_DEFLATE) or found in _CODECS
    if not known or found in _UNREAD:
        name = _UNREAD.get(found, f"method {found}")
        raise DataError(f"is compressed by {name}, which is not read here. Save it uncompressed, or deflated.")
    name = _CODECS.get(found, "a floating-point predictor" if tags.get(317) == 3 else "")
    if ours and name and importlib.util.find_spec("imagecodecs") is None:
        raise DataError(
            f"is compressed by {name}, which takes imagecodecs to read. Run: pip install imagecodecs; or save it "
            "uncompressed, or deflated."
        )


def read_tiff(file: BinaryIO, head: Head, tags: ImageFileDirectory_v2) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode a TIFF of any number of channels with tifffile: (H × W × C, alpha H × W or None), as stored.

    DataError for what is truncated, holds more than its header says, or is compressed in a way that is not read.
    """
    import tifffile  # 0.1 s, spared wherever pictures are pictures

    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)  # what it says goes to the terminal otherwise
    if tags.next:
        raise DataError(f"holds several pictures (pages). {PAGES}.")
    if tags.get(338, ())[:1] == (1,):
        raise DataError("has colours multiplied by alpha. Save it with straight alpha.")
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        _check_segments(file, page)
        array = page.asarray()
    if page.planarconfig == 2 and head.samples > 1:
        array = np.moveaxis(array.reshape(head.samples, head.height, head.width), 0, -1)
    array = array.reshape(head.height, head.width, head.samples)
    return (array[..., :-1], array[..., -1]) if head.alpha else (array, None)


def _check_segments(file: BinaryIO, page: Any) -> None:
    """Raise DataError unless the strips or tiles of a page are there, whole, and no larger than they should be."""
    each = math.prod(page.chunks) * page.dtype.itemsize
    total = page.imagelength * page.imagewidth * page.samplesperpixel * page.dtype.itemsize
    end = file.seek(0, 2)
    places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if len(places) * each > max(4 * total, 1 << 26):
        raise DataError("has tiles far larger than its picture. Replace the file or remove it.")
    if len(places) * each < total or any(not 0 < count <= end - at for at, count in places):
        raise DataError("is truncated. Replace the file or remove it.")
    held = 0
    for at, count in places:  # of which tifffile would inflate a bomb, and fill up a short one with zeros
        file.seek(at)
        count = count if page.compression == 1 else _unpacked(file.read(count), page.compression, each + 1)
        if count > each and page.compression != 1:
            raise DataError("holds more than its header says. Replace the file or remove it.")
        held += count
    if held < total:
        raise DataError("is truncated. Replace the file or remove it.")


def _unpacked(data: bytes, compression: int, most: int) -> int:
    """Return the length of a strip or tile when decompressed, of which at most `most` bytes are made."""
    if compression in _DEFLATE:
        return len(zlib.decompressobj().decompress(data, most))
    import tifffile

    return len(tifffile.TIFF.DECOMPRESSORS[compression](data, out=most))  # PackBits is at most 64 times as long


def write_npy(pixels: np.ndarray) -> bytes:
    """Encode H × W or H × W × C as `.npy`."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(pixels), allow_pickle=False)
    return buffer.getvalue()


def scale(pixels: npt.NDArray[Any], stored: np.dtype[Any], spec: ImageSpec | None) -> np.ndarray:
    """Bring stored values to those of picture space: integers as they are, or float32 in [0, 1] by the task's range.

    DataError, with the values found, for what lies outside the range, and for integers of which nothing says it.
    """
    limits = spec.range if spec else None
    known = stored in (np.uint8, np.uint16)
    if known and limits in (None, (0, np.iinfo(stored).max)):
        return pixels
    low, high = map(float, (pixels.min(), pixels.max()))
    if not (math.isfinite(low) and math.isfinite(high)):
        count = pixels.size - np.count_nonzero(np.isfinite(pixels))
        raise DataError(
            f"holds {count:,} values that are NaN or infinite, of {pixels.size:,}. Replace them by numbers "
            "(numpy.nan_to_num), or leave the picture out."
        )
    if limits is None:
        if stored.kind != "f":
            raise DataError(
                f"holds {stored} samples from {low:.9g} to {high:.9g}, of which nothing says the range. Save it "
                "with 16 bits, or state it: range = [LOW, HIGH] of the task."
            )
        if not (low >= 0 and high <= 1):
            raise DataError(
                f"has float values outside 0 ... 1 ({low:.6g} to {high:.6g}). Scale it to that range, or state "
                "another: range = [LOW, HIGH] of the task."
            )
        return pixels
    if not (low >= limits[0] and high <= limits[1]):
        raise out_of_range(low, high, limits)
    wide: npt.NDArray[Any] = pixels.astype(np.float64 if stored.itemsize > 2 else np.float32)
    scaled: npt.NDArray[Any] = (wide - limits[0]) / (limits[1] - limits[0])
    return scaled.astype(np.float32)


def depth(spec: ImageSpec, given: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which a picture of this kind is written: as the task says, or else as the input was given.

    Integers of the input are kept where the range fits into them; all else is float32.
    """
    whole = spec.range is not None and all(float(limit).is_integer() for limit in spec.range)
    if spec.bits is not None:
        signed = spec.range is not None and spec.range[0] < 0
        return np.dtype(np.float32 if spec.bits == 32 else f"{'int' if signed else 'uint'}{spec.bits}")
    if spec.range is None:
        return given if given in (np.uint8, np.uint16) else np.dtype(np.float32)
    if given.kind in "iu" and whole and np.iinfo(given).min <= spec.range[0] < spec.range[1] <= np.iinfo(given).max:
        return given
    return np.dtype(np.float32)


def unscale(pixels: np.ndarray, dtype: np.dtype[Any], limits: tuple[float, float] | None) -> np.ndarray:
    """Bring float pixels in [0, 1] to values of a range, by default all that the integers have; rounded, not cut."""
    if limits is None:
        limits = (0, 1 if dtype.kind == "f" else np.iinfo(dtype).max)
    values = limits[0] + pixels.astype(np.float64) * (limits[1] - limits[0])
    return (values if dtype.kind == "f" else np.rint(values)).astype(dtype)


def exif_orientation(tags: ImageFileDirectory_v2) -> int:
    """Return the orientation that a TIFF's directory states, 1 ... 8."""
    found = tags.get(274, 1)
    return found if found in range(1, 9) else 1


def png_dtype(header: bytes) -> np.dtype[Any]:
    """Return the type of a PNG's samples from its first 26 bytes."""
    (depth,) = struct.unpack_from("B", header, 24)
    return np.dtype(np.uint16 if depth == 16 else np.uint8)
