"""The checks of metrics."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from i2i.build import Part
from i2i.contracts import Images
from i2i.errors import I2IError
from i2i.testing.supply import Check

SIDES = (32, 40)
COUNT = 4


def _pictures(part: Part) -> tuple[Tensor, Tensor, Images]:
    """Return fake and real, pictures or class maps as the metric takes them, and the samples' pictures by name."""
    draw = torch.Generator().manual_seed(0)
    label = torch.randint(5, (COUNT, 1, *SIDES), generator=draw)
    real = torch.rand(COUNT, 3, *SIDES, generator=draw)
    fake = (real + 0.3 * torch.randn(COUNT, 3, *SIDES, generator=draw)).clamp(0, 1)
    images = {"a": fake, "b": real, "label": label}
    try:
        part().update(fake, real, images=images)
    except I2IError:
        guessed = torch.where(torch.rand(label.shape, generator=draw) < 0.5, 0, label)
        return guessed, label, {"photo": real, "label": label}
    return fake, real, images


def _scalars(metric: Any) -> dict[str, Tensor]:
    value = metric.compute()
    return value if isinstance(value, dict) else {"the value": value}


def metric_declares_itself(part: Part) -> None:
    """higher_is_better and what else it declares are of their types."""
    metric = part()
    assert isinstance(metric.higher_is_better, bool), "'higher_is_better' is true or false"
    assert isinstance(getattr(metric, "paired", True), bool), "'paired' is true or false"
    assert isinstance(getattr(metric, "variant", ""), str), "'variant' is text"
    beside = getattr(metric, "beside", ("input",))
    known = isinstance(beside, tuple) and set(beside) <= {"input", "truth"}
    assert known, f"'beside' is a tuple of 'input' and 'truth', not {beside!r}"


def metric_ignores_the_batch_split(part: Part) -> None:
    """All at once and one by one give the same, finite numbers, with a mask of all pixels and without one."""
    fake, real, images = _pictures(part)
    whole, split = part(), part()
    kept = fake.clone(), real.clone()
    whole.update(fake, real, images=images)
    assert torch.equal(fake, kept[0]) and torch.equal(real, kept[1]), "update changes the pictures that it is given"
    mask = torch.ones(COUNT, 1, *SIDES)
    for i in range(COUNT):
        one = {name: picture[i : i + 1] for name, picture in images.items()}
        split.update(fake[i : i + 1], real[i : i + 1], mask=mask[i : i + 1], images=one)
    values, others = _scalars(whole), _scalars(split)
    for name, value in values.items():
        assert isinstance(value, Tensor) and value.ndim == 0, f"{name} is no scalar tensor"
        assert value.isfinite(), f"{name} is {value.item()}"
        assert torch.allclose(value.double(), others[name].double(), rtol=1e-6, atol=1e-9), (
            f"{name} is {value.item():.6g} at once and {others[name].item():.6g} one by one: it depends on the batch "
            "split, or on a mask that leaves nothing out"
        )
    again = _scalars(whole)
    assert all(torch.equal(value, again[name]) for name, value in values.items()), "compute gives another the next time"


def metric_knows_better_from_worse(part: Part) -> None:
    """The truth itself scores at least as well as a bad translation; said of those that look at the truth."""
    fake, real, images = _pictures(part)
    worse, best, shifted = part(), part(), part()
    worse.update(fake, real, images=images)
    best.update(real, real, images=images)
    shifted.update(fake, real.flip(0, 3), images=images)
    if not all(torch.equal(value, _scalars(shifted)[name]) for name, value in _scalars(worse).items()):
        for name, value in _scalars(best).items():
            gain = (value - _scalars(worse)[name]) * (1 if best.higher_is_better else -1)
            direction = "higher" if best.higher_is_better else "lower"
            assert gain >= 0, f"{name} of the truth is worse than that of a guess, if {direction} is better"


CHECKS: list[Check] = [metric_declares_itself, metric_ignores_the_batch_split, metric_knows_better_from_worse]
