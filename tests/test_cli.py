"""The verbs as a user meets them: what they make, what they say, what they leave behind, their exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from i2i import images
from i2i.checkpoint import Run
from i2i.errors import DataError

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run."""
    from conftest import TINY
    from rich.console import Console

    from i2i import recipe, train
    from i2i.display import TrainDisplay

    root = tmp_path_factory.mktemp("trained")
    plan = recipe.parse(root / "tiny.toml", TINY.encode())
    with TrainDisplay(Console(quiet=True)) as display:
        return train.start(plan, runs=root / "runs", device="cpu", display=display).path


def photo(path: Path, width: int = 40, height: int = 30, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write(path, np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))
    return path


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# ---- train


def test_a_run_holds_all_that_it_promises(trained: Path) -> None:
    assert [name.partition("-")[0] for name in files(trained)] == [  # a state's name goes on with its checksum
        ".lock",
        "log.jsonl",
        "model/model.json",
        "model/model.safetensors",
        "recipe.toml",
        "report.html",
        "resolved.json",
        "result.json",
        "samples/000000002.png",
        "samples/000000004.png",
        "state/000000002",
        "state/000000004",
    ]
    resolved = json.loads((trained / "resolved.json").read_text())
    assert resolved["method"]["weight"] == 100.0  # a default, filled in
    assert {"torch", "python", "i2i"} <= set(resolved["versions"])
    log = Run(trained).read_log()
    assert [entry["step"] for entry in log] == [1, 2, 3, 4]
    assert {"g/adversarial", "g/reconstruction", "d/adversarial", "lr", "images_per_second"} <= set(log[0])
    result = json.loads((trained / "result.json").read_text())
    assert result["metrics"]["l1"].keys() == {"translated", "input"}
    report = (trained / "report.html").read_text()
    assert "g/reconstruction" in report
    assert "data:image/png;base64" in report
    assert "http" not in report.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_interrupted_and_resumed_equals_unbroken(tmp_path: Path, tiny: Path) -> None:
    """Real processes, a real Ctrl-C: the weights come out the same to the last bit."""
    command = [sys.executable, "-m", "i2i", "train"]
    settings = [
        "--set",
        "train.steps=24",
        "--set",
        "train.save_every=100",
        "--runs",
        tmp_path / "runs",
        "--device",
        "cpu",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, tiny, *settings], check=True, env=environment, capture_output=True)
    (whole,) = (tmp_path / "runs").iterdir()
    settings[settings.index("--runs") + 1] = tmp_path / "broken"
    process = subprocess.Popen([*command, tiny, *settings], env=environment, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "broken").glob("*/log.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.01)
    (broken,) = (tmp_path / "broken").iterdir()
    while len(Run(broken).read_log()) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out
    assert not (broken / "result.json").exists()
    step, _, _ = Run(broken).load_state()
    assert 3 <= step < 24
    subprocess.run([*command, "--resume", broken, "--device", "cpu"], check=True, env=environment, capture_output=True)
    ours = json.loads((broken / "model" / "model.json").read_text())["sha256"]
    assert ours == json.loads((whole / "model" / "model.json").read_text())["sha256"]
    assert [entry["step"] for entry in Run(broken).read_log()] == list(range(1, 25))


def test_a_broken_picture_ends_a_training_that_has_been_saved(run: Cli, tiny: Path, tmp_path: Path) -> None:
    for folder in ("A", "B"):
        for i in range(6):
            photo(tmp_path / "data" / folder / f"{i}.png", 32, 32, seed=i)
    broken = tmp_path / "data" / "A" / "5.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-20])
    settings = [
        f'source={{name="pairs", root="{tmp_path / "data"}"}}',
        "train.batch=1",
        "train.steps=6",
        "train.seed=3",
    ]
    settings += ["train.save_every=100", "validation.count=1"]
    chosen = [word for text in settings for word in ("--set", text)]
    code, out, err = run("train", tiny, *chosen, "--runs", tmp_path / "runs", "--device", "cpu")
    (made,) = (tmp_path / "runs").iterdir()
    step = Run(made).load_state()[0]
    assert 0 < step < 6
    assert code == 3
    assert "5.png" in err
    assert out.count(f"{made}: saved up to step {step}. Go on: i2i train --resume {made}") == 1
    code, out, err = run("train", "--resume", made, "--device", "cpu")  # not a step further
    assert code == 3 and "5.png" in err and Run(made).load_state()[0] == step
    broken.write_bytes(whole)
    assert run("train", "--resume", made, "--device", "cpu")[0] == 0
    assert "<h1>tiny" in (made / "report.html").read_text(encoding="utf-8")
    assert json.loads((made / "model" / "model.json").read_text())["name"] == "tiny"


def test_a_recipe_without_validation_says_that_nothing_is_measured(run: Cli, tiny: Path, tmp_path: Path) -> None:
    text = tiny.read_text()
    start = text.index("[validation]")
    tiny.write_text(text[:start] + text[text.index("[method]") :])
    code, out, _ = run("train", tiny, "--runs", tmp_path / "runs", "--device", "cpu")
    assert code == 0
    assert "has no [validation]: nothing is held out, and nothing measured" in out
    assert "none held out: no [validation], no measures" in run("check", tiny)[1]


def test_other_users_may_read_a_model(trained: Path) -> None:
    expected = (trained / "recipe.toml").stat().st_mode
    assert (trained / "model" / "model.safetensors").stat().st_mode == expected
    assert {path.stat().st_mode for path in (trained / "state").iterdir()} == {expected}


def test_recipes_and_ablations_are_told_apart(run: Cli, tiny: Path, tmp_path: Path) -> None:
    ablation = tmp_path / "compare.toml"
    ablation.write_text('base = "tiny.toml"\n[variants]\nL1 = []\n')
    assert f"i2i ablate {ablation}" in run("train", ablation)[2].replace("\n", "")
    assert f"i2i train {tiny}" in run("ablate", tiny)[2].replace("\n", "")


def test_the_version(run: Cli) -> None:
    import i2i

    assert run("--version")[1] == f"i2i {i2i.__version__}\n"


def test_a_finished_run_has_nothing_to_go_on_with(run: Cli, trained: Path) -> None:
    code, _, err = run("train", "--resume", trained)
    assert code == 2
    assert "has finished" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a recipe to train"),
        (["x.toml", "--resume", "y"], "give a recipe, or a run with --resume, not both"),
        (["--resume", "nowhere"], "nowhere: is not a run"),
        (["--resume", "nowhere", "--set", "train.batch=1"], "--set does not go with --resume"),
        (["nowhere.toml"], "nowhere.toml: cannot be read: No such file or directory."),
    ],
)
def test_train_says_what_it_needs(run: Cli, arguments: list[str], message: str) -> None:
    code, _, err = run("train", *arguments)
    assert code == 2
    assert message in err


def test_a_broken_recipe_leaves_no_run(run: Cli, tiny: Path, tmp_path: Path) -> None:
    code, _, err = run("train", tiny, "--set", "method.generator.dept=3", "--runs", tmp_path / "runs")
    assert code == 2
    assert "Did you mean 'depth'?" in err
    assert not (tmp_path / "runs").exists()


def test_unknown_player_names_the_line(run: Cli, tiny: Path, tmp_path: Path) -> None:
    tiny.write_text(tiny.read_text() + "[optimizer.gg]\nlr = 1e-4\n")
    code, _, err = run("train", tiny, "--runs", tmp_path / "runs")
    assert code == 2
    line = len(tiny.read_text().splitlines()) - 1
    assert f"tiny.toml:{line}: optimizer.gg: no such player. Did you mean 'g'? Players of this method: g, d." in err


def test_divergence_ends_with_6_and_keeps_the_last_good_state(run: Cli, tiny: Path, tmp_path: Path) -> None:
    code, _, err = run(
        "train", tiny, "--set", "optimizer.lr=1e30", "--set", "train.steps=30", "--runs", tmp_path / "runs"
    )
    assert code == 6
    assert "became nan in step" in err or "not finite" in err
    (made,) = (tmp_path / "runs").iterdir()
    assert not (made / "result.json").exists()


@pytest.mark.parametrize("harm", ["missing", "empty", "file", "unpaired", "truncated", "text", "differing", "tiny"])
def test_bad_data_are_named_with_exit_3(run: Cli, tiny: Path, tmp_path: Path, harm: str) -> None:
    root = tmp_path / "data"
    for name in ("A/1.png", "A/2.png", "B/1.png", "B/2.png"):
        photo(root / name, 32, 32)
    named = str(root)
    if harm == "missing":
        root = tmp_path / "dta"
        named = "Did you mean"
    elif harm == "empty":
        for path in root.rglob("*.png"):
            path.unlink()
    elif harm == "file":
        root = named = root / "A" / "1.png"  # type: ignore[assignment]
    elif harm == "unpaired":
        (root / "B" / "2.png").rename(root / "B" / "3.png")
        named = "3.png"
    elif harm == "truncated":
        photo(root / "A" / "1.jpg", 32, 32)
        (root / "A" / "1.png").unlink()
        data = (root / "A" / "1.jpg").read_bytes()
        (root / "A" / "1.jpg").write_bytes(data[: len(data) // 2])
        named = "1.jpg"
    elif harm == "text":
        (root / "A" / "1.png").write_text("not a picture")
        named = "1.png"
    elif harm == "differing":
        for name in ("A/1.png", "B/1.png"):
            (root / name).unlink()
            photo(root / name, 32, 48)
        named = "RandomCrop"
    elif harm == "tiny":
        for name in ("A/1.png", "B/1.png", "A/2.png", "B/2.png"):
            (root / name).unlink()
            photo(root / name, 1, 1)
        named = "1x1"
    source = f'source={{name="pairs", root="{root}"}}'
    code, _, err = run("train", tiny, "--set", source, "--runs", tmp_path / "runs", "--device", "cpu")
    assert code == 3, err
    assert str(named) in err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("runs/*/model"))


# ---- check, evaluate


def test_check_says_what_will_be_built(run: Cli, tiny: Path, tmp_path: Path) -> None:
    code, out, _ = run("check", tiny, "--device", "cpu")
    assert code == 0
    for text in (
        "6 to train, 2 held out",
        "4 steps of batch 2",
        "2 x 3 x 32 x 32",
        "player g:",
        "MiB",
        "a 3 x 32 x 32",
    ):
        assert text in out, out
    code, out, _ = run("check", tiny, "--json", "--device", "cpu")
    summary = json.loads(out)
    from i2i.generators.unet import UNet

    assert summary["parameters"]["g"] == sum(p.numel() for p in UNet(3, 3, depth=3, width=4).parameters())
    assert summary["memory"] > 16 * sum(summary["parameters"].values())


def test_train_prints_json_alone_when_asked(run: Cli, tiny: Path, tmp_path: Path) -> None:
    code, out, err = run("train", tiny, "--json", "--runs", tmp_path / "runs", "--device", "cpu")
    assert code == 0, err
    told = json.loads(out)
    result = json.loads((Path(told.pop("run")) / "result.json").read_text())
    assert told == result
    assert result["metrics"]["l1"]


def test_evaluate_repeats_what_training_measured(run: Cli, trained: Path) -> None:
    code, out, _ = run("evaluate", trained, "--json", "--device", "cpu")
    assert code == 0
    first = json.loads((trained / "result.json").read_text())["metrics"]
    assert json.loads(out)["l1"]["translated"] == pytest.approx(first["l1"]["translated"], rel=1e-5)
    code, out, _ = run("evaluate", trained, "--set", 'metrics=["psnr"]', "--device", "cpu")
    assert "psnr" in out


def test_a_sheet_shows_held_out_samples(run: Cli, trained: Path, tmp_path: Path) -> None:
    code, _, err = run("evaluate", trained, "--sheet", tmp_path / "sheet.png", "--rows", 2, "--device", "cpu")
    assert code == 0, err
    assert images.read(tmp_path / "sheet.png").pixels.shape == (18 + 4 + 2 * 36, 4 + 3 * 36, 3)
    code, _, err = run("evaluate", trained, "--sheet", tmp_path / "sheet.xyz", "--device", "cpu")
    assert code == 2
    assert "sheet.xyz" in err


def test_a_scorer_needs_labels(run: Cli, trained: Path, scorer: Path) -> None:
    code, _, err = run("evaluate", trained, "--scorer", scorer, "--device", "cpu")
    assert code == 3
    assert "palette" in err  # day is no picture of labels
    code, _, err = run("evaluate", trained, "--scorer", trained.parent / "none", "--device", "cpu")
    assert code == 2
    assert "is neither a run nor a model folder" in err


# ---- translate


def test_a_folder_is_translated_with_no_flags(
    run: Cli, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in (("a.png", (40, 30)), ("deep/er/b.jpg", (33, 7)), ("one.png", (1, 1))):
        photo(tmp_path / "in" / name, *size)
    monkeypatch.chdir(trained.parent.parent)
    code, out, err = run("translate", tmp_path / "in", tmp_path / "out", "--device", "cpu")
    assert code == 0, err
    assert "the newest finished run" in err
    assert trained.name in err
    assert "3 of 3 translated" in out
    assert files(tmp_path / "out") == ["a.png", "deep/er/b.png", "one.png"]
    for name in files(tmp_path / "out"):
        source = next((tmp_path / "in").rglob(f"{Path(name).stem}.*"))
        assert images.size(tmp_path / "out" / name) == images.size(source)


def test_existing_outputs_are_an_error_without_overwrite(run: Cli, trained: Path, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "b.png")
    photo(tmp_path / "out" / "a.png", 3, 3)
    before = (tmp_path / "out" / "a.png").read_bytes()
    arguments = ("translate", tmp_path / "in", tmp_path / "out", "--model", trained, "--device", "cpu")
    code, _, err = run(*arguments)
    assert code == 2
    assert "a.png exists already" in err
    assert files(tmp_path / "out") == ["a.png"]
    assert (tmp_path / "out" / "a.png").read_bytes() == before
    photo(tmp_path / "in" / "c.png")
    (tmp_path / "in" / "notes.txt").write_text("")
    code, out, err = run(*arguments, "--resume")
    assert (code, out.splitlines()[-1]) == (0, f"2 of 2 translated into {tmp_path / 'out'}")
    assert "left out: 1 file(s) of kinds that are not read (.txt)" in err
    assert "1 of 3 were there already" in err
    code, out, err = run(*arguments, "--resume", "--json")
    assert (code, json.loads(out)) == (0, {"translated": [], "failed": []})
    assert "3 of 3 were there already" in err
    assert (tmp_path / "out" / "a.png").read_bytes() == before
    assert run(*arguments, "--resume", "--overwrite")[0] == 2
    assert run(*arguments, "--overwrite")[0] == 0
    assert images.size(tmp_path / "out" / "a.png") == (30, 40)


def test_a_bad_picture_is_named_and_the_good_ones_are_done(run: Cli, trained: Path, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "good.png")
    (tmp_path / "in" / "bad.png").write_text("not a picture")
    photo(tmp_path / "in" / "cut.jpg", 64, 64)
    data = (tmp_path / "in" / "cut.jpg").read_bytes()
    (tmp_path / "in" / "cut.jpg").write_bytes(data[:-200])
    code, out, err = run(
        "translate", tmp_path / "in", tmp_path / "out", "--model", trained, "--json", "--device", "cpu"
    )
    assert code == 1
    outcome = json.loads(out)
    assert [Path(item["output"]).name for item in outcome["translated"]] == ["good.png"]
    assert [Path(item["input"]).name for item in outcome["failed"]] == ["bad.png", "cut.jpg"]
    assert "bad.png" in err
    assert "cut.jpg" in err
    assert files(tmp_path / "out") == ["good.png"]


@pytest.mark.parametrize(
    ("harm", "code", "message"),
    [
        ("no input", 3, "nowhere"),
        ("empty input", 3, "in"),
        ("output is a file", 2, "is a file"),
        ("output is input", 2, "is the input folder"),
        ("output cannot be made", 7, "out"),
        ("equal stems", 1, "rename one"),
        ("no model", 2, "neither a run nor a model folder"),
        ("no run", 2, "no finished run"),
        ("format", 2, "Known: png"),
        ("damaged model", 5, "is damaged"),
    ],
)
def test_translate_refuses_clearly(run: Cli, trained: Path, tmp_path: Path, harm: str, code: int, message: str) -> None:
    source, target, extra = tmp_path / "in", tmp_path / "out", ["--model", str(trained)]
    photo(source / "a.png")
    if harm == "no input":
        source = tmp_path / "nowhere"
    elif harm == "empty input":
        (source / "a.png").unlink()
    elif harm == "output is a file":
        target.write_text("")
    elif harm == "output is input":
        target = source
    elif harm == "output cannot be made":
        (tmp_path / "wall").write_text("")
        target = tmp_path / "wall" / "out"
    elif harm == "equal stems":
        photo(source / "a.jpg")
    elif harm == "no model":
        extra = ["--model", str(tmp_path / "nothing")]
    elif harm == "no run":
        extra = ["--runs", str(tmp_path / "nothing")]
    elif harm == "format":
        extra += ["--format", "gif"]
    elif harm == "damaged model":
        import shutil

        shutil.copytree(trained / "model", tmp_path / "model")
        path = tmp_path / "model" / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
        extra = ["--model", str(tmp_path / "model")]
    before = files(tmp_path)
    got, _, err = run("translate", source, target, *extra, "--device", "cpu")
    assert got == code, err
    assert message in err
    assert "Traceback" not in err
    assert files(tmp_path) == before


def test_the_same_in_python(trained: Path, tmp_path: Path) -> None:
    """PIL, arrays and tensors in and out agree with each other, and with the verb."""
    import torch
    from PIL import Image

    import i2i

    translator = i2i.load(trained, device="cpu")
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    array = translator(pixels)
    assert array.shape == (30, 40, 3)
    assert array.dtype == np.uint8
    assert np.array_equal(np.asarray(translator(Image.fromarray(pixels))), array)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    assert translator(tensor).shape == (3, 30, 40)
    assert np.array_equal(images.to_pixels(translator(tensor)), array)
    assert translator(tensor[None].expand(2, -1, -1, -1)).shape == (2, 3, 30, 40)
    with pytest.raises(DataError, match=r"floats are taken in \[0, 1\], and these go from 255 to 255"):
        translator(np.full((8, 8, 3), 255.0))
    with pytest.raises(DataError, match=r"these go from 255 to 255"):
        translator(torch.full((3, 8, 8), 255.0))
    with pytest.raises(DataError, match=r"these go from -1 to 1"):
        translator(torch.tensor([-1.0, 1]).reshape(1, 1, 2).expand(3, 8, 2))
    with pytest.raises(DataError, match=r"these go from nan to nan"):
        translator(torch.full((3, 8, 8), torch.nan))
    with pytest.raises(DataError, match="empty array"):
        translator(pixels[:0])
    with pytest.raises(DataError, match="empty tensor"):
        translator(torch.zeros(3, 0, 8))
    floats = translator(pixels.astype(np.float32) / 255)
    assert floats.dtype == np.float32
    assert np.abs(floats * 255 - array).max() <= 0.51
    with pytest.raises(i2i.errors.DataError, match="cannot translate a str"):  # type: ignore[attr-defined]
        translator("picture.png")
    with pytest.raises(i2i.errors.DataError, match="expected uint8"):  # type: ignore[attr-defined]
        translator(pixels.astype(np.int64))


def test_a_model_that_needs_a_missing_package_names_it(run: Cli, trained: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(trained / "model", tmp_path / "model")
    text = (tmp_path / "model" / "model.json").read_text()
    (tmp_path / "model" / "model.json").write_text(text.replace('"name": "unet"', '"name": "acme-net"'))
    photo(tmp_path / "in" / "a.png")
    code, _, err = run("translate", tmp_path / "in", tmp_path / "out", "--model", tmp_path / "model", "--device", "cpu")
    assert code == 4
    assert f"{tmp_path / 'model' / 'model.json'}: " in err.replace("\n", "")
    assert "unknown generator 'acme-net'" in err
    assert "The model was made with i2i" in err


# ---- found by breaking it


def test_a_run_survives_the_death_of_who_reads_it(tmp_path: Path, tiny: Path) -> None:
    """`i2i train ... | head -1`: the display is gone after a line, the run goes on to its end."""
    command = [sys.executable, "-m", "i2i", "train", tiny, "--runs", tmp_path / "runs", "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=120) == 0
    (made,) = (tmp_path / "runs").iterdir()
    assert Run(made).finished


def test_sigterm_saves_and_exits_75(tmp_path: Path, tiny: Path) -> None:
    settings = ["--set", "train.steps=100000", "--runs", tmp_path / "runs", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "i2i", "train", tiny, *settings], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    # The log is there before the signal is waited for; its first line comes after.
    while not any(p.stat().st_size for p in tmp_path.glob("runs/*/log.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.terminate()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75, err
    (made,) = (tmp_path / "runs").iterdir()
    assert f"i2i train --resume {made}" in err.replace("\n", "")
    assert Run(made).load_state()[0] >= 1


@pytest.mark.parametrize(
    ("setting", "code", "message"),
    [
        ("method.weight=inf", 2, "method.weight"),
        ("train.seed=18446744073709551617", 2, "train.seed"),
        ("metrics=[l1]", 2, "not valid TOML"),
        ("metrics.²=1", 2, "not the number of an item"),
        ('metrics="l1"', 2, "Write metrics = [...]"),
        ("source.prepare=3", 2, "Write [[source.prepare]]"),
        ('source.prepare=[{name="Resize", height="a", width=3}]', 2, "source.prepare.0.height: 'a' does not fit"),
        ('augment=[{name="RandomRotation", degrees="a"}]', 2, "augment.0.degrees: 'a' does not fit: input should be a"),
        ('source.prepare=[{name="RandomCrop", height=99, width=99}]', 2, "scene "),
        ('validation.prepare=[{name="RandomCrop", height=99, width=99}]', 2, "scene "),
        ('augment=[{name="RandomHorizontalFlip", on=["bb"]}]', 2, "--set augment"),
        ('augment=[{name="RandomHorizontalFlip", on=["bb"]}]', 2, "the task has no picture 'bb'. Did you mean 'b'?"),
        ('metrics=["accuracy"]', 2, "accuracy measures class indices"),
        ("method.discriminator.field=142", 2, "needs pictures of at least"),
    ],
)
def test_what_cannot_work_leaves_no_run(
    run: Cli, tiny: Path, tmp_path: Path, setting: str, code: int, message: str
) -> None:
    got, _, err = run("train", tiny, "--set", setting, "--runs", tmp_path / "runs", "--device", "cpu")
    assert message in err
    assert got == code
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_a_broken_held_out_picture_is_found_before_the_first_step(run: Cli, tiny: Path, tmp_path: Path) -> None:
    for side in ("A", "B"):
        photo(tmp_path / "data" / side / "1.png", 32, 32)
    data = (tmp_path / "data" / "A" / "1.png").read_bytes()
    (tmp_path / "data" / "A" / "1.png").write_bytes(data[:-60])
    validation = f'validation={{name="pairs", root="{tmp_path / "data"}"}}'
    code, _, err = run("train", tiny, "--set", validation, "--runs", tmp_path / "runs", "--device", "cpu")
    assert code == 3
    assert "1.png" in err
    assert not (tmp_path / "runs").exists()


def test_one_picture_of_another_size_is_a_sentence(run: Cli, tiny: Path, tmp_path: Path) -> None:
    for name in ("A", "B"):
        for i in range(5):
            photo(tmp_path / "data" / name / f"{i}.png", 32, 32)
        photo(tmp_path / "data" / name / "9.png", 30, 32)
    settings = ["--set", f'source={{name="pairs", root="{tmp_path / "data"}"}}', "--set", "train.batch=1"]
    code, _, err = run(
        "train", tiny, *settings, "--set", "train.steps=9", "--runs", tmp_path / "runs", "--device", "cpu"
    )
    assert code == 3
    assert "30x32" in err
    assert "RandomCrop" in err


def test_a_run_stopped_before_its_first_state_begins_anew(run: Cli, tiny: Path, tmp_path: Path) -> None:
    run("train", tiny, "--runs", tmp_path / "runs", "--device", "cpu")
    (made,) = (tmp_path / "runs").iterdir()
    for path in (*(made / "state").iterdir(), made / "result.json"):
        path.unlink()
    code, out, _ = run("train", "--resume", made, "--device", "cpu")
    assert code == 0
    assert "going on at step 0" in out
    assert Run(made).finished


def test_line_100_is_no_emoji(run: Cli, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("\n" * 99 + "[trian]\n")
    assert "x.toml:100: trian" in run("check", path)[2].replace("\n", "")


def test_python_refuses_what_it_cannot_mean(trained: Path) -> None:
    import torch
    from PIL import Image

    import i2i
    from i2i.errors import DataError

    translator = i2i.load(trained, device="cpu")
    for wrong in (
        np.zeros((3, 20, 30), np.uint8),
        np.zeros((20, 30, 2), np.uint8),
        torch.zeros(3, 20, 30, dtype=torch.uint8),
        Image.new("F", (30, 20)),
        Image.new("I;16", (30, 20)),
    ):
        with pytest.raises(DataError, match=r"expected|has no fixed range"):
            translator(wrong)
    alpha = np.full((20, 30), 7, np.uint8)
    picture = Image.fromarray(np.dstack([np.zeros((20, 30, 3), np.uint8), alpha]))
    assert np.array_equal(np.asarray(translator(picture).getchannel("A")), alpha)
    assert translator(np.zeros((20, 30), np.float64)).shape == (20, 30, 3)


def test_a_mask_for_a_model_that_fills_nothing_is_refused(run: Cli, trained: Path, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "masks" / "a.png")
    arguments = ("--model", trained, "--mask", tmp_path / "masks", "--device", "cpu")
    code, _, err = run("translate", tmp_path / "in", tmp_path / "out", *arguments)
    assert code == 2
    assert "fills no holes" in err


def test_a_picture_that_memory_cannot_hold_is_named_and_the_next_is_done(
    run: Cli, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from i2i import translate

    photo(tmp_path / "in" / "huge.png", 64, 64)
    photo(tmp_path / "in" / "small.png", 32, 32)
    whole = translate.predict

    def scarce(task: object, method: object, pictures: list[dict[str, Any]], *how: Any) -> Any:
        if any(one["a"].shape[-1] > 32 for one in pictures):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return whole(task, method, pictures, *how)  # type: ignore[arg-type]

    monkeypatch.setattr(translate, "predict", scarce)
    code, _, err = run("translate", tmp_path / "in", tmp_path / "out", "--model", trained, "--device", "cpu")
    assert code == 1
    assert "huge.png: memory ran out on a picture of 64x64 pixels" in err
    assert files(tmp_path / "out") == ["small.png"]
