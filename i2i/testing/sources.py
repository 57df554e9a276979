"""The checks of sources."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from i2i.build import Part
from i2i.contracts import Sample, Source
from i2i.data import Samples
from i2i.errors import I2IError
from i2i.plugins import random_states
from i2i.testing.supply import Check, asked_for

FRESH = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); source = pickle.load(sys.stdin.buffer); "
    "source[0]; pickle.dump(source[len(source) - 1], sys.stdout.buffer)"
)


def _source(part: Part) -> Source:
    source, _ = asked_for(part)
    assert len(source) > 0, "the source is empty: name a folder with pictures in the settings"
    return source


def _same(one: Sample, two: Sample) -> str:
    """Return the name of a picture that differs, or nothing."""
    return next((name for name in one if name not in two or not np.array_equal(one[name], two[name])), "")


def source_gives_what_is_asked(part: Part) -> None:
    """A sample holds every picture by name: C × H × W, uint8, uint16 or float32 in [0, 1], class maps integers."""
    source, images = _source(part), asked_for(part)[1]
    sample = Samples(source, images)[len(source) - 1, 0]
    assert not isinstance(sample, I2IError), str(sample)
    for name, spec in images.items():
        picture, integers = sample[name], sample[name].dtype in (np.uint8, np.uint16)
        if spec.classes is not None:
            assert integers, f"{name!r} is a map of classes, and its indices are {picture.dtype}"
        elif picture.dtype == np.float32:
            assert picture.min() >= 0 and picture.max() <= 1, f"{name!r} leaves [0, 1]"
        else:
            assert integers, f"{name!r} is {picture.dtype}"
    assert isinstance(getattr(source, "paired", True), bool), "'paired' is true or false"
    if getattr(source, "paired", True):
        sizes = {name: sample[name].shape[1:] for name in images}
        assert len(set(sizes.values())) == 1, f"pictures of one scene differ in size: {sizes}"
    if hasattr(source, "describe"):
        assert isinstance(source.describe(0), str) and source.describe(0), "'describe' gives no words for a sample"
    if hasattr(source, "files"):
        missing = [f"{name}: {path}" for name, path in source.files(0).items() if not Path(path).is_file()]
        assert not missing, f"'files' names what is not there: {', '.join(missing)}"
        assert set(source.files(0)) <= set(images), "'files' names pictures that were not asked for"


def source_is_stable(part: Part) -> None:
    """A sample follows from its index alone, and reading it leaves the global random generators as they were."""
    source, last = _source(part), len(_source(part)) - 1
    _seed(0)
    first, drawn = source[last], _drawn()
    source[0]
    assert _drawn() == drawn, "reading a sample draws from a global random generator: use one of its own"
    _seed(1)
    unlike = _same(first, source[last])
    assert not unlike, f"{unlike!r} of sample {last} differs from one reading to the next"


def source_is_picklable(part: Part) -> None:
    """A copy in another process gives the same samples: workers have such copies."""
    source = _source(part)
    try:
        copied = pickle.dumps(source)
    except Exception as error:  # of many classes
        raise AssertionError(f"the source cannot be pickled, which worker processes need: {error}") from error
    last = len(source) - 1
    unlike = _same(source[last], pickle.loads(copied)[last])
    assert not unlike, f"{unlike!r} of sample {last} differs in a pickled copy"
    asked = pickle.dumps(sys.path) + copied
    environment = {**os.environ, "PYTHONHASHSEED": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
    done = subprocess.run([sys.executable, "-c", FRESH], input=asked, capture_output=True, env=environment)
    reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    assert not done.returncode, f"a copy in another process fails: {reason}"
    unlike = _same(source[last], pickle.loads(done.stdout))
    assert not unlike, f"{unlike!r} of sample {last} differs in another process: `hash` of a text does, for one"


def source_draws_by_seed(part: Part) -> None:
    """Where there is a `draw`: it follows from index and seed, and gives the pictures that are asked for."""
    source, images = _source(part), asked_for(part)[1]
    if not hasattr(source, "draw"):
        return
    copy, last = pickle.loads(pickle.dumps(source)), len(source) - 1
    for seed in (0, 2**63 - 1):
        _seed(0)
        first = source.draw(last, seed)
        assert set(images) <= set(first), f"'draw' gives {', '.join(first)}, and {', '.join(images)} are asked for"
        _seed(1)
        copy.draw(0, seed + 1)
        unlike = _same(first, copy.draw(last, seed))
        assert not unlike, f"{unlike!r} of draw({last}, {seed}) differs from one call to the next"


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _drawn() -> list[object]:
    return [state for state, _ in random_states().values()]


CHECKS: list[Check] = [source_gives_what_is_asked, source_is_stable, source_is_picklable, source_draws_by_seed]
