"""What a broken-off translation leaves, and what `--resume` makes of it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from i2i import images
from i2i.errors import DataError
from i2i.folder import Item, whole

PICTURES = 40


def test_done_is_whole_and_no_older(tmp_path: Path) -> None:
    item = Item(tmp_path / "in.png", tmp_path / "out.png")
    images.write(item.source, np.zeros((8, 9, 3), np.uint8))
    assert not whole(item)
    images.write(item.target, np.zeros((8, 9, 3), np.uint8))
    assert whole(item)
    data = item.target.read_bytes()
    for damaged in (b"", data[: len(data) // 2], data[:-1], data.replace(b"IDAT", b"IDAX")):
        item.target.write_bytes(damaged)
        assert not whole(item)
    item.target.write_bytes(data)
    os.utime(item.target, (1, 1))
    assert not whole(item)


@pytest.fixture
def model(tmp_path: Path, tiny: Path) -> Path:
    """A model that was trained for a moment."""
    subprocess.run([sys.executable, "-m", "i2i", "train", tiny, "--runs", tmp_path / "runs"], check=True, env=_one())
    (made,) = (tmp_path / "runs").iterdir()
    return made


def _one() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def test_killed_at_any_instant_it_leaves_whole_pictures_and_resumes_to_the_same(tmp_path: Path, model: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        images.write(tmp_path / "in" / f"{number}.png", rng.integers(0, 256, (96, 96, 3), np.uint8))

    def command(out: str, *more: str) -> list[str]:
        folders = [str(tmp_path / "in"), str(tmp_path / out)]
        return [sys.executable, "-m", "i2i", "translate", *folders, "--model", str(model), "--device", "cpu", *more]

    subprocess.run(command("unbroken"), check=True, env=_one())
    out = tmp_path / "broken"
    for wanted in (1, 9, 22):  # killed as soon as so many are there, in the midst of the others
        process = subprocess.Popen(command("broken", "--resume"), env=_one())
        while process.poll() is None and len(list(out.glob("*.png"))) < wanted:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in out.glob("*.png"):
            try:
                assert images.size(path) == images.read(path).pixels.shape[:2] == (96, 96)
            except DataError as error:  # pragma: no cover
                pytest.fail(str(error))
    subprocess.run(command("broken", "--resume"), check=True, env=_one())
    names = sorted(path.name for path in (tmp_path / "unbroken").iterdir())
    assert names == sorted(path.name for path in out.glob("*.png"))
    for name in names:
        one, other = images.read(out / name).pixels, images.read(tmp_path / "unbroken" / name).pixels
        assert np.abs(one.astype(int) - other).max() <= 1, name  # another batch rounds otherwise


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_told_to_stop_it_says_how_to_go_on(number: signal.Signals, code: int, tmp_path: Path, model: Path) -> None:
    rng = np.random.default_rng(0)
    for name in range(200):
        images.write(tmp_path / "in" / f"{name}.png", rng.integers(0, 256, (96, 96, 3), np.uint8))
    folders = [str(tmp_path / "in"), str(tmp_path / "out")]
    script = "import signal; signal.signal(2, signal.default_int_handler); from i2i.cli import main; main()"
    words = [
        sys.executable,
        "-c",
        script,
        "translate",
        *folders,
        "--model",
        str(model),
        "--device",
        "cpu",
        "--batch",
        "1",
    ]
    process = subprocess.Popen(words, env=_one(), stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(tmp_path.glob("out/*.png")):
        time.sleep(0.001)
    process.send_signal(number)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == code, err
    assert "of 200; what is written is whole. Go on: the same command with --resume" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_after_the_end_changes_nothing(number: signal.Signals) -> None:
    script = f"import atexit, os; atexit.register(os.kill, os.getpid(), {number}); from i2i.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
