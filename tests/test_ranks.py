"""Several processes train as one: the same weights, the same log, and whatever ends one of them ends all in words."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import TINY
from faults.kill import methods, recipe_of
from safetensors.torch import load_file

from i2i.checkpoint import Run
from i2i.launch import environments

Cli = Callable[..., tuple[int, str, str]]
STEPS = 20
UNET = 'generator = { name = "unet", depth = 3, width = 4 }'
EXACT = {"spade"}
"""Methods that have biases before a normalisation: in float32 two orders of a sum train them apart."""
OVER_BATCH = recipe_of("pix2pix", STEPS).replace(UNET, UNET.replace(" }", ', norm = "batch" }'))
WIDE = recipe_of("pix2pix", STEPS).replace(UNET, UNET.replace("width = 4", "width = 16"))
SHARD = "[engine]\nshard = true\n"
RECIPES = {f"{method}{64 if method in EXACT else ''}": recipe_of(method, STEPS) for method in methods()} | {
    "over_batch_64": OVER_BATCH,
    "wgan_gp_64": OVER_BATCH + 'adversarial = "wgan_gp"\n',
    "spade_over_batch_64": recipe_of("spade", STEPS).replace("generator = { ", 'generator = { norm = "batch", '),
    "shards_64": WIDE + SHARD,
    "inpainting": recipe_of("pix2pix", STEPS).replace('task = "paired"', 'task = "inpainting"'),
    "diff_augment": recipe_of("pix2pix", STEPS).replace(
        '{ name = "patch", field = 16, width = 4 }',
        '{ name = "diff_augment", discriminator = { name = "patch", field = 16, width = 4 } }',
    ),
    "noise": recipe_of("pix2pix", STEPS) + '[[augment]]\nname = "RandomGaussianNoise"\nstd = 0.1\n[[augment]]\n'
    'name = "ColorJiggle"\nbrightness = 0.2\nhue = 0.1\n',
}


def together(words: list[object], count: int, **more: object) -> list[subprocess.Popen[str]]:
    """Start a command in several processes, as a launcher does."""
    command = [sys.executable, *map(str, words)]
    return [
        subprocess.Popen(command, env={**os.environ, **own}, text=True, stderr=subprocess.PIPE, **more)  # type: ignore[call-overload]
        for own in environments(count)
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Every recipe at batch 4, trained by one process and by two."""
    root = tmp_path_factory.mktemp("ranks")
    recipes = []
    for name, text in RECIPES.items():
        recipes.append(root / f"{name}.toml")
        recipes[-1].write_text(text.replace("batch = 2", "batch = 4"))
    found = {}
    for count in (1, 2):
        found[count] = root / str(count)
        found[count].mkdir()
        words = [Path(__file__).with_name("ranks_at_work.py"), found[count], STEPS, *recipes]
        started = together(words, count)
        for process in started:
            err = process.communicate(timeout=600)[1]
            assert process.returncode == 0, err
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_train_as_one(name: str, trained: dict[int, Path]) -> None:
    """All that changes: weights, averages, optimizers, pools, and the terms of every step."""
    one, two = (load_file(trained[count] / f"{name}.safetensors") for count in (1, 2))
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert value.shape == two[key].shape, key
        # Moments are of any size, as gradients are, and squares differ by twice as much.
        most = float(value.double().abs().max()) if value.numel() else 0.0
        bound = 1e-4 * max(1.0, most) if key.startswith(("optimizer", "terms")) else 1e-5
        assert torch.allclose(value.double(), two[key].double(), rtol=0, atol=bound), key


def test_of_large_layers_each_has_a_part(trained: dict[int, Path]) -> None:
    assert (trained[1] / "shards_64.txt").read_text() == "1.0"
    assert 0.5 <= float((trained[2] / "shards_64.txt").read_text()) < 0.6


# ---- by the command line


SLOW = (
    TINY.replace("batch = 2", "batch = 4")
    .replace("steps = 4", "steps = 100000")
    .replace("save_every = 2", "save_every = 5")
)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def apart(one: Path, other: Path) -> float:
    ours, theirs = weights(one), weights(other)
    return max(float((value - theirs[name]).abs().max()) for name, value in ours.items())


def command(recipe: Path | None, runs: Path, *more: object) -> list[object]:
    return ["-m", "i2i", "train", *([recipe] if recipe else []), "--runs", runs, "--device", "cpu", *more]


def done(words: list[object], **env: str) -> tuple[int, str, str]:
    found = subprocess.run(
        [sys.executable, *map(str, words)], env={**os.environ, **env}, capture_output=True, text=True, timeout=300
    )
    return found.returncode, found.stdout, found.stderr


def only(runs: Path) -> Path:
    (run,) = runs.iterdir()
    return run


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 9 steps at batch 4 by one process."""
    root = tmp_path_factory.mktemp("alone")
    (root / "tiny.toml").write_text(SLOW.replace("100000", "9"))
    code, _, err = done(command(root / "tiny.toml", root / "runs"))
    assert code == 0, err
    return only(root / "runs")


@pytest.mark.parametrize(("count", "launcher"), [(2, "i2i"), (3, "torchrun")])
def test_a_launch_of_several_writes_what_one_would(count: int, launcher: str, alone: Path, tmp_path: Path) -> None:
    """Three processes have 1, 1 and 2 pictures of a batch of 4."""
    words = command(alone / "recipe.toml", tmp_path / "runs", "--json")
    if launcher == "i2i":
        code, out, err = done([*words, "--devices", count])
    else:
        launch = ["-m", "torch.distributed.run", "--nproc-per-node", count, "--master-port", "0", "--standalone"]
        code, out, err = done([*launch, *words])
    assert code == 0, err
    run = only(tmp_path / "runs")
    assert json.loads(out)["run"] == str(run)
    assert err.count("finished in") == 1
    assert f", {count} processes in float32" in err
    assert apart(run, alone) < 1e-6
    assert sorted(path.name for path in run.iterdir()) == sorted(path.name for path in alone.iterdir())
    for ours, theirs in zip(Run(run).read_log(), Run(alone).read_log(), strict=True):
        assert ours.keys() == theirs.keys()
        assert all(abs(ours[key] - theirs[key]) < 1e-4 for key in ours if key != "images_per_second")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_ends_one_of_them_ends_all_and_the_next_launch_goes_on(number: int, tmp_path: Path) -> None:
    """Also by another number of processes, and equal to the last bit by the same."""
    recipe = tmp_path / "slow.toml"
    recipe.write_text(SLOW)
    processes = together(command(recipe, tmp_path / "runs"), 2, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/state/*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.02)
    processes[1].send_signal(number)  # the one that does not write
    began = time.monotonic()
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert time.monotonic() - began < 30
    run = only(tmp_path / "runs")
    if number == signal.SIGTERM:
        assert [process.returncode for process in processes] == [75, 75], said
        assert "stopped and saved at step" in said[0] and said[1] == ""
    else:
        assert processes[0].returncode == 1, said
        assert "another process of this training has ended" in said[0]
    step = Run(run).last_saved()
    finish = step + 6
    recipe.write_text(SLOW.replace("100000", str(finish)))
    text = Run(run).recipe.read_text().replace("100000", str(finish))
    found = {}
    for name, count in (("same", 2), ("one", 1)):
        other = Path(shutil.copytree(run, tmp_path / name))
        (other / "recipe.toml").write_text(text)  # the length alone, which no step before depends on
        code, _, err = done(["-m", "i2i", "train", "--resume", other, "--device", "cpu", "--devices", count])
        assert code == 0, err
        found[name] = other
    code, _, err = done(command(recipe, tmp_path / "unbroken", "--devices", 2))
    assert code == 0, err
    unbroken = only(tmp_path / "unbroken")
    assert apart(found["same"], unbroken) == 0
    assert apart(found["one"], unbroken) < 1e-5


def test_what_is_in_shards_is_saved_whole_and_goes_on_with_any_number(tmp_path: Path) -> None:
    recipe = tmp_path / "shards.toml"
    recipe.write_text((WIDE + SHARD).replace("batch = 2", "batch = 4").replace("steps = 20", "steps = 8"))
    code, _, err = done(command(recipe, tmp_path / "runs", "--devices", 2))
    assert code == 0, err
    whole = only(tmp_path / "runs")
    for count in (1, 2):
        run = Path(shutil.copytree(whole, tmp_path / str(count)))
        next((run / "state").glob("000000008-*")).unlink()
        (run / "result.json").unlink()
        code, _, err = done(["-m", "i2i", "train", "--resume", run, "--device", "cpu", "--devices", count])
        assert code == 0, err
        assert apart(run, whole) == 0 if count == 2 else apart(run, whole) < 1e-5


@pytest.mark.parametrize("first", [0, 1])
def test_an_error_of_one_is_said_once_and_ends_all(first: int, alone: Path, tmp_path: Path) -> None:
    """The picture that cannot be read is in the share of the one or of the other, at step 6 of 9."""
    from i2i import images
    from i2i.data import Order

    rows = next(batch for at, batch in enumerate(Order(40, 0).batches(4, 0)) if at == 5)
    bad = rows[0 if first == 0 else 3][0]
    for index in range(40):
        picture = torch.randint(256, (16, 16, 3), dtype=torch.uint8).numpy()
        images.write(tmp_path / "data" / f"{index:02}.png", picture)
    path = tmp_path / "data" / f"{bad:02}.png"
    text = TINY.replace('task = "paired"', 'task = "colorization"').replace("batch = 2", "batch = 4")
    head, _, rest = text.partition("[source]")
    rest = rest[rest.index("[method]") :].replace("steps = 4", "steps = 9").replace("depth = 3", "depth = 2")
    recipe = tmp_path / "one.toml"
    recipe.write_text(f'{head}[source]\nname = "folder"\nroot = "{tmp_path / "data"}"\n{rest}')
    path.write_bytes(path.read_bytes()[:-20])
    code, _, err = done(command(recipe, tmp_path / "runs", "--devices", 2, "--set", "train.cache='none'"))
    assert code == 3, err
    assert err.count(str(path)) == 1 and "truncated" in err
    assert err.count("error:") == 1
    assert Run(only(tmp_path / "runs")).last_saved() == 5


@pytest.mark.parametrize(
    ("settings", "code", "text"),
    [
        (["train.batch=1"], 2, "train.batch = 1 is the batch of all processes, and there are 2: raise it"),
        (["method.generator.depth=9"], 3, "needs sides that divide by 512"),
        (["optimizer.lr=1e30", "train.steps=30"], 6, "became"),
    ],
)
def test_what_all_find_is_said_once(settings: list[str], code: int, text: str, alone: Path, tmp_path: Path) -> None:
    words = command(alone / "recipe.toml", tmp_path / "runs", "--devices", 2)
    found, _, err = done([*words, *(word for one in settings for word in ("--set", one))])
    assert found == code, err
    assert err.count("error:") == 1, err
    assert text in err


def test_a_device_that_several_cannot_have_is_refused(alone: Path, tmp_path: Path) -> None:
    words = ["-m", "i2i", "train", alone / "recipe.toml", "--runs", tmp_path, "--devices", 2, "--device", "cuda:1"]
    code, _, err = done(words)
    assert code == 2
    assert "each of several processes takes its own" in err


def test_an_environment_that_is_no_launchers_is_told(alone: Path, tmp_path: Path) -> None:
    code, _, err = done(command(alone / "recipe.toml", tmp_path), WORLD_SIZE="2")
    assert code == 2
    assert "'RANK' is missing" in err and "torchrun" in err
