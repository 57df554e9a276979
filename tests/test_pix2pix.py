"""The method pix2pix: whose turn it is, what it costs, and what it moves."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import nn

from i2i import build
from i2i.adversarial.hinge import Hinge
from i2i.adversarial.lsgan import LSGAN
from i2i.adversarial.vanilla import Vanilla
from i2i.adversarial.wgan_gp import WassersteinGP
from i2i.contracts import Batch, Loss, Method
from i2i.discriminators.patch import PatchGAN
from i2i.engine import Training, fit, players
from i2i.errors import UsageError
from i2i.generators.unet import UNet
from i2i.losses.cross_entropy import CrossEntropy
from i2i.methods.pix2pix import Pix2Pix
from i2i.recipe import OptimizerSettings
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
    assert isinstance(method.reconstruction, Loss)
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
    for adversarial in (Vanilla, LSGAN, Hinge, WassersteinGP):
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


OBJECTIVES = {
    "L1": {"gan_weight": 0.0},
    "L2": {"gan_weight": 0.0, "reconstruction": "mse"},
    "GAN": {"weight": 0.0, "conditional": False},
    "cGAN": {"weight": 0.0},
    "L1+GAN": {"conditional": False},
    "L1+cGAN": {},
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_paper_s_objectives_are_values_of_a_recipe(name):
    """Isola et al. 2017, section 4.1, Table 1, and L2 beside them."""
    small = {"generator": {"depth": 3, "width": 4}, "discriminator": {"field": 16, "width": 4}}
    problems: list[build.Problem] = []
    make = build.build("methods", {"name": "pix2pix", **small, **OBJECTIVES[name]}, ("method",), problems)
    assert make is not None, problems
    method = make(Colorization())  # 1 channel to 2
    turns = {player: set(terms) for player, terms in method.step(batch_of(method.task))}
    adversarial, reconstruction = "GAN" in name, name.startswith("L")
    expected = {"g": {"adversarial"} if adversarial else set(), "d": {"adversarial"}}
    if reconstruction:
        expected["g"].add("reconstruction")
    if not adversarial:
        del expected["d"]
    assert turns == expected
    assert hasattr(method, "d") == adversarial
    if adversarial:
        assert method.d.layers[0].in_channels == (3 if "c" in name else 2)
    if reconstruction:
        fake, real = torch.tensor([3.0]), torch.tensor([1.0])
        assert method.reconstruction(fake, real) == (4 if name == "L2" else 2)


@pytest.mark.parametrize("conditional", [True, False])
def test_an_objective_s_penalty_is_a_whole_term_of_d(conditional):
    class Spy:
        def generator(self, fake: list[torch.Tensor]) -> torch.Tensor:
            return fake[0].mean()

        def discriminator(self, real: list[torch.Tensor], fake: list[torch.Tensor]) -> torch.Tensor:
            return (real[0] - fake[0]).mean() + 1

        def penalty(self, judge, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
            self.seen = real, fake
            self.maps = judge(fake)
            return self.maps[0].mean() * 0 + 7

    method = tiny(Inpainting(), adversarial=Spy, conditional=conditional)
    batch = batch_of(method.task)
    method.eval()  # no dropout: the same fake again
    (_, g), (_, d) = method.step(batch)
    assert set(g) == {"adversarial", "reconstruction"}
    assert set(d) == {"adversarial", "penalty"}
    assert d["penalty"].item() == 7
    real, fake = method.adversarial.seen
    assert torch.equal(real, batch.b)
    assert torch.equal(fake, batch.composite(method.translate(batch.a)))
    assert not fake.requires_grad
    judged = method.judge(batch.a, fake)
    assert torch.equal(method.adversarial.maps[0], judged[0])
    apart = (method.judge(batch.a, real)[0] - judged[0]).mean() + 1
    assert d["adversarial"].item() == pytest.approx(apart.item() / 2, rel=1e-5)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("adversarial", [Vanilla, LSGAN, Hinge, WassersteinGP])
def test_every_objective_trains_in_the_engine(adversarial, precision):
    method = tiny(adversarial=adversarial)
    training = Training(method, lambda player: OptimizerSettings(), steps=3, precision=precision)
    before = {name: value.clone() for name, value in method.named_parameters()}
    reports = list(fit(training, iter([batch_of(method.task)] * 3)))
    training.check_finite()
    assert all(value.isfinite() for report in reports for value in report.terms.values())
    assert ("d/penalty" in reports[0].terms) == (adversarial is WassersteinGP)
    still = {name for name, value in method.named_parameters() if torch.equal(value, before[name])}
    # What is added to every score is nothing to a difference of scores, nor to a hinge within its margin.
    assert still == ({"d.layers.6.bias"} if adversarial in (Hinge, WassersteinGP) else set())


def test_the_wasserstein_objective_can_be_estimated_without_memory():
    with torch.device("meta"):
        method = Pix2Pix(Paired(), adversarial=WassersteinGP)
        batch = Batch(torch.empty(2, 3, 256, 256), torch.empty(2, 3, 256, 256))
        for player, terms in method.step(batch):
            sum(terms.values()).backward(inputs=players(method)[player])
    assert set(terms) == {"adversarial", "penalty"}
