"""The method pix2pix: whose turn it is, what it costs, and what it moves."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import nn

from i2i.adversarial.lsgan import LSGAN
from i2i.adversarial.vanilla import Vanilla
from i2i.contracts import Adversarial, Batch, Loss, Method
from i2i.discriminators.patch import PatchGAN
from i2i.engine import players
from i2i.errors import UsageError
from i2i.generators.unet import UNet
from i2i.losses.cross_entropy import CrossEntropy
from i2i.methods.pix2pix import Pix2Pix
from i2i.tasks.colorization import Colorization
from i2i.tasks.inpainting import Inpainting
from i2i.tasks.maps import Maps
from i2i.tasks.paired import Paired
from i2i.tasks.segmentation import Segmentation

TASKS = [Paired(), Colorization(), Maps(), Segmentation(classes=4, void=255), Inpainting()]


def tiny(task=None, **options) -> Pix2Pix:
    torch.manual_seed(0)
    options.setdefault("generator", partial(UNet, depth=3, width=4, dropout=0))
    options.setdefault("discriminator", partial(PatchGAN, field=16, width=4))
    return Pix2Pix(task or Paired(), **options)


def batch_of(task, n: int = 2) -> Batch:
    torch.manual_seed(1)
    images = {
        name: torch.randint(spec.classes, (n, 1, 16, 16)) if spec.classes else torch.rand(n, spec.channels, 16, 16)
        for name, spec in task.images.items()
    }
    return task.batch(images)


def train(method: Pix2Pix, batch: Batch, steps: int) -> list[dict[str, float]]:
    """Train as the engine does: at each turn that player's gradient and that player's optimizer."""
    weights = players(method)
    optimizers = {name: torch.optim.Adam(own, 2e-3, (0.5, 0.999)) for name, own in weights.items()}
    history = []
    for _ in range(steps):
        history.append({})
        for player, terms in method.step(batch):
            optimizers[player].zero_grad()
            sum(terms.values()).backward(inputs=weights[player])
            optimizers[player].step()
            history[-1] |= {f"{player}/{term}": value.item() for term, value in terms.items()}
    return history


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_it_learns_every_task(task):
    method = tiny(task, reconstruction=CrossEntropy if isinstance(task, Segmentation) else nn.L1Loss)
    assert isinstance(method, Method)
    history = train(method, batch_of(task), 3)
    assert set(history[0]) == {"g/adversarial", "g/reconstruction", "d/adversarial"}
    assert history[2]["g/reconstruction"] < history[0]["g/reconstruction"]
    assert history[2]["d/adversarial"] < history[0]["d/adversarial"]


def test_a_turn_moves_its_player_alone():
    method = tiny()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    for player, terms in method.step(batch_of(method.task)):
        method.zero_grad()
        parameters = list(getattr(method, player).parameters())
        sum(terms.values()).backward(inputs=parameters)
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in parameters)
        torch.optim.SGD(parameters, 0.1).step()
        moved = {
            name.split(".")[0] for name, value in method.state_dict().items() if not torch.equal(value, before[name])
        }
        assert moved == ({"g"} if player == "g" else {"g", "d"})
        others = method.d if player == "g" else method.g
        assert all(parameter.grad is None for parameter in others.parameters())


def test_the_fakes_are_detached_in_the_turn_of_d():
    method = tiny()
    turns = method.step(batch_of(method.task))
    next(turns)
    _, terms = next(turns)
    sum(terms.values()).backward()
    assert all(parameter.grad is None for parameter in method.g.parameters())
    assert list(turns) == []


def test_an_undecided_discriminator_costs_what_the_paper_says():
    method = tiny(gan_weight=0.5, weight=10.0)
    for parameter in method.d.parameters():
        nn.init.zeros_(parameter)
    batch = batch_of(method.task)
    (_, g), (_, d) = method.step(batch)
    assert g["adversarial"].item() == pytest.approx(0.5 * math.log(2))
    assert d["adversarial"].item() == pytest.approx(math.log(2))  # half of 2 ln 2
    expected = 10 * (method.translate(batch.a) - batch.b).abs().mean()
    assert g["reconstruction"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_weight_of_0_leaves_its_term_out():
    method = tiny(gan_weight=0.0)
    assert list(players(method)) == ["g"]
    assert [(player, set(terms)) for player, terms in method.step(batch_of(method.task))] == [("g", {"reconstruction"})]
    method = tiny(weight=0.0)
    assert list(players(method)) == ["g", "d"]
    assert [(player, set(terms)) for player, terms in method.step(batch_of(method.task))] == [
        ("g", {"adversarial"}),
        ("d", {"adversarial"}),
    ]
    with pytest.raises(UsageError, match="both 0, so nothing would be learnt"):
        tiny(weight=0.0, gan_weight=0.0)


def test_only_networks_are_players():
    assert list(players(tiny(reconstruction=nn.SmoothL1Loss))) == ["g", "d"]


def test_the_discriminator_sees_the_input_if_it_is_conditional():
    seen = []
    for conditional in (True, False):
        method = tiny(Colorization(), conditional=conditional)
        method.d.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[1]))
        list(method.step(batch_of(method.task)))
    assert seen == [3, 3, 3, 2, 2, 2]


def test_what_does_not_count_is_the_truth_for_every_loss():
    method = tiny(Inpainting(), conditional=False)
    batch = batch_of(method.task)
    seen = []
    method.d.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    (_, terms), _ = method.step(batch)
    known = (batch.mask == 0).expand_as(batch.b)
    assert torch.equal(seen[0][known], batch.b[known])
    assert not torch.equal(seen[0][~known], batch.b[~known])
    missed = ((method.translate(batch.a) - batch.b).abs() * batch.mask).mean()
    assert terms["reconstruction"].item() == pytest.approx(100 * missed.item(), rel=1e-5)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_losses_are_float32_in_bfloat16(task):
    for adversarial in (Vanilla, LSGAN):
        method = tiny(task, adversarial=adversarial)
        with torch.autocast("cpu", torch.bfloat16):
            for player, terms in method.step(batch_of(task)):
                assert {value.dtype for value in terms.values()} == {torch.float32}
                sum(terms.values()).backward(inputs=list(getattr(method, player).parameters()))
        assert all(parameter.grad.isfinite().all() for parameter in method.parameters())


def test_it_runs_without_memory_at_the_paper_s_size():
    with torch.device("meta"):
        method = Pix2Pix(Paired())
        batch = Batch(torch.empty(1, 3, 256, 256), torch.empty(1, 3, 256, 256))
        for player, terms in method.step(batch):
            sum(terms.values()).backward(inputs=list(getattr(method, player).parameters()))
        assert method.translate(batch.a).shape == (1, 3, 256, 256)
    assert sum(parameter.numel() for parameter in method.parameters()) == 54_414_531 + 2_768_705


@pytest.mark.parametrize(
    ("make", "undecided", "convinced", "fooled"),
    [(Vanilla, 2 * math.log(2), 2 * math.log1p(math.exp(-3)), math.log1p(math.exp(-3))), (LSGAN, 1, 4 + 9, 4)],
)
def test_adversarial_objectives(make, undecided, convinced, fooled):
    objective = make()
    assert isinstance(objective, Adversarial)
    # An undecided least-squares critic scores 0 everywhere.
    zeros, high, low = ([torch.full((2, 1, *size), x) for size in ((3, 3), (1, 1))] for x in (0.0, 3.0, -3.0))
    assert objective.discriminator(zeros, zeros).item() == pytest.approx(undecided)
    assert objective.discriminator(high, low).item() == pytest.approx(convinced, rel=1e-5)
    assert objective.generator(high).item() == pytest.approx(fooled, rel=1e-5)
    coarse = [torch.full((1, 1, 3, 3), 0.7).bfloat16()]
    fine = [coarse[0].float()]
    assert objective.discriminator(coarse, coarse).item() == objective.discriminator(fine, fine).item()
    assert objective.generator(coarse).item() == objective.generator(fine).item()
    scales = [torch.full((1, 1, 8, 8), 3.0), torch.zeros(1, 1, 1, 1)]
    mean = (objective.generator(scales[:1]) + objective.generator(scales[1:])) / 2
    assert objective.generator(scales).item() == pytest.approx(mean.item()), "each scale counts the same"


def test_a_sure_discriminator_still_teaches_the_generator():
    logits = torch.tensor([[-50.0]], requires_grad=True)
    Vanilla().generator([logits]).backward()
    assert logits.grad.item() == pytest.approx(-1)
    assert isinstance(CrossEntropy(), Loss)
