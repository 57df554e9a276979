"""What the sources `folder` and `pairs` give, and what they say of files that do not fit together."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2i import images
from i2i.contracts import ImageSpec, Source
from i2i.errors import DataError, UsageError
from i2i.sources.folder import Folder
from i2i.sources.pairs import Pairs

RNG = np.random.default_rng(0)
PHOTO = {"photo": ImageSpec(3)}
TWO = {"a": ImageSpec(3), "b": ImageSpec(3)}
LABELS = {"photo": ImageSpec(3), "label": ImageSpec(1, classes=5, void=4)}


def picture(height: int = 6, width: int = 8, channels: int = 3) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)


def fill(root: Path, *names: str, height: int = 6, width: int = 8) -> dict[str, np.ndarray]:
    written = {name: picture(height, width) for name in names}
    for name, pixels in written.items():
        images.write(root / name, pixels)
    return written


def chw(pixels: np.ndarray) -> np.ndarray:
    return pixels.transpose(2, 0, 1)


# ---- folder ----


def test_folder_gives_every_picture_once(tmp_path: Path) -> None:
    written = fill(tmp_path, "10.png", "2.png", "sub/1.png")
    source = Folder({"photo": ImageSpec(3)}, root=tmp_path)
    assert isinstance(source, Source)
    assert len(source) == 3
    assert [source.describe(i) for i in range(3)] == [str(tmp_path / name) for name in ("2.png", "10.png", "sub/1.png")]
    sample = source[1]
    assert list(sample) == ["photo"]
    assert np.array_equal(sample["photo"], chw(written["10.png"]))
    assert sample["photo"].flags.c_contiguous
    sample["photo"][:] = 0  # it is the caller's own
    assert np.array_equal(source[1]["photo"], chw(written["10.png"]))
    assert sum(1 for _ in source) == 3
    grey = Folder({"photo": ImageSpec(1)}, root=tmp_path)[1]["photo"]
    assert grey.shape == (1, 6, 8)
    assert np.abs(grey[0] - written["10.png"] @ [0.299, 0.587, 0.114]).max() <= 0.51


def test_folder_is_for_tasks_of_one_picture(tmp_path: Path) -> None:
    fill(tmp_path, "A/1.png", "B/1.png")
    with pytest.raises(UsageError, match=r"the task asks for 2: a, b\. Use source 'pairs'"):
        Folder(TWO, root=tmp_path)


def test_folder_keeps_sixteen_bits(tmp_path: Path) -> None:
    deep = RNG.integers(0, 65536, (5, 5, 3), dtype=np.uint16)
    images.write(tmp_path / "a.tif", deep)
    assert np.array_equal(Folder({"x": ImageSpec(3)}, root=tmp_path)[0]["x"], chw(deep))
    images.write(tmp_path / "a.tif", deep[..., 0], overwrite=True)
    sample = Folder({"x": ImageSpec(1)}, root=tmp_path)[0]
    assert np.array_equal(sample["x"][0], deep[..., 0])


def test_folder_has_no_labels(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"class indices as 'label'.* Use source 'pairs'"):
        Folder({"label": LABELS["label"]}, root=tmp_path)


def test_folder_names_every_header_that_cannot_be_read(tmp_path: Path) -> None:
    fill(tmp_path, "good.png")
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        Folder({"x": ImageSpec(3)}, root=tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{tmp_path / 'empty.jpg'}: is empty")
    assert lines[1].startswith(f"{tmp_path / 'text.png'}: is not a PNG")
    assert len(lines) == 2


def test_a_damaged_body_is_named_when_its_turn_comes(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "b.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:-20])
    source = Folder({"x": ImageSpec(3)}, root=tmp_path)
    assert source[0]["x"].shape == (3, 6, 8)
    with pytest.raises(DataError, match=r"b\.png: is truncated\. Replace the file or remove it\."):
        source[1]


@pytest.mark.parametrize(("kind", "named"), [(Folder, "photo"), (Pairs, "photo/A")])
def test_a_missing_root_names_the_nearest(tmp_path: Path, kind: type, named: str) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=rf"{named}: there is no such folder\. Did you mean 'photos'\?"):
        kind(TWO if kind is Pairs else PHOTO, root=tmp_path / "photo")


# ---- pairs: two folders ----


def test_pairs_match_by_path_without_extension(tmp_path: Path) -> None:
    a = fill(tmp_path / "A", "2.png", "10.png", "x/1.b.png")
    b = fill(tmp_path / "B", "2.tif", "10.bmp", "x/1.b.PNG")
    source = Pairs(TWO, root=tmp_path)
    assert isinstance(source, Source)
    assert len(source) == 3
    assert source.describe(0) == f"{tmp_path}/A/2.png and {tmp_path}/B/2.tif"
    assert np.array_equal(source[1]["a"], chw(a["10.png"]))
    assert np.array_equal(source[1]["b"], chw(b["10.bmp"]))
    assert np.array_equal(source[2]["b"], chw(b["x/1.b.PNG"]))
    assert all(array.flags.c_contiguous for array in source[2].values())


def test_pairs_of_other_folders(tmp_path: Path) -> None:
    written = fill(tmp_path, "A/train/1.png", "B/train/1.png", "A/test/1.png", "left/1.png", "right/1.png")
    source = Pairs({"low": ImageSpec(3), "high": ImageSpec(1)}, root=tmp_path, a="A/train", b="B/train")
    assert np.array_equal(source[0]["low"], chw(written["A/train/1.png"]))
    assert source[0]["high"].shape == (1, 6, 8)
    source = Pairs(TWO, a=str(tmp_path / "B/train"), b=str(tmp_path / "A/train"))
    assert np.array_equal(source[0]["b"], chw(written["A/train/1.png"]))
    source = Pairs(TWO, root=tmp_path, a="right", b="left")  # folders of these names are folders
    assert np.array_equal(source[0]["a"], chw(written["right/1.png"]))


def test_labels_are_read_as_indices(tmp_path: Path) -> None:
    index = RNG.integers(0, 5, (6, 8), dtype=np.uint8)
    palette = RNG.integers(0, 256, (5, 3), dtype=np.uint8)
    fill(tmp_path / "A", "1.png", "2.png")
    images.write(tmp_path / "B" / "1.png", index, palette=palette)
    images.write(tmp_path / "B" / "2.png", index)
    source = Pairs(LABELS, root=tmp_path)
    for i in (0, 1):
        assert np.array_equal(source[i]["label"], index[None])
    images.write(tmp_path / "B" / "1.png", palette[index], overwrite=True)
    with pytest.raises(DataError, match=r"B/1\.png: a class map must be single-channel, and this file is RGB"):
        Pairs(LABELS, root=tmp_path)


def test_every_problem_is_in_one_error(tmp_path: Path) -> None:
    fill(tmp_path / "A", *(f"only{i}.png" for i in range(7)), "same.png", "twice.png", "twice.bmp")
    fill(tmp_path / "B", "alone.png", "same.png", "twice.png")
    fill(tmp_path / "A", "big.png", height=16)
    fill(tmp_path / "B", "big.png", height=5)
    (tmp_path / "A" / "text.png").write_text("text")
    (tmp_path / "B" / "text.png").write_text("text")
    with pytest.raises(DataError) as caught:
        Pairs(TWO, root=tmp_path)
    a, b = tmp_path / "A", tmp_path / "B"
    assert str(caught.value).splitlines() == [
        f"{a}: 1 picture has a name that another file has with another extension: twice.png. Remove one of each.",
        f"{a}: 7 pictures have no mate in {b}: only0.png, only1.png, only2.png, only3.png, only4.png and 2 more. "
        "Add mates of the same name, or remove them.",
        f"{b}: 1 picture has no mate in {a}: alone.png. Add mates of the same name, or remove them.",
        f"{a}: 1 picture has another height x width than the mate in {b}: big.png (16 x 8, not 5 x 8). "
        "Scale or crop them alike.",
        f"{a / 'text.png'}: is not a PNG, JPEG, WebP, BMP or TIFF picture nor .npy, whatever its name. "
        "Replace the file or remove it.",
        f"{b / 'text.png'}: is not a PNG, JPEG, WebP, BMP or TIFF picture nor .npy, whatever its name. "
        "Replace the file or remove it.",
    ]


def test_sizes_are_compared_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "A").mkdir()
    Image.fromarray(picture(8, 6)).save(tmp_path / "A" / "1.jpg", exif=exif)
    fill(tmp_path / "B", "1.png")
    assert Pairs(TWO, root=tmp_path)[0]["a"].shape == (3, 6, 8)


# ---- pairs: side by side ----


def test_side_by_side_either_way(tmp_path: Path) -> None:
    whole = fill(tmp_path, "1.png", "x/2.png")["1.png"]
    for source, left, right in (
        (Pairs(TWO, root=tmp_path), "a", "b"),
        (Pairs(TWO, root=tmp_path, a="left", b="right"), "a", "b"),
        (Pairs(TWO, root=tmp_path, a="right", b="left"), "b", "a"),
    ):
        assert len(source) == 2
        assert source.describe(0) == str(tmp_path / "1.png")
        assert np.array_equal(source[0][left], chw(whole[:, :4]))
        assert np.array_equal(source[0][right], chw(whole[:, 4:]))
        assert all(array.flags.c_contiguous for array in source[0].values())


def test_side_by_side_with_other_channels_and_labels(tmp_path: Path) -> None:
    index = RNG.integers(0, 5, (6, 8), dtype=np.uint8)
    images.write(tmp_path / "1.png", index, palette=picture(1, 5)[0])
    sample = Pairs(LABELS, root=tmp_path)[0]
    assert sample["photo"].shape == (3, 6, 4)
    assert np.array_equal(sample["label"], index[None, :, 4:])


def test_an_odd_width_has_no_two_halves(tmp_path: Path) -> None:
    fill(tmp_path, "1.png", "2.png")
    fill(tmp_path, "3.png", "4.png", width=9)
    (tmp_path / "5.png").write_text("text")
    with pytest.raises(DataError) as caught:
        Pairs(TWO, root=tmp_path)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{tmp_path}: 2 pictures have an odd width, and so no two halves: 3.png (9), 4.png (9). ")
    assert second.startswith(f"{tmp_path / '5.png'}: is not a PNG")


def test_other_names_than_the_defaults_are_not_side_by_side(tmp_path: Path) -> None:
    fill(tmp_path, "1.png", "B/1.png")
    with pytest.raises(DataError, match=r"/A: there is no such folder"):
        Pairs(TWO, root=tmp_path)
    with pytest.raises(DataError, match=r"/C: there is no such folder"):
        Pairs(TWO, root=tmp_path, a="C", b="D")


# ---- pairs: what cannot be asked ----


def test_pairs_are_two(tmp_path: Path) -> None:
    for specs in ({"a": ImageSpec()}, {**TWO, "c": ImageSpec()}):
        with pytest.raises(UsageError, match=rf"gives two pictures, and the task asks for {len(specs)} \(a.*'folder'"):
            Pairs(specs, root=tmp_path)
    with pytest.raises(UsageError, match="a and b are both 'A'"):
        Pairs(TWO, root=tmp_path, b="A")
    for a, b in (("A", "B"), ("left", "right"), (str(tmp_path), "B")):
        with pytest.raises(UsageError, match="give root"):
            Pairs(TWO, a=a, b=b)


@pytest.mark.parametrize("kind", [Folder, Pairs])
def test_sources_pickle(tmp_path: Path, kind: type) -> None:
    fill(tmp_path, "1.png", "2.png")
    wanted = TWO if kind is Pairs else PHOTO
    source = kind(wanted, root=tmp_path)
    copy = pickle.loads(pickle.dumps(source))
    assert len(copy) == len(source) == 2
    for i in (0, 1):
        for name in wanted:
            assert np.array_equal(copy[i][name], source[i][name])
    with pytest.raises(IndexError):
        copy[2]
