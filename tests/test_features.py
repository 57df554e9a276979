"""The measures by the features of a network: against scipy and numpy, and what is said where weights are missing."""

from __future__ import annotations

import functools
import hashlib
import sys
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F

from i2i.backbones import no_code_in_weights
from i2i.contracts import Metric
from i2i.errors import DataError, UnsafeFileError, UsageError
from i2i.metrics import features
from i2i.metrics.features import Backbone
from i2i.metrics.fid import FID
from i2i.metrics.kid import KID
from i2i.metrics.lpips import LPIPS

BACKBONE = "test_resnet"
UNTRAINED = "seresnet18"
RANDOM = {"features": BACKBONE, "weights": "random"}
EXTRA = {"fid": FID, "kid": KID, "lpips": LPIPS}


@pytest.fixture(autouse=True)
def cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No network, and an empty folder of weights: return it."""

    def refuse(*arguments: Any, **named: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *arguments: None)
    return tmp_path / "torch" / "hub" / "checkpoints"


def two_sets(n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    real = torch.rand(n, 3, 32, 32, generator=draw)
    return (0.7 * real + 0.3 * torch.rand(real.shape, generator=draw) * torch.tensor([1, 0.5, 0]).view(3, 1, 1)), real


def pooled(pictures: torch.Tensor) -> np.ndarray:
    return Backbone("fid", BACKBONE, "random")(pictures).double().numpy()


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    # The root of a product of singular matrices is ill-defined in floating point; that of its symmetric form is not.
    root = scipy.linalg.sqrtm(first + 1e-12 * np.eye(len(first))).real
    mixed = np.sqrt(np.clip(scipy.linalg.eigvalsh(root @ second @ root), 0, None)).sum()
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * mixed)


def test_fid_is_that_of_scipy() -> None:
    pytest.importorskip("torchmetrics")
    fake, real = two_sets()
    metric = FID(**RANDOM, minimum=12)
    assert isinstance(metric, Metric)
    assert metric.variant == "test_resnet, random weights"
    for part in (slice(0, 5), slice(5, 12)):
        metric.update(fake[part], real[part])
    assert metric.compute().item() == pytest.approx(frechet(pooled(fake), pooled(real)), rel=1e-4)


@pytest.mark.parametrize("count", [5, 9, 40])
def test_fid_of_few_and_of_many_pictures(count: int) -> None:
    pytest.importorskip("torchmetrics")
    fake, real = torch.randn(2, count, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(count))
    metric = FID(**RANDOM, minimum=2)
    metric.gathered.features = ([0.5 * fake + 0.1], [real])
    assert metric.compute().item() == pytest.approx(frechet(0.5 * fake.numpy() + 0.1, real.numpy()), rel=1e-4)


def test_kid_is_the_unbiased_estimate() -> None:
    pytest.importorskip("torchmetrics")
    fake, real = two_sets()
    metric = KID(**RANDOM, minimum=12)
    metric.update(fake, real)
    x, y = pooled(fake), pooled(real)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    n = len(x)
    within = sum((kernel(z, z).sum() - np.trace(kernel(z, z))) / (n * (n - 1)) for z in (x, y))
    assert metric.compute().item() == pytest.approx(within - 2 * kernel(x, y).mean(), rel=1e-6)


def test_kid_of_many_pictures_is_the_same_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchmetrics")
    monkeypatch.setattr("i2i.metrics.kid.SUBSET", 6)
    fake, real = two_sets()
    metric, whole = KID(**RANDOM, minimum=2), KID(**RANDOM, minimum=2)
    metric.update(fake, real)
    state = torch.get_rng_state()
    first = metric.compute()
    torch.rand(1)
    assert metric.compute() == first
    torch.set_rng_state(state)
    monkeypatch.undo()
    whole.update(fake, real)
    assert whole.compute() != first
    assert whole.compute().item() == pytest.approx(first.item(), rel=0.5)


def test_lpips_of_a_backbone_is_the_difference_of_its_unit_features() -> None:
    fake, real = two_sets(3)
    metric = LPIPS(**RANDOM)
    assert isinstance(metric, Metric)
    for part in (slice(0, 1), slice(1, 3)):
        metric.update(fake[part], real[part])
    network = Backbone("lpips", BACKBONE, "random")
    expected = 0.0
    for x, y in zip(network.maps(fake), network.maps(real), strict=True):
        unit = [z.double().numpy() / np.linalg.norm(z.double().numpy(), axis=1, keepdims=True) for z in (x, y)]
        expected += ((unit[0] - unit[1]) ** 2).sum(1).mean()
    assert metric.compute().item() == pytest.approx(expected, rel=1e-5)
    equal = LPIPS(**RANDOM)
    equal.update(real, real)
    assert equal.compute() == 0
    with pytest.raises(DataError, match="needs 32 pixels a side, and these pictures are 32x31"):
        equal.update(real[:, :, 1:], real[:, :, 1:])


def test_lpips_of_alexnet_is_weighted_as_people_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    lpip = pytest.importorskip("torchmetrics.functional.image.lpips")
    import torchvision

    torch.manual_seed(0)
    alexnet = torchvision.models.alexnet(weights=None)
    monkeypatch.setattr("torchvision.models.alexnet", lambda weights: alexnet)
    monkeypatch.setattr("i2i.metrics.lpips.fetched", lambda metric, url: Path())
    fake, real = two_sets(3)
    metric = LPIPS()
    assert metric.variant == ""
    metric.update(fake, real)
    judged = torch.load(Path(lpip.__file__).parent / "lpips_models" / "alex.pth", map_location="cpu", weights_only=True)
    shift, scale = (torch.tensor(v).view(1, 3, 1, 1) for v in ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]))
    x, y = (((2 * image - 1) - shift) / scale for image in (fake, real))
    expected, depth = torch.zeros(3), 0
    for layer in alexnet.features[:12]:
        x, y = layer(x), layer(y)
        if isinstance(layer, torch.nn.ReLU):
            difference = (F.normalize(x) - F.normalize(y)).square()
            expected += (difference * judged[f"lin{depth}.model.1.weight"]).sum(1).mean((1, 2))
            depth += 1
    assert depth == 5
    assert metric.compute().item() == pytest.approx(expected.mean().item(), rel=1e-4)


def test_inception_is_loaded_from_the_folder_of_weights(cut_off: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    blank = functools.partial(module.FeatureExtractorInceptionV3, "x", ["2048"])
    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        patch.setattr(module, "load_state_dict_from_url", lambda *arguments, **named: None)
        network = blank()
    cut_off.mkdir(parents=True)
    torch.save(network.state_dict(), cut_off / "weights")
    digest = hashlib.sha256((cut_off / "weights").read_bytes()).hexdigest()[:8]
    path = (cut_off / "weights").rename(cut_off / f"weights-inception-{digest}.pth")
    monkeypatch.setattr(module, "URL_INCEPTION_V3", f"https://example.org/{path.name}")
    grey = two_sets(1)[0][:, :1]
    metric = FID()
    assert metric.variant == ""
    expected = network((grey.expand(-1, 3, -1, -1) * 255).round().to(torch.uint8))[0]
    assert expected.shape == (1, 2048)
    assert torch.allclose(metric.gathered.network(features.in_colour("fid", grey)), expected, rtol=1e-4, atol=1e-5)
    path.write_bytes(b"another")
    with pytest.raises(UnsafeFileError, match=rf"{path}: is damaged, or not the file of https://example.org/"):
        FID()


@pytest.mark.parametrize(
    ("make", "parameters", "url", "name"),
    [
        (
            FID,
            {},
            "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
            "weights-inception-2015-12-05-6726825d.pth",
        ),
        (LPIPS, {}, "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", "alexnet-owt-7be5be79.pth"),
        (
            KID,
            {"features": "resnet18"},
            "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors",
            "resnet18.a1_in1k.safetensors",
        ),
    ],
)
def test_without_a_network_the_file_and_its_place_are_named(
    make: Any, parameters: dict[str, Any], url: str, name: str, cut_off: Path
) -> None:
    pytest.importorskip("torchmetrics")
    pytest.importorskip("torch_fidelity")
    with pytest.raises(DataError) as error:
        make(**parameters)
    assert "cannot be downloaded (<urlopen error Name or service not known>)" in str(error.value)
    assert f"Get {url} where there is a network, and place it here as {cut_off / name}" in str(error.value)


def test_a_backbone_takes_its_weights_from_a_file(tmp_path: Path, cut_off: Path) -> None:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(7)
    network = timm.create_model(BACKBONE).eval()
    save_file(network.state_dict(), tmp_path / "mine.safetensors")
    pictures = two_sets(2)[1]
    ours = Backbone("fid", BACKBONE, tmp_path / "mine.safetensors")
    assert torch.equal(ours.network.conv1[0].weight, network.conv1[0].weight)
    assert not torch.allclose(ours(pictures), Backbone("fid", BACKBONE, "random")(pictures))
    metric = LPIPS(features=BACKBONE, weights=tmp_path / "mine.safetensors")
    assert metric.variant == "test_resnet, mine.safetensors"
    cut_off.mkdir(parents=True)
    save_file(network.state_dict(), cut_off / "test_resnet.r160_in1k.safetensors")
    placed = LPIPS(features=BACKBONE)
    assert placed.variant == BACKBONE
    assert torch.equal(placed.network(pictures), ours(pictures))


def test_wrong_weights_and_names_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    for file, kind, message in (
        ("other", DataError, "holds no weights for test_resnet"),
        ("broken", UnsafeFileError, "is no safetensors file"),
        ("no", DataError, "no such"),
    ):
        with pytest.raises(kind, match=message):
            Backbone("fid", BACKBONE, tmp_path / f"{file}.safetensors")
    with pytest.raises(UsageError, match=r"no timm model is called 'resnet81'\. Did you mean 'resnet18'\?"):
        Backbone("fid", "resnet81", None)
    with pytest.raises(UsageError, match="timm knows no weights for"):
        Backbone("fid", UNTRAINED, None)
    with pytest.raises(UsageError, match="'weights' are for a timm model, and features = 'vgg' is none"):
        LPIPS(features="vgg", weights="random")


@pytest.mark.parametrize("forced", [False, True])
def test_code_in_a_file_of_weights_is_not_run(forced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    torch.save({"bomb": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(UnsafeFileError, match="is no safetensors file"):
        Backbone("fid", BACKBONE, tmp_path / "bomb.pth")
    with no_code_in_weights(), pytest.raises(Exception, match=r"weights_only|Weights only"):
        torch.load(tmp_path / "bomb.pth", weights_only=False)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("make", [FID, KID])
def test_too_few_pictures_are_refused(make: Any) -> None:
    pytest.importorskip("torchmetrics")
    metric = make(**RANDOM)
    with pytest.raises(DataError, match=r"0 picture\(s\) are too few"):
        metric.compute()
    metric.update(*two_sets(4))
    with pytest.raises(DataError, match=r"4 picture\(s\) are too few to tell a distribution by: hold out at least 50"):
        metric.compute()


@pytest.mark.parametrize("name", EXTRA)
def test_a_missing_package_is_named_with_the_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("torchmetrics", "torch_fidelity"):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.setitem(sys.modules, f"{package}.image.lpip", None)
    with pytest.raises(UsageError, match=rf"{name} needs the package torchmetrics: pip install 'i2i\[metrics\]'"):
        EXTRA[name]()


@pytest.mark.parametrize("name", EXTRA)
def test_class_indices_are_refused(name: str) -> None:
    pytest.importorskip("torchmetrics")
    labels = torch.zeros(1, 1, 32, 32, dtype=torch.int64)
    with pytest.raises(UsageError, match=f"{name} measures pictures, and these are class indices"):
        EXTRA[name](**RANDOM).update(labels, labels)
