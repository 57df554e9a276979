"""The built-in metrics against values worked out by other means."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import scipy.signal
import skimage.color
import skimage.metrics
import torch

from i2i.contracts import Metric
from i2i.errors import DataError, UsageError
from i2i.metrics.l1 import L1
from i2i.metrics.lab_histogram import LabHistogram
from i2i.metrics.ms_ssim import MSSSIM
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


def test_ssim_is_that_of_scikit_image():
    fake, real = noisy(size=(40, 33))
    options = {"data_range": 1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    for x, y in each(fake, real):
        pair = [image[0].double().movedim(0, 2).numpy() for image in (x, y)]
        expected = skimage.metrics.structural_similarity(*pair, channel_axis=2, **options)
        assert measure(SSIM(), x, y) == pytest.approx(expected, abs=1e-6)
        assert measure(PSNR(), x, y) == pytest.approx(
            skimage.metrics.peak_signal_noise_ratio(*pair, data_range=1), abs=1e-4
        )


def holes(n: int, size: tuple[int, int]) -> torch.Tensor:
    """Draw a mask for each of n pictures: about a third is to be measured; none of the last one."""
    mask = (torch.rand(n, 1, *size, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    mask[-1] = 0
    return mask


def test_a_region_is_measured_alone():
    fake, real = noisy()
    mask = holes(5, (24, 17))
    errors = [(x - y)[hole.expand_as(x) > 0] for x, y, hole in zip(fake, real, mask, strict=True)][:-1]
    l1, psnr = L1(region="mask"), PSNR(region="mask")
    for metric in (l1, psnr):
        metric.update(fake, real, mask=mask)
        assert metric.variant == "mask"
    assert l1.compute().item() == pytest.approx(np.mean([error.abs().mean() for error in errors]), rel=1e-6)
    expected = np.mean([-10 * np.log10(error.double().square().mean()) for error in errors])
    assert psnr.compute().item() == pytest.approx(expected, rel=1e-6)


def test_ssim_of_a_region_is_that_of_the_windows_centred_in_it():
    fake, real = noisy()
    mask = holes(5, (24, 17))
    metric = SSIM(region="mask")
    metric.update(fake, real, mask=mask)
    options = {"data_range": 1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True}
    expected = []
    for x, y, hole in zip(fake.double().numpy(), real.double().numpy(), mask[:-1, 0].numpy() > 0, strict=False):
        inner = hole[5:-5, 5:-5]
        whole = [
            skimage.metrics.structural_similarity(a, b, **options)[1][5:-5, 5:-5] for a, b in zip(x, y, strict=True)
        ]
        expected.append(np.mean([one[inner] for one in whole]))
    assert metric.compute().item() == pytest.approx(np.mean(expected), abs=1e-6)


@pytest.mark.parametrize("make", METRICS)
def test_a_region_of_everything_is_the_whole_and_without_a_mask_there_is_none(make):
    fake, real = noisy()
    metric = make(region="mask")
    metric.update(fake, real, mask=torch.ones(5, 1, 24, 17))
    assert metric.compute().item() == pytest.approx(measure(make(), fake, real), rel=1e-6)
    with pytest.raises(UsageError, match="region = 'mask' needs a task that has one"):
        metric.update(fake, real)
    empty = make(region="mask")
    empty.update(fake, real, mask=torch.zeros(5, 1, 24, 17))
    with pytest.raises(DataError, match="no pictures to measure"):
        empty.compute()


def ms_ssim_by_the_book(x: np.ndarray, y: np.ndarray, exponents: list[float]) -> float:
    """Wang et al. 2003, equation 7, for one channel."""
    offset = np.arange(11) - 5
    window = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * 1.5**2))
    blur = functools.partial(scipy.signal.convolve2d, in2=window / window.sum(), mode="valid")
    product = 1.0
    for scale, exponent in enumerate(exponents):
        if scale:
            x, y = (z[: len(z) // 2 * 2, : z.shape[1] // 2 * 2] for z in (x, y))
            x, y = ((z[::2, ::2] + z[1::2, ::2] + z[::2, 1::2] + z[1::2, 1::2]) / 4 for z in (x, y))
        mu, mv = blur(x), blur(y)
        su, sv, suv = blur(x * x) - mu**2, blur(y * y) - mv**2, blur(x * y) - mu * mv
        value = (2 * suv + 0.03**2) / (su + sv + 0.03**2)
        if scale == len(exponents) - 1:
            value = value * (2 * mu * mv + 0.01**2) / (mu**2 + mv**2 + 0.01**2)
        product *= value.mean() ** exponent
    return product


@pytest.mark.parametrize("scales", [2, 5])
def test_ms_ssim_is_that_of_the_paper(scales):
    fake, real = noisy(2, (181, 177))
    exponents = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:scales]
    exponents = exponents / exponents.sum() if scales < 5 else exponents
    pairs = zip(fake.double().flatten(0, 1).numpy(), real.double().flatten(0, 1).numpy(), strict=True)
    expected = np.mean([ms_ssim_by_the_book(x, y, exponents) for x, y in pairs])
    metric = MSSSIM(scales=scales)
    assert measure(metric, fake, real) == pytest.approx(expected, abs=1e-9)
    assert metric.variant == ("" if scales == 5 else "2 scales")
    assert measure(MSSSIM(scales=scales), real, real) == 1


def test_ms_ssim_of_opposites_is_0_and_small_pictures_are_refused():
    picture = torch.rand(1, 1, 176, 176, generator=torch.Generator().manual_seed(0))
    assert measure(MSSSIM(), 1 - picture, picture) == 0
    with pytest.raises(DataError, match=r"needs 176 pixels a side for 5 scales, .* 200x175: .* set scales = 4,"):
        MSSSIM().update(torch.rand(1, 3, 175, 200), torch.rand(1, 3, 175, 200))


def test_lab_histograms_are_those_of_numpy_in_the_colours_of_scikit_image():
    draw = torch.Generator().manual_seed(0)
    real = torch.rand(3, 3, 40, 30, generator=draw)
    fake = (0.6 * real + 0.2).clamp(0, 1)
    metric = LabHistogram(width=2.0)
    for part in (slice(0, 1), slice(1, 3)):
        metric.update(fake[part], real[part])
    pixels = [skimage.color.rgb2lab(image.double().movedim(1, 3).numpy()).reshape(-1, 3) for image in (fake, real)]
    result, histograms = metric.compute(), metric.histograms()
    for axis, (name, least, most) in enumerate([("L", 0, 100), ("a", -111, 111), ("b", -111, 111)]):
        edges = np.arange(least, most + 1, 2)
        shares = [np.histogram(one[:, axis], edges)[0] / len(one) for one in pixels]
        assert histograms[name][0].numpy() == pytest.approx(edges)
        for ours, theirs in zip(histograms[name][1:], shares, strict=True):
            assert np.abs(ours.numpy() - theirs).sum() < 2e-3  # the colour spaces agree to 1e-3 of a bin
        assert result[name].item() == pytest.approx(np.minimum(*shares).sum(), abs=1e-3)
        assert 0 < result[name] < 1


def test_lab_histogram_of_equal_disjoint_grey_and_missing_pictures():
    black, white = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    same, other = LabHistogram(), LabHistogram()
    same.update(white, white)
    assert [value.item() for value in same.compute().values()] == [1, 1, 1]
    other.update(black, white)
    assert [value.item() for value in other.compute().values()] == [0, 1, 1]  # black and white are both without colour
    with pytest.raises(DataError, match="pictures of 3 channels, and these have 1"):
        same.update(black[:, :1], white[:, :1])
    with pytest.raises(DataError, match="no pictures"):
        LabHistogram().compute()


@pytest.mark.parametrize("name", ["l1", "psnr", "ssim", "ms_ssim", "lab_histogram"])
def test_picture_measures_refuse_class_indices(name: str) -> None:
    from i2i import plugins

    labels = torch.zeros(1, 1, 8, 8, dtype=torch.int64)
    with pytest.raises(UsageError, match="use the metric 'classes'"):
        plugins.load("metrics", name)().update(labels, labels)
