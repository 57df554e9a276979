"""What the two unpaired sources give, how mates are drawn, and what they say of folders that will not do."""

import functools
import shutil
from pathlib import Path

import numpy as np
import pytest
from i2i_unpaired.folders import UnpairedFolders
from i2i_unpaired.halves import UnpairedOf
from i2i_unpaired.task import Unpaired
from PIL import Image

from i2i import audit, images, recipe
from i2i.compose import compose
from i2i.contracts import ImageSpec
from i2i.data import Samples
from i2i.errors import DataError, I2IError, UsageError
from i2i.sources.pairs import Pairs
from i2i.sources.scenes import Scenes

TWO = {"a": ImageSpec(3), "b": ImageSpec(3)}


def fill(root: Path, *names: str, first: int = 0) -> None:
    """Write pictures of one value each: their place in the list."""
    for value, name in enumerate(names, first):
        images.write(root / name, np.full((4 + value % 3, 6, 3), value, dtype=np.uint8))


@pytest.fixture
def horses(tmp_path: Path) -> Path:
    """A folder of the usual layout, with more zebras than horses."""
    fill(tmp_path, *(f"trainA/{i}.png" for i in range(3)))
    fill(tmp_path, *(f"trainB/{i}.png" for i in range(7)), first=10)
    fill(tmp_path, "testA/1.png", "testB/1.jpg", first=90)
    return tmp_path


def values(sample: dict[str, np.ndarray]) -> tuple[int, int]:
    return int(sample["a"].max()), int(sample["b"].max())


def test_folders_give_every_picture_of_the_larger_set_and_mates_by_chance(horses: Path) -> None:
    source = UnpairedFolders(TWO, root=horses)
    assert len(source) == 7
    assert [values(source[i]) for i in range(7)] == [(0, 10), (1, 11), (2, 12), (0, 13), (1, 14), (2, 15), (0, 16)]
    drawn = [values(source.draw(i, seed)) for i in range(7) for seed in range(9)]
    assert [b for _, b in drawn] == [10 + i for i in range(7) for _ in range(9)]
    assert all(10 < sum(a == value for a, _ in drawn) < 33 for value in range(3))
    assert values(source.draw(3, 5)) == values(source.draw(3, 5))
    assert not source.paired
    assert source[0]["a"].shape[1:] == (4, 6)
    assert source[0]["b"].shape[1:] == (5, 6)


def test_of_equal_sets_the_mates_are_drawn_too(tmp_path: Path) -> None:
    fill(tmp_path, "x/1.png", "x/2.png", "x/3.png")
    fill(tmp_path, "y/1.png", "y/2.png", "y/3.png")
    source = UnpairedFolders(TWO, root=tmp_path, a=Path("x"), b=Path("y"))
    assert {values(source.draw(0, seed)) for seed in range(20)} == {(0, 0), (0, 1), (0, 2)}
    assert values(UnpairedFolders(TWO, a=tmp_path / "x", b=tmp_path / "y")[2]) == (2, 2)


def test_the_split_names_the_folders(horses: Path) -> None:
    assert len(UnpairedFolders(TWO, root=horses, split="test")) == 1
    with pytest.raises(
        DataError, match=r"no split 'tset': neither tsetA nor tsetB. Did you mean 'test'\? It has: test, train"
    ):
        UnpairedFolders(TWO, root=horses, split="tset")
    with pytest.raises(DataError, match=r"neither trainA nor trainB\. Name its two folders as a and b"):
        UnpairedFolders(TWO, root=horses / "trainA")


def test_grey_is_what_a_grey_task_gets(horses: Path) -> None:
    sample = UnpairedFolders(Unpaired(channels=1).images, root=horses)[0]
    assert sample["a"].shape == (1, 4, 6)


def test_all_that_is_wrong_with_two_folders_is_told_at_once(horses: Path) -> None:
    (horses / "trainA" / "bad.png").write_bytes(b"no picture")
    for path in (horses / "trainB").iterdir():
        path.unlink()
    (horses / "trainC").mkdir()
    with pytest.raises(DataError) as error:
        UnpairedFolders(TWO, root=horses)
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert "bad.png" in lines[0]
    assert "trainB: holds no pictures" in lines[1]
    with pytest.raises(DataError) as error:
        UnpairedFolders(TWO, root=horses, a=Path("one"), b=Path("two"))
    assert len(str(error.value).splitlines()) == 2


def test_a_damaged_mate_is_named(horses: Path) -> None:
    whole = horses / "trainA" / "1.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(whole)
    whole.write_bytes(whole.read_bytes()[:2000])
    samples = Samples(UnpairedFolders(TWO, root=horses), TWO)
    told = [str(item) for seed in range(12) if isinstance(item := samples[5, seed], I2IError)]
    assert told
    assert all("trainB/5.png with a mate from" in text and str(whole) in text for text in told)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give root, a folder with trainA and trainB"),
        ({"a": Path("x")}, "give both a and b"),
        ({"root": Path("r"), "a": Path("x"), "b": Path("x")}, "a and b are both 'x'"),
    ],
)
def test_what_folders_are_asked_for_is_told(settings: dict[str, Path], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        UnpairedFolders(TWO, **settings)  # type: ignore[arg-type]


def test_a_task_of_one_picture_or_of_classes_is_refused(horses: Path) -> None:
    with pytest.raises(UsageError, match=r"gives two pictures, and the task asks for 1 \(photo\)"):
        UnpairedFolders({"photo": ImageSpec()}, root=horses)
    with pytest.raises(UsageError, match="class indices as 'b'"):
        UnpairedFolders({"a": ImageSpec(), "b": ImageSpec(1, 5)}, root=horses)
    with pytest.raises(UsageError, match=r"the task asks for one \(photo\)"):
        UnpairedOf({"photo": ImageSpec()}, source=functools.partial(Scenes, count=4))


def test_no_true_mate_is_ever_given(tmp_path: Path) -> None:
    names = [f"{side}/{i}.png" for side in "AB" for i in range(9)]
    for name in names:
        images.write(tmp_path / name, np.full((4, 4, 3), int(name[2]), dtype=np.uint8))
    source = UnpairedOf(TWO, source=functools.partial(Pairs, root=tmp_path))
    assert len(source) == 4
    given = [values(source.draw(i, seed)) for i in range(4) for seed in range(40)]
    assert {a for a, _ in given} == {0, 1, 2, 3}
    assert {b for _, b in given} == {4, 5, 6, 7}
    assert len(set(given)) == 16
    assert [values(source[i]) for i in range(4)] == [(0, 4), (1, 5), (2, 6), (3, 7)]
    assert source.describe(0).endswith("B/0.png with a mate")


def test_too_few_samples_are_told() -> None:
    with pytest.raises(DataError, match=r"has 1 sample\(s\), and at least 2"):
        UnpairedOf(TWO, source=functools.partial(Scenes, count=1))


def test_a_recipe_of_folders_composes_and_what_needs_pairs_is_told(horses: Path) -> None:
    text = f"""
task = "unpaired"
metrics = ["lab_histogram"]
source = {{ name = "unpaired", root = "{horses}", prepare = [{{ name = "RandomCrop", height = 4, width = 4 }}] }}
validation = {{ name = "unpaired", root = "{horses}", split = "test" }}
[method]
name = "cut"
generator = {{ name = "resnet", width = 2, blocks = 1 }}
discriminator = {{ name = "patch", field = 1 }}
[train]
steps = 1
"""
    pipeline = compose(recipe.parse(Path("horses.toml"), text.encode()))
    sample = pipeline.samples[0, 0]
    assert not isinstance(sample, I2IError)
    assert sample["a"].shape == sample["b"].shape == (3, 4, 4)
    with pytest.raises(UsageError, match=r"metrics\.0.*no pairs of one scene"):
        compose(recipe.parse(Path("horses.toml"), text.encode(), ['metrics=["l1"]']))


def test_the_audit_looks_at_every_file_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in (*(f"trainA/{i}.png" for i in range(3)), *(f"trainB/{i}.png" for i in range(7)), "testA/1.png"):
        images.write(tmp_path / name, rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
    (tmp_path / "trainA/1.png").write_bytes((tmp_path / "trainA/1.png").read_bytes()[:-9])
    (tmp_path / "trainB/4.png").write_bytes(b"no picture")
    images.write(tmp_path / "trainA/2.png", np.zeros((24, 24, 3), np.uint8), overwrite=True)
    shutil.copy(tmp_path / "trainB/0.png", tmp_path / "testA/0.png")
    shutil.copy(tmp_path / "trainB/0.png", tmp_path / "trainB/6.png")
    shutil.copy(tmp_path / "trainA/0.png", tmp_path / "testA/1.png")
    shutil.copytree(tmp_path / "testA", tmp_path / "testB")
    text = f'task = "unpaired"\nmethod = "cyclegan"\n[source]\nname = "unpaired"\nroot = "{tmp_path}"\n'
    text += f'[validation]\nname = "unpaired"\nroot = "{tmp_path}"\nsplit = "test"\n[train]\nsteps = 1\n'
    found = audit.audit(recipe.parse(tmp_path / "recipe.toml", text.encode())).findings
    assert [(one.kind, one.split, [str(Path(file).relative_to(tmp_path)) for file in one.files]) for one in found] == [
        ("unreadable", "source", ["trainA/1.png"]),
        ("unreadable", "source", ["trainB/4.png"]),
        ("duplicate", "validation", ["testB/0.png"]),
        ("duplicate", "validation", ["testA/1.png"]),
        ("duplicate", "source", ["trainB/6.png"]),
        ("constant", "source", ["trainA/2.png"]),
    ]
