"""Evaluation: which columns a metric fills, and what it is given."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from i2i.contracts import ImageSpec
from i2i.data import Samples
from i2i.errors import DataError
from i2i.evaluate import HeldOut, measured, values_of
from i2i.methods.pix2pix import Pix2Pix
from i2i.metrics.l1 import L1
from i2i.tasks.colorization import Colorization
from i2i.tasks.inpainting import Inpainting
from i2i.tasks.matting import Matting
from i2i.tasks.paired import Paired


class Photos:
    """Five pictures of random colour."""

    def __init__(self, images: dict[str, ImageSpec]) -> None:
        self.images = images

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        photo = np.random.default_rng(index).random((3, 16, 16), dtype=np.float32)
        return {name: photo[: spec.channels] for name, spec in self.images.items()}


class Given:
    """Counts what it is given: the pictures, and where they are masked."""

    higher_is_better = True
    beside = ("truth",)

    def __init__(self) -> None:
        self.same: list[bool] = []
        self.names: set[str] = set()

    def update(self, fake, real, *, mask=None, images=None) -> None:
        self.names |= set(images)
        self.same.append(torch.equal(fake, real))

    def compute(self) -> dict[str, torch.Tensor]:
        shares = {"equal": torch.tensor(float(np.mean(self.same)))}
        return shares | {f"has {name}": torch.ones(()) for name in sorted(self.names)}


def before(task):
    torch.manual_seed(0)
    generator = partial(lambda i, o: nn.Conv2d(i, o, 1))
    method = Pix2Pix(task, generator=generator, gan_weight=0).eval()
    return HeldOut(task, method, Samples(Photos(task.images), task.images), torch.device("cpu"))


def valued(task, *metrics):
    return values_of(measured(before(task), [*metrics]))


@pytest.fixture(autouse=True)
def names(monkeypatch):
    monkeypatch.setattr("i2i.build.describe", lambda kind, part: {"name": part.__name__.lower()})


@pytest.mark.parametrize(("count", "shown"), [(1, [0]), (2, [0, 2]), (5, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4])])
def test_rows_are_spread_over_the_samples(count: int, shown: list[int]):
    held_out = before(Paired())
    truths = [truth for _, _, truth in held_out.rows(count)]
    expected = [np.rint(Photos(held_out.task.images)[index]["b"] * 255).transpose(1, 2, 0) for index in shown]
    assert len(truths) == len(expected)
    assert all(np.array_equal(*pair) for pair in zip(truths, expected, strict=True))


def test_the_input_of_a_colorization_is_the_grey_photo():
    task = Colorization()
    photo = torch.rand(2, 3, 8, 8)
    grey = task.preview({"photo": photo})
    assert (grey.amax(1) - grey.amin(1)).max() < 1e-3
    assert torch.allclose(task.encode({"photo": grey}), task.encode({"photo": photo}), atol=1e-3)
    result = valued(task, L1)["l1"]
    real = torch.stack([torch.from_numpy(Photos(task.images)[i]["photo"]) for i in range(5)])
    assert result["input"] == pytest.approx((task.preview({"photo": real}) - real).abs().mean().item(), abs=1e-5)
    assert result["translated"] != result["input"]


def test_a_metric_may_have_the_truth_measured_in_place_of_the_input():
    results = valued(Inpainting(), Given, L1)
    assert results["given/equal"] == {"translated": 0, "truth": 1}
    assert set(results["l1"]) == {"translated", "input"}


def test_a_metric_sees_the_pictures_and_the_hole_that_was_drawn():
    assert {"given/has mask", "given/has photo"} <= set(valued(Inpainting(), Given))


def test_a_metric_without_a_value_does_not_lose_the_others():
    full, empty, problems = L1(), L1(), []
    full.update(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4))
    measures = [("l1", "translated", full), ("other", "translated", empty)]
    assert values_of(measures, problems) == {"l1": {"translated": 1.0}}
    assert problems == ["l1: there are no pictures to measure"]
    with pytest.raises(DataError):
        values_of(measures)


def test_the_batch_changes_no_hole(monkeypatch):
    def psnr_of_the_holes(size):
        monkeypatch.setattr("i2i.evaluate.BATCH", size)
        return valued(Inpainting(), L1Mask)["l1mask (mask)"]["translated"]

    assert psnr_of_the_holes(5) == pytest.approx(psnr_of_the_holes(2), rel=1e-5)
    assert psnr_of_the_holes(1) == pytest.approx(psnr_of_the_holes(2), rel=1e-5)


class L1Mask(L1):
    """The metric l1 of the hole alone."""

    def __init__(self) -> None:
        super().__init__(region="mask")


def test_a_photo_is_not_compared_with_its_alpha():
    assert set(valued(Matting(), L1)["l1"]) == {"translated"}
