"""What other code bases trained translates here as it did there; what is no generator is refused with its reason."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_nets import resnet, shaken, translated, unet
from safetensors.torch import save_file
from torch import Tensor, nn

import i2i
from i2i import foreign, images
from i2i.errors import DataError, ResourceError, UnsafeFileError, UsageError

Cli = Callable[..., tuple[int, str, str]]
NORMS = ("batch", "instance", "none", "old")
BLURS = {"": (False, False), "blurred": (True, True), "blurred down": (True, False), "blurred up": (False, True)}

NETS: dict[str, Callable[[], nn.Module]] = {
    **{
        f"unet depth {depth} {norm}{' dropout' * dropout}": lambda d=depth, n=norm, p=dropout: unet(
            depth=d, width=3, norm=n, dropout=p
        )
        for depth, norm, dropout in [*itertools.product((6,), NORMS, (False, True)), (5, "batch", False)]
    },
    **{
        f"resnet {blur} {norm}{' dropout' * dropout}": lambda b=blur, n=norm, p=dropout: resnet(
            blocks=2, width=4, norm=n, dropout=p, blurred=BLURS[b]
        )
        for blur, norm, dropout in itertools.product(BLURS, NORMS, (False, True))
    },
    "resnet 11 blocks": lambda: resnet(blocks=11, width=2),
    "unet 1 to 1": lambda: unet((1, 1), depth=5, width=2),
    "unet 6 to 4": lambda: unet((6, 4), depth=5, width=2),
    "resnet 1 to 3": lambda: resnet((1, 3), blocks=1, width=2),
    "resnet 5 to 7": lambda: resnet((5, 7), blocks=1, width=2, blurred=(True, True)),
}


def saved(net: nn.Module | dict[str, Any], path: Path, **options: Any) -> Path:
    torch.save(net.state_dict() if isinstance(net, nn.Module) else net, path, **options)
    return path


@pytest.mark.parametrize("name", NETS)
def test_an_imported_model_translates_as_the_original(name: str, tmp_path: Path) -> None:
    net = shaken(NETS[name]())
    legacy = len(name) % 2 == 0
    file = saved(net, tmp_path / "latest_net_G.pth", _use_new_zipfile_serialization=not legacy)
    found = foreign.import_generator(file, tmp_path / "model")
    assert found.norm == next((norm for norm in NORMS[:3] if norm in name), found.norm)
    x = torch.rand(2, found.in_channels, 64, 128)
    expected = translated(net, 2 * x - 1)
    assert 0.05 < expected.std() < 0.98
    torch.testing.assert_close(2 * i2i.load(found.model)(x) - 1, expected, rtol=0, atol=2e-5)


def test_running_statistics_are_not_what_the_original_translates_by(tmp_path: Path) -> None:
    net = shaken(resnet(blocks=1, width=2, norm="old"))
    state = net.state_dict()
    assert "model.2.running_mean" in state
    x = torch.rand(1, 3, 16, 16)
    assert not torch.allclose(net.eval()["model"](x), translated(net, x), atol=0.1)
    for key in [key for key in state if key.endswith("num_batches_tracked")]:
        del state[key]
    found = foreign.import_generator(saved(state, tmp_path / "G.pth"), tmp_path / "model")
    torch.testing.assert_close(2 * i2i.load(found.model)(x) - 1, translated(net, 2 * x - 1), rtol=0, atol=1e-5)
    assert not [key for key in i2i.load(found.model).method.state_dict() if "running" in key]


@pytest.mark.parametrize(
    ("net", "size"), [(unet(depth=7, width=2, dropout=True), 128), (resnet(width=2, dropout=True), 16)]
)
def test_the_noise_is_drawn_in_the_same_places(net: nn.Module, size: int, tmp_path: Path) -> None:
    found = foreign.import_generator(saved(shaken(net), tmp_path / "G.pth"), tmp_path / "model")
    model, x = i2i.load(found.model, stochastic=True), torch.rand(1, 3, size, size)
    for seed in (1, 2):
        torch.manual_seed(seed)
        expected = translated(net, 2 * x - 1, noise=True)
        torch.manual_seed(seed)
        torch.testing.assert_close(2 * model(x) - 1, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(model(x), i2i.load(found.model)(x), atol=0.01)


@pytest.mark.parametrize(
    ("make", "options", "parameters", "keys"),
    [
        (unet, {}, 54_413_955, 82),
        (unet, {"norm": "instance"}, 54_409_603, 32),
        (unet, {"norm": "none"}, 54_404_099, 17),
        (unet, {"channels": (1, 2)}, 54_409_858, 82),
        (unet, {"depth": 7}, 41_828_995, 70),
        (resnet, {}, 11_378_179, 48),
        (resnet, {"norm": "batch"}, 11_383_427, 140),
        (resnet, {"blocks": 6}, 7_837_699, 36),
    ],
)
def test_nets_of_full_width_fit_to_the_unit(make: Any, options: dict[str, Any], parameters: int, keys: int) -> None:
    with torch.device("meta"):
        state = make(**options).state_dict()
        weights = {key: x for key, x in state.items() if key.endswith((".weight", ".bias"))}
        assert (sum(x.numel() for x in weights.values()), len(state)) == (parameters, keys)
        layout = foreign._unet(state) if make is unet else foreign._resnet(state)
        channels, net = foreign._made(*foreign._parts(layout, state, options.get("norm", "batch")))
        assert channels == options.get("channels", (3, 3))
        assert foreign._matched(layout, state, net).keys() == net.state_dict().keys()


def test_the_command_says_what_it_found_and_what_comes_next(run: Cli, tmp_path: Path) -> None:
    net = shaken(resnet((3, 1), blocks=6, width=2, blurred=(True, True)))
    file, out = saved(net, tmp_path / "latest_net_G.pth"), tmp_path / "my model"
    code, text, _ = run("import", file, out)
    assert code == 0
    for line in [
        "net:        resnet, 6 blocks, width 2, anti-aliased down and up",
        "channels:   3 to 1",
        "norm:       instance",
        "dropout:    no",
        f"parameters: {sum(p.numel() for p in net.parameters()):,}",
        "task:       paired",
        f"next:       i2i translate input_dir output_dir --model '{out}'",
    ]:
        assert line in text.splitlines()
    pixels = np.random.default_rng(0).integers(0, 256, (13, 18, 3), dtype=np.uint8)
    images.write(tmp_path / "in" / "x.png", pixels)
    assert run("translate", tmp_path / "in", tmp_path / "out", "--model", out, "--device", "cpu")[0] == 0
    assert images.read(tmp_path / "out" / "x.png").pixels.shape == (13, 18, 1)
    code, text, _ = run("import", saved(unet((4, 2), depth=6, width=2), file), tmp_path / "other", "--json")
    answer = json.loads(text)
    assert (code, answer["in_channels"], answer["out_channels"], answer["norm"], answer["dropout"]) == (
        0,
        4,
        2,
        "batch",
        None,
    )
    assert answer["generator"]["name"] == "unet" and answer["generator"]["depth"] == 6
    assert "with tensors" in run("import", file, tmp_path / "third")[1]


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")  # of colours that sRGB does not hold
def test_one_channel_to_two_is_colorization(tmp_path: Path) -> None:
    color = pytest.importorskip("skimage.color")
    net = shaken(unet((1, 2), depth=5, width=3))
    found = foreign.import_generator(saved(net, tmp_path / "G.pth"), tmp_path / "model")
    assert found.task == "colorization"
    photo = torch.rand(1, 3, 32, 64)
    lab = color.rgb2lab(photo[0].double().numpy(), channel_axis=0)
    colours = translated(net, torch.tensor(lab[None, :1] / 50 - 1).float())[0].double().numpy() * 110
    expected = color.lab2rgb(np.concatenate([lab[:1], colours]), channel_axis=0)
    assert np.abs(i2i.load(found.model)(photo)[0].numpy() - expected).max() < 0.5 / 255


def test_the_model_says_all_that_it_is_made_of(tmp_path: Path) -> None:
    found = foreign.import_generator(
        saved(unet(depth=5, width=2), tmp_path / "facades_net_G.pth"), tmp_path / "a" / "m"
    )
    description = json.loads((found.model / "model.json").read_text())
    assert description["name"] == "facades_net_G"
    assert "i2i" in description["packages"]
    generator = {"name": "unet", "depth": 5, "width": 2, "max_width": 16, "norm": "instance", "skips": True}
    assert generator.items() <= description["method"]["generator"].items()
    assert "upsampling" in description["method"]["generator"], "a default of tomorrow must not change a model of today"
    assert os.listdir(tmp_path / "a") == ["m"]


def wrapped(state: dict[str, Tensor]) -> dict[str, dict[str, Any]]:
    judge = discriminator().state_dict()
    return {
        "data parallel": {f"module.{key}": x for key, x in state.items()},
        "state_dict": {"state_dict": state, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}},
        "G and D": {"G": state, "D": judge, "args": ["--name", "x"]},
        "a module of modules": {"state_dict": {**_named("netG.", state), **_named("netD.", judge)}},
        "model": {"model": state, "model_D": judge},
    }


def _named(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{key}": x for key, x in state.items()}


def discriminator() -> nn.Module:
    layers = [nn.Conv2d(6, 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8)]
    return nn.ModuleDict({"model": nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 4, 1, 1))})


@pytest.mark.parametrize("net", [unet(depth=5, width=2), resnet(blocks=1, width=2)], ids=["unet", "resnet"])
@pytest.mark.parametrize("kind", wrapped({}))
def test_a_wrapped_generator_is_found(kind: str, net: nn.Module, tmp_path: Path) -> None:
    file = saved(wrapped(shaken(net).state_dict())[kind], tmp_path / "checkpoint.pth")
    model, x = i2i.load(foreign.import_generator(file, tmp_path / "model").model), torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(2 * model(x) - 1, translated(net, 2 * x - 1), rtol=0, atol=1e-5)


class Malice:
    """Creates a file when a careless reader unpickles it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def state() -> dict[str, Tensor]:
    return dict(resnet(blocks=2, width=2).state_dict())


def without(key: str) -> dict[str, Tensor]:
    return {name: x for name, x in state().items() if name != key}


def pixel_gan() -> nn.Module:
    return nn.ModuleDict({"net": nn.Sequential(nn.Conv2d(6, 4, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 1))})


STRANGE: dict[str, tuple[Callable[[], Any], str]] = {
    "a patch discriminator": (
        lambda: discriminator().state_dict(),
        "a discriminator, which judges .* latest_net_G.pth",
    ),
    "a pixel discriminator": (lambda: pixel_gan().state_dict(), "a discriminator"),
    "a discriminator, wrapped": (lambda: {"model": discriminator().state_dict()}, "a discriminator"),
    "the projection of CUT": (lambda: {"mlp_0.0.weight": torch.ones(2, 2)}, "projection of patches"),
    "two generators": (lambda: {"G_B": state(), "G_A": state()}, "holds 2 generators, 'G_A', 'G_B': save the one"),
    "another net": (
        lambda: nn.Sequential(nn.Linear(2, 2)).state_dict(),
        r"no generator that is known.*'0.bias', '0.weight'",
    ),
    "no state dict": (lambda: [torch.ones(3)], "no tensors under names: it is a list"),
    "nothing": (dict, "no tensors"),
    "a key too few": (lambda: without("model.15.weight"), r"resnet \(2 blocks\).* misses 'model.15.weight'"),
    "a bias too few": (lambda: without("model.4.bias"), "misses 'model.4.bias'"),
    "a gain too few": (
        lambda: {k: x for k, x in unet(depth=5, width=2).state_dict().items() if k != "model.model.1.model.2.weight"},
        r"unet \(depth 5\).* misses 'model.model.1.model.2.weight'",
    ),
    "half a unet": (
        lambda: {k: x for k, x in unet(depth=6, width=2).state_dict().items() if k.count("model.") < 6},
        "misses",
    ),
    "keys too many": (
        lambda: state() | {f"model.{i}.weight_u": torch.ones(2) for i in range(5)},
        "has 'model.0.weight_u', 'model.1.weight_u', 'model.2.weight_u' and 2 more besides",
    ),
    "odd shape": (
        lambda: state() | {"model.4.weight": torch.ones(4, 3, 3, 3)},
        "model.4.weight is 4 x 3 x 3 x 3, not 4 x 2",
    ),
    "odd kernel": (lambda: state() | {"model.1.weight": torch.ones(2, 3, 5, 5)}, "5 x 5, not 2 x 3 x 7 x 7"),
    "no kernel": (lambda: state() | {"model.1.weight": torch.ones(2)}, "four dimensions"),
    "no channels": (lambda: state() | {"model.1.weight": torch.ones(2, 0, 7, 7)}, "in_channels"),
    "integers": (lambda: state() | {"model.4.weight": torch.ones(4, 2, 3, 3).int()}, "'model.4.weight' are no whole"),
    "NaN": (lambda: state() | {"model.4.bias": torch.full((4,), torch.nan)}, "'model.4.bias' are no whole"),
    "sparse": (lambda: state() | {"model.4.bias": torch.ones(4).to_sparse()}, "'model.4.bias' are no whole"),
    "no numbers": (lambda: state() | {"model.4.bias": torch.ones(4, device="meta")}, "'model.4.bias' are no whole"),
    "a huge claim": (lambda: state() | {"model.1.weight": torch.ones(1).expand(10**5, 3, 7, 7)}, "no whole tensors"),
    "another blur": (
        lambda: (
            resnet(blocks=1, width=2, blurred=(True, False)).state_dict() | {"model.7.filt": torch.ones(4, 1, 3, 3) / 9}
        ),
        "model.7.filt is not the blur of CUT, 1 2 1",
    ),
    "a namespace": (
        lambda: {"opt": argparse.Namespace(a=1), "G": state()},
        "asks for argparse.Namespace .* only tensors",
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", STRANGE)
def test_what_is_no_known_generator_is_refused(name: str, tmp_path: Path) -> None:
    make, reason = STRANGE[name]
    file = saved(make(), tmp_path / "latest_net_G.pth")
    with pytest.raises(UnsafeFileError, match=f"^{file}: .*{reason}") as caught:
        foreign.import_generator(file, tmp_path / "model")
    assert len(str(caught.value)) < 700
    assert os.listdir(tmp_path) == [file.name]


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_file_runs_nothing(zipped: bool, run: Cli, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    content = {**state(), "model.1.bias": Malice(trace)}
    file = saved(content, tmp_path / "G.pth", _use_new_zipfile_serialization=zipped)
    code, _, text = run("import", file, tmp_path / "model")
    assert code == 5
    assert "posix.mkdir" in text and "weights_only" not in text
    assert os.listdir(tmp_path) == ["G.pth"]
    torch.load(file, weights_only=False)
    assert trace.exists(), "the file would have done harm"


def _damaged(path: Path, kind: str) -> None:
    if kind == "text":
        path.write_text("hello there\n" * 30)
    elif kind == "empty":
        path.touch()
    elif kind == "page":
        path.write_text("<!DOCTYPE html><title>404</title>")
    elif kind == "safetensors":
        save_file(state(), path)
    elif kind == "compressed":
        whole = saved(state(), path.with_name("whole"))
        with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
            for item in source.infolist():
                target.writestr(item.filename, source.read(item))
        whole.unlink()
    else:
        saved(state(), path, _use_new_zipfile_serialization=kind == "zip cut off")
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("text", "begins with b'hello"),
        ("empty", "damaged"),
        ("page", "begins with b'<!DOCTYPE html"),
        ("safetensors", "is a safetensors file"),
        ("compressed", "compressed archive"),
        ("zip cut off", "damaged"),
        ("legacy cut off", "damaged"),
    ],
)
def test_a_damaged_file_is_refused(kind: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "latest_net_G.pth"
    _damaged(file, kind)
    with pytest.raises(UnsafeFileError, match=reason):
        foreign.import_generator(file, tmp_path / "model")
    assert os.listdir(tmp_path) == [file.name]


def test_places_that_cannot_be(run: Cli, tmp_path: Path) -> None:
    assert run("import", tmp_path / "G.pth", tmp_path / "model")[::2] == (3, f"error: {tmp_path}/G.pth: is missing.\n")
    file = saved(state(), tmp_path / "latest_net_G_A.pth")
    with pytest.raises(UsageError, match=r"a folder: give the generator's file in it, latest_net_G_A\.pth"):
        foreign.import_generator(tmp_path, tmp_path / "model")
    with pytest.raises(UsageError, match="exists already"):
        foreign.import_generator(file, tmp_path)
    with pytest.raises(ResourceError, match=r"latest_net_G_A\.pth/model: cannot be written"):
        foreign.import_generator(file, file / "model")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnsafeFileError, match="no regular file"):
        foreign.import_generator(tmp_path / "pipe", tmp_path / "model")
    with pytest.raises(DataError):
        foreign.import_generator(tmp_path / "nothing", tmp_path / "model")
    assert sorted(os.listdir(tmp_path)) == ["latest_net_G_A.pth", "pipe"]


def test_half_precision_and_other_orders_of_memory_are_read(tmp_path: Path) -> None:
    net = shaken(resnet(blocks=1, width=2)).half()
    content = OrderedDict(
        (key, x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x)
        for key, x in net.state_dict().items()
    )
    found = foreign.import_generator(saved(content, tmp_path / "G.pth"), tmp_path / "model")
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(2 * i2i.load(found.model)(x) - 1, translated(net.float(), 2 * x - 1), rtol=0, atol=1e-5)
