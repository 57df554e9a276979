"""The layouts of data sets, in tiny files: what belongs together is found, what does not is named, all at once."""

from pathlib import Path

import numpy as np
import pytest
from i2i_hd.folders import LabelFolders

from i2i import audit, images, recipe
from i2i.contracts import ImageSpec
from i2i.errors import DataError, UsageError

THREE = {"label": ImageSpec(1, 35), "instance": ImageSpec(1, 65536), "photo": ImageSpec()}
TWO = {"label": ImageSpec(1, 151), "photo": ImageSpec()}


def put(path: Path, value: int = 0, *, photo: bool = False, deep: bool = False, size: tuple[int, int] = (4, 6)) -> None:
    images.write(path, np.full((*size, 3) if photo else size, value, np.uint16 if deep else np.uint8))


def cityscapes(root: Path, split: str, city: str, name: str, value: int) -> None:
    fine, stem = root / "gtFine" / split / city, f"{city}_{name}"
    put(fine / f"{stem}_gtFine_labelIds.png", value)
    put(fine / f"{stem}_gtFine_instanceIds.png", 26000 + value, deep=True)
    put(fine / f"{stem}_gtFine_color.png", 9, photo=True)
    put(fine / f"{stem}_gtFine_labelTrainIds.png", 255)
    (fine / f"{stem}_gtFine_polygons.json").write_text("{}")
    put(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", value, photo=True)


def values(source: LabelFolders) -> list[dict[str, int]]:
    return [{name: int(picture[0, 0, 0]) for name, picture in source[i].items()} for i in range(len(source))]


def test_cityscapes_is_read_as_it_is_handed_out(tmp_path: Path) -> None:
    cityscapes(tmp_path, "train", "ulm", "000001_000019", 3)
    cityscapes(tmp_path, "train", "aachen", "000010_000019", 2)
    cityscapes(tmp_path, "train", "aachen", "000002_000019", 1)
    cityscapes(tmp_path, "val", "bonn", "000000_000019", 7)
    source = LabelFolders(THREE, root=tmp_path, layout="cityscapes")
    assert values(source) == [{"label": v, "instance": 26000 + v, "photo": v} for v in (1, 2, 3)]
    assert source[0]["instance"].dtype == np.uint16
    assert source[0]["photo"].shape == (3, 4, 6)
    assert "aachen_000002_000019_gtFine_labelIds.png and " in source.describe(0)
    assert values(LabelFolders(THREE, root=tmp_path, layout="cityscapes", split="val"))[0]["label"] == 7


@pytest.mark.parametrize("endings", [("", "", ""), ("_gtFine_labelIds", "_gtFine_instanceIds", "_leftImg8bit")])
def test_the_folders_of_pix2pixhd(tmp_path: Path, endings: tuple[str, str, str]) -> None:
    for stem, value in (("aachen_1", 1), ("aachen_2", 2)):
        put(tmp_path / "test_label" / f"{stem}{endings[0]}.png", value)
        put(tmp_path / "test_inst" / f"{stem}{endings[1]}.png", 60000 + value, deep=True)
        put(tmp_path / "test_img" / f"{stem}{endings[2]}.jpg", 40, photo=True)
    source = LabelFolders(THREE, root=tmp_path, split="test")
    assert [(v["label"], v["instance"]) for v in values(source)] == [(1, 60001), (2, 60002)]
    alone = LabelFolders({"label": THREE["label"]}, root=tmp_path, split="test")
    assert set(alone[0]) == {"label"}


def test_ade20k_keeps_its_zero(tmp_path: Path) -> None:
    put(tmp_path / "annotations" / "training" / "ADE_1.png", 0)
    put(tmp_path / "images" / "training" / "ADE_1.jpg", 0)  # some of its photos are grey
    source = LabelFolders(TWO, root=tmp_path, layout="ade20k", split="training")
    assert values(source) == [{"label": 0, "photo": 0}]
    assert source[0]["photo"].shape == (3, 4, 6)
    with pytest.raises(UsageError, match="'ade20k' has no picture 'instance'"):
        LabelFolders(THREE, root=tmp_path, layout="ade20k", split="training")


def test_a_name_that_is_not_there_has_a_neighbour(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no picture 'instances'\. Did you mean 'instance'"):
        LabelFolders({"instances": ImageSpec(1, 9)}, root=tmp_path)


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    for stem in ("whole", "lonely", "small", "broken"):
        put(tmp_path / "train_label" / f"{stem}.png")
        put(tmp_path / "train_inst" / f"{stem}.png", deep=True)
        put(tmp_path / "train_img" / f"{stem}.jpg", photo=True)
    (tmp_path / "train_inst" / "lonely.png").unlink()
    put(tmp_path / "train_img" / "other.jpg", photo=True)
    put(tmp_path / "train_img" / "whole_leftImg8bit.png", photo=True)
    (tmp_path / "train_img" / "small.jpg").unlink()
    put(tmp_path / "train_img" / "small.jpg", photo=True, size=(4, 5))
    (tmp_path / "train_label" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        LabelFolders(THREE, root=tmp_path)
    told = str(caught.value)
    assert len(told.splitlines()) == 5
    for part in (
        f"{tmp_path / 'train_img'}: 1 picture has a name that another file there has, too: whole_leftImg8bit.png.",
        f"{tmp_path / 'train_label'}: 1 picture has no label here: other.",
        f"{tmp_path / 'train_inst'}: 2 pictures have no instance here: lonely, other.",
        "broken.png: is not a PNG",
        "small.png (label 4 x 6, instance 4 x 6, photo 4 x 5)",
    ):
        assert part in told


def test_missing_folders_are_named_together(tmp_path: Path) -> None:
    put(tmp_path / "train_label" / "a.png")
    with pytest.raises(DataError) as caught:
        LabelFolders(THREE, root=tmp_path)
    assert [line.partition(": ")[0] for line in str(caught.value).splitlines()] == [
        str(tmp_path / "train_inst"),
        str(tmp_path / "train_img"),
    ]


def test_files_of_another_layout_are_told(tmp_path: Path) -> None:
    put(tmp_path / "gtFine" / "train" / "a.png")
    with pytest.raises(DataError, match=r"'_gtFine_labelIds'\. Choose another layout"):
        LabelFolders({"label": THREE["label"]}, root=tmp_path, layout="cityscapes")


def test_colours_in_place_of_indices_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "train_label" / "a.png", photo=True)
    put(tmp_path / "train_img" / "a.png", photo=True)
    with pytest.raises(DataError, match="single-channel"):
        LabelFolders(TWO, root=tmp_path)


def test_the_audit_names_what_is_missing_and_what_is_broken(tmp_path: Path) -> None:
    for stem in "1234":
        put(tmp_path / f"train_label/{stem}.png", int(stem))
        put(tmp_path / f"train_inst/{stem}.png", int(stem), deep=True)
        put(tmp_path / f"train_img/{stem}.jpg", 40 * int(stem), photo=True)
    (tmp_path / "train_inst/2.png").unlink()
    (tmp_path / "train_img/3.jpg").write_bytes(b"")
    (tmp_path / "train_label/4.png").unlink()
    put(tmp_path / "train_label/4.png", 99)
    text = 'method = "pix2pix"\n[task]\nname = "instances"\nclasses = 35\n[train]\nsteps = 1\n'
    text += f'[source]\nname = "label_folders"\nroot = "{tmp_path}"\n'
    found = audit.audit(recipe.parse(tmp_path / "recipe.toml", text.encode())).findings
    told = [(one.kind, [str(Path(file).relative_to(tmp_path)) for file in one.files]) for one in found]
    assert told[:4] == [
        ("no mate", ["train_label/2.png"]),
        ("no mate", ["train_img/2.jpg"]),
        ("unreadable", ["train_img/3.jpg"]),
        ("classes", ["train_label/4.png"]),
    ]
    assert {kind for kind, _ in told[4:]} == {"constant"}
    assert found[0].text == "has no instance"
