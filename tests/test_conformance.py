"""Registered means tested: every part in the registry runs the checks of its kind, and every check can fail."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken_parts import BROKEN, Drawn, Mean, Right, Tiny
from test_augment import AUGMENTATIONS, PREPARATIONS

from i2i import images
from i2i.testing import Case, checks, parametrize

FILES = Path(tempfile.gettempdir(), f"i2i-conformance-{os.getpid()}")
"""Where the parts that read files find some; filled by a fixture."""
KINDS = (
    *("generators", "discriminators", "losses", "adversarial", "tasks", "methods", "sources", "metrics", "trackers"),
    *("augmentations", "preparations"),
)
FEATURES = {"features": "test_resnet", "weights": "random"}

# Smaller than the defaults where those are heavy; required parameters where there are some.
SMALL = {
    "generators.encoder_decoder": {"depth": 3, "width": 8},
    "generators.resnet": {"blocks": 2, "width": 8},
    "generators.unet": {"depth": 3, "width": 8},
    "methods.pix2pix": {
        "generator": {"name": "unet", "depth": 2, "width": 4},
        "discriminator": {"name": "patch", "field": 16, "width": 4},
    },
    "metrics.fcn_score": {"scorer": FILES / "scorer"},
    "metrics.fid": {**FEATURES, "minimum": 2},
    "metrics.kid": {**FEATURES, "minimum": 2},
    "metrics.lpips": FEATURES,
    "metrics.ms_ssim": {"scales": 2},
    "sources.figures": {"size": 32, "count": 3},
    "sources.folder": {"root": FILES},
    "sources.pairs": {"root": FILES},
    "sources.scenes": {"size": 32, "count": 3},
    **{f"augmentations.{name}": parameters for name, parameters in AUGMENTATIONS.items()},
    **{f"preparations.{name}": parameters for name, parameters in PREPARATIONS.items()},
}
EXPECTED = {
    f"losses-{loss}-{check}": "a class of torch's own, whose historical parameters are positional and untyped"
    for loss in ("l1", "mse")
    for check in ("parameters_are_keywords", "parameters_are_typed")
}


@pytest.fixture(scope="module", autouse=True)
def files(scorer: Path) -> Iterator[None]:
    """Pictures for the sources that read files, a model for the metric that asks one."""
    for name in ("A/1.png", "B/1.png", "A/2.png", "B/2.png"):
        path = FILES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        images.write(path, np.random.default_rng(len(name)).integers(0, 255, (24, 32, 3), dtype=np.uint8))
    shutil.copytree(scorer, FILES / "scorer")
    yield
    shutil.rmtree(FILES)


@parametrize("i2i", settings=SMALL, expected=EXPECTED)
def test_own_part(case: Case) -> None:
    if case.name in ("fid", "kid"):
        pytest.importorskip("torchmetrics")
    case()


@pytest.mark.parametrize(
    ("kind", "part", "check", "sentence"), [pytest.param(*row, id=f"{row[1].__name__}-{row[2]}") for row in BROKEN]
)
def test_a_broken_part_is_told_what_is_wrong(kind: str, part: Any, check: str, sentence: str) -> None:
    case = Case(kind, part.__name__, {c.__name__: c for c in checks(kind)}[check], part)
    with pytest.raises(AssertionError, match=sentence) as caught:
        case()
    assert "\n" not in str(caught.value)


def test_every_check_can_fail() -> None:
    shown = {check for *_, check, _ in BROKEN} | {"importing_is_quiet"}
    assert shown == {check.__name__ for kind in KINDS for check in checks(kind)}


@parametrize({"methods": [Tiny], "tasks": [Right], "sources": [Drawn], "metrics": [Mean]})
def test_a_small_part_conforms(case: Case) -> None:
    case()
