"""A run goes on exactly, whatever ended it, and no fault of a disk costs what was saved before it."""

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from kill import SMALL, Outcome, methods, recipe_of
from rich.console import Console
from safetensors.torch import load_file, save_file

from i2i import images, recipe, train
from i2i.checkpoint import Run, load_model
from i2i.display import TrainDisplay
from i2i.errors import I2IError, UnsafeFileError

Cli = Callable[..., tuple[int, str, str]]
STEPS = 7


def trained(folder: Path, method: str = "pix2pix", *settings: str) -> Path:
    plan = recipe.parse(Path("tiny.toml"), recipe_of(method, STEPS).encode(), list(settings))
    with TrainDisplay(Console(quiet=True)) as display:
        return train.start(plan, runs=folder, device="cpu", display=display, name="run").path


def resumed(run: Path) -> Path:
    with TrainDisplay(Console(quiet=True)) as display:
        return train.resume(run, device="cpu", display=display).path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of seven steps, its states those of the steps 5 and 7."""
    return trained(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def at_five(whole: Path, tmp_path: Path) -> Path:
    """The same, killed behind the state of step 5: its log's last line stands for four steps, and one waits."""
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    state(run, 7).unlink()
    (run / "result.json").unlink()
    return run


def state(run: Path, step: int) -> Path:
    (path,) = (run / "state").glob(f"{step:09d}-*.safetensors")
    return path


def test_kills_at_random_instants_change_nothing() -> None:
    """The short form; README and .ci/run have the long ones."""
    command = [sys.executable, Path(__file__).with_name("kill.py"), "--runs", "2", "--workers", "2", "--steps", "12"]
    done = subprocess.run([*command, "--method", "pix2pix"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pix2pix" in done.stdout


@pytest.mark.parametrize("method", methods())
def test_every_method_goes_on_exactly(method: str, tmp_path: Path) -> None:
    run = trained(tmp_path, method)
    unbroken = Outcome.of(run)
    state(run, 7).unlink()
    for path in (run / "result.json", run / "report.html", run / "samples" / "000000007.png"):
        path.unlink()
    (run / "model" / "model.safetensors").write_bytes(b"half")
    assert Outcome.of(resumed(run)).unlike(unbroken) == []


@pytest.mark.parametrize(("workers", "log_every"), [(0, 4), (1, 1), (2, 3), (4, 100)])
def test_the_logging_interval_and_the_workers_change_no_bit(
    workers: int, log_every: int, whole: Path, tmp_path: Path
) -> None:
    settings = (f"train.workers={workers}", f"train.log_every={log_every}", "train.sample_every=100")
    other = trained(tmp_path, "pix2pix", *settings)
    digest, ours = (
        hashlib.sha256((path / "model" / "model.safetensors").read_bytes()).hexdigest() for path in (whole, other)
    )
    assert digest == ours == json.loads((whole / "model" / "model.json").read_text())["sha256"]


def test_a_sample_that_a_kill_took_is_made_again(whole: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    (run / "result.json").unlink()
    (run / "samples" / "000000007.png").unlink()
    (run / "report.html").unlink()
    assert Outcome.of(resumed(run)).unlike(Outcome.of(whole)) == []


@pytest.mark.parametrize("latest", [[], ["latest"]])
def test_latest_is_the_last_unfinished_run(latest: list[str], at_five: Path, whole: Path, run: Cli) -> None:
    code, out, err = run("train", "--resume", *latest, "--runs", at_five.parent, "--device", "cpu")
    assert (code, err) == (0, "")
    assert "going on at step 5" in out
    assert Outcome.of(at_five).unlike(Outcome.of(whole)) == []
    code, _, err = run("train", "--resume", "latest", "--runs", at_five.parent)
    assert code == 2
    assert "no run in it to go on with: all have finished" in err


def test_without_any_other_flag_a_run_of_this_folder_goes_on(
    whole: Path, at_five: Path, run: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(at_five.parent)
    Path("runs").mkdir()
    at_five.rename(Path("runs", "one"))
    assert run("train", "--resume")[0] == 0
    assert Outcome.of(at_five.parent / "runs" / "one").unlike(Outcome.of(whole)) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_second_process_is_kept_from_a_run_until_the_first_has_gone(at_five: Path, run: Cli) -> None:
    held, free = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        with Run(at_five).held():
            os.fork()  # as one of a loader's, which outlives the process
            os.write(held[1], b"x")
            os.read(free[0], 1)
        os._exit(0)
    try:
        os.read(held[0], 1)
        log = (at_five / "log.jsonl").read_bytes()
        code, _, err = run("train", "--resume", at_five, "--device", "cpu")
        assert (code, (at_five / "log.jsonl").read_bytes()) == (7, log)
        assert f"{at_five}: another process is at work on it" in err.replace("\n", "")
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert run("train", "--resume", at_five, "--device", "cpu")[0] == 0
    finally:
        os.write(free[1], b"xx")


# ---- What is in a state


FIELDS = ("method/g.", "method/d.", "average/", "optimizer/g/", "optimizer/d/", "log/")


def test_these_are_all_the_fields(at_five: Path) -> None:
    tensors = load_file(state(at_five, 5))
    assert all(any(key.startswith(field) for key in tensors) for field in FIELDS)
    assert [key for key in tensors if not key.startswith(FIELDS)] == []
    assert {key.rpartition("/")[2] for key in tensors if key.startswith("optimizer/")} == {
        "step",
        "exp_avg",
        "exp_avg_sq",
    }


@pytest.mark.parametrize("field", [*FIELDS, "/step", "/exp_avg", "/exp_avg_sq", "log/001"])
def test_a_state_without_a_field_is_noticed(field: str, at_five: Path, whole: Path) -> None:
    dropped(state(at_five, 5), lambda key: key.startswith(field) or key.endswith(field))
    try:
        unlike = Outcome.of(resumed(at_five)).unlike(Outcome.of(whole))
    except I2IError as error:
        unlike = [str(error)]
    assert unlike


@pytest.mark.parametrize(
    ("method", "field"), [("cyclegan", "method/pool."), ("cut", "optimizer/heads/"), ("pix2pixhd", "method/steps")]
)
def test_a_state_without_what_its_method_remembers_is_noticed(method: str, field: str, tmp_path: Path) -> None:
    run = trained(tmp_path, method)
    unbroken = Outcome.of(run)
    state(run, 7).unlink()
    (run / "result.json").unlink()
    dropped(state(run, 5), lambda key: key.startswith(field))
    try:
        unlike = Outcome.of(resumed(run)).unlike(unbroken)
    except I2IError as error:
        unlike = [str(error)]
    assert unlike


def dropped(path: Path, drop: Callable[[str], bool]) -> None:
    """Write a state without some of its tensors, with a checksum that is right."""
    tensors = load_file(path)
    kept = {key: value for key, value in tensors.items() if not drop(key)}
    assert 0 < len(kept) < len(tensors)
    path.unlink()
    save_file(kept, path.with_name("new.safetensors"))
    digest = hashlib.sha256(path.with_name("new.safetensors").read_bytes()).hexdigest()
    path.with_name("new.safetensors").rename(path.with_name(f"000000005-{digest}.safetensors"))


def test_no_damage_to_a_state_goes_unseen(whole: Path, tmp_path: Path) -> None:
    """50 truncations and 1,000 flipped bits: each is told, and the state before it is taken."""
    run = Run(Path(shutil.copytree(whole, tmp_path / "run")))
    path, (_, before, _) = state(run.path, 7), earlier(whole, tmp_path)
    data, draw = path.read_bytes(), random.Random(0)
    for turn in range(1050):
        harmed = bytearray(data)
        if turn < 50:
            del harmed[draw.randrange(len(data)) :]
        else:
            harmed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(harmed)
        step, tensors, (warning,) = run.load_state()
        assert step == 5
        assert path.name in warning and "Falling back to the state before it" in warning
    assert all(torch.equal(tensors[key], value) for key, value in before.items())
    path.write_bytes(data)
    assert run.load_state()[0] == 7


def earlier(whole: Path, tmp_path: Path) -> tuple[int, dict[str, torch.Tensor], list[str]]:
    other = Path(shutil.copytree(whole, tmp_path / "earlier"))
    state(other, 7).unlink()
    return Run(other).load_state()


def test_a_run_goes_on_behind_a_damaged_state(whole: Path, tmp_path: Path, run: Cli) -> None:
    broken = Path(shutil.copytree(whole, tmp_path / "run"))
    (broken / "result.json").unlink()
    path = state(broken, 7)
    path.write_bytes(path.read_bytes()[:-1])
    code, out, _ = run("train", "--resume", broken, "--device", "cpu")
    assert code == 0
    assert f"{path}: is damaged" in out and "Falling back" in out and "going on at step 5" in out
    assert Outcome.of(broken).unlike(Outcome.of(whole)) == []


def test_with_both_states_damaged_nothing_begins_anew_in_silence(at_five: Path) -> None:
    state(at_five, 5).write_bytes(b"")
    log = (at_five / "log.jsonl").read_bytes()
    with pytest.raises(UnsafeFileError, match="no whole training state to go on from"):
        resumed(at_five)
    assert (at_five / "log.jsonl").read_bytes() == log


# ---- What is not as it was


def goes_on(run: Path, cli: Cli) -> str:
    """Resume; return what is said, and see that the log holds the same for the report."""
    code, out, err = cli("train", "--resume", run, "--device", "cpu")
    assert (code, err) == (0, "")
    warnings = [entry["warning"] for entry in Run(run).read_log() if entry.get("of") == "resume"]
    text = out.replace("\n", "")
    assert all(warning in text for warning in warnings)
    return " ".join(warnings)


def test_a_run_that_nobody_has_touched_says_nothing(at_five: Path, run: Cli) -> None:
    assert goes_on(at_five, run) == ""


def test_another_recipe_or_version_than_at_the_start_is_said(at_five: Path, run: Cli) -> None:
    path = at_five / "resolved.json"
    was = json.loads(path.read_text())
    path.write_text(json.dumps(was | {"versions": was["versions"] | {"torch": "1.0"}}))
    text = Run(at_five).recipe.read_text()
    Run(at_five).recipe.write_text(text + "[optimizer]\nlr = 0.5\n")
    said = goes_on(at_five, run)
    assert "from step 6 on this is not the run that was begun" in said
    assert "versions.torch was 1.0" in said
    assert "optimizer.default.lr was 0.0002 and is 0.5" in said
    assert Run(at_five).resolved()["optimizer"]["default"]["lr"] == 0.5


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda root: (root / "A" / "3.png").unlink(), "[source] had 4 samples and has 3"),
        (lambda root: shutil.copy(root / "A" / "2.png", root / "A" / "3.png"), "[source] has files of other names or"),
        (lambda root: (root / "A").rename(root / "C"), ""),
    ],
)  # fmt: skip
def test_other_pictures_than_at_the_start_are_said(
    harm: Callable[[Path], object], message: str, tmp_path: Path, run: Cli
) -> None:
    for i in range(4):
        noise = np.random.default_rng(i).integers(0, 256, (16, 16 + 16 * i, 3), np.uint8)
        images.write(tmp_path / "A" / f"{i}.png", noise)
    crop = '{ name = "RandomCrop", height = 16, width = 16 }'
    text = f'task = "colorization"\nsource = {{ name = "folder", root = "{tmp_path / "A"}", prepare = [{crop}] }}\n'
    text += f'train = {{ steps = 7, batch = 2, save_every = 5 }}\n[method]\nname = "pix2pix"\n{SMALL}'
    plan = recipe.parse(Path("mine.toml"), text.encode(), [])
    with TrainDisplay(Console(quiet=True)) as display:
        made = train.start(plan, runs=tmp_path, device="cpu", display=display, name="run").path
    state(made, 7).unlink()
    (made / "result.json").unlink()
    harm(tmp_path)
    if not message:  # moved: the recipe says the new place, and nothing else is another
        Run(made).recipe.write_text(Run(made).recipe.read_text().replace(str(tmp_path / "A"), str(tmp_path / "C")))
        assert "[source]" not in goes_on(made, run)
    else:
        assert message in goes_on(made, run)


def test_damaged_lines_of_the_log_are_said_and_the_others_kept(at_five: Path, run: Cli) -> None:
    log = at_five / "log.jsonl"
    first, *rest = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"\xff" + first[1:] + b"".join(rest))
    assert "1 damaged line(s) of it are lost" in goes_on(at_five, run)


def test_an_emptied_log_is_said(at_five: Path, run: Cli) -> None:
    (at_five / "log.jsonl").write_bytes(b"")
    assert "what was logged is lost" in goes_on(at_five, run)


def test_a_damaged_resolved_json_can_be_done_without(at_five: Path, whole: Path, run: Cli) -> None:
    path = at_five / "resolved.json"
    path.write_bytes(b"{")
    code, _, err = run("train", "--resume", at_five)
    assert code == 5
    assert f"{path}: is damaged" in err and "Remove it" in err
    path.unlink()
    assert goes_on(at_five, run) == ""
    assert Outcome.of(at_five).unlike(Outcome.of(whole)) == ["description"]  # the name is that of recipe.toml now
    assert path.exists()


# ---- Disks that fail


class Disk:
    """Fails at the n-th thing that is done to a file below a folder: the system's own calls, as Python makes them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, nth: int, number: int) -> None:
        self.left, self.folder, self.number, self.real_open = nth, str(folder), number, open
        self.failed = ""
        for name in ("fsync", "replace", "mkdir"):
            monkeypatch.setattr(os, name, self.failing(name, getattr(os, name)))
        monkeypatch.setattr("io.open", self.open)

    def touch(self, what: str) -> None:
        self.left -= 1
        if self.left == 0:
            self.failed = what
            raise OSError(self.number, os.strerror(self.number))

    def failing(self, name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(first: object, *rest: object, **more: object) -> object:
            place = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else str(first)
            there = name == "mkdir" and os.path.isdir(place)  # of which nothing needs to be written
            if place.startswith(self.folder) and not there:
                self.touch(f"{name} {Path(place).name}")
            return real(first, *rest, **more)

        return call

    def open(self, file: object, mode: str = "r", *rest: object, **more: object) -> object:
        if set(mode) & set("wax+") and str(file).startswith(self.folder):
            self.touch(f"open {Path(str(file)).name}")
        return self.real_open(file, mode, *rest, **more)  # type: ignore[call-overload]


NUMBERS = (errno.ENOSPC, errno.EIO, errno.EROFS)
LONG = bool(os.environ.get("I2I_LONG"))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux's list of open files")
def test_wherever_the_disk_fails_what_was_saved_stays(whole: Path, tmp_path: Path, run: Cli) -> None:
    """Every fifth place, and every one with I2I_LONG=1: exit 7, a sentence, and resumed equal to the unbroken run."""
    (tmp_path / "tiny.toml").write_text(recipe_of("pix2pix", STEPS))
    for nth in range(1, 1000, 1 if LONG else 5):
        runs = tmp_path / f"runs-{nth}"
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, runs, nth, NUMBERS[nth % 3])
            code, out, err = run("train", tmp_path / "tiny.toml", "--runs", runs, "--device", "cpu")
        if not disk.failed:
            assert code == 0
            break
        text = f"{disk.failed}: {os.strerror(disk.number)}: {out}{err}"
        assert code == 7, text
        assert err.startswith("error: ") and os.strerror(disk.number) in err and "Traceback" not in err, text
        assert not list(runs.rglob("*.part")), text
        made = [Run(path.parent) for path in runs.glob("*/recipe.toml")]
        for one in made:
            if one.has_state():
                assert one.load_state()[2] == [], text
            if (one.model / "model.json").exists() and (one.model / "model.safetensors").exists():
                load_model(one.model)
            if not one.finished:
                assert run("train", "--resume", one.path, "--device", "cpu")[0] == 0
            assert Outcome.of(one.path).unlike(Outcome.of(whole)) == [], text
    assert nth > 40


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 256 KiB, where one may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path, whole: Path, tmp_path: Path, run: Cli) -> None:
    (tmp_path / "tiny.toml").write_text(recipe_of("pix2pix", STEPS))
    code, _, err = run("train", tmp_path / "tiny.toml", "--runs", small_disk, "--device", "cpu")
    assert code == 7
    assert "No space left on device" in err and "Free some space" in err
    (made,) = small_disk.iterdir()
    moved = Path(shutil.copytree(made, tmp_path / "moved"))
    assert run("train", "--resume", moved, "--device", "cpu")[0] == 0
    assert Outcome.of(moved).unlike(Outcome.of(whole)) == []
