"""Every recipe composes as it is, and trains two steps on tiny scenes with tiny networks."""

import json
import re
from pathlib import Path

import pytest
from conftest import ROOT
from rich.console import Console

from i2i import recipe, train
from i2i.compose import compose
from i2i.display import TrainDisplay

FILES = sorted((ROOT / "recipes").glob("*.toml"))
TINY = [
    "source.size=64",
    "source.count=4",
    "validation.size=64",
    "validation.count=2",
    "method.generator.depth=5",
    "method.generator.width=4",
    "method.discriminator.field=34",
    "method.discriminator.width=4",
    "train.batch=2",
    "train.samples=1",
    "train.log_every=1",
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recipe_composes_as_it_is(path: Path) -> None:
    pipeline = compose(recipe.read(path))
    assert pipeline.held_out is not None
    assert pipeline.recipe.metrics


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recipe_trains_two_steps(path: Path, tmp_path: Path) -> None:
    settings = [*TINY, "train.steps=2"]
    if b"286" in path.read_bytes():  # the paper's jitter, at this size
        settings += ["augment.0.size=[72, 72]", "augment.1.size=[64, 64]"]
    plan = recipe.read(path, settings)
    with TrainDisplay(Console(quiet=True)) as display:
        run = train.start(plan, runs=tmp_path, device="cpu", display=display)
    metrics = json.loads((run.path / "result.json").read_text())["metrics"]
    assert len(metrics) == len(plan.metrics)
    assert run.read_log()[-1]["step"] == 2
    assert list(run.samples.glob("*.png"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_command_in_its_header_is_a_recipe(path: Path) -> None:
    """What a header tells to write for the real data set fits the parts; the data set itself is not here."""
    header = "\n".join(line.removeprefix("#") for line in path.read_text().splitlines() if line.startswith("#"))
    settings = re.findall(r"--set '([^']+)'", header)
    assert any(setting.startswith("source=") for setting in settings), header
    plan = recipe.read(path, settings)
    assert plan.resolved()["source"]["name"] in ("pairs", "folder")
