"""The adversarial objectives: their values, their gradients, and the penalty that one of them adds."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from i2i.adversarial.hinge import Hinge
from i2i.adversarial.lsgan import LSGAN
from i2i.adversarial.vanilla import Vanilla
from i2i.adversarial.wgan_gp import WassersteinGP
from i2i.contracts import Adversarial
from i2i.discriminators.patch import PatchGAN

Minimax = partial(Vanilla, form="minimax")
SURE = math.log1p(math.exp(-3))  # -log D where the logit is 3


@pytest.mark.parametrize(
    ("make", "undecided", "convinced", "fooled"),
    [
        (Vanilla, 2 * math.log(2), 2 * SURE, SURE),
        (Minimax, 2 * math.log(2), 2 * SURE, -3 - SURE),
        (LSGAN, 1, 4 + 9, 4),  # undecided at scores of 0
        (Hinge, 2, 0, -3),
        (WassersteinGP, 0, -6, -3),
    ],
)
def test_the_values_of_the_objectives(make, undecided, convinced, fooled):
    objective = make()
    assert isinstance(objective, Adversarial)
    zeros, high, low = ([torch.full((2, 1, *size), x) for size in ((3, 3), (1, 1))] for x in (0.0, 3.0, -3.0))
    assert objective.discriminator(zeros, zeros).item() == pytest.approx(undecided)
    assert objective.discriminator(high, low).item() == pytest.approx(convinced, rel=1e-5)
    assert objective.generator(high).item() == pytest.approx(fooled, rel=1e-5)


@pytest.mark.parametrize("make", [Vanilla, Minimax, LSGAN, Hinge, WassersteinGP])
def test_objectives_are_means_in_float32_over_each_map_and_over_the_maps(make):
    objective = make()
    coarse = [torch.full((1, 1, 3, 3), 0.7).bfloat16()]
    fine = [coarse[0].float()]
    other = [fine[0] + 1]
    assert objective.discriminator(coarse, other).item() == objective.discriminator(fine, other).item()
    assert objective.generator(coarse).item() == objective.generator(fine).item()
    scales = [torch.full((2, 1, 8, 8), 3.0), torch.full((2, 1, 1, 1), -0.5)]
    for value in (objective.generator, lambda maps: objective.discriminator(maps, [-one for one in maps])):
        alone = [value([one]).item() for one in scales]
        assert value(scales).item() == pytest.approx(sum(alone) / 2), "each scale counts the same"


def test_the_hinge_is_flat_beyond_its_margin():
    scores = torch.tensor([-2.0, -0.5, 0.5, 2.0], requires_grad=True)
    for real, slope in ((True, [-1, -1, -1, 0]), (False, [0, 1, 1, 1])):
        other = [torch.zeros(4)]
        value = Hinge().discriminator([scores], other) if real else Hinge().discriminator(other, [scores])
        (gradient,) = torch.autograd.grad(value, scores)
        assert gradient.mul(4).tolist() == slope


@pytest.mark.parametrize(("form", "push"), [("non_saturating", -1.0), ("minimax", 0.0)])
def test_only_the_non_saturating_form_teaches_the_generator_what_a_sure_discriminator_knows(form, push):
    logits = torch.tensor([[-50.0]], requires_grad=True)
    Vanilla(form=form).generator([logits]).backward()
    assert logits.grad.item() == pytest.approx(push)


def test_minimax_is_the_value_that_the_discriminator_maximises():
    real, fake = [torch.tensor([0.3, -1.0])], [torch.tensor([0.8, -2.0])]
    value = torch.sigmoid(real[0]).log().mean() + (1 - torch.sigmoid(fake[0])).log().mean()
    objective = Minimax()
    assert objective.discriminator(real, fake).item() == pytest.approx(-value.item(), rel=1e-5)
    part = (1 - torch.sigmoid(fake[0])).log().mean()
    assert objective.generator(fake).item() == pytest.approx(part.item(), rel=1e-5)


def penalty(judge, real: Tensor, fake: Tensor, seed: int = 0, **options) -> Tensor:
    torch.manual_seed(seed)
    return WassersteinGP(**options).penalty(judge, real, fake)


def test_the_penalty_is_of_the_slope_in_every_channel_and_pixel_of_a_picture():
    # The score is the mean over two maps of their means: slopes 5/64 and 1/64 in each of 3 x 8 x 8 values, so 3/64.
    def judge(x: Tensor) -> list[Tensor]:
        return [5 * x.sum(1, keepdim=True), x.sum(1, keepdim=True)]

    norm = 3 / 64 * math.sqrt(3 * 8 * 8)
    real, fake = torch.rand(2, 4, 3, 8, 8)
    assert penalty(judge, real, fake).item() == pytest.approx(10 * (norm - 1) ** 2, rel=1e-5)
    assert penalty(judge, real, fake, weight=0.5).item() == pytest.approx(0.5 * (norm - 1) ** 2, rel=1e-5)


def test_the_penalty_is_the_mean_over_pictures_of_their_own_slopes():
    scale = torch.tensor([0.5, 1.0, 3.0]).view(3, 1, 1, 1)  # slopes 0.5, 1 and 3 of a score of one value
    value = penalty(lambda x: [scale * x], torch.rand(3, 1, 1, 1), torch.rand(3, 1, 1, 1))
    assert value.item() == pytest.approx(10 * (0.25 + 0 + 4) / 3, rel=1e-5)


def test_each_picture_is_mixed_with_its_fake_in_one_share_of_its_own():
    seen = []

    def judge(x: Tensor) -> list[Tensor]:
        seen.append(x)
        return [x]

    real, fake = torch.full((64, 3, 4, 4), 3.0), torch.full((64, 3, 4, 4), 1.0, requires_grad=True)
    for seed in (0, 0, 1):
        penalty(judge, real, fake, seed)
    share = (seen[0] - 1) / 2
    assert torch.equal(share, share[:, :1, :1, :1].expand_as(share))
    shares = share[:, 0, 0, 0]
    assert 0 <= shares.min() < 0.1 and 0.9 < shares.max() <= 1
    assert len(shares.unique()) == 64
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])


def test_the_penalty_teaches_the_critic_a_slope_of_1():
    torch.manual_seed(0)
    critic = PatchGAN(3, field=16, width=4, norm="none")
    real, fake = torch.rand(2, 2, 3, 16, 16)
    optimizer = torch.optim.Adam(critic.parameters(), 5e-3)
    values = []
    for step in range(60):
        value = penalty(critic, real, fake, step)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[0] > 9 and max(values[-10:]) < 1
    assert fake.grad is None


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_the_penalty_is_made_in_float32_in_bfloat16(norm):
    torch.manual_seed(0)
    critic = PatchGAN(3, field=16, width=4, norm=norm)
    real, fake = torch.rand(2, 2, 3, 16, 16)
    full = penalty(critic, real, fake)
    types = []
    critic.layers[0].register_forward_hook(lambda _, inputs, output: types.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        critic(real)  # leaves its weights in autocast's cache
        inside = penalty(critic, real, fake.bfloat16().float())
        assert torch.is_autocast_enabled("cpu")
    assert types == [torch.bfloat16, torch.float32]
    assert inside.dtype == torch.float32
    assert inside.item() == pytest.approx(full.item(), rel=1e-3)
    inside.backward()
    assert all(p.grad.isfinite().all() for p in critic.parameters() if p.grad is not None)


def test_the_penalty_runs_without_memory():
    with torch.device("meta"):
        critic = PatchGAN(3)
        value = WassersteinGP().penalty(critic, torch.empty(2, 3, 64, 64), torch.empty(2, 3, 64, 64))
        value.backward()
    assert value.device.type == "meta" and value.ndim == 0
    assert critic.layers[0].weight.grad.device.type == "meta"


def test_a_critic_without_slope_is_no_division_by_0():
    critic = PatchGAN(3, field=16, width=4)
    for parameter in critic.parameters():
        nn.init.zeros_(parameter)
    value = penalty(critic, *torch.rand(2, 2, 3, 16, 16))
    value.backward()
    assert value.item() == pytest.approx(10)
    assert all(p.grad.isfinite().all() for p in critic.parameters() if p.grad is not None)
