"""What `i2i.images` promises of reading, writing, padding and contact sheets, each with a file that would break it."""

from __future__ import annotations

import io
import os
import pickle
import resource
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from i2i import images
from i2i.errors import DataError, DivergedError, ResourceError, UsageError

RNG = np.random.default_rng(0)
PHOTO = np.dstack([*np.mgrid[:40, :54], np.add.outer(np.arange(40), np.arange(54))]).astype(np.uint8) * 2
GREY = PHOTO[..., 2]
NOISE = RNG.integers(0, 256, (40, 54, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (20, 31, 3), dtype=np.uint16)
RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pil_bytes(array: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, kind: int, rows: bytes, extra: bytes = b"", after: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + extra + body + after + chunk(b"IEND", b"")


def tiff(array: np.ndarray, order: str = "<", **tags: object) -> bytes:
    """An uncompressed TIFF; further tags as t274=6."""
    samples = array.shape[2] if array.ndim == 3 else 1
    directory = ImageFileDirectory_v2(prefix=b"II" if order == "<" else b"MM")
    data = array.astype(array.dtype.newbyteorder(order)).tobytes()
    bits = (array.dtype.itemsize * 8,) * samples
    values = {256: array.shape[1], 257: array.shape[0], 258: bits, 259: 1, 262: 2 if samples > 2 else 1, 273: 0}
    values |= {277: samples, 278: array.shape[0], 279: len(data)} | ({338: (2,)} if samples == 4 else {})
    for tag, value in (values | {int(name[1:]): value for name, value in tags.items()}).items():
        directory[tag] = value
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return start + directory.tobytes(8) + data


def grey_profile(gamma: float) -> bytes:
    """The smallest ICC profile of a grey space."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    white = fixed(0.9642, 1, 0.8249)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    table = struct.pack(">I4sII4sII", 2, b"wtpt", 156, 20, b"kTRC", 176, len(curve))
    head = struct.pack(">II", 192, 0) + b"\x02\x40\0\0mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28) + white
    return head.ljust(128, b"\0") + table + b"XYZ \0\0\0\0" + white + curve


# ---- reading: what is refused ----


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("text.png", b"This is a text file, not a picture.\n", "is not a PNG, JPEG, WebP, BMP or TIFF picture"),
        ("empty.jpg", b"", "is empty"),
        ("short.png", b"\x89PNG\r\n\x1a\n", "cannot be read"),
        ("script.png", pil_bytes(PHOTO, "EPS"), "is not a PNG"),
        ("animal.png", pil_bytes(PHOTO, "GIF"), "is not a PNG"),
        ("half.jpg", pil_bytes(NOISE, "JPEG")[:-200], "image file is truncated"),
        ("half.webp", pil_bytes(PHOTO, "WEBP")[:-20], "cannot be read"),
        ("half.bmp", pil_bytes(PHOTO, "BMP")[:-200], "image file is truncated"),
        ("half.tif", pil_bytes(PHOTO, "TIFF")[:-200], "image file is truncated"),
        ("half16.tif", tiff(DEEP)[:-200], "damaged or incomplete"),
        ("half.png", pil_bytes(PHOTO, "PNG")[:-30], "is truncated"),
        ("no_end.png", pil_bytes(PHOTO, "PNG")[:-12], "is truncated"),
        ("rows.png", png(8, 8, 8, 0, bytes(9 * 4)), "damaged or incomplete"),
        ("iphone.png", png(8, 8, 8, 0, bytes(72), chunk(b"CgBI", b"")), "'CgBI'"),
        ("moving.webp", pil_bytes(PHOTO, "WEBP", save_all=True, append_images=[Image.new("RGB", (54, 40))]), "several"),
        ("moving.png", pil_bytes(PHOTO, "PNG", save_all=True, append_images=[Image.new("RGB", (54, 40))]), "several"),
        ("pages.tif", pil_bytes(PHOTO, "TIFF", save_all=True, append_images=[Image.new("L", (5, 5))]), "several"),
        ("lab.tif", tiff(PHOTO, t262=8), "not understood"),
        ("wide.tif", tiff(DEEP[..., 0].astype(np.uint32)), "nothing says the range"),
        ("bright.tif", tiff(np.float32([[0, 1.5]]), t339=(3,)), "outside 0 ... 1"),
        ("nan.tif", tiff(np.float32([[0, np.nan]]), t339=(3,)), "NaN or infinite"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_refused_with_path_reason_and_remedy(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    path = put(tmp_path / name, data)
    with pytest.raises(DataError) as caught:
        images.read(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert reason in text
    assert text.endswith(".")
    assert any(verb in text for verb in ("Replace", "Save", "Scale"))


def test_bomb_is_refused_from_the_header(tmp_path: Path) -> None:
    bomb = png(20_000, 20_000, 16, 2, b"")  # 2.4 GB if anything were to decode it
    path = put(tmp_path / "bomb.png", bomb)
    for function in (images.read, images.size, images.read_index):
        with pytest.raises(DataError, match="20000 x 20000 pixels, more than 200,000,000"):
            function(path)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")  # opening it would wait for ever
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "pipe.png", tmp_path / "folder.png", Path("/dev/zero")):
        with pytest.raises(DataError, match="not a regular file"):
            images.read(path)
    put(tmp_path / "real.png", pil_bytes(PHOTO, "PNG"))
    assert images.list_images(tmp_path) == [tmp_path / "pipe.png", tmp_path / "real.png"]  # to be told by name


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    put(tmp_path / "house.png", pil_bytes(PHOTO, "PNG"))
    with pytest.raises(DataError, match=r"hause\.png: there is no such file\. Did you mean 'house\.png'\?"):
        images.read(tmp_path / "hause.png")


@pytest.mark.parametrize("kind", ["rgb", "palette", "16-bit"])
def test_no_damage_to_a_png_goes_unseen(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.png"
    if kind == "16-bit":
        images.write(path, DEEP, alpha=DEEP[..., 0], icc=SRGB)
    else:
        image = Image.fromarray(PHOTO) if kind == "rgb" else Image.fromarray(PHOTO).quantize(64)
        put(path, pil_bytes(image, "PNG", **({"transparency": 3} if kind == "palette" else {})))
    whole, good, refused = path.read_bytes(), images.read(path), 0
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(RNG.integers(1, 4)):
            data[RNG.integers(len(data))] ^= 1 << RNG.integers(8)
        try:
            read = images.read(put(path, bytes(data)))
        except DataError:
            refused += 1
            continue
        assert np.array_equal(read.pixels, good.pixels)
        assert (read.alpha is None and good.alpha is None) or np.array_equal(read.alpha, good.alpha)
        assert read.icc == good.icc
    assert refused > 190
    assert capfd.readouterr().err == ""  # libpng has nothing to complain of: damage is found before


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 2}])
def test_no_truncation_of_a_jpeg_goes_unseen(tmp_path: Path, options: dict[str, object]) -> None:
    data = pil_bytes(NOISE, "JPEG", **options)
    for end in [*range(0, len(data) - 2, 23), len(data) - 2, len(data) - 1]:
        with pytest.raises(DataError):
            images.read(put(tmp_path / "a.jpg", data[:end]))
    zeros = put(tmp_path / "a.jpg", data[:-300] + bytes(300))  # a download that stopped
    with pytest.raises(DataError, match="truncated"):
        images.read(zeros)


# ---- reading: what is understood ----


def test_grey_and_rgb_as_they_are_and_as_asked(tmp_path: Path) -> None:
    color, grey = put(tmp_path / "c.png", pil_bytes(PHOTO, "PNG")), put(tmp_path / "g.png", pil_bytes(GREY, "PNG"))
    assert np.array_equal(images.read(color).pixels, PHOTO)
    assert np.array_equal(images.read(grey).pixels, GREY[..., None])
    assert np.array_equal(images.read(grey, channels=3).pixels, np.dstack([GREY] * 3))
    luma = images.read(color, channels=1).pixels
    assert luma.shape == (40, 54, 1)
    assert np.abs(luma[..., 0] - PHOTO @ [0.299, 0.587, 0.114]).max() <= 0.51
    with pytest.raises(DataError, match=r"c.png: has 3 channel\(s\), and 2 are wanted"):
        images.read(color, channels=2)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_come_back_bit_for_bit(tmp_path: Path, name: str) -> None:
    for number, pixels in enumerate((RAMP, DEEP, np.dstack([RAMP, RAMP.T, RAMP[::-1]]))):
        path = tmp_path / f"{number}{name}"
        images.write(path, pixels)
        picture = images.read(path)
        assert picture.pixels.dtype == np.uint16
        assert picture.bits == 16
        assert np.array_equal(picture.pixels.squeeze(), pixels)
        same = images.to_pixels(images.to_tensor(picture.pixels), bits=16)
        assert np.array_equal(same, picture.pixels)
    grey = images.read(tmp_path / f"0{name}", channels=3)  # not nearly white, as Pillow's conversion is
    assert np.array_equal(grey.pixels[..., 1], RAMP)
    luma = images.read(tmp_path / f"1{name}", channels=1).pixels
    assert np.abs(luma[..., 0] - DEEP @ [0.299, 0.587, 0.114]).max() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_is_applied_once(tmp_path: Path, kind: str, orientation: int) -> None:
    path = put(tmp_path / f"a.{kind.lower()}", pil_bytes(PHOTO, kind, exif=oriented(orientation)))
    with Image.open(path) as image:
        upright = np.array(ImageOps.exif_transpose(image))
    assert np.array_equal(images.read(path).pixels, upright)
    assert images.size(path) == upright.shape[:2] == ((54, 40) if orientation >= 5 else (40, 54))
    if kind in ("PNG", "TIFF"):
        grey = put(path, pil_bytes(GREY, kind, exif=oriented(orientation)))
        assert np.array_equal(images.read_index(grey), images.read(grey).pixels[..., 0])


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_of_a_deep_tiff(tmp_path: Path, order: str, orientation: int) -> None:
    path = put(tmp_path / "a.tif", tiff(DEEP, order, t274=orientation))
    turned = pil_bytes((DEEP >> 8).astype(np.uint8), "PNG", exif=oriented(orientation))
    with Image.open(io.BytesIO(turned)) as image:
        upright = np.array(ImageOps.exif_transpose(image))
    assert np.array_equal(images.read(path).pixels >> 8, upright)
    assert images.size(path) == upright.shape[:2]
    big = pil_bytes(DEEP[..., 0], "TIFF", big_tiff=True, exif=oriented(orientation))
    assert np.array_equal(images.read(put(path, big)).pixels[..., 0] >> 8, upright[..., 0])


def test_orientation_behind_the_pixels_of_a_png(tmp_path: Path) -> None:
    exif = oriented(6).tobytes().removeprefix(b"Exif\0\0")
    path = put(tmp_path / "a.png", png(3, 2, 8, 0, b"\0\1\2\3\0\4\5\6", after=chunk(b"eXIf", exif)))
    assert images.size(path) == (3, 2)
    assert images.read(path).pixels[..., 0].tolist() == [[4, 1], [5, 2], [6, 3]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_split_off(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind.lower()}"
    picture = images.read(put(path, pil_bytes(np.dstack([PHOTO, GREY]), kind, lossless=True, exact=True)))
    assert np.array_equal(picture.pixels, PHOTO)
    assert np.array_equal(picture.alpha, GREY)
    if kind != "WEBP":
        picture = images.read(put(path, pil_bytes(np.dstack([GREY, PHOTO[..., 0]]), kind)))
        assert np.array_equal(picture.pixels[..., 0], GREY)
        assert np.array_equal(picture.alpha, PHOTO[..., 0])


def test_alpha_of_a_deep_tiff(tmp_path: Path) -> None:
    color, alpha = DEEP, np.maximum(DEEP[::-1, :, 0], 6554)
    straight = images.read(put(tmp_path / "a.tif", tiff(np.dstack([color, alpha]))))
    assert np.array_equal(straight.pixels, color)
    assert np.array_equal(straight.alpha, alpha)
    product = np.rint(color * (alpha[..., None] / 65535)).astype(np.uint16)
    multiplied = images.read(put(tmp_path / "a.tif", tiff(np.dstack([product, alpha]), t338=(1,))))
    assert np.abs(multiplied.pixels.astype(int) - color).max() <= 5
    assert np.array_equal(multiplied.alpha, alpha)
    other = images.read(put(tmp_path / "a.tif", tiff(np.dstack([color, alpha]), t338=(0,))))  # a channel of no meaning
    assert np.array_equal(other.pixels, color)
    assert other.alpha is None


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_transparent_grey_value_of_a_png(tmp_path: Path, depth: int) -> None:
    rows = b"\0" + bytes([0b0110_1100]) * 8
    data = png(8 // depth or 4, 1, depth, 0, rows[: 9 if depth > 8 else 2], chunk(b"tRNS", struct.pack(">H", 1)))
    picture = images.read(put(tmp_path / "a.png", data))
    samples = images.read_index(tmp_path / "a.png")
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha == 0, samples == 1)
    assert picture.alpha.max() in (0 if (samples == 1).all() else np.iinfo(samples.dtype).max,)
    assert samples.max() < 2**depth


def test_transparent_colour_and_palette_of_a_png(tmp_path: Path) -> None:
    key = tuple(int(v) for v in PHOTO[3, 4])
    picture = images.read(put(tmp_path / "a.png", pil_bytes(PHOTO, "PNG", transparency=key)))
    assert np.array_equal(picture.alpha == 0, (key == PHOTO).all(axis=2))
    palette = Image.fromarray(PHOTO).quantize(16)
    picture = images.read(put(tmp_path / "b.png", pil_bytes(palette, "PNG")))
    assert picture.alpha is None
    assert np.array_equal(picture.pixels, np.array(palette.convert("RGB")))
    picture = images.read(put(tmp_path / "c.png", pil_bytes(palette, "PNG", transparency=bytes(range(100, 116)))))
    assert np.array_equal(picture.pixels, np.array(palette.convert("RGB")))
    assert np.array_equal(picture.alpha, np.array(palette) + 100)


def test_one_bit_cmyk_and_other_kinds(tmp_path: Path) -> None:
    bits = GREY > 80
    for kind in ("PNG", "TIFF", "BMP"):
        picture = images.read(put(tmp_path / "a", pil_bytes(bits, kind)))
        assert np.array_equal(picture.pixels[..., 0], bits * 255)
    cmyk = Image.fromarray(PHOTO).convert("CMYK")
    for kind in ("JPEG", "TIFF"):
        data = pil_bytes(cmyk, kind)
        picture = images.read(put(tmp_path / "a", data))
        assert np.array_equal(picture.pixels, np.array(Image.open(io.BytesIO(data)).convert("RGB")))
        assert picture.icc is None
    profiled = put(tmp_path / "a", pil_bytes(cmyk, "JPEG", icc_profile=b"x" * 200))
    with pytest.warns(UserWarning, match="does not fit"):
        assert images.read(profiled).icc is None  # it describes CMYK, and the pixels are RGB now
    white_is_zero = images.read(put(tmp_path / "a", tiff(DEEP[..., 0], t262=0)))
    assert np.array_equal(white_is_zero.pixels[..., 0], 65535 - DEEP[..., 0])
    values = (DEEP[..., 0] / 65535).astype(np.float32)
    images.write(tmp_path / "f.tif", values)
    assert np.array_equal(images.read(tmp_path / "f.tif").pixels[..., 0], values)
    assert images.read(tmp_path / "f.tif", channels=3).pixels.dtype == np.float32


def test_a_phone_jpeg_with_a_second_picture_gives_the_first(tmp_path: Path) -> None:
    data = pil_bytes(PHOTO, "MPO", save_all=True, append_images=[Image.new("RGB", (5, 5))])
    assert images.read(put(tmp_path / "a.jpg", data)).pixels.shape == PHOTO.shape


def test_pixels_are_writable_and_pickle(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.tif"):
        images.write(tmp_path / name, GREY)
        picture = pickle.loads(pickle.dumps(images.read(tmp_path / name)))
        picture.pixels[0] = 0


# ---- colour profiles ----


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_profile_is_kept(tmp_path: Path, name: str) -> None:
    for pixels in (PHOTO, DEEP) if name in ("a.png", "a.tif") else (PHOTO,):
        images.write(tmp_path / name, pixels, icc=SRGB, overwrite=True)
        assert images.read(tmp_path / name).icc == SRGB
        with Image.open(tmp_path / name) as image:  # and others see it
            assert image.info["icc_profile"] == SRGB


def test_profile_is_converted_where_the_channels_change(tmp_path: Path) -> None:
    profile, path = grey_profile(1.0), tmp_path / "a.png"  # linear light: its 51 is sRGB's 123
    images.write(path, np.full((2, 2), 51, np.uint8), icc=profile)
    assert images.read(path).icc == profile
    picture = images.read(path, channels=3)
    assert picture.icc is None
    assert np.unique(picture.pixels).tolist() == [123]
    images.write(tmp_path / "deep.png", np.full((2, 2), 51, np.uint16), icc=profile)
    with pytest.warns(UserWarning, match="not applied to 16-bit"):
        assert images.read(tmp_path / "deep.png", channels=3).icc is None
    images.write(tmp_path / "broken.png", GREY, icc=b"x" * 200)
    with pytest.warns(UserWarning, match="does not fit its picture"):
        broken = images.read(tmp_path / "broken.png", channels=3)
    assert np.array_equal(broken.pixels[..., 0], GREY)


# ---- class maps ----


def test_indices_of_a_palette_png_are_not_its_colours(tmp_path: Path) -> None:
    index = RNG.integers(0, 12, (9, 13), dtype=np.uint8)
    palette = RNG.integers(0, 256, (12, 3), dtype=np.uint8)
    images.write(tmp_path / "a.png", index, palette=palette)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
    assert np.array_equal(images.read_index(tmp_path / "a.png"), index)
    assert np.array_equal(images.read(tmp_path / "a.png").pixels, palette[index])
    few = Image.fromarray(index % 4).convert("P")
    few.putpalette(palette[:4].tobytes())  # Pillow writes it with 2 bits
    assert np.array_equal(images.read_index(put(tmp_path / "b.png", pil_bytes(few, "PNG"))), index % 4)
    with pytest.raises(UsageError, match="indices go up to 11, the palette to 4"):
        images.write(tmp_path / "c.png", index, palette=palette[:5])


def test_indices_of_grey_files(tmp_path: Path) -> None:
    for name, index in {"a.png": GREY, "b.png": DEEP[..., 0], "c.tif": GREY, "d.tif": DEEP[..., 0]}.items():
        images.write(tmp_path / name, index)
        read = images.read_index(tmp_path / name)
        assert read.dtype == index.dtype
        assert np.array_equal(read, index)
    for kind in ("PNG", "TIFF"):
        mask = images.read_index(put(tmp_path / "mask", pil_bytes(GREY > 80, kind)))
        assert mask.dtype == np.uint8
        assert np.array_equal(mask, GREY > 80)
    assert images.read_index(put(tmp_path / "e.png", png(4, 1, 2, 0, b"\0\x1b"))).tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (pil_bytes(PHOTO, "PNG"), "must be single-channel, and this file is RGB"),
        (pil_bytes(np.dstack([GREY, GREY]), "PNG"), "must be single-channel, and this file is LA"),
        (pil_bytes(GREY, "JPEG"), "must be a PNG or TIFF"),
        (pil_bytes(GREY, "PNG")[:-20], "is truncated"),
    ],
    ids=["rgb", "alpha", "jpeg", "truncated"],
)
def test_what_is_no_class_map(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        images.read_index(put(tmp_path / "a.png", data))


# ---- folders ----


def test_list_is_natural_recursive_and_only_of_images(tmp_path: Path) -> None:
    for name in ("b10.PNG", "b2.png", "a/10.jpeg", "a/9.tiff", ".hidden.png", ".git/x.png", "notes.txt", "c.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        put(tmp_path / name, b"x")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "z").symlink_to(tmp_path / "a" / "9.tiff")
    (tmp_path / "z.png").symlink_to(tmp_path / "gone.png")
    found = [path.relative_to(tmp_path).as_posix() for path in images.list_images(tmp_path)]
    assert found == ["a/9.tiff", "a/10.jpeg", "b2.png", "b10.PNG", "z.png"]


def test_folders_that_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=r"photoz/train: there is no such folder\. Did you mean 'photos'\?"):
        images.list_images(tmp_path / "photoz" / "train")
    with pytest.raises(DataError, match=r"holds no pictures.*\.bmp, \.jpeg, \.jpg, \.npy, \.png"):
        images.list_images(tmp_path / "photos")
    file = put(tmp_path / "a.png", b"")
    with pytest.raises(DataError, match=f"is a file, not a folder. Give the folder that holds it: {tmp_path}"):
        images.list_images(file)


def test_sizes_names_a_few_of_many_broken(tmp_path: Path) -> None:
    good = put(tmp_path / "good.png", pil_bytes(PHOTO, "PNG"))
    broken = [put(tmp_path / f"{i}.png", b"x") for i in range(25)]
    sizes, lines = images.sizes([*broken, good])
    assert sizes == {good: (40, 54)}
    (line,) = lines
    assert line.startswith(f"{broken[0]}, 1.png, 2.png, 3.png, 4.png and 20 more pictures: each is not a PNG")
    for path in broken:  # each with a sentence of its own
        path.unlink()
        path.symlink_to(f"nowhere-{path.name}")
    lines = images.sizes(broken)[1]
    assert lines[0] == f"{broken[0]}: is a link to nowhere-0.png, which is not there. Mend the link or remove it."
    assert lines[10:] == ["... and 15 more such lines."]


# ---- writing ----


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_alpha_is_written(tmp_path: Path, name: str) -> None:
    images.write(tmp_path / name, PHOTO, alpha=GREY)
    assert np.array_equal(images.read(tmp_path / name).alpha, GREY)
    if name != "a.webp":
        images.write(tmp_path / name, DEEP[..., 0], alpha=DEEP[..., 1], overwrite=True)
        picture = images.read(tmp_path / name)
        assert picture.channels == (1 if name == "a.tif" else 3)  # no library writes or reads it as grey PNG
        assert np.array_equal(picture.pixels[..., -1], DEEP[..., 0])
        assert np.array_equal(picture.alpha, DEEP[..., 1])


@pytest.mark.parametrize(
    ("name", "pixels", "options", "reason"),
    [
        ("a.gif", PHOTO, {}, "'.gif' is not the name of an image format"),
        ("a.jpg", DEEP, {}, "holds 8 bits"),
        ("a.jpg", PHOTO, {"alpha": GREY}, "holds no alpha"),
        ("a.bmp", PHOTO, {"icc": SRGB}, "holds no colour profile"),
        ("a.png", GREY, {"icc": SRGB}, "not of the kind of the pixels"),
        ("a.png", PHOTO, {"icc": grey_profile(2.2)}, "not of the kind of the pixels"),
        ("a.png", PHOTO, {"alpha": GREY[1:]}, "alpha must have the size"),
        ("a.png", GREY / np.float32(255), {}, "holds no float32"),
        ("a.png", PHOTO[..., :2], {}, "neither grey nor RGB"),
        ("a.png", GREY.astype(np.int64), {}, "holds no int64"),
        ("a.jpg", GREY, {"palette": PHOTO[0]}, "stored as .png only"),
        ("a.webp", np.zeros((1, 20000, 3), np.uint8), {}, "cannot be stored in this format"),
    ],
)
def test_what_a_format_cannot_hold(
    tmp_path: Path, name: str, pixels: np.ndarray, options: dict[str, np.ndarray], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        images.write(tmp_path / name, pixels, **options)
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_not_overwritten_unasked(tmp_path: Path) -> None:
    images.write(tmp_path / "sub" / "a.png", GREY)  # the folder is made
    with pytest.raises(UsageError, match=r"a\.png: exists already\. Allow overwriting \(--overwrite\)"):
        images.write(tmp_path / "sub" / "a.png", PHOTO)
    assert images.read(tmp_path / "sub" / "a.png").channels == 1
    images.write(tmp_path / "sub" / "a.png", PHOTO, overwrite=True)
    assert images.read(tmp_path / "sub" / "a.png").channels == 3


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    put(tmp_path / "file", b"")
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "file" / "a.png", tmp_path / "folder.png", tmp_path / ("n" * 300 + ".png")):
        with pytest.raises(ResourceError, match=r"cannot be written: .+\. Choose another folder\."):
            images.write(path, PHOTO, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]
    images.write(tmp_path / ("n" * 251 + ".png"), PHOTO)  # the longest name there is


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp", "a.bmp"])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, name: str) -> None:
    noise = RNG.integers(0, 256, (100, 100, 3), dtype=np.uint8)
    images.write(tmp_path / name, PHOTO)
    before = (tmp_path / name).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))  # a write past 500 bytes fails, as on a full disk
    try:
        with pytest.raises(ResourceError, match="cannot be written"):
            images.write(tmp_path / name, noise, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == before


def test_files_get_the_usual_permissions(tmp_path: Path) -> None:
    images.write(tmp_path / "a.png", GREY)
    plain = put(tmp_path / "b", b"")
    assert (tmp_path / "a.png").stat().st_mode == plain.stat().st_mode


def test_lossy_files_keep_fine_colour(tmp_path: Path) -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2], stripes[:, 1::2] = (200, 40, 40), (40, 40, 200)
    images.write(tmp_path / "a.jpg", stripes)
    assert np.abs(images.read(tmp_path / "a.jpg").pixels.astype(int) - stripes).mean() < 5  # 49 at half the resolution
    halves = np.full((32, 64, 3), 200, np.uint8)
    halves[:, 32:] = 40
    images.write(tmp_path / "a.webp", halves, alpha=np.zeros((32, 64), np.uint8))
    hidden = images.read(tmp_path / "a.webp").pixels.astype(int)  # what is transparent keeps its colour
    assert np.abs(hidden - halves).mean() < 5


# ---- tensors ----


def test_tensors_round_and_clamp() -> None:
    x = images.to_tensor(PHOTO)
    assert x.shape == (1, 3, 40, 54)
    assert x.dtype == torch.float32
    assert images.to_tensor(np.uint8([[0, 255]])).tolist() == [[[[0, 1]]]]
    assert np.array_equal(images.to_pixels(x), PHOTO)
    assert np.array_equal(images.to_pixels(x[0].to(torch.float64)), PHOTO)
    values = torch.tensor([[[-0.1, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1.1]]])
    assert images.to_pixels(values)[..., 0].tolist() == [[0, 0, 1, 255, 255]]
    assert images.to_pixels(values, bits=16)[0, 1, 0] == round(0.4 * 257)
    assert images.to_pixels(values, bits=32).dtype == np.float32
    with pytest.raises(DivergedError, match="NaN"):
        images.to_pixels(torch.full((1, 2, 2), torch.nan))


@pytest.mark.parametrize("side", [1, 2, 4, 5, 8, 9, 31])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.int64])
def test_padding_mirrors_or_repeats_and_crops_back(side: int, dtype: torch.dtype) -> None:
    x = torch.arange(side * 3).reshape(1, 1, side, 3).to(dtype)
    padded, hw = images.pad_to_multiple(x, 8)
    assert hw == (side, 3)
    assert padded.shape == (1, 1, -(-side // 8) * 8, 8)
    assert torch.equal(images.crop(padded, hw), x)
    assert padded[0, 0, 0].tolist() == [0, 1, 2, 2, 2, 2, 2, 2]  # 5 more beside 3: repeated
    if side == 9:
        assert padded[0, 0, :, 0].tolist() == [0, 3, 6, 9, 12, 15, 18, 21, 24, 21, 18, 15, 12, 9, 6, 3]
    if side == 8:
        assert torch.equal(padded[..., :3], x)
    longer = torch.nn.functional.pad(torch.rand(1, 2, 29, 30), (0, 2, 0, 3), mode="reflect")
    assert torch.equal(images.pad_to_multiple(longer[..., :29, :30], 32)[0], longer)


def test_one_pixel_goes_all_the_way(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.tif", "a.bmp", "a.webp"):
        images.write(tmp_path / name, np.full((1, 1, 3), 200, np.uint8))
        x, hw = images.pad_to_multiple(images.to_tensor(images.read(tmp_path / name).pixels), 256)
        assert x.shape == (1, 3, 256, 256)
        assert images.to_pixels(images.crop(x, hw)).shape == (1, 1, 3)
        assert images.size(tmp_path / name) == (1, 1)


# ---- contact sheets ----


def test_contact_sheet(tmp_path: Path) -> None:
    red = np.full((30, 40, 3), (255, 0, 0), np.uint8)
    rows = [[red, GREY, DEEP], [red[:10], np.full((5, 5, 1), 0.5, np.float32)]]
    sheet = images.contact_sheet(rows, titles=["source", "a very long title that cannot fit", "truth"], cell=64)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (18 + 4 + (64 + 4) + (48 + 4), 4 + 3 * (64 + 4), 3)
    assert (sheet[22 + 5, 4 + 5] == (255, 0, 0)).all()
    assert sheet[:22, :68].min() < 128  # something is written above the first column
    assert (sheet[:, :4] == 255).all()
    plain = images.contact_sheet([[red, red]])
    assert plain.shape == (4 + 34, 4 + 2 * 44, 3)
    assert np.array_equal(plain[4:34, 4:44], red)
    assert images.contact_sheet([[red], [red[:10]]]).shape == (4 + 34 + 14, 4 + 44, 3)  # no gap below the lower row
    assert cv2.imencode(".png", sheet)[0]
