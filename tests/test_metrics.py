"""The built-in metrics against values worked out by other means."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from i2i.contracts import Metric
from i2i.errors import DataError
from i2i.metrics.l1 import L1
from i2i.metrics.psnr import PSNR
from i2i.metrics.ssim import SSIM

METRICS = [L1, PSNR, SSIM]


def noisy(n: int = 5, size: tuple[int, int] = (24, 17)) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw smooth pictures and noisy copies, each noisier than the one before."""
    generator = torch.Generator().manual_seed(0)
    real = torch.rand(n, 3, *size, generator=generator).cumsum(2) / size[0]
    noise = torch.randn(n, 3, *size, generator=generator) * torch.linspace(0.01, 0.3, n).view(-1, 1, 1, 1)
    return (real + noise).clamp(0, 1), real


def measure(metric: Metric, fake: torch.Tensor, real: torch.Tensor) -> float:
    metric.update(fake, real)
    return metric.compute().item()


@pytest.mark.parametrize("make", METRICS)
def test_the_batch_split_does_not_matter(make):
    fake, real = noisy()
    whole, parts = make(), make()
    whole.update(fake, real)
    for part in (slice(0, 1), slice(1, 4), slice(4, 5)):
        parts.update(fake[part], real[part])
    assert isinstance(whole, Metric)
    assert whole.compute().shape == ()
    assert whole.compute().item() == pytest.approx(parts.compute().item(), rel=1e-7)
    assert whole.compute().item() == pytest.approx(np.mean([measure(make(), *one) for one in each(fake, real)]))


def each(fake: torch.Tensor, real: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(fake.split(1), real.split(1), strict=True))


@pytest.mark.parametrize("make", METRICS)
def test_more_noise_is_worse(make):
    scores = [measure(make(), *one) for one in each(*noisy())]
    assert scores == sorted(scores, reverse=make.higher_is_better)
    assert len(set(scores)) == len(scores)


@pytest.mark.parametrize("make", METRICS)
def test_nothing_and_pictures_of_other_sizes_cannot_be_measured(make):
    with pytest.raises(DataError, match=f"{make.__name__.lower()}: there are no pictures"):
        make().compute()
    with pytest.raises(DataError, match=r"\(1, 3, 4, 4\) cannot be compared with \(1, 1, 4, 4\)"):
        make().update(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4))


def test_known_values():
    real = torch.full((2, 3, 16, 16), 0.5)
    fake = real + torch.tensor([0.1, -0.01]).view(2, 1, 1, 1)
    assert measure(L1(), fake, real) == pytest.approx(0.055, rel=1e-5)
    assert measure(PSNR(), fake, real) == pytest.approx((20 + 40) / 2, abs=1e-4)
    assert measure(SSIM(), real, real) == 1


def test_psnr_of_equal_pictures_is_the_cap():
    picture = torch.rand(1, 3, 8, 8)
    assert measure(PSNR(), picture, picture) == 100
    assert measure(PSNR(cap=60), picture, picture) == 60


def ssim_by_the_book(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. 2004, equations 13 to 17, window by window for one channel."""
    offset = np.arange(11) - 5
    weights = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * 1.5**2))
    weights /= weights.sum()
    scores = []
    for row in range(x.shape[0] - 10):
        for column in range(x.shape[1] - 10):
            u, v = (image[row : row + 11, column : column + 11] for image in (x, y))
            mu, mv = (weights * u).sum(), (weights * v).sum()
            su, sv = (weights * (u - mu) ** 2).sum(), (weights * (v - mv) ** 2).sum()
            suv = (weights * (u - mu) * (v - mv)).sum()
            luminance = (2 * mu * mv + 0.01**2) / (mu**2 + mv**2 + 0.01**2)
            scores.append(luminance * (2 * suv + 0.03**2) / (su + sv + 0.03**2))
    return float(np.mean(scores))


def test_ssim_is_that_of_the_paper():
    fake, real = noisy()
    for x, y in each(fake, real):
        expected = np.mean([ssim_by_the_book(*(image[0, c].double().numpy() for image in (x, y))) for c in range(3)])
        assert measure(SSIM(), x, y) == pytest.approx(expected, abs=1e-9)


def test_ssim_is_not_rounded_by_autocast():
    fake, real = noisy()
    with torch.autocast("cpu", torch.bfloat16):
        assert measure(SSIM(), fake, real) == measure(SSIM(), fake, real)
    assert measure(SSIM(), fake, real) == pytest.approx(np.mean([measure(SSIM(), *one) for one in each(fake, real)]))


@pytest.mark.parametrize("size", [(1, 1), (4, 30), (10, 11)])
def test_ssim_of_pictures_smaller_than_its_window(size):
    generator = torch.Generator().manual_seed(0)
    fake, real = torch.rand(2, 1, 3, *size, generator=generator)
    assert measure(SSIM(), real, real) == pytest.approx(1)
    assert -1 <= measure(SSIM(), fake, real) < 1


def test_accuracy_counts_what_counts_over_the_whole_set() -> None:
    from i2i.metrics.accuracy import Accuracy

    metric = Accuracy()
    fake, real = torch.tensor([[[[0, 1], [2, 3]]]]), torch.tensor([[[[0, 1], [0, 255]]]])
    metric.update(fake, real, mask=(real != 255).float())
    assert metric.compute().item() == pytest.approx(2 / 3)
    metric.update(real, real)
    assert metric.compute().item() == pytest.approx(6 / 7)


@pytest.mark.parametrize("name", ["l1", "psnr", "ssim"])
def test_picture_measures_refuse_class_indices(name: str) -> None:
    from i2i import plugins
    from i2i.errors import UsageError

    labels = torch.zeros(1, 1, 8, 8, dtype=torch.int64)
    with pytest.raises(UsageError, match="use the metric 'accuracy'"):
        plugins.load("metrics", name)().update(labels, labels)
