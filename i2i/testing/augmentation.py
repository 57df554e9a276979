"""The checks of augmentations and preparations, through the chains that apply them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from i2i.augment import DeviceAugment, HostPrepare
from i2i.build import Part
from i2i.contracts import ImageSpec
from i2i.recipe import Step
from i2i.testing.supply import Check, pictures

VOID = 99
IMAGES: Mapping[str, ImageSpec] = {"a": ImageSpec(), "b": ImageSpec(), "map": ImageSpec(1, classes=5, void=VOID)}


def augmentation_keeps_the_kind(part: Part) -> None:
    """Pictures stay N × C in [0, 1] and class maps classes, of one size; the same seed gives the same."""
    augment, before = DeviceAugment([Step(part)], IMAGES), pictures(IMAGES)
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        results.append(augment(before))
    after = results[0]
    assert all(torch.equal(after[name], results[1][name]) for name in IMAGES), "torch's same seed gives another result"
    _keeps_the_kind({name: p.numpy() for name, p in before.items()}, {name: p.numpy() for name, p in after.items()})


def preparation_keeps_the_kind(part: Part) -> None:
    """Pictures stay C × H × W in [0, 1] and class maps classes, of one size; the same seed gives the same."""
    prepare = HostPrepare([Step(part)], IMAGES)
    before = {name: picture[0].numpy() for name, picture in pictures(IMAGES).items()}
    before["map"] = before["map"].astype(np.uint8)
    after, again = prepare(before, 0), prepare(before, 0)
    assert all(np.array_equal(after[name], again[name]) for name in IMAGES), "the same seed gives another result"
    _keeps_the_kind(before, after)


def _keeps_the_kind(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> None:
    for name in IMAGES:
        assert after[name].dtype == before[name].dtype, f"{name!r} becomes {after[name].dtype}"
        assert after[name].shape[:-2] == before[name].shape[:-2], f"{name!r} becomes {after[name].shape}"
        assert np.isfinite(after[name]).all(), f"{name!r} is not finite"
    assert len({after[name].shape[-2:] for name in IMAGES}) == 1, "it tears apart the sizes of a sample's pictures"
    assert after["a"].min() >= 0 and after["a"].max() <= 1, "'a' leaves [0, 1]"
    assert set(np.unique(after["map"])) <= {*range(5), VOID}, "the class map holds what is no class"


AUGMENTATIONS: list[Check] = [augmentation_keeps_the_kind]
PREPARATIONS: list[Check] = [preparation_keeps_the_kind]
