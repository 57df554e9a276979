"""Every recipe composes on pictures of its layout; the one on scenes trains two steps as it is, but for its size."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from i2i import datasets, images, recipe, train
from i2i.compose import compose, rehearse
from i2i.display import TrainDisplay

torch.set_num_threads(1)

FOLDER = Path(__file__).parent.parent / "recipes"
SCENES = FOLDER / "scenes-day2night.toml"
LOWLIGHT = FOLDER / "lowlight.toml"
FILES = sorted(set(FOLDER.glob("*.toml")) - {SCENES, LOWLIGHT})
TINY = ["method.generator.width=2", "method.generator.blocks=1", "method.discriminator.width=2", "method.pool=2"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recipe_composes_on_its_layout(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = recipe.read(path, TINY)
    root = Path(plan.resolved()["source"]["root"])
    text = path.read_text()
    assert root.parts[0] == "data"
    assert f"i2i data get {root.name}\n" in text
    dataset = datasets.find(root.name)
    assert "trainA, trainB, testA, testB" in dataset.unpacked
    draw = np.random.default_rng(0)
    for folder in ("trainA", "trainB", "testA", "testB"):
        images.write(root / folder / "1.png", draw.integers(0, 255, (256, 256, 3), dtype=np.uint8))
    pictures, batch = rehearse(compose(plan))
    assert batch.a.shape == batch.b.shape == (1, 3, 256, 256)
    assert not torch.equal(pictures["a"], pictures["b"])
    printed = [shlex.split(line)[1] for line in dataset.settings(Path("data"))]  # by `i2i data get`
    assert set(rehearse(compose(recipe.read(path, [*TINY, *printed])))[0]) == {"a", "b"}


def test_the_recipe_for_dark_photos_composes_on_its_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place, light in (("A/train", 9), ("B/train", 200), ("A/test", 9), ("B/test", 200)):
        for name in ("1.png", "2.png"):
            images.write(Path("lowlight") / place / name, np.full((200, 300, 3), light, np.uint8))
    pictures, batch = rehearse(
        compose(recipe.read(LOWLIGHT, ["method.generator.width=2", "method.generator.blocks=2"]))
    )
    assert batch.a.shape == (1, 3, 128, 128)
    assert pictures["a"].mean() < 0.1 < 0.7 < pictures["b"].mean()


def test_the_recipe_on_scenes_trains_and_is_measured_on_pairs(tmp_path: Path) -> None:
    smaller = ["source.source.count=6", "source.source.size=32", "validation.size=32", "validation.count=2"]
    plan = recipe.read(SCENES, [*smaller, "train.steps=2", "train.samples=1", "train.log_every=1"])
    with TrainDisplay(Console(quiet=True)) as display:
        run = train.start(plan, runs=tmp_path, device="cpu", display=display)
    metrics = json.loads((run.path / "result.json").read_text())["metrics"]
    assert metrics["l1"].keys() == {"translated", "input"}
    assert run.read_log()[-1]["step"] == 2


def test_the_recipe_on_scenes_never_sees_what_it_is_measured_on() -> None:
    resolved = recipe.read(SCENES).resolved()
    assert resolved["source"]["name"] == "unpaired_of"
    assert resolved["source"]["source"].get("seed", 0) != resolved["validation"]["seed"]
