"""From files to a finished run and its translations, through the command line."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from i2i import cli, images, load, recipe
from i2i.compose import compose
from i2i.data import fixed

Cli = Callable[..., tuple[int, str, str]]
RECIPES = Path(__file__).parent.parent / "recipes"
FILES = sorted(RECIPES.glob("*.toml"))
HD = """
metrics = ["l1"]
task = {{ name = "instances", classes = 4 }}
source = {{ name = "label_folders", root = "{root}" }}
validation = {{ name = "label_folders", root = "{root}" }}
augment = [{{ name = "RandomHorizontalFlip" }}]
[method]
name = "pix2pixhd"
coarse_steps = 2
frozen_steps = 1
generator = {{ width = 2, halvings = 1, blocks = 1, enhancer_blocks = 1 }}
discriminator = {{ width = 4 }}
[train]
steps = 4
log_every = 1
sample_every = 2
save_every = 1
"""
STYLED = """
metrics = ["l1"]
task = {{ name = "styled_labels", classes = 4 }}
source = {{ name = "label_folders", root = "{root}" }}
validation = {{ name = "label_folders", root = "{root}" }}
[method]
name = "spade"
generator = {{ width = 2, hidden = 4, doublings = 4 }}
encoder = {{ width = 4, latent = 6, halvings = 2 }}
discriminator = {{ width = 4 }}
[optimizer]
betas = [0.0, 0.9]
[optimizer.d]
lr = 4e-4
[train]
steps = 2
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Call the command line: (exit code, stdout, stderr without its line breaks)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["i2i", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, " ".join(err.split())

    return call


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two scenes of 16 x 32 pixels, instances of 16 bits that are alike in their last 8."""
    draw = np.random.default_rng(0)
    for stem in ("a", "b"):
        instance = np.zeros((16, 32), np.uint16)
        instance[4:9, 5:20] = 256
        images.write(tmp_path / "train_label" / f"{stem}.png", draw.integers(0, 4, (16, 32), dtype=np.uint8))
        images.write(tmp_path / "train_inst" / f"{stem}.png", instance)
        images.write(tmp_path / "train_img" / f"{stem}.png", draw.integers(0, 256, (16, 32, 3), dtype=np.uint8))
    return tmp_path


def trained(run: Cli, root: Path, text: str) -> Path:
    path = root / "recipe.toml"
    path.write_text(text.format(root=root))
    code, _, err = run("train", path, "--runs", root / "runs", "--device", "cpu")
    assert code == 0, err
    (made,) = (root / "runs").glob("recipe-*")
    return made


def test_labels_and_instances_become_photos(run: Cli, root: Path) -> None:
    model = trained(run, root, HD)
    log = [json.loads(line) for line in (model / "log.jsonl").read_text().splitlines()]
    assert {"g/adversarial", "g/features", "d/adversarial"} <= set(log[0])
    assert len(list((model / "samples").glob("*.png"))) == 2
    arguments = ("translate", root / "train_label", root / "out", "--model", model, "--device", "cpu")
    arguments += ("--precision", "float32")
    code, _, err = run(*arguments, "--guide", root / "train_inst")
    assert code == 0, err
    label, instance = (images.read_index(root / f"train_{kind}" / "a.png") for kind in ("label", "inst"))
    translator = load(model, "cpu")
    direct = translator(label, guide=instance)
    assert direct.shape == (16, 32, 3)
    assert np.array_equal(images.read(root / "out" / "a.png").pixels, direct)
    # In 8 bits there would be one instance, and no border.
    assert not np.array_equal(translator(label, guide=instance % 256), direct)
    code, _, err = run(*arguments, "--overwrite")
    assert code == 2
    assert "guided by an instance" in err
    images.write(root / "small.png", np.zeros((3, 4), np.uint16))
    code, _, err = run(*arguments, "--overwrite", "--guide", root / "small.png")
    assert code == 1
    assert "instance map is of 3 x 4" in err


def test_a_style_is_taken_from_a_picture_from_nowhere_or_from_chance(run: Cli, root: Path) -> None:
    model = trained(run, root, STYLED)
    images.write(root / "style.png", np.random.default_rng(1).integers(0, 256, (9, 9, 3), dtype=np.uint8))

    def translated(name: str, *extra: object) -> np.ndarray:
        code, _, err = run("translate", root / "train_label", root / name, "--model", model, "--device", "cpu", *extra)
        assert code == 0, err
        return images.read(root / name / "a.png").pixels

    plain, guided = translated("1"), translated("2", "--guide", root / "style.png")
    drawn, again, other = (translated(str(3 + i), "--stochastic", "--seed", i // 2) for i in range(3))
    assert np.array_equal(plain, translated("6"))
    assert np.array_equal(drawn, again)
    pictures = [plain, guided, drawn, other]
    assert all(not np.array_equal(one, two) for i, one in enumerate(pictures) for two in pictures[:i])


@pytest.mark.parametrize("text", [HD, STYLED])
def test_a_step_is_measured_without_numbers(run: Cli, root: Path, text: str) -> None:
    path = root / "recipe.toml"
    path.write_text(text.format(root=root))
    code, out, err = run("check", path)
    assert code == 0, err
    assert "unknown" not in out
    assert "memory of a step:" in out


def test_pictures_too_small_for_the_coarse_steps_are_told_before_the_run(run: Cli, root: Path) -> None:
    path = root / "recipe.toml"
    path.write_text(HD.format(root=root))
    judge = ("--set", "method.discriminator={name='patch', field=34, width=2}", "--set", "method.feature_weight=0.0")
    code, _, err = run("check", path, *judge)
    assert code == 2
    assert "these are 16 x 8" in err
    code, _, err = run("check", path, *judge, "--set", "method.coarse_steps=0", "--set", "method.frozen_steps=0")
    assert code == 0, err


def put(path: str, kind: type, *channels: int) -> None:
    images.write(path, np.zeros((16, 32, *channels), kind))


@pytest.fixture
def real_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of each split where the recipes expect their data sets."""
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        put(f"cityscapes/gtFine/{split}/ulm/ulm_000001_000019_gtFine_labelIds.png", np.uint8)
        put(f"cityscapes/gtFine/{split}/ulm/ulm_000001_000019_gtFine_instanceIds.png", np.uint16)
        put(f"cityscapes/leftImg8bit/{split}/ulm/ulm_000001_000019_leftImg8bit.png", np.uint8, 3)
    for split in ("training", "validation"):
        put(f"ade20k/annotations/{split}/ADE_00000001.png", np.uint8)
        put(f"ade20k/images/{split}/ADE_00000001.jpg", np.uint8, 3)


@pytest.mark.parametrize("name", [*(path.stem for path in FILES), "spade_ade20k task.name=styled_labels"])
@pytest.mark.usefixtures("real_data")
def test_a_recipe_composes_on_its_layout_and_takes_a_step(name: str) -> None:
    torch.set_num_threads(1)
    name, *chosen = name.split()
    narrow = ["method.generator.width=1", "method.discriminator.width=2"]
    if name.startswith("spade"):
        narrow += ["method.generator.hidden=2", "method.encoder.width=2"]
    pipeline = compose(recipe.read(RECIPES / f"{name}.toml", [*narrow, *chosen]))
    assert pipeline.held_out
    trained, measured = (
        pipeline.task.batch(fixed(samples, [0], torch.device("cpu")))
        for samples in (pipeline.samples, pipeline.held_out)
    )
    assert trained.b.shape == measured.b.shape
    turns = {player: sum(terms.values()).isfinite() for player, terms in pipeline.method.step(trained)}
    assert turns == {"g": True, "d": True}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_a_header_sets_fits(path: Path) -> None:
    """Only read: a perceptual loss would fetch its weights."""
    comments = "\n".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    settings = [quoted or bare.rstrip(".") for quoted, bare in re.findall(r"--set (?:'([^']+)'|(\S+))", comments)]
    assert recipe.read(path, settings).overrides == tuple(settings)
