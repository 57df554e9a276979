"""Documentation is executed: recipes in it compose, Python in it runs, files that it links are there."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, TINY

Cli = Callable[..., tuple[int, str, str]]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "plugins").glob("*/README.md")])


def snippets(language: str) -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for match in re.finditer(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            found.append((str(page.relative_to(ROOT)), match[1]))
    return found


RECIPES = [item for item in snippets("toml") if "task" in item[1]]


@pytest.mark.parametrize(("page", "text"), RECIPES, ids=[page for page, _ in RECIPES])
def test_every_recipe_in_the_docs_composes(
    page: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    from i2i import images, recipe
    from i2i.compose import compose, rehearse

    for folder in ("train/A", "train/B", "test/A", "test/B"):
        images.write(tmp_path / "photos" / folder / "x.png", np.zeros((256, 256, 3), dtype=np.uint8))
    monkeypatch.chdir(tmp_path)
    pipeline = compose(recipe.parse(Path(page), text.encode(), ["method.generator.width=4"]))
    rehearse(pipeline)


def test_there_are_recipes_and_code_to_test() -> None:
    assert len(RECIPES) >= 2
    assert snippets("python")


def test_python_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    from rich.console import Console

    from i2i import plugins, recipe, train
    from i2i.display import TrainDisplay

    with TrainDisplay(Console(quiet=True)) as display:
        plan = recipe.parse(Path("day2night.toml"), TINY.encode(), ["train.steps=1"])
        made = train.start(plan, runs=tmp_path / "made", device="cpu", display=display)
    (tmp_path / "runs").mkdir()
    made.path.rename(tmp_path / "runs" / "day2night")
    monkeypatch.chdir(tmp_path)
    day = np.zeros((20, 30, 3), dtype=np.uint8)
    translating, testing = (code for page, code in snippets("python") if page == "README.md")
    names: dict[str, object] = {"day": day}
    exec(compile(translating, "README.md", "exec"), names)
    assert np.asarray(names["night"]).shape == day.shape
    if "charbonnier" in plugins.names("losses"):
        exec(compile(testing, "README.md", "exec"), names)
        assert names["test_conforms"]


def test_the_commands_of_moving_in_run(run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    import torch
    from foreign_nets import unet

    from i2i import images

    monkeypatch.chdir(tmp_path)
    Path("checkpoints/facades").mkdir(parents=True)
    torch.save(unet(depth=6, width=2).state_dict(), "checkpoints/facades/latest_net_G.pth")
    images.write(Path("labels/x.png"), np.zeros((40, 60, 3), dtype=np.uint8))
    page = "docs/moving-in.md"
    commands = [line for name, text in snippets("bash") if name == page for line in text.splitlines()]
    assert len(commands) >= 2
    printed = ""
    for command in commands:
        code, out, error = run(*shlex.split(command.removeprefix("i2i ")))
        assert (command.startswith("i2i "), code) == (True, 0), error
        printed += out
    (shown,) = (text for name, text in snippets("text") if name == page)
    assert [line.split(":")[0] for line in shown.splitlines()] == re.findall(r"^(\w+): ", printed, re.M)
    assert Path("photos/x.png").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert link.startswith("http") or (page.parent / link).exists(), link


def test_the_error_shown_in_the_readme_is_the_real_one() -> None:
    from i2i import recipe
    from i2i.errors import UsageError

    text = next(text for page, text in RECIPES if page == "README.md").replace("weight = 100.0", "wieght = 100.0")
    with pytest.raises(UsageError) as caught:
        recipe.parse(Path("photos.toml"), text.encode())
    shown = re.search(r"^photos.toml:.*$", (ROOT / "README.md").read_text(), re.M)
    assert shown is not None
    assert str(caught.value).startswith(shown[0].removesuffix("..."))


def test_every_dependency_has_its_reason() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs" / "architecture.md").read_text()
    for dependency in project["dependencies"]:
        name = re.match(r"[\w-]+", dependency)
        assert name is not None
        assert f"\n| {name[0]} |" in page, dependency


def test_every_exit_code_is_documented() -> None:
    from i2i import errors

    page = (ROOT / "README.md").read_text()
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.I2IError) and hasattr(error, "exit_code"):
            assert re.search(rf"\b{error.exit_code} [a-z]", page), error
