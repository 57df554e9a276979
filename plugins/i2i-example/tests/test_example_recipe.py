"""The recipe of the package, for two steps."""

import json
from pathlib import Path

from rich.console import Console

from i2i import recipe, train
from i2i.display import TrainDisplay

PATH = Path(__file__).parent.parent / "recipes" / "charbonnier.toml"


def test_the_recipe_trains_by_the_parts_of_this_package(tmp_path: Path) -> None:
    smaller = ["source.count=4", "validation.count=1", "train.steps=2", "train.samples=1"]
    with TrainDisplay(Console(quiet=True)) as display:
        run = train.start(recipe.read(PATH, smaller), runs=tmp_path, device="cpu", display=display)
    assert run.read_log()[-1]["step"] == 2
    method = json.loads((run.path / "model" / "model.json").read_text())["method"]
    assert (method["generator"]["name"], method["reconstruction"]["name"]) == ("dilated", "charbonnier")
