"""`i2i plugins new`: a package of every kind, installed in a clean environment, passes its own tests; refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Clean, Run

from i2i import plugins, scaffold

RECIPES_TEST = """
import sys
from pathlib import Path
import pytest
from rich.console import Console
from i2i import recipe, train
from i2i.display import TrainDisplay

@pytest.mark.parametrize("path", sorted(Path({folder!r}).glob("*/recipes/*.toml")), ids=lambda path: path.stem)
def test_recipe(path, tmp_path):
    settings = ["train.steps=1", "source.count=4", "validation.count=2"]
    with TrainDisplay(Console(quiet=True)) as display:
        run = train.start(recipe.read(path, settings), runs=tmp_path, device="cpu", display=display)
    assert run.finished
    if "tracker" in path.stem:
        assert "g/reconstruction" in (run.path / f"{{path.stem}}.txt").read_text()
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a new package of every kind; the longest name there may be is among them."""
    folder = tmp_path_factory.mktemp("new")
    for kind in scaffold.KINDS:
        name = f"new_{kind}" + ("_" + "x" * 18 if kind == "source" else "")
        scaffold.write(name, kind, folder)
    return folder


def test_packages_of_every_kind_install_and_pass_their_own_tests(packages: Path, clean: Clean, tmp_path: Path) -> None:
    """One environment and one pytest for all: most of a check's time is the start of its process.

    For the same reason the quiet import is left to one of them, and all are put to it at once.
    """
    (tmp_path / "test_recipes.py").write_text(RECIPES_TEST.format(folder=str(packages)))
    clean.run("python", "-m", "pip", "install", *sorted(packages.iterdir()))
    tests = [packages, tmp_path, "-k", "not importing_is_quiet or new_loss", "-p", "no:cacheprovider", "-q"]
    said = clean.run("python", "-m", "pytest", *tests, cwd=tmp_path)
    count = int(said.rpartition(" passed")[0].rpartition("\n")[2])
    assert count >= 9 * 6 + 9
    assert "failed" not in said
    code = (
        "import json; from i2i import plugins, quiet; "
        "own = [part for part in plugins.scan().parts() if part.package.startswith('i2i-new-')]; "
        "print(json.dumps([len(own), quiet.importing(tuple(sorted(part.target for part in own)))]))"
    )
    number, found = json.loads(clean.run("python", "-c", code))
    assert number == len(scaffold.KINDS)
    assert not any(found.values())


@pytest.mark.parametrize("command", [("check",), ("format", "--check")])
def test_what_is_written_is_clean(packages: Path, command: tuple[str, ...]) -> None:
    """By our own rules. Its types are checked where the templates are, which are modules of i2i."""
    pytest.importorskip("ruff")
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    chosen = [f"--select={','.join(rules['select'])}", f"--ignore={','.join(['D1', *rules['ignore']])}"]
    more = chosen if command == ("check",) else []
    asked = [sys.executable, "-m", "ruff", *command, *more, "--no-cache", packages]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_wheel_of_i2i_holds_the_templates() -> None:
    wheel = pytest.importorskip("hatchling.builders.wheel")
    held = {file.distribution_path for file in wheel.WheelBuilder(str(ROOT)).recurse_included_files()}
    templates = {str(path.relative_to(ROOT)) for path in scaffold.TEMPLATES.iterdir() if path.is_file()}
    assert len(templates) == 9 + 4
    assert templates <= held


# ---- refusals: each leaves the folder as it was


def test_new_says_what_it_wrote_and_how_to_go_on(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("plugins", "new", "soft-edges", "--kind", "loss", "--into", tmp_path / "deep" / "er")
    folder = tmp_path / "deep" / "er" / "i2i-soft-edges"
    assert code == 0
    assert f"written: {folder} (6 files), with the loss 'soft_edges'" in out
    assert f"pytest {folder}" in out
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "README.md", "pyproject.toml", "recipes/soft_edges.toml", "src/i2i_soft_edges/__init__.py",
        "src/i2i_soft_edges/py.typed", "tests/test_i2i_soft_edges.py",
    ]  # fmt: skip
    for path in folder.rglob("*.*"):
        assert "laceholder" not in path.read_text()
        assert "$" not in path.read_text()
    code, out, _ = run("plugins", "new", "i2i_edges", "--kind", "losses", "--into", tmp_path, "--json")
    assert code == 0
    assert json.loads(out)["name"] == "edges"
    assert all(Path(path).is_file() for path in json.loads(out)["files"])


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("edges", "lss", "Did you mean 'loss'?"),
        ("edges", "augmentation", "no template for the kind 'augmentation'"),
        ("l1", "loss", "the loss 'l1' is there already, in i2i 0.1.0. Choose another name, such as my_l1."),
        ("Edges", "loss", "cannot be a part's name"),
        ("2edges", "loss", "cannot be a part's name"),
        ("../edges", "loss", "cannot be a part's name"),
        ("e" * 31, "loss", "at most 30"),
        ("tensor", "loss", "would make a class Tensor"),
        ("none", "loss", "would make a class None"),
        ("batch", "method", "would make a class Batch"),
        ("there", "loss", "i2i-there: is there already"),
        ("example", "task", "a package i2i-example is installed already"),
    ],
)
def test_what_cannot_be_new_is_a_sentence(run: Run, tmp_path: Path, name: str, kind: str, message: str) -> None:
    if name == "example" and "charbonnier" not in plugins.names("losses"):
        pytest.skip("plugins/i2i-example is not installed")
    (tmp_path / "i2i-there").mkdir()
    code, _, err = run("plugins", "new", name, "--kind", kind, "--into", tmp_path)
    assert code == 2
    assert message in err
    assert "Choose another name" in err or "cannot" in err or "Known" in err
    assert os.listdir(tmp_path) == ["i2i-there"]
    assert not os.listdir(tmp_path / "i2i-there")


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    whole, written = Path.write_text, []

    def full(self: Path, *arguments: object, **more: object) -> object:
        written.append(self)
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        return whole(self, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "write_text", full)
    code, _, err = run("plugins", "new", "edges", "--kind", "loss", "--into", tmp_path)
    assert code == 7
    assert "No space left on device" in err
    assert not os.listdir(tmp_path)


# ---- i2i plugins install, i2i plugins check


def test_install_without_pip_is_a_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)
    code, _, err = run("plugins", "install", "-e", "somewhere")
    assert code == 4
    assert "there is no pip in the environment" in err
    assert "ensurepip" in err


def test_install_passes_on_that_pip_failed(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("pip")
    code, out, err = run("plugins", "install", "--json", "--no-index", tmp_path / "nowhere")
    assert code == 4
    assert out == ""
    assert "pip could not install it (its exit code is 1)" in err


def test_install_tells_which_parts_are_new(packages: Path, clean: Clean) -> None:
    scaffold.write("later", "metric", packages.parent)
    later = packages.parent / "i2i-later"
    said = json.loads(clean.run("i2i", "plugins", "install", "--json", "-e", later))
    assert [(part["kind"], part["name"], part["package"]) for part in said["new"]] == [
        ("metrics", "later", "i2i-later")
    ]
    assert "no new parts" in clean.run("i2i", "plugins", "install", "-q", "-e", later)
    project = later / "pyproject.toml"
    project.write_text(project.read_text().replace("i2i.metrics", "i2i.metric"))
    said = json.loads(clean.run("i2i", "plugins", "install", "--json", "-e", later))
    assert not said["new"]
    assert "it registers 'later' in the group i2i.metric, where no recipe finds it" in said["problems"][0]


GOOD = '''
class Good:
    """A loss."""
    def __init__(self, *, weight: float = 1.0) -> None:
        self.weight = weight
    def __call__(self, fake, real):
        print("a part that talks")
        return self.weight * (fake - real).abs().mean()
'''


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The metadata of an installed package with a sound loss, `good`; its module may be added to."""
    folder = tmp_path / "acme-1.0.dist-info"
    folder.mkdir()
    (tmp_path / "acme_check.py").write_text(GOOD)
    (folder / "entry_points.txt").write_text("[i2i.losses]\ngood = acme_check:Good\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    plugins.scan.cache_clear()
    yield folder
    plugins.scan.cache_clear()
    sys.modules.pop("acme_check", None)


def test_check_prints_a_line_a_case_and_fails_with_exit_4(run: Run, acme: Path) -> None:
    got, out, err = run("plugins", "check", "acme")
    assert got == 0, err
    lines = out.splitlines()
    assert lines[-1] == f"acme: all {len(lines) - 1} checks passed"
    assert "passed  losses-good-loss_is_least_at_the_truth" in lines
    got, out, err = run("plugins", "check", "acme", "--set", "losses.good.weight=-1.0", "--json")
    assert got == 4
    failed = [case for case in json.loads(out)["cases"] if not case["passed"]]
    assert failed
    assert "does not score better" in failed[0]["reason"]
    assert f"{len(failed)} of {len(lines) - 1} checks failed" in err
    got, out, err = run("plugins", "check", "acme", "--set", "losses.good.weight=-1.0")
    assert "FAILED  losses-good-loss_is_least_at_the_truth: " in out
    assert run("plugins", "check", "acme", "--set", "losses.goood.weight=1.0")[0] == 2
    assert "expected KIND.NAME.KEY=VALUE" in run("plugins", "check", "acme", "--set", "weight=1.0")[2]
    assert run("plugins", "check", "acmee")[0] == 2


def test_a_part_that_cannot_be_made_fails_once(run: Run, acme: Path) -> None:
    module = acme.parent / "acme_check.py"
    module.write_text(GOOD.replace("class Good", "class Needs").replace("weight: float = 1.0", "weight: float") + GOOD)
    (acme / "entry_points.txt").write_text("[i2i.losses]\na = acme_check:Needs\ngood = acme_check:Good\n")
    code, out, err = run("plugins", "check", "acme")
    assert code == 4
    lines = out.splitlines()
    (failed,) = [line for line in lines if line.startswith("FAILED")]
    assert "Needs cannot be made without 'weight'" in failed
    assert failed.endswith('settings={"losses.a": {"weight": ...}}, or --set losses.a.weight=...')
    left_out = {line.split()[-1] for line in lines if line.startswith("not run ")}
    assert "losses-a-loss_is_least_at_the_truth" in left_out
    assert all("-a-" in case for case in left_out)
    assert f"1 of {len(lines)} checks failed, {len(left_out)} were not run." in err
    told = json.loads(run("plugins", "check", "acme", "--json")[1])["cases"]
    assert {case["id"]: case["passed"] for case in told if case["id"] in left_out} == dict.fromkeys(left_out, False)
    assert {case["reason"] for case in told if case["id"] in left_out} == {"not run: the part cannot be made"}
    assert run("plugins", "check", "acme", "--set", "losses.a.weight=2.0")[0] == 0


def test_check_tells_that_what_is_installed_is_not_what_is_written(run: Run, acme: Path) -> None:
    project = acme.parent / "pyproject.toml"
    (acme / "direct_url.json").write_text(json.dumps({"url": acme.parent.as_uri(), "dir_info": {"editable": True}}))
    written = '[project.entry-points."i2i.losses"]\ngood = "acme_check:Good"\n'
    project.write_text(written)
    assert "problem" not in run("plugins", "check", "acme")[2]
    project.write_text(written + 'other = "acme_check:Other"\n')
    code, out, err = run("plugins", "check", "Acme")
    assert code == 0
    sentence = f"acme: {project} has changed since it was installed (losses/other)."
    assert f"problem: {sentence} Install it again: i2i plugins install -e {acme.parent}\n" in err
    assert "problem" not in out
    (problem,) = json.loads(run("plugins", "check", "acme", "--json")[1])["problems"]
    assert problem.startswith(sentence)


def test_check_names_the_part_that_takes_long(run: Run, acme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from i2i.cli import plugins as verbs

    slow = GOOD.replace("Good", "Slow").replace("print(", '__import__("time").sleep(0.02), print(')
    (acme.parent / "acme_check.py").write_text(GOOD + slow)
    (acme / "entry_points.txt").write_text("[i2i.losses]\na = acme_check:Good\nb = acme_check:Slow\n")
    assert "took" not in run("plugins", "check", "acme")[2]
    monkeypatch.setattr(verbs, "LONG", 0)
    for options in ([], ["--json"]):
        code, out, err = run("plugins", "check", "acme", *options)
        assert code == 0
        (said,) = [line for line in err.splitlines() if "the checks took" in line]
        assert "of which losses.b" in said
        assert "--set losses.b.KEY=VALUE makes it smaller" in said
        assert "the checks took" not in out
