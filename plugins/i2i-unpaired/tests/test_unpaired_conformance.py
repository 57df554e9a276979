"""Every part of the package runs the checks of its kind, as small as its parameters allow."""

import tempfile
from pathlib import Path

import numpy as np

from i2i import images
from i2i.testing import Case, parametrize

KEPT = tempfile.TemporaryDirectory()
SMALL = {
    "generator": {"name": "resnet", "blocks": 2, "width": 4},
    "discriminator": {"name": "patch", "field": 16, "width": 4},
}


def two_sets() -> str:
    """Three pictures of A and two of B, of different sizes."""
    draw = np.random.default_rng(0)
    for name, height in (("trainA/1", 8), ("trainA/2", 12), ("trainA/x/3", 8), ("trainB/1", 8), ("trainB/9", 6)):
        images.write(Path(KEPT.name, f"{name}.png"), draw.integers(0, 255, (height, 10, 3), dtype=np.uint8))
    return KEPT.name


@parametrize(
    "i2i-unpaired",
    settings={
        "methods.cyclegan": {**SMALL, "pool": 5},  # four translations begin to fill it, two more make it full
        "methods.cut": {**SMALL, "dim": 8},
        "methods.fastcut": {**SMALL, "dim": 8},
        "sources.unpaired": {"root": two_sets()},
        "sources.unpaired_of": {"source": {"name": "scenes", "size": 16, "count": 4}},
    },
)
def test_conforms(case: Case) -> None:
    case()
