"""`i2i data check`: every planted defect is found with its file named, and nothing else is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from i2i import images, shifts
from i2i.contracts import ImageSpec
from i2i.sources.scenes import Scenes

Cli = Callable[..., tuple[int, str, str]]
SIDE, MORE, TRAIN, HELD_OUT = 96, 16, 12, 4
FOLDERS = {"day": "A", "night": "B", "labels": "L"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Streets by day, by night and as classes, `train/A/0.png` and so on, with a margin to cut shifts from."""
    root = tmp_path_factory.mktemp("drawn")
    specs = {"day": ImageSpec(3), "night": ImageSpec(3), "labels": ImageSpec(1, classes=12)}
    scenes = Scenes(specs, size=SIDE + 2 * MORE, count=TRAIN + HELD_OUT, layers={name: name for name in specs})
    for index in range(TRAIN + HELD_OUT):
        split = "train" if index < TRAIN else "val"
        for name, picture in scenes[index].items():
            images.write(root / split / FOLDERS[name] / f"{index}.png", picture.transpose(1, 2, 0))
    return root


@pytest.fixture
def streets(drawn: Path, tmp_path: Path) -> Path:
    """A copy of those, to plant faults in."""
    return Path(shutil.copytree(drawn, tmp_path / "streets"))


def recipe(root: Path, task: str = '"paired"', *, b: str = "B", source: str = "", validation: str = "") -> Path:
    """Write a recipe for the streets, or for other sources."""
    split = 'name = "pairs"\nroot = "{}"\na = "A"\nb = "{}"\n'
    text = f"task = {task}\nmethod = 'pix2pix'\n[source]\n{source or split.format(root / 'train', b)}"
    text += f"[validation]\n{validation or split.format(root / 'val', b)}[train]\nsteps = 1\nbatch = 2\n"
    path = root.parent / "recipe.toml"
    path.write_text(text)
    return path


def found(run: Cli, path: Path, *more: object) -> list[dict[str, Any]]:
    """Return the findings, and see that the exit code says whether there are any."""
    code, out, err = run("data", "check", path, "--json", *more)
    assert out, err
    findings: list[dict[str, Any]] = json.loads(out)["findings"]
    assert code == (1 if findings else 0), err
    return findings


def read(path: Path) -> np.ndarray:
    return images.read(path).pixels


def save(path: Path, pixels: np.ndarray) -> None:
    images.write(path, pixels, overwrite=True)


def alone(findings: list[dict[str, Any]], kind: str, *files: Path, split: str = "source") -> dict[str, Any]:
    """Return the only finding, of this kind and these files."""
    assert [(one["kind"], one["split"], one["files"]) for one in findings] == [(kind, split, [*map(str, files)])]
    return findings[0]


LABELS = '{ name = "segmentation", classes = 12 }'


def test_a_clean_set_has_no_findings(run: Cli, streets: Path) -> None:
    assert found(run, recipe(streets)) == []
    assert found(run, recipe(streets, LABELS, b="L")) == []
    code, out, _ = run("data", "check", recipe(streets))
    assert (code, out) == (0, "looked at: 12 samples of [source], 4 samples of [validation]\n")


def test_a_file_without_a_mate(run: Cli, streets: Path) -> None:
    (streets / "train/B/3.png").unlink()
    finding = alone(found(run, recipe(streets)), "no mate", streets / "train/A/3.png")
    assert finding["text"] == f"has no mate in {streets / 'train/B'}"


def test_a_file_of_a_name_that_is_taken(run: Cli, streets: Path) -> None:
    save(streets / "train/A/3.jpg", read(streets / "train/A/3.png"))
    (finding,) = found(run, recipe(streets))
    assert finding["kind"] == "no mate" and Path(finding["files"][0]).stem == "3"


def test_a_picture_that_is_its_own_mate(run: Cli, streets: Path) -> None:
    a, b = streets / "train/A/4.png", streets / "train/B/4.png"
    save(b, read(a))
    finding = alone(found(run, recipe(streets)), "duplicate", a, b)
    assert finding["text"] == "b is a itself"


@pytest.mark.parametrize(("twice", "name"), [("A", "a"), ("B", "b")])
def test_a_picture_with_two_mates_is_noted(twice: str, name: str, run: Cli, streets: Path) -> None:
    first, second = streets / "train" / twice / "4.png", streets / "train" / twice / "6.png"
    save(second, read(first))
    code, out, _ = run("data", "check", recipe(streets), "--json")
    (note,) = json.loads(out)["notes"]
    assert f"[source] 1 pictures {name!r} are there more than once, with other mates: {first} and {second}" in note
    assert code == (1 if json.loads(out)["findings"] else 0)


@pytest.mark.parametrize("rest", [0, 40, -30], ids=["empty", "header only", "truncated"])
def test_a_broken_file(run: Cli, streets: Path, rest: int) -> None:
    broken = streets / "train/B/5.png"
    broken.write_bytes(broken.read_bytes()[:rest])
    finding = alone(found(run, recipe(streets)), "unreadable", broken)
    assert finding["sample"] == 5 and finding["names"] == ["b"] and str(broken) not in finding["text"]


def test_mates_of_two_sizes(run: Cli, streets: Path) -> None:
    a, b = streets / "train/A/2.png", streets / "train/B/2.png"
    save(b, read(b)[:-2])
    finding = alone(found(run, recipe(streets)), "size", a, b)
    assert finding["text"] == "the pictures differ in size: a 128x128, b 128x126"


def test_samples_that_make_no_batch(run: Cli, streets: Path) -> None:
    for path in (streets / "train/A/2.png", streets / "train/B/2.png"):
        save(path, read(path)[:-2])
    finding = alone(found(run, recipe(streets)), "size", streets / "train/A/2.png", streets / "train/B/2.png")
    assert finding["text"].startswith("samples of 2 sizes, and no [[source.prepare]]")
    assert finding["text"].endswith("128x128 (11), 128x126 (1)")
    cut = 'source.prepare=[{name="RandomCrop", height=64, width=64}]'
    assert found(run, recipe(streets), "--set", cut) == []


def test_classes_that_there_are_not(run: Cli, streets: Path) -> None:
    path = streets / "train/L/4.png"
    index = images.read_index(path)
    index[7, 9] = 77
    save(path, index)
    finding = alone(found(run, recipe(streets, LABELS, b="L")), "classes", path)
    assert "class 77 at row 7, column 9" in finding["text"]
    assert found(run, recipe(streets, '{ name = "segmentation", classes = 12, void = 77 }', b="L")) == []


def test_colours_in_the_place_of_classes(run: Cli, streets: Path) -> None:
    path = streets / "train/L/4.png"
    save(path, np.repeat(images.read_index(path)[..., None], 3, axis=2))
    finding = alone(found(run, recipe(streets, LABELS, b="L")), "values", path)
    assert "single-channel" in finding["text"]


def test_another_bit_depth(run: Cli, streets: Path) -> None:
    path = streets / "train/B/1.png"
    save(path, read(path).astype(np.uint16) * 257)
    finding = alone(found(run, recipe(streets)), "depth", path)
    assert finding["text"] == "b has 16 bits, most others 8"


def test_bits_that_are_not_used_and_splits_that_differ(run: Cli, streets: Path) -> None:
    for path in (streets / "train/B").iterdir():
        save(path, read(path).astype(np.uint16) * 16)  # 12 bits, as many cameras write them
    texts = [one["text"] for one in found(run, recipe(streets)) if one["kind"] == "depth"]
    assert texts == [
        "b uses 12 of its 16 bits: no value of any picture is over 4,080. If that is their depth, state "
        "range = [0, 4095] of the task",
        "the pictures differ in bits: a 8, b 16",
        "b has 8 bits, and in training 16",
    ]


def test_the_same_picture_twice(run: Cli, streets: Path) -> None:
    for folder in "AB":
        shutil.copy(streets / f"train/{folder}/0.png", streets / f"train/{folder}/1.png")
    files = [streets / "train/A/1.png", streets / "train/B/1.png"]
    finding = alone(found(run, recipe(streets)), "duplicate", *files)
    assert finding["other"] == ["source", 0] and str(streets / "train/A/0.png") in finding["text"]


def test_a_held_out_pair_that_is_trained_on(run: Cli, streets: Path) -> None:
    for folder in "AB":  # under another name, and compressed once more
        (streets / f"val/{folder}/13.png").unlink()
        save(streets / f"val/{folder}/13.jpg", read(streets / f"train/{folder}/6.png"))
    files = [streets / "val/A/13.jpg", streets / "val/B/13.jpg"]
    finding = alone(found(run, recipe(streets)), "near duplicate", *files, split="validation")
    assert finding["other"] == ["source", 6] and finding["text"].endswith("(held out, and trained on)")


def test_a_held_out_input_that_is_trained_on_with_another_mate(run: Cli, streets: Path) -> None:
    shutil.copy(streets / "train/A/6.png", streets / "val/A/13.png")
    findings = found(run, recipe(streets))
    duplicates = [one for one in findings if one["kind"] == "duplicate"]
    finding = alone(duplicates, "duplicate", streets / "val/A/13.png", split="validation")
    assert finding["text"].startswith("a equals source 6: ") and finding["other"] == ["source", 6]


@pytest.mark.parametrize("mate", ["B", "L"])
def test_a_shifted_pair(run: Cli, streets: Path, mate: str) -> None:
    inner = slice(MORE, -MORE)
    for path in streets.rglob("*.png"):
        save(path, read(path)[inner, inner] if path.parent.name != "L" else images.read_index(path)[inner, inner])
    plan = recipe(streets, LABELS if mate == "L" else '"paired"', b=mate)
    assert found(run, plan) == []
    right, down = 5, -7
    path = streets / f"train/{mate}/3.png"
    rows, columns = slice(MORE - down, MORE - down + SIDE), slice(MORE - right, MORE - right + SIDE)
    save(path, wide(mate)[rows, columns])
    finding = alone(found(run, plan), "shift", streets / "train/A/3.png", path)
    assert finding["shift"] == [right, down] and "5 px right and 7 px above" in finding["text"]


def wide(mate: str) -> np.ndarray:
    """Draw the picture of sample 3 again, with its margin."""
    name = {"B": "night", "L": "labels"}[mate]
    spec = ImageSpec(1, classes=12) if mate == "L" else ImageSpec(3)
    scenes = Scenes({name: spec}, size=SIDE + 2 * MORE, count=TRAIN + HELD_OUT, layers={name: name})
    return scenes[3][name].transpose(1, 2, 0)


def test_a_set_that_is_shifted_as_a_whole_by_a_pixel(run: Cli, streets: Path) -> None:
    for path in (streets / "train/B").iterdir():
        save(path, np.roll(read(path), 1, axis=1))
    finding = alone(found(run, recipe(streets)), "shift")
    assert "over all samples, b lies" in finding["text"]
    assert finding["shift"] == pytest.approx([1, 0], abs=0.1)


def test_lines_that_are_no_outlines_are_not_called_shifted(run: Cli, streets: Path) -> None:
    source = 'name = "figures"\nsize = 96\ncount = 24\nlayers = { a = "pose", b = "photo" }\n'
    assert found(run, recipe(streets, source=source, validation=source.replace("24", "1\nseed = 1"))) == []


def test_pictures_that_show_nothing(run: Cli, streets: Path) -> None:
    grey = np.random.default_rng(0).integers(99, 102, (128, 128, 3), dtype=np.uint8)
    save(streets / "train/A/8.png", grey)
    finding = alone(found(run, recipe(streets)), "constant", streets / "train/A/8.png")
    assert "nearly constant" in finding["text"]
    path = streets / "val/L/13.png"
    save(path, np.full_like(images.read_index(path), 3))
    labels = [one for one in found(run, recipe(streets, LABELS, b="L")) if one["split"] == "validation"]
    assert "holds one class, 3" in alone(labels, "constant", path, split="validation")["text"]


def test_files_side_by_side(run: Cli, streets: Path) -> None:
    for split in ("train", "val"):
        for path in sorted((streets / split / "A").iterdir()):
            both = np.hstack([read(path), read(streets / split / "B" / path.name)])
            save(streets / f"{split}-both" / path.name, both)
    sides = 'name = "pairs"\nroot = "{}"\n'
    path = recipe(streets, source=sides.format(streets / "train-both"), validation=sides.format(streets / "val-both"))
    assert found(run, path) == []
    odd, broken = streets / "train-both/2.png", streets / "train-both/7.png"
    save(odd, read(odd)[:, :-1])
    broken.write_bytes(broken.read_bytes()[:-30])
    first, second = found(run, path)
    assert (first["kind"], first["files"]) == ("unreadable", [str(broken)])
    assert (second["kind"], second["files"]) == ("size", [str(odd)])


def test_a_folder(run: Cli, streets: Path) -> None:
    source = f'name = "folder"\nroot = "{streets / "train/A"}"\n'
    path = recipe(streets, '"colorization"', source=source, validation=source.replace("train", "val"))
    assert found(run, path) == []
    shutil.copy(streets / "train/A/0.png", streets / "val/A/12.png")
    finding = alone(found(run, path), "duplicate", streets / "val/A/12.png", split="validation")
    assert "(held out, and trained on)" in finding["text"]


def test_a_source_without_files_is_said_to_have_none(run: Cli, streets: Path) -> None:
    source = 'name = "scenes"\nsize = 64\ncount = 8\n'
    path = recipe(streets, source=source, validation=source.replace("8", "2\nseed = 1"))
    code, out, _ = run("data", "check", path)
    assert code == 0 and "[source] the source 'Scenes' names no files" in out
    findings = found(run, path, "--set", "validation.seed=0")  # the scenes that are trained on
    assert [one["kind"] for one in findings] == ["duplicate"] * 2


def test_worker_processes_see_the_same(run: Cli, streets: Path) -> None:
    save(streets / "train/A/8.png", np.full((128, 128, 3), 9, np.uint8))
    (streets / "train/B/9.png").write_bytes(b"")
    path = recipe(streets)
    seen = [found(run, path, "--set", f"train.workers={count}") for count in (0, 2)]
    assert seen[0] == seen[1] and len(seen[0]) == 2


def test_the_sheet_shows_the_worst(run: Cli, streets: Path) -> None:
    sheet = streets / "sheet.png"
    code, out, _ = run("data", "check", recipe(streets), "--sheet", sheet)
    assert code == 0 and "was not written" in out and not sheet.exists()
    for folder in "AB":
        shutil.copy(streets / f"train/{folder}/0.png", streets / f"train/{folder}/1.png")
    save(streets / "train/A/8.png", np.full((128, 128, 3), 200, np.uint8))
    (streets / "train/B/9.png").write_bytes(b"")
    code, out, err = run("data", "check", recipe(streets), "--sheet", sheet)
    assert code == 1 and "3 findings (unreadable 1, duplicate 1, constant 1)" in err
    assert all(word in out for word in ("unreadable: 1", "duplicate: 1", "constant: 1"))
    shown = read(sheet)
    assert shown.shape[0] > 3 * 200 and (shown == 200).all(axis=2).mean() > 0.05
    (streets / "train/B/5.png").unlink()
    code, _, err = run("data", "check", recipe(streets), "--sheet", sheet, "--rows", 1)
    assert code == 1 and "no mate 1" in err
    lonely = read(streets / "train/A/5.png")  # stands beside the words, in the size of a cell
    assert abs(read(sheet)[4:-4, 248:488].mean() - lonely.mean()) < 3
    code, _, err = run("data", "check", recipe(streets), "--sheet", "sheet.txt")
    assert code == 2 and "--sheet sheet.txt" in err


def test_no_folder_at_all_is_exit_3(run: Cli, streets: Path) -> None:
    shutil.rmtree(streets / "train")
    assert run("data", "check", recipe(streets))[0] == 3


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_it_without_a_traceback(streets: Path) -> None:
    path = recipe(streets, source='name = "scenes"\nsize = 256\ncount = 100000\n')
    command = [sys.executable, "-m", "i2i", "data", "check", str(path), "--set", "train.workers=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None and not (children.exists() and children.read_text()):
        time.sleep(0.05)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err, err


def test_a_shift_is_measured_between_pixels() -> None:
    rng = np.random.default_rng(0)
    one = shifts.edges(rng.random((128, 128)).astype(np.float32))
    near = shifts.correlated(one, np.roll(one, (3, -4), (0, 1)))
    assert near is not None
    assert shifts.peak(near) == pytest.approx((-4, 3), abs=0.05)
    between = shifts.correlated(one, ((np.roll(one, 2, 1) + np.roll(one, 3, 1)) / 2).astype(np.float32))
    assert between is not None
    assert shifts.peak(between) == pytest.approx((2.5, 0), abs=0.1)
