"""The checks of losses and of adversarial objectives."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from i2i.build import Part
from i2i.testing.supply import Check

FAR = 200.0
"""A logit so sure of itself that its sigmoid is 0 or 1 in float32."""


# ---- losses


def _truth() -> Tensor:
    """Pictures N × 3 × H × W that are right in every network space: one-hot over three classes, in [0, 1]."""
    index = (torch.arange(32)[:, None] // 5 + torch.arange(40) // 7).expand(2, 32, 40)
    return nn.functional.one_hot(index % 3, 3).movedim(-1, 1).float().contiguous()


def loss_is_least_at_the_truth(part: Part) -> None:
    """A finite scalar, 0 for the truth and more for anything else; the pictures are left as they were."""
    loss, real = part(), _truth()
    fake = torch.full_like(real, 1 / 3)
    value = loss(fake, real)
    assert isinstance(value, Tensor) and value.ndim == 0, f"expected a scalar, not {getattr(value, 'shape', value)}"
    assert value.isfinite(), f"the loss of a guess is {value.item()}"
    assert torch.equal(real, _truth()) and (fake == 1 / 3).all(), "the loss changes the pictures that it is given"
    best = loss(real, _truth())
    assert best < value, "the truth does not score better than a guess"
    assert abs(best.item()) <= 1e-4, f"the loss of the truth itself is {best.item():.4g}, not 0"


def loss_has_a_gradient(part: Part) -> None:
    """A finite gradient reaches the fake, also where the fake is the truth already."""
    real = _truth()
    for fake in (torch.full_like(real, 1 / 3), real.clone()):
        fake.requires_grad_()
        part()(fake, real).backward()
        assert fake.grad is not None, "no gradient reaches the fake"
        place = "of a guess" if fake[0, 0, 0, 0] == 1 / 3 else "at the truth"
        assert fake.grad.isfinite().all(), f"the gradient {place} is not finite (a root of 0 has none)"
        assert fake.grad.any() or place == "at the truth", "the gradient of a guess is 0 everywhere"


def loss_bears_bf16(part: Part) -> None:
    """Under bfloat16 autocast the value and the gradient stay finite."""
    real, fake = _truth(), torch.full_like(_truth(), 1 / 3).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        value = part()(fake, real)
    value.float().backward()
    assert value.isfinite(), f"the loss is {value.item()} under bfloat16 autocast"
    assert fake.grad is not None and fake.grad.isfinite().all(), "the gradient is not finite under bfloat16 autocast"


# ---- adversarial objectives


def _maps(value: float) -> list[Tensor]:
    """Logits of two scales, all of one value."""
    return [torch.full((2, 1, 4, 5), value), torch.full((2, 1, 2, 3), value)]


def adversarial_pulls_both_ways(part: Part) -> None:
    """The generator gains by higher fake logits, the discriminator by lower ones and by higher real ones."""
    objective = part()
    low, high = _maps(-1.0), _maps(1.0)
    assert objective.generator(high) < objective.generator(low), "the generator does not gain by fooling"
    right, wrong = objective.discriminator(high, low), objective.discriminator(low, high)
    assert right < wrong, "the discriminator does not gain by being right"
    for value in (right, objective.generator(high)):
        assert value.ndim == 0 and value.isfinite(), "expected a finite scalar"


def adversarial_bears_far_logits(part: Part) -> None:
    """Values and gradients are finite for logits of ±200, and in bfloat16."""
    objective = part()
    for sign in (FAR, -FAR):
        for dtype in (torch.float32, torch.bfloat16):
            real, fake = ([m.to(dtype).requires_grad_() for m in _maps(value)] for value in (-sign, sign))
            for value in (objective.generator(fake), objective.discriminator(real, fake)):
                assert value.isfinite(), f"logits of {-sign:+g} (real) and {sign:+g} (fake) give {value.item()}"
                value.backward()
            wild = [m for m in (*real, *fake) if m.grad is not None and not m.grad.isfinite().all()]
            assert not wild, f"the gradient is not finite for logits of {-sign:+g} (real) and {sign:+g} (fake)"


def adversarial_penalty_trains_the_judge(part: Part) -> None:
    """Where there is a `penalty`: a finite scalar whose gradient reaches the discriminator, drawn from torch's seed."""
    objective = part()
    if not hasattr(objective, "penalty"):
        return
    judge = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 1, 3))
    real, fake = torch.rand(2, 2, 3, 12, 14) * 2 - 1
    values = []
    for _ in range(2):
        torch.manual_seed(0)
        values.append(objective.penalty(lambda x: [judge(x)], real, fake))
    assert values[0].ndim == 0 and values[0].isfinite(), "expected the penalty to be a finite scalar"
    assert values[0].requires_grad, "no gradient of the penalty reaches the discriminator: create_graph is missing"
    assert torch.equal(*values), "the penalty differs though torch's seed is the same"


LOSSES: list[Check] = [loss_is_least_at_the_truth, loss_has_a_gradient, loss_bears_bf16]
ADVERSARIAL: list[Check] = [
    adversarial_pulls_both_ways,
    adversarial_bears_far_logits,
    adversarial_penalty_trains_the_judge,
]
