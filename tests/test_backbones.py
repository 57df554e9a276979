"""Pretrained backbones and the parts on them: what they compute, what stays frozen, what they do without a network."""

from __future__ import annotations

import shutil
import socket
import threading
import time
import urllib.error
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import TINY
from rich.console import Console
from torch import Tensor, nn

from i2i import backbones, recipe, train
from i2i.backbones import Frozen, blank, features, fetched
from i2i.checkpoint import Run, load_model
from i2i.compose import compose, rebuild
from i2i.contracts import Batch, Generator
from i2i.discriminators.timm_projected import TimmProjected
from i2i.display import TrainDisplay
from i2i.engine import Training, fit, players
from i2i.errors import DataError, UsageError
from i2i.generators.timm_unet import TimmUNet
from i2i.losses.perceptual import Perceptual
from i2i.losses.sum import Sum
from i2i.methods.pix2pix import Pix2Pix
from i2i.recipe import OptimizerSettings
from i2i.testing.supply import Toy

BACKBONE = "test_resnet"
RANDOM: dict[str, Any] = {"backbone": BACKBONE, "weights": "random"}
SMALL: dict[str, Any] = RANDOM | {"width": 4}
TimmParts = partial(
    Pix2Pix,
    generator=partial(TimmUNet, **SMALL, max_width=16),
    discriminator=partial(TimmProjected, **SMALL),
    reconstruction=partial(Sum, losses=(nn.L1Loss, partial(Perceptual, **RANDOM))),
)


@pytest.fixture(autouse=True)
def cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and an empty folder of weights."""

    def refuse(*arguments: Any, **named: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *arguments: None)


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    """A file with weights of the tiny backbone as a training would leave them."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(7)
    network = timm.create_model(BACKBONE)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    save_file(network.state_dict(), tmp_path / "mine.safetensors")
    return tmp_path / "mine.safetensors"


def close(x: Tensor, y: Tensor) -> bool:
    return torch.allclose(x, y, rtol=1e-3, atol=1e-4 * float(y.abs().max()))


# ---- the generator


@pytest.mark.parametrize(
    ("backbone", "reductions"),
    [
        ("resnet18", [2, 4, 8, 16, 32]),
        ("convnext_atto", [4, 8, 16, 32]),
        ("efficientnet_b0", [2, 4, 8, 16, 32]),
        ("mobilenetv3_small_050", [2, 4, 8, 16, 32]),
        (BACKBONE, [2, 4, 8, 16, 32]),
        ("test_vit", [16, 16, 16]),
    ],
)
@pytest.mark.parametrize("channels", [1, 3, 11])
def test_any_backbone_is_a_generator(backbone: str, reductions: list[int], channels: int) -> None:
    torch.manual_seed(0)
    net = TimmUNet(channels, 2, backbone=backbone, weights="random", width=2, max_width=8)
    assert isinstance(net, Generator)
    assert (net.reductions, net.multiple) == (reductions, reductions[-1])
    x = torch.randn(2, channels, 32, 64).requires_grad_()
    y = net(x)
    assert y.shape == (2, 2, 32, 64)
    y.square().mean().backward()
    assert x.grad is not None
    assert x.grad.abs().amax(dim=(0, 2, 3)).min() > 0, "every channel counts"
    assert not [name for name, p in net.named_parameters() if p.grad is None]
    net.eval()
    with torch.no_grad():
        assert close(net(x)[:1], net(x[:1])), "a picture knows its neighbours"


def test_a_backbone_with_maps_at_full_size() -> None:
    with torch.device("meta"):
        net = TimmUNet(3, 2, backbone="vgg11", weights="random", width=4)
        assert net.reductions == [1, 2, 4, 8, 16, 32]
        assert net(torch.empty(1, 3, 64, 32)).shape == (1, 2, 64, 32)


@pytest.mark.parametrize("options", [{"upsampling": "transposed"}, {"norm": "none"}, {"norm": "batch"}])
def test_the_options_of_the_decoder(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net = TimmUNet(3, 2, **SMALL, **options)
    x = torch.randn(2, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        y = net(x)
    assert y.shape == (2, 2, 64, 64)
    y.float().sum().backward()
    net.eval()
    with torch.no_grad():
        assert close(net(x)[:1], net(x[:1]))


@pytest.mark.parametrize("channels", [1, 3, 11])
def test_pretrained_weights_fit_any_number_of_channels(channels: int, pretrained: Path) -> None:
    from safetensors.torch import load_file

    given, net = load_file(pretrained), features("x", BACKBONE, pretrained, in_channels=channels)
    ours = net.state_dict()
    first = ours.pop("conv1.0.weight")
    source = given["conv1.0.weight"]
    x = torch.randn(2, 3, 8, 8)
    if channels == 3:
        assert torch.equal(first, source)
    elif channels == 1:  # of a grey picture the same comes out as of its three equal channels
        grey = x[:, :1]
        torch.testing.assert_close(F.conv2d(grey, first), F.conv2d(grey.expand(-1, 3, -1, -1), source))
    else:
        torch.testing.assert_close(first[:, 6:9], source * 3 / 11)
    assert len(ours) > 20
    assert all(torch.equal(value, given[key]) for key, value in ours.items())


def test_rgb_is_brought_to_what_the_backbone_knows() -> None:
    net = TimmUNet(3, 3, **SMALL)
    white, black = net.standardise(torch.ones(1, 3, 1, 1)), net.standardise(-torch.ones(1, 3, 1, 1))
    mean, std = (torch.tensor(net.backbone.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(white, (1 - mean) / std)
    torch.testing.assert_close(black, -mean / std)
    x = torch.randn(1, 4, 2, 2)
    assert TimmUNet(4, 3, **SMALL).standardise(x) is x
    assert "standardise.mean" in net.state_dict(), "a saved model knows its own"


@pytest.mark.parametrize(
    ("choice", "random", "kept"),
    [("auto", True, False), ("auto", False, True), ("kept", True, True), ("learnt", False, False)],
)
def test_the_statistics_of_the_backbone(choice: Any, random: bool, kept: bool, pretrained: Path) -> None:
    weights: Any = "random" if random else pretrained
    net = TimmUNet(3, 3, backbone=BACKBONE, weights=weights, statistics=choice, width=4).train()
    before = net.backbone.get_buffer("bn1.running_mean").clone()
    x = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        assert close(net(x), net.eval()(x)) == kept, "kept, training and translation agree"
    assert torch.equal(net.backbone.get_buffer("bn1.running_mean"), before) == kept
    assert net.backbone.get_parameter("bn1.weight").requires_grad


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "inception_next_atto_no_such"])
def test_a_model_that_cannot_serve_is_refused(name: str) -> None:
    known = name.startswith("vit")
    message = (
        r"timm_unet: .*'vit_tiny_patch16_224' gives no feature maps .* of every size .*224" if known else "no timm"
    )
    with pytest.raises(UsageError, match=message):
        TimmUNet(3, 3, backbone=name, weights="random")


def test_wrong_layers_are_refused() -> None:
    for layers in ((), (2, 1), (1, 1)):
        with pytest.raises(UsageError, match="rising order"):
            features("x", BACKBONE, "random", layers=layers)
    with pytest.raises(UsageError, match=r"gives no feature maps \[0, 9\]"):
        features("x", BACKBONE, "random", layers=(0, 9))


# ---- where weights come from


@pytest.mark.parametrize("make", [partial(TimmUNet, 3, 3), partial(TimmProjected, 6), Perceptual])
def test_without_a_network_the_error_names_the_file_and_comes_at_once(make: Any) -> None:
    import timm  # noqa: F401  # its import is not what is measured

    began = time.perf_counter()
    with pytest.raises(
        DataError, match=r"needs pretrained weights, .* Get https://.*safetensors where .* place it here"
    ):
        make()
    assert time.perf_counter() - began < 2
    with blank():
        assert list(make(backbone=BACKBONE).parameters())


def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(backbones, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/never-{time.time_ns()}.pth"
        with pytest.raises(DataError, match="timed out"):
            fetched("x", url)
    assert socket.getdefaulttimeout() is None


def test_a_file_that_does_not_fit_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match=rf"{tmp_path}.*holds no weights for {BACKBONE}"):
        features("x", BACKBONE, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="no such file"):
        features("x", BACKBONE, tmp_path / "none.safetensors")


def test_blank_ends_with_its_block_also_by_an_error() -> None:
    with blank():
        features("x", BACKBONE, None)
    with pytest.raises(UsageError, match="no timm model"), blank():
        features("x", "no such", None)
    with pytest.raises(DataError):
        features("x", BACKBONE, None)


# ---- what is frozen


def test_the_frozen_network_stays_as_it_is(pretrained: Path) -> None:
    frozen = Frozen("x", BACKBONE, pretrained).train()
    assert not any(module.training for module in frozen.modules())
    assert not any(p.requires_grad for p in frozen.parameters())
    state = {key: value.clone() for key, value in frozen.state_dict().items()}
    x = torch.randn(2, 3, 64, 64).requires_grad_()
    maps = frozen(x)
    assert [y.shape[1] for y in maps] == frozen.channels
    sum(y.mean() for y in maps).backward()
    assert x.grad is not None and x.grad.abs().mean() > 0
    assert all(torch.equal(value, state[key]) for key, value in frozen.state_dict().items())
    grey = x[:, :1].detach()
    assert all(torch.equal(*pair) for pair in zip(frozen(grey), frozen(grey.expand(-1, 3, -1, -1)), strict=True))
    assert torch.equal(Frozen("x", BACKBONE, "random")(x)[0], Frozen("x", BACKBONE, "random")(x)[0])


def test_pictures_that_a_frozen_network_cannot_see_are_refused() -> None:
    frozen = Frozen("perceptual", BACKBONE, "random")
    with pytest.raises(UsageError, match="perceptual takes grey or RGB pictures, and these have 2 channels"):
        frozen(torch.zeros(1, 2, 64, 64))
    with pytest.raises(UsageError, match=r"at least 32 pixels a side, and these are 40 x 31: .*'layers'"):
        frozen(torch.zeros(1, 3, 31, 40))
    assert len(Frozen("x", BACKBONE, "random", (0, 1))(torch.zeros(1, 3, 8, 8))) == 2


def test_only_g_and_d_play_and_the_frozen_parts_are_the_same_after_training() -> None:
    torch.manual_seed(0)
    method = TimmParts(Toy())
    assert list(players(method)) == ["g", "d"]
    frozen = {
        key: value.clone()
        for key, value in method.state_dict().items()
        if key.startswith(("reconstruction.", "d.backbone.", "d.mixing."))
    }
    assert len(frozen) > 100
    before = {name: [p.clone() for p in weights] for name, weights in players(method).items()}
    training = Training(method, lambda player: OptimizerSettings(), steps=3)
    batch = Batch(torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 3, 64, 64) * 2 - 1)
    for report in fit(training, [batch] * 3):
        assert all(value.isfinite() for value in report.terms.values())
    after = method.state_dict()
    assert all(torch.equal(after[key], value) for key, value in frozen.items())
    for name, weights in players(method).items():
        moved = [not torch.equal(*pair) for pair in zip(weights, before[name], strict=True)]
        assert all(moved), name


# ---- the losses


def test_the_perceptual_loss_is_the_mean_squared_difference_of_the_maps() -> None:
    torch.manual_seed(0)
    fake, real = torch.rand(2, 2, 3, 64, 64) * 2 - 1
    loss = Perceptual(**RANDOM, layers=(1, 3), layer_weights=(0.5, 2.0))
    maps = Frozen("x", BACKBONE, "random", (1, 3))
    terms = [(x - y).square().mean().item() for x, y in zip(maps(fake), maps(real), strict=True)]
    assert loss(fake, real).item() == pytest.approx(0.5 * terms[0] + 2 * terms[1], rel=1e-5)
    assert loss(real, real) == 0
    plain = Perceptual(**RANDOM, layers=(1, 3), distance="l1")
    terms = [(x - y).abs().mean().item() for x, y in zip(maps(fake), maps(real), strict=True)]
    assert plain(fake, real).item() == pytest.approx(sum(terms), rel=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(fake, real)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(fake, real).item(), rel=0.05)
    with pytest.raises(UsageError, match="'layer_weights' has 1 numbers, and there are 2 feature maps"):
        Perceptual(**RANDOM, layers=(1, 3), layer_weights=(1.0,))


def test_the_sum_weighs_its_losses() -> None:
    fake, real = torch.rand(2, 1, 3, 8, 8)
    loss = Sum(losses=(nn.L1Loss, nn.MSELoss, lambda: lambda x, y: (x - y).mean()), weights=(2.0, 3.0, 0.5))
    expected = 2 * F.l1_loss(fake, real) + 3 * F.mse_loss(fake, real) + 0.5 * (fake - real).mean()
    torch.testing.assert_close(loss(fake, real), expected)
    assert Sum()(fake, real) == F.l1_loss(fake, real)
    assert len(list(Sum(losses=(nn.L1Loss, partial(Perceptual, **RANDOM))).parameters())) > 10
    for options in ({"losses": ()}, {"losses": (nn.L1Loss,), "weights": (1.0, 2.0)}):
        with pytest.raises(UsageError, match="give a loss or more, and each a weight"):
            Sum(**options)


# ---- the projected discriminator


def test_the_projected_discriminator_judges_the_last_channels_beside_the_others() -> None:
    torch.manual_seed(0)
    net = TimmProjected(7, **SMALL).eval()
    x = torch.randn(2, 7, 64, 96).requires_grad_()
    maps = net(x)
    assert [y.shape for y in maps] == [(2, 1, 2, 3)] * 4
    sum(y.square().mean() for y in maps).backward()
    assert x.grad is not None
    assert x.grad.abs().amax(dim=(0, 2, 3)).min() > 0, "every channel counts"
    for changed in (slice(0, 4), slice(4, 7)):
        other = x.detach().clone()
        other[:, changed] += 0.5
        assert all(not torch.allclose(*pair) for pair in zip(net(other), maps, strict=True)), "at every scale"
    assert len(TimmProjected(3, **SMALL).beside) == 0
    assert [len(TimmProjected(1, **SMALL, layers=(2,), pictures=1)(torch.randn(1, 1, 64, 64)))] == [1]
    for channels, pictures in ((2, 3), (3, 2)):
        with pytest.raises(UsageError, match=rf"given {channels}, and pictures = {pictures}"):
            TimmProjected(channels, **SMALL, pictures=pictures)


def test_the_mixing_is_the_same_whatever_was_drawn_before() -> None:
    nets = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        nets.append(TimmProjected(6, **SMALL))
    one, other = (net.state_dict() for net in nets)
    same = {key for key in one if torch.equal(one[key], other[key])}
    assert {key for key in one if key.startswith(("mixing.", "features."))} <= same
    assert "heads.0.0.0.parametrizations.weight.original" not in same
    state = torch.get_rng_state()
    Frozen("x", BACKBONE, "random")
    assert torch.equal(torch.get_rng_state(), state)


# ---- through a run


def settings(file: Path) -> list[str]:
    """What makes the tiny recipe one of all these parts, their weights from a file."""
    part = f'backbone="{BACKBONE}", weights="{file}"'
    judge = f'{{name="timm_projected", {part}, layers=[3], width=4}}'
    losses = f'["l1", {{name="perceptual", {part}, layers=[0, 1]}}]'
    return [
        "source.size=64",
        "validation.size=64",
        f'method.generator={{name="timm_unet", {part}, width=4, max_width=8}}',
        f'method.discriminator={{name="diff_augment", discriminator={judge}}}',
        f'method.reconstruction={{name="sum", losses={losses}, weights=[1.0, 0.1]}}',
    ]


def test_a_run_is_resumed_and_its_model_rebuilt_when_the_weights_are_gone(pretrained: Path, tmp_path: Path) -> None:
    from i2i.check import summarise

    plan = recipe.parse(Path("tiny.toml"), TINY.encode(), settings(pretrained))
    found = summarise(compose(plan), "cpu")
    assert (found.memory or 0) > 0, found.unknown
    assert set(found.parameters) == {"g", "d"}
    with TrainDisplay(Console(quiet=True)) as display:
        whole = train.start(plan, runs=tmp_path, device="cpu", display=display, name="whole")
    broken = Run(Path(shutil.copytree(whole.path, tmp_path / "broken")))
    pretrained.unlink()
    (broken.path / "result.json").unlink()
    (newest,) = (broken.path / "state").glob("000000004-*.safetensors")
    newest.write_bytes(newest.read_bytes()[:-1])
    with TrainDisplay(Console(quiet=True)) as display:
        train.resume(broken.path, device="cpu", display=display)
    (_, ours, _), (_, theirs, _) = broken.load_state(), whole.load_state()
    assert ours.keys() == theirs.keys()
    assert any("reconstruction" in key for key in ours)
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    description, weights = load_model(whole.model)
    task, method = rebuild(Path("model"), description, weights)
    x = torch.rand(1, 3, 64, 64)
    assert all(torch.equal(value, weights[key]) for key, value in method.g.state_dict().items())
    assert method.translate(task.encode({"a": x})).isfinite().all()


def test_a_download_that_broke_off_is_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from safetensors.torch import save

    monkeypatch.undo()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    whole = save({"x": torch.zeros(1000)})

    class Broken(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self.wfile.write(whole[: len(whole) // 2])

        def log_message(self, format: str, *arguments: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(DataError, match="cannot be downloaded"):
            fetched("x", f"http://127.0.0.1:{server.server_port}/model.safetensors")
        server.shutdown()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
