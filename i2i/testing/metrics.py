"""The checks of metrics."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from i2i.build import Part, base
from i2i.contracts import Images
from i2i.errors import I2IError
from i2i.testing.supply import Check

SIDES = (32, 40)
COUNT = 4


@dataclass(frozen=True)
class _Shown:
    """What a metric is shown: fake and real, the samples' pictures by name, and a mask of all pixels, or none."""

    fake: Tensor
    real: Tensor
    images: Images
    mask: Tensor | None = None

    def update(self, metric: Any, fake: Tensor | None = None, real: Tensor | None = None) -> Any:
        """Show all at once, with other translations or another truth if they are given; return the metric."""
        fake, real = self.fake if fake is None else fake, self.real if real is None else real
        metric.update(fake, real, mask=self.mask, images=self.images)
        return metric


EVERYWHERE = torch.ones(COUNT, 1, *SIDES)


def _shown(part: Part) -> _Shown:
    """Return pictures, or else class maps, whichever the metric takes, with a mask if it will have one."""
    draw = torch.Generator().manual_seed(0)
    label = torch.randint(5, (COUNT, 1, *SIDES), generator=draw)
    guess = torch.where(torch.rand(label.shape, generator=draw) < 0.5, 0, label)
    real = torch.rand(COUNT, 3, *SIDES, generator=draw)
    fake = (real + 0.3 * torch.randn(real.shape, generator=draw)).clamp(0, 1)
    pictures, maps = {"a": fake, "b": real, "label": label}, {"photo": real, "label": label}
    first, *others = [
        _Shown(fake, real, pictures),
        _Shown(fake, real, pictures, EVERYWHERE),
        _Shown(guess, label, maps),
        _Shown(guess, label, maps, EVERYWHERE),
    ]
    for shown in (first, *others):
        with suppress(I2IError):
            shown.update(part())
            return shown
    return first


def _scalars(metric: Any) -> dict[str, Tensor]:
    value = metric.compute()
    return value if isinstance(value, dict) else {"the value": value}


def metric_declares_itself(part: Part) -> None:
    """higher_is_better and what else it declares are of their types."""
    metric, made_by = part(), base(part)
    assert isinstance(metric.higher_is_better, bool), "'higher_is_better' is true or false"
    assert isinstance(getattr(metric, "paired", True), bool), "'paired' is true or false"
    for name in ("paired", "beside"):
        of_class, of_metric = (getattr(one, name, None) for one in (made_by, metric))
        assert of_class == of_metric, f"{name!r} is asked of the class, before one is made: declare it there"
    assert isinstance(getattr(metric, "variant", ""), str), "'variant' is text"
    beside = getattr(metric, "beside", ("input",))
    known = isinstance(beside, tuple) and set(beside) <= {"input", "truth"}
    assert known, f"'beside' is a tuple of 'input' and 'truth', not {beside!r}"


def metric_ignores_the_batch_split(part: Part) -> None:
    """All at once and one by one give the same, finite numbers, with a mask of all pixels and without one."""
    shown, split = _shown(part), part()
    fake, real = shown.fake.clone(), shown.real.clone()
    whole = shown.update(part())
    assert torch.equal(shown.fake, fake) and torch.equal(shown.real, real), "update changes what it is given"
    for i in range(COUNT):
        one = {name: picture[i : i + 1] for name, picture in shown.images.items()}
        split.update(fake[i : i + 1], real[i : i + 1], mask=EVERYWHERE[i : i + 1], images=one)
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
    shown = _shown(part)
    best, worse = shown.update(part(), fake=shown.real), _scalars(shown.update(part()))
    elsewhere = _scalars(shown.update(part(), real=shown.real.flip(0, 3)))
    if all(torch.equal(value, elsewhere[name]) for name, value in worse.items()):
        return
    for name, value in _scalars(best).items():
        gain = (value - worse[name]) * (1 if best.higher_is_better else -1)
        direction = "higher" if best.higher_is_better else "lower"
        assert gain >= 0, f"{name} of the truth is worse than that of a guess, if {direction} is better"


CHECKS: list[Check] = [metric_declares_itself, metric_ignores_the_batch_split, metric_knows_better_from_worse]
