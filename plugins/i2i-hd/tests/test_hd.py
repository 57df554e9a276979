"""pix2pixHD and SPADE: their sums against small ones of other making, and what is trained when."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from i2i_hd.methods import SPADE, Pix2PixHD
from i2i_hd.multiscale import Multiscale, halved
from i2i_hd.objective import logits, mismatch
from i2i_hd.pix2pixhd import CoarseToFine
from i2i_hd.spade import AdaptiveNorm, SPADEGenerator
from i2i_hd.style import Styled, VAEEncoder, divergence
from i2i_hd.tasks import Instances, StyledLabels, borders
from safetensors.torch import load, save
from torch import Tensor, nn

from i2i.adversarial.wgan_gp import WassersteinGP
from i2i.contracts import Batch
from i2i.discriminators.patch import PatchGAN
from i2i.engine import Training, fit
from i2i.errors import DataError, UsageError
from i2i.generators.unet import UNet
from i2i.recipe import OptimizerSettings
from i2i.tasks.segmentation import Labels

torch.set_num_threads(1)
FINE = partial(CoarseToFine, width=2, halvings=1, blocks=1, enhancer_blocks=1)
JUDGE = partial(Multiscale, width=4, scales=2)
HD = partial(Pix2PixHD, generator=FINE, discriminator=JUDGE)
CODE = partial(VAEEncoder, width=4, latent=6, halvings=2)
WIDE = partial(SPADEGenerator, width=2, hidden=4, doublings=4)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- sums


def test_features_are_matched_by_sums_over_layers_and_means_over_scales() -> None:
    sides = ((3, 5), (2, 4), (1, 1))
    fake, real = (
        [[drawn(2, 3, *side, seed=9 * scale + seed) for side in sides] for scale in (1, 2)] for seed in (0, 5)
    )
    expected = 0.0
    for ones, others in zip(fake, real, strict=True):
        for one, other in list(zip(ones, others, strict=True))[:-1]:  # the logits are no features
            expected += np.abs(one.double().numpy() - other.double().numpy()).mean() / 2
    assert mismatch(fake, real).item() == pytest.approx(expected, rel=1e-6)


def test_real_features_get_no_gradient() -> None:
    fake, real = ([[drawn(1, 2, 3, 3, seed=seed).requires_grad_() for _ in "ab"]] for seed in (0, 1))
    mismatch(fake, real).backward()
    assert fake[0][0].grad is not None
    assert fake[0][1].grad is None
    assert real[0][0].grad is None


def test_divergence_is_that_of_normal_distributions() -> None:
    mean, log_variance = drawn(3, 5), drawn(3, 5, seed=1)
    ours = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    prior = torch.distributions.Normal(torch.zeros(3, 5), torch.ones(3, 5))
    expected = torch.distributions.kl_divergence(ours, prior).sum(1)
    assert torch.allclose(divergence(mean, log_variance), expected, atol=1e-5)


@pytest.mark.parametrize("sides", [(5, 7), (1, 6), (4, 1), (1, 1)])
def test_borders_are_where_one_of_four_neighbours_differs(sides: tuple[int, int]) -> None:
    instance = torch.randint(3, (2, 1, *sides), generator=torch.Generator().manual_seed(0)) * 30000
    found = borders(instance)
    for n, y, x in itertools.product(range(2), range(sides[0]), range(sides[1])):
        near = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        there = [(v, u) for v, u in near if 0 <= v < sides[0] and 0 <= u < sides[1]]
        assert found[n, 0, y, x] == any(instance[n, 0, v, u] != instance[n, 0, y, x] for v, u in there)


def test_a_normalisation_is_scaled_and_shifted_by_the_label_map() -> None:
    torch.manual_seed(0)
    norm = AdaptiveNorm(3, 2, 4)
    for conv in (norm.shared, norm.scale, norm.shift):
        nn.init.normal_(conv.weight)
        nn.init.normal_(conv.bias)
    x, labels = drawn(2, 3, 6, 5) * 4 + 1, F.one_hot(torch.randint(2, (2, 6, 5))).movedim(3, 1).float()

    def convolved(conv: nn.Conv2d, y: Tensor) -> Tensor:
        return F.conv2d(y, conv.weight, conv.bias, padding=1)

    read = convolved(norm.shared, labels).clamp(min=0)
    mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
    expected = (x - mean) / (variance + 1e-5).sqrt() * (1 + convolved(norm.scale, read)) + convolved(norm.shift, read)
    assert torch.allclose(norm(x, labels), expected, atol=1e-4)


def test_a_batch_s_statistics_go_on_when_translating() -> None:
    torch.manual_seed(0)
    g = WIDE(3, 2, norm="batch")
    norm = g.blocks[2].norms[0]
    norm.plain.momentum = 1.0
    x, labels = drawn(3, norm.plain.num_features, 6, 5) * 4 + 1, torch.zeros(3, 3, 6, 5)
    together = norm(x, labels)
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    assert torch.allclose(together, (x - mean) / (variance + 1e-5).sqrt(), atol=1e-4)
    alone = norm.eval()(x[:1], labels[:1])
    assert torch.allclose(alone, together[:1] * (89 / 90) ** 0.5, atol=1e-4)  # the running variance is unbiased
    assert not torch.allclose(AdaptiveNorm(x.shape[1], 3, 4)(x, labels)[:1], together[:1], atol=0.05)


def test_one_value_is_told_by_the_batches_before() -> None:
    norm = AdaptiveNorm(3, 2, 4, "batch")
    norm(drawn(2, 3, 4, 4) + 5, torch.zeros(2, 2, 4, 4))
    x, labels = drawn(2, 3, 1, 1) + 5, torch.zeros(2, 2, 1, 1)
    assert not torch.equal(norm(x, labels), x)
    assert torch.equal(norm(x[:1], labels[:1]), x[:1])
    mean, variance = norm.plain.running_mean[:, None, None], norm.plain.running_var[:, None, None]
    assert torch.allclose(norm.eval()(x, labels), (x - mean) / (variance + 1e-5).sqrt(), atol=1e-4)


def test_scales_see_halves_of_halves_and_tell_their_layers() -> None:
    d = Multiscale(3, scales=3, halvings=2, width=4)
    x = drawn(2, 3, 21, 34)
    features = d.features(x)
    assert [len(maps) for maps in features] == [4, 4, 4]
    assert all(torch.equal(one, other) for one, other in zip(d(x), logits(features), strict=True))
    assert [maps[-1].shape[1] for maps in features] == [1, 1, 1]
    assert torch.equal(d.scales[1][0](halved(x)), features[1][0])
    assert torch.equal(d.scales[2][0](halved(halved(x))), features[2][0])
    assert halved(torch.ones(1, 1, 5, 4)).eq(1).all()
    assert halved(x).shape == (2, 3, 11, 17)
    assert halved(x)[0, 0, 1, 1].item() == pytest.approx(x[0, 0, 1:4, 1:4].mean().item(), abs=1e-6)
    assert d(drawn(1, 3, 1, 1))[2].isfinite().all()


def test_a_logit_sees_seventy_pixels() -> None:
    d = Multiscale(1, scales=1, width=2, norm="none")
    x = torch.zeros(1, 1, 256, 256, requires_grad=True)
    middle = d(x)[0]
    middle[0, 0, middle.shape[2] // 2, middle.shape[3] // 2].backward()
    assert x.grad is not None
    seen = x.grad[0, 0].abs().sum(0).nonzero()
    assert (seen.max() - seen.min() + 1).item() == 70


def test_spectral_normalisation_bounds_the_inner_layers() -> None:
    d = Multiscale(3, scales=1, width=8, spectral=True)
    x = drawn(1, 3, 32, 32)
    for _ in range(30):
        d(x)
    for layer in list(d.scales[0])[1:-1]:
        assert torch.linalg.matrix_norm(layer[0].weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)
    assert torch.linalg.matrix_norm(d.scales[0][0][0].weight.flatten(1), 2).item() < 0.9


# ---- generators


@pytest.mark.parametrize(
    "make",
    [
        FINE,
        partial(WIDE, norm="batch"),
        partial(FINE, enhancers=0),
        partial(FINE, enhancers=2),
        WIDE,
        partial(WIDE, latent=3),
    ],
)
@pytest.mark.parametrize("sides", [(1, 1), (1, 3), (5, 2)])
def test_every_size_that_divides_keeps_its_size(make: Callable[..., nn.Module], sides: tuple[int, int]) -> None:
    g = make(3, 2)
    height, width = (side * g.multiple for side in sides)
    y = g(drawn(2, 3, height, width))
    assert y.shape == (2, 2, height, width)
    assert y.isfinite().all()


def test_an_enhancer_adds_to_the_features_of_half_the_size() -> None:
    g = partial(FINE, enhancers=2)(3, 2)
    assert [e.down[0][1].out_channels for e in g.enhancers] == [4, 2]
    assert g.globally[0][1].out_channels == 8
    assert g.multiple == 8


# ---- phases


def batches(task: Labels | Instances | StyledLabels, start: int = 0, side: int = 16) -> Iterator[Batch]:
    for step in itertools.count(start):
        draw = torch.Generator().manual_seed(step)
        label = torch.randint(task.images["label"].classes or 0, (2, 1, side, side), generator=draw)
        photo = torch.rand(2, 3, side, side, generator=draw)
        yield task.batch({"label": label, "instance": label * 7, "photo": photo})


def training(make: Callable[..., nn.Module], task: object, seed: int = 0) -> Training:
    torch.manual_seed(seed)
    return Training(make(task), lambda player: OptimizerSettings(lr=1e-2), steps=8, ema=0.9)


PARTS = ("globally", "coarse_output", "enhancers", "output")


def moved(before: dict[str, Tensor], g: nn.Module) -> set[str]:
    return {name.split(".")[0] for name, p in g.named_parameters() if not torch.equal(p, before[name])}


def test_the_global_generator_comes_first_then_the_enhancers_then_all() -> None:
    task = Instances(classes=4)
    run = training(partial(HD, coarse_steps=2, frozen_steps=3), task)
    told, sizes = [], []
    judged = run.method.d.features
    run.method.d.features = lambda x: (sizes.append(x.shape[-1]), judged(x))[1]
    reports = fit(run, batches(task))
    for _ in range(7):
        before = {name: p.detach().clone() for name, p in run.method.g.named_parameters()}
        next(reports)
        told.append(moved(before, run.method.g))
    coarse, frozen, whole = {"globally", "coarse_output"}, {"enhancers", "output"}, {"globally", "enhancers", "output"}
    assert told == [coarse] * 2 + [frozen] * 3 + [whole] * 2
    assert sizes == [8] * 6 + [16] * 15  # three looks a step


def test_in_the_middle_of_a_run_it_translates_by_what_is_trained() -> None:
    task = Instances(classes=4)
    run = training(partial(HD, coarse_steps=2, frozen_steps=1), task)
    x = next(batches(task)).a
    reports = fit(run, batches(task))
    for step in range(1, 5):
        next(reports)
        saved = load(save({k: v.contiguous() for k, v in run.average.state_dict().items()}))  # a model folder
        with run.averaged() as method, torch.no_grad():
            g = method.g
            coarse = F.interpolate(g.coarse(halved(x)), scale_factor=2, mode="bilinear")
            expected = task.activate(coarse if step <= 2 else g.fine(x))
            assert torch.equal(method.translate(x), expected)
            other = partial(HD, coarse_steps=2, frozen_steps=1)(task).eval()
            other.g.load_state_dict(saved)
            assert torch.equal(other.translate(x), expected)


@pytest.mark.parametrize("stop", [1, 2, 4, 5])
def test_a_run_resumes_exactly_in_every_phase(stop: int) -> None:
    task, make = Instances(classes=4), partial(HD, coarse_steps=2, frozen_steps=2)
    whole = training(make, task)
    reports = list(itertools.islice(fit(whole, batches(task)), 7))
    first = training(make, task)
    list(itertools.islice(fit(first, batches(task)), stop))
    state = save({key: value.clone().contiguous() for key, value in first.tensors().items()})
    second = training(make, task, seed=1)
    second.restore(load(state), stop)
    again = list(itertools.islice(fit(second, batches(task, stop)), 7 - stop))
    for one, other in zip(reports[stop:], again, strict=True):
        assert {k: v.item() for k, v in one.terms.items()} == {k: v.item() for k, v in other.terms.items()}
    resumed = second.tensors()
    assert resumed.keys() == whole.tensors().keys()
    assert all(torch.equal(value, resumed[key]) for key, value in whole.tensors().items())


def test_without_coarse_steps_all_is_trained_from_the_start() -> None:
    task = Labels(classes=4)
    run = training(HD, task)
    before = {name: p.detach().clone() for name, p in run.method.g.named_parameters()}
    next(fit(run, batches(task)))
    assert moved(before, run.method.g) == {"globally", "enhancers", "output"}
    assert not list(run.method.buffers())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(HD, frozen_steps=1), "frozen_steps"),
        (partial(HD, coarse_steps=1, generator=partial(UNet, depth=2, width=2)), "enhancers"),
        (partial(HD, coarse_steps=1, generator=partial(FINE, enhancers=0)), "no enhancers"),
    ],
)
def test_phases_that_cannot_be_are_refused(make: Callable[..., nn.Module], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make(Labels(classes=4))


# ---- objectives


def turns(method: nn.Module, batch: Batch) -> dict[str, dict[str, Tensor]]:
    return {player: dict(terms) for player, terms in method.step(batch)}


def test_a_loss_comes_in_when_it_is_asked_for() -> None:
    batch = next(batches(Labels(classes=4)))
    torch.manual_seed(0)
    terms = turns(HD(Labels(classes=4), reconstruction=nn.L1Loss, weight=3.0), batch)
    assert set(terms["g"]) == {"adversarial", "features", "reconstruction"}
    torch.manual_seed(0)
    method = HD(Labels(classes=4))
    assert set(turns(method, batch)["g"]) == {"adversarial", "features"}
    fake = method.translate(batch.a)
    expected = 3 * (fake - batch.b).abs().mean()
    assert terms["g"]["reconstruction"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_discriminator_without_features_is_refused_or_not_asked() -> None:
    judge = partial(PatchGAN, field=16, width=4)
    batch = next(batches(Labels(classes=4)))
    with pytest.raises(UsageError, match="feature_weight = 0"):
        turns(HD(Labels(classes=4), discriminator=judge), batch)
    terms = turns(HD(Labels(classes=4), discriminator=judge, feature_weight=0.0), batch)
    assert set(terms["g"]) == {"adversarial"}


def test_an_objective_s_penalty_is_added() -> None:
    terms = turns(HD(Labels(classes=4), adversarial=WassersteinGP), next(batches(Labels(classes=4))))
    assert set(terms["d"]) == {"adversarial", "penalty"}


def test_the_discriminator_of_pix2pixhd_is_halved() -> None:
    task = Labels(classes=4)
    torch.manual_seed(0)
    method, batch = HD(task), next(batches(task))
    terms = turns(method, batch)
    real, fake = (method.d(torch.cat([batch.a, b], 1)) for b in (batch.b, method.translate(batch.a)))
    expected = torch.stack(
        [(r - 1).square().mean() + f.square().mean() for r, f in zip(real, fake, strict=True)]
    ).mean()
    assert terms["d"]["adversarial"].item() == pytest.approx(expected.item() / 2, rel=1e-5)


# ---- styles


def styled(**chosen: object) -> nn.Module:
    torch.manual_seed(0)
    return SPADE(StyledLabels(classes=4), **{"generator": WIDE, "encoder": CODE, "discriminator": JUDGE, **chosen})


def test_a_style_changes_the_picture_and_none_is_the_code_zero() -> None:
    method, task = styled().eval(), StyledLabels(classes=4)
    label = torch.randint(4, (3, 1, 32, 32))
    with torch.no_grad():
        none = method.translate(task.encode({"label": label}))
        mixed = method.translate(task.encode({"label": label, "style": torch.rand(3, 3, 32, 32)}))
        zero = task.activate(method.g.generator(task.labels.encode({"label": label}), torch.zeros(3, 6)))
    assert torch.equal(none, zero)
    assert not torch.allclose(none, mixed, atol=1e-6)


def test_a_style_may_be_of_any_size() -> None:
    task = StyledLabels(classes=4)
    x = task.encode({"label": torch.zeros(1, 1, 8, 6, dtype=torch.int64), "style": torch.full((1, 3, 5, 20), 0.75)})
    assert x.shape == (1, 7, 8, 6)
    assert torch.allclose(x[:, 4:], torch.tensor(0.5))


def test_a_saved_model_has_the_statistics_of_its_batches() -> None:
    task, make = StyledLabels(classes=4), partial(styled, generator=partial(WIDE, norm="batch"))
    run = training(lambda task: make(), task)
    list(itertools.islice(fit(run, batches(task)), 3))
    saved, other, x = load(save(run.average.state_dict())), make().eval(), next(batches(task)).a
    assert saved["generator.blocks.0.norms.0.plain.running_mean"].ne(0).all()
    other.g.load_state_dict(saved)
    with run.averaged() as method, torch.no_grad():
        together = method.translate(x)
        assert torch.equal(other.translate(x), together)
        assert torch.allclose(other.translate(x[:1]), together[:1], atol=1e-5)


def test_a_picture_tells_its_code_alone() -> None:
    g = Styled(WIDE(4, 3, latent=6), CODE(3), 3)
    x = drawn(3, 7, 16, 16)
    x[1, 4:] = 0
    assert g(x, draw=False)[1].ne(0).tolist() == [True, False, True]


def test_a_stochastic_method_draws() -> None:
    method, x = styled().eval(), StyledLabels(classes=4).encode({"label": torch.zeros(1, 1, 32, 32, dtype=torch.int64)})
    with torch.no_grad():
        same = torch.equal(method.translate(x), method.translate(x))
        method.stochastic = True
        other = torch.equal(method.translate(x), method.translate(x))
    assert same
    assert not other


def test_encoder_and_generator_are_one_player_and_the_judge_sees_no_style() -> None:
    task, method = StyledLabels(classes=4), styled(divergence_weight=2.0)
    run = training(lambda task: method, task)
    assert set(run.players) == {"g", "d"}
    assert method.d.scales[0][0][0].in_channels == 4 + 3
    before = {name: p.detach().clone() for name, p in method.g.named_parameters()}
    report = next(fit(run, batches(task)))
    assert moved(before, method.g) == {"generator", "encoder"}
    assert set(report.terms) == {"g/adversarial", "g/features", "g/divergence", "d/adversarial"}


def test_a_task_without_a_style_has_no_encoder() -> None:
    method = SPADE(Instances(classes=4), generator=WIDE, discriminator=JUDGE)
    assert isinstance(method.g, SPADEGenerator)
    assert not hasattr(method, "stochastic")
    assert len(method.d.scales) == 2


# ---- tasks


def test_borders_stand_behind_the_classes() -> None:
    task = Instances(classes=3, void=255)
    label = torch.tensor([[0, 0, 2], [255, 0, 2]])[None, None]
    instance = torch.tensor([[40000, 40001, 7], [40000, 40001, 7]])[None, None]
    x = task.encode({"label": label, "instance": instance})
    assert x.shape == (1, 4, 2, 3)
    assert x[0, 3].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert x[0, :3, 1, 0].tolist() == [0, 0, 0]
    assert task.encode({"label": label, "instance": label})[0, 3].tolist() == [[1, 1, 1], [1, 1, 1]]
    alike = torch.zeros_like(label)
    assert not task.encode({"label": label, "instance": alike})[0, 3].any()
    with pytest.raises(DataError, match="2 x 2"):
        task.encode({"label": label, "instance": instance[..., :2]})


def test_without_instance_maps_the_label_has_the_borders() -> None:
    task = Instances(classes=3, maps=False)
    assert task.inputs == ("label",)
    assert set(task.images) == {"label", "photo"}
    label = torch.tensor([[0, 0, 0, 1]])[None, None]
    assert task.encode({"label": label})[0, 3, 0].tolist() == [0, 0, 1, 1]
