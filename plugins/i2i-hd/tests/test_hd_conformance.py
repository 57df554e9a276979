"""The checks that i2i ships, of every part that this package registers."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from i2i_hd.methods import SPADE, Pix2PixHD
from i2i_hd.multiscale import Multiscale
from i2i_hd.pix2pixhd import CoarseToFine
from i2i_hd.spade import SPADEGenerator
from i2i_hd.tasks import StyledLabels

from i2i import images
from i2i.contracts import ImageSpec
from i2i.testing import Case, parametrize

FILES = Path(tempfile.gettempdir(), f"i2i-hd-{os.getpid()}")
FINE = {"name": "pix2pixhd", "width": 2, "halvings": 2, "blocks": 1, "enhancer_blocks": 1}
JUDGE = {"width": 4}
WIDE = {"name": "spade", "width": 2, "hidden": 4, "norm": "batch"}

SETTINGS = {
    "generators.pix2pixhd": {key: value for key, value in FINE.items() if key != "name"},
    "generators.spade": {key: value for key, value in WIDE.items() if key != "name"},
    "discriminators.multiscale": {**JUDGE, "spectral": True},
    "encoders.vae": {"width": 4, "latent": 6, "halvings": 3},
    "methods.pix2pixhd": {"generator": FINE, "discriminator": JUDGE, "coarse_steps": 1, "frozen_steps": 1},
    "methods.spade": {
        "task": StyledLabels(classes=5),
        "generator": WIDE,
        "discriminator": JUDGE,
        "encoder": {"width": 4, "latent": 6, "halvings": 3},
    },
    "sources.label_folders": {
        "root": FILES,
        "images": {"label": ImageSpec(1, 200), "instance": ImageSpec(1, 65536), "photo": ImageSpec()},
    },
}


@pytest.fixture(scope="module", autouse=True)
def files() -> Iterator[None]:
    """Two scenes in the folders of pix2pixHD."""
    draw = np.random.default_rng(0)
    for stem in ("1", "2"):
        images.write(FILES / "train_label" / f"{stem}.png", draw.integers(0, 200, (24, 32), dtype=np.uint8))
        images.write(FILES / "train_inst" / f"{stem}.png", draw.integers(0, 65536, (24, 32), dtype=np.uint16))
        images.write(FILES / "train_img" / f"{stem}.png", draw.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    yield
    shutil.rmtree(FILES)


EXPECTED = {
    "methods-pix2pixhd-method_trains_every_weight": "in coarse steps the enhancers wait for the global generator"
}


@parametrize("i2i-hd", settings=SETTINGS, expected=EXPECTED)
def test_conforms(case: Case) -> None:
    case()


NARROW = partial(Multiscale, width=4, scales=2)
PLAIN = {
    "methods": [
        partial(Pix2PixHD, generator=partial(CoarseToFine, width=2, halvings=2, blocks=1), discriminator=NARROW),
        partial(SPADE, generator=partial(SPADEGenerator, width=2, hidden=4), discriminator=NARROW),
    ]
}


@parametrize(PLAIN)
def test_methods_conform_without_phases_and_styles(case: Case) -> None:
    case()
