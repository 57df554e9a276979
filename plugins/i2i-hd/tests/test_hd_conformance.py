"""The checks that i2i ships, of every part that this package registers."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from i2i_hd.tasks import StyledLabels

from i2i import images
from i2i.contracts import ImageSpec
from i2i.tasks.segmentation import Labels
from i2i.testing import Case, parametrize

FILES = Path(tempfile.gettempdir(), f"i2i-hd-{os.getpid()}")
FINE = {"name": "pix2pixhd", "width": 2, "halvings": 2, "blocks": 1, "enhancer_blocks": 1}
JUDGE = {"width": 4}
SPADE = {"name": "spade", "width": 2, "hidden": 4}

SETTINGS = {
    "generators.pix2pixhd": {key: value for key, value in FINE.items() if key != "name"},
    "generators.spade": {key: value for key, value in SPADE.items() if key != "name"},
    "discriminators.multiscale": {**JUDGE, "spectral": True},
    "encoders.vae": {"width": 4, "latent": 6, "halvings": 3},
    "methods.pix2pixhd": {"generator": FINE, "discriminator": JUDGE, "coarse_steps": 1, "frozen_steps": 1},
    "methods.spade": {
        "task": StyledLabels(classes=5),
        "generator": SPADE,
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


@parametrize("i2i-hd", settings=SETTINGS)
def test_conforms(case: Case) -> None:
    case()


@parametrize("i2i-hd", settings=SETTINGS | {"methods.spade": {**SETTINGS["methods.spade"], "task": Labels(classes=5)}})
def test_spade_conforms_without_a_style(case: Case) -> None:
    case()
