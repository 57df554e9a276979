"""CUT: PatchNCE against a cross entropy written out, layers by name, the heads' turn, mirrored inputs."""

import functools
import math

import pytest
import torch
from i2i_unpaired.cut import CUT, fastcut, patch_nce
from i2i_unpaired.features import PICTURE, channels_of, default_layers, encoded, passed
from i2i_unpaired.task import Unpaired
from torch import Tensor, nn

from i2i.contracts import Batch
from i2i.discriminators.patch import PatchGAN
from i2i.engine import Training, fit
from i2i.errors import DataError, UsageError
from i2i.generators.resnet import ResNet
from i2i.generators.unet import UNet
from i2i.recipe import OptimizerSettings
from i2i.tasks.paired import Paired

torch.set_num_threads(1)

SMALL = functools.partial(ResNet, blocks=2, width=4)
JUDGE = functools.partial(PatchGAN, field=16, width=4)
FEW = {"generator": SMALL, "discriminator": JUDGE, "patches": 16, "dim": 8}


def batch(count: int = 2, side: int = 32) -> Batch:
    torch.manual_seed(1)
    return Batch(torch.rand(count, 3, side, side) * 2 - 1, torch.rand(count, 3, side, side) * 2 - 1)


# ---- the loss ----


def test_patch_nce_is_the_cross_entropy_written_out() -> None:
    torch.manual_seed(0)
    query, key = (nn.functional.normalize(torch.randn(2, 5, 3), dim=-1) for _ in range(2))
    total = 0.0
    for picture in range(2):
        for place in range(5):
            scores = [math.exp(float(query[picture, place] @ key[picture, other]) / 0.07) for other in range(5)]
            total -= math.log(scores[place] / sum(scores))
    assert patch_nce(query, key, 0.07).item() == pytest.approx(total / 10, rel=1e-5)


def test_patch_nce_is_least_where_places_match_and_chance_where_all_are_alike() -> None:
    one_each = torch.eye(8)[None]
    assert patch_nce(one_each, one_each, 0.07) < 1e-4
    assert patch_nce(one_each, one_each.roll(1, 1), 0.07) > 10
    alike = torch.ones(1, 8, 4) / 2
    assert patch_nce(alike, alike, 0.07).item() == pytest.approx(math.log(8))


def test_patch_nce_is_exact_under_autocast() -> None:
    torch.manual_seed(0)
    query, key = (nn.functional.normalize(torch.randn(1, 64, 32), dim=-1) for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        under = patch_nce(query, key, 0.07)
    assert torch.equal(under, patch_nce(query, key, 0.07))


# ---- features ----


def test_the_default_layers_are_those_of_the_paper() -> None:
    assert default_layers(ResNet(3, 3, width=2)) == [PICTURE, "model.4", "model.7", "model.10", "model.14"]
    assert default_layers(ResNet(3, 3, width=2, blocks=1)) == [PICTURE, "model.4", "model.7", "model.10"]
    own = ResNet(3, 3, width=2, downsampling="blurred", upsampling="bilinear")  # layers 0, 4, 8, 12, 16 of its authors
    assert default_layers(own) == [PICTURE, "model.4", "model.8", "model.12", "model.16"]
    unet = UNet(3, 3, depth=3, width=2)
    assert default_layers(unet) == [PICTURE, "encoder.0", "encoder.1", "encoder.2"]
    with pytest.raises(UsageError, match=r"layers of Sequential.*'input' for the picture.*sub-modules: 0, 1"):
        default_layers(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Tanh()))


@pytest.mark.parametrize("generator", [SMALL, functools.partial(UNet, depth=3, width=4)])
def test_features_are_those_of_the_whole_pass(generator: functools.partial[nn.Module]) -> None:
    network = generator(3, 3).eval()
    layers, x = default_layers(network), torch.randn(2, 3, 32, 32)
    output, maps = passed(network, layers, x)
    assert torch.equal(output, network(x))
    early = encoded(network, layers, x)
    assert all(torch.equal(one, other) for one, other in zip(maps, early, strict=True))
    assert torch.equal(maps[0], x)
    assert [one.shape[1] for one in maps] == channels_of(network, layers, 3)
    assert not any(module._forward_hooks for module in network.modules())


def test_what_comes_after_the_last_layer_is_not_computed() -> None:
    network, called = SMALL(3, 3), []
    network.model[-1].register_forward_hook(lambda *_: called.append(True))
    encoded(network, ["model.4"], torch.randn(1, 3, 16, 16))
    assert not called
    network(torch.randn(1, 3, 16, 16))
    assert called


def test_finding_the_channels_draws_nothing_and_changes_nothing() -> None:
    network = UNet(3, 3, depth=3, width=4, dropout=0.5)
    state, random = {key: value.clone() for key, value in network.state_dict().items()}, torch.get_rng_state()
    channels_of(network, default_layers(network), 3)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["model.41"], r"ResNet has no layer 'model.41'. Did you mean 'model.4'\?"),
        (["imput", "nothing"], r"no layer 'imput'. Did you mean 'input'\?.*no layer 'nothing'\. Its layers are"),
        (["model.4", "model.4"], "'model.4' twice"),
        ([], "name one"),
    ],
)
def test_a_wrong_layer_is_told_with_the_nearest(layers: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CUT(Unpaired(), layers=layers, **FEW)  # type: ignore[arg-type]


class Odd(nn.Module):
    """A generator with a part that makes no map, and one that is never called."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv, self.flat, self.idle = nn.Conv2d(in_channels, out_channels, 1), nn.Flatten(), nn.Conv2d(1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        self.flat(y)
        return y


@pytest.mark.parametrize(
    ("layer", "message"), [("flat", r"'flat' gives a tensor of shape \(1, 12288\)"), ("idle", "never called")]
)
def test_a_layer_without_a_map_is_told(layer: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CUT(Unpaired(), generator=Odd, discriminator=JUDGE, layers=["conv", layer])
    assert len(CUT(Unpaired(), generator=Odd, discriminator=JUDGE, layers=["conv"]).heads) == 1


# ---- the method ----


def test_the_heads_learn_by_the_gradient_of_the_generators_own_loss() -> None:
    """What the authors' joint step would give the heads, their own turn gives them."""
    torch.manual_seed(0)
    method = CUT(Unpaired(), **FEW)  # type: ignore[arg-type]
    turns = method.step(batch())
    _, terms = next(turns)
    joint = torch.autograd.grad(terms["nce"] + terms["nce_identity"], [*method.heads.parameters()], retain_graph=True)
    with torch.no_grad():  # the generator has moved by then
        for weight in method.g.parameters():
            weight += 0.1
    player, own = next(turns)
    assert player == "heads"
    assert own.keys() == {"nce", "nce_identity"}
    assert all(torch.equal(terms[name], own[name]) for name in own)
    alone = torch.autograd.grad(sum(own.values()), [*method.heads.parameters()])  # type: ignore[arg-type]
    assert all(torch.allclose(one, other, atol=1e-7) for one, other in zip(joint, alone, strict=True))
    player, terms = next(turns)
    assert player == "d"
    assert list(terms) == ["adversarial"]


def test_the_term_is_the_mean_over_the_layers() -> None:
    torch.manual_seed(0)
    method = CUT(Unpaired(), identity=False, weight=3.0, **FEW)  # type: ignore[arg-type]
    _, contrast = method.translated(batch().a)
    losses = [
        patch_nce(head(query), head(key), 0.07) for head, (query, key) in zip(method.heads, contrast, strict=True)
    ]
    assert method.nce({"nce": contrast})["nce"].item() == pytest.approx(3 * torch.stack(losses).mean().item())
    assert contrast[0][0].shape == (2, 16, 3)
    assert not any(key.requires_grad for _, key in contrast)


def test_queries_and_keys_are_of_the_same_places_also_of_mirrored_pictures() -> None:
    """A generator that gives back its picture: what stands in a place must be found in that place."""
    method = CUT(Unpaired(), generator=Same, discriminator=JUDGE, layers=[PICTURE, "conv"], patches=64)
    x = batch(side=16).a
    for flip in (False, True):
        fake, contrast = method.translated(x, flip=flip)
        assert torch.allclose(fake, x.flip(-1) if flip else x, atol=1e-5)
        assert all(torch.allclose(query, key, atol=1e-5) for query, key in contrast)


class Same(nn.Module):
    """A generator whose picture, bounded by tanh, is the one that it was given."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1)
        nn.init.dirac_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x).clamp(-0.999999, 0.999999).atanh()
        return y


def test_fastcut_is_a_preset() -> None:
    made = fastcut(Unpaired(), generator=SMALL, discriminator=JUDGE)
    assert (made.weight, made.identity, made.flip) == (10.0, False, True)
    assert isinstance(made, CUT)
    seen, data = set(), batch(1)
    for seed in range(8):
        torch.manual_seed(seed)
        _, terms = next(made.step(data))
        assert list(terms) == ["adversarial", "nce"]
        seen.add(round(terms["adversarial"].item(), 6))
    assert len(seen) > 1


def test_a_task_of_other_channels_is_refused_and_a_side_that_does_not_divide() -> None:
    with pytest.raises(UsageError, match=r"translates 1 channel\(s\) to 3"):
        CUT(Paired(in_channels=1))
    with pytest.raises(DataError, match="divide by 4"):
        next(CUT(Unpaired(), **FEW).step(Batch(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 9, 8))))  # type: ignore[arg-type]


def test_it_is_made_and_steps_without_numbers() -> None:
    with torch.device("meta"):
        method = CUT(Unpaired(), **FEW)  # type: ignore[arg-type]
    empty = torch.empty(2, 3, 32, 32, device="meta")
    assert [player for player, _ in method.step(Batch(empty, empty))] == ["g", "heads", "d"]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_it_learns_to_keep_its_places(precision: torch.dtype) -> None:
    torch.manual_seed(0)
    method = CUT(Unpaired(), **FEW)  # type: ignore[arg-type]
    training = Training(method, lambda player: OptimizerSettings(lr=2e-3), steps=20, precision=precision)
    data = batch(side=16)
    losses = [report.terms["heads/nce"].item() for report in fit(training, iter([data] * 20))]
    assert all(map(math.isfinite, losses))
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
