"""Malformed files among good ones: each is named with its reason, quickly and in little memory, and harms no other."""

import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from i2i import images
from i2i.errors import DataError

_spec = importlib.util.spec_from_file_location("malformed", Path(__file__).with_name("malformed.py"))
assert _spec and _spec.loader
malformed = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(malformed)
GOOD = ("png", "jpg", "webp", "bmp", "tif", "npy")


def test_there_are_enough_of_them() -> None:
    names = list(malformed.wrong())
    assert len(names) >= 100
    assert len({name.rpartition("-")[0] for name in names}) >= 40


@pytest.mark.filterwarnings("ignore")
def test_each_is_refused_in_a_moment(tmp_path: Path) -> None:
    before, read = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    unnamed: list[str] = []
    for path in malformed.write(tmp_path):
        start = time.process_time()
        try:
            images.read(path, channels=3)
            read.append(path.name)
        except DataError as error:
            unnamed += [path.name] if path.name not in str(error) else []
        assert time.process_time() - start < 1, path
    assert not read
    assert not unnamed
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10


def test_good_ones_among_them_come_out_as_by_themselves(tmp_path: Path, tiny: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    i2i = [sys.executable, "-m", "i2i"]
    subprocess.run([*i2i, "train", tiny, "--runs", tmp_path / "runs"], check=True, env=environment)
    (model,) = (tmp_path / "runs").iterdir()
    rng = np.random.default_rng(0)
    for number in range(58):
        pixels = rng.integers(0, 256, (32, 32, 1 if number % 12 > 5 else 3), np.uint8)
        for folder in ("good", "mixed"):
            images.write(tmp_path / folder / f"good {number}.{GOOD[number % 6]}", pixels)
    bad = {str(path) for path in malformed.write(tmp_path / "mixed" / "bad")}
    os.mkfifo(tmp_path / "mixed" / "pipe.png")
    (tmp_path / "mixed" / "device.png").symlink_to("/dev/zero")
    (tmp_path / "mixed" / "dangling.png").symlink_to("nowhere")
    (tmp_path / "mixed" / "folder.png").mkdir()
    for folder, code in (("good", 0), ("mixed", 1)):
        target = tmp_path / f"{folder} out"
        more = ["--model", model, "--device", "cpu", "--batch", "1", "--format", "png", "--json"]
        more += ["--precision", "float32"]  # which a folder with deep pictures gets from auto, even if they are damaged
        command = [*i2i, "translate", tmp_path / folder, target, *more]
        if folder == "mixed":  # whose outputs must not bear one name
            for path in list((tmp_path / "mixed" / "bad").iterdir()):
                path.rename(path.with_name(path.name.replace(".", "_") + path.suffix))
            bad = {str(path) for path in (tmp_path / "mixed" / "bad").iterdir()}
            bad |= {str(tmp_path / "mixed" / name) for name in ("pipe.png", "device.png", "dangling.png")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stderr[-2000:]
    told = {entry["input"]: entry["reason"] for entry in json.loads(done.stdout)["failed"]}
    assert told.keys() == bad
    assert all(len(error) > len(path) + 5 for path, error in told.items())
    names = sorted(path.name for path in (tmp_path / "good out").iterdir())
    assert len(names) == 58
    assert names == sorted(path.name for path in (tmp_path / "mixed out").rglob("*") if path.is_file())
    for name in names:
        one, other = (images.read(tmp_path / f"{folder} out" / name).pixels for folder in ("good", "mixed"))
        assert np.array_equal(one, other), name
