from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import inspect
import itertools
import pickle
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from i2i import plugins
from i2i.augment import DeviceAugment, HostPrepare, check_albumentations
from i2i.contracts import ImageSpec
from i2i.errors import PluginError, UsageError
from i2i.recipe import Step

H, W, VOID = 32, 36, 99
CALLS = itertools.count()
COLUMNS, ROWS = 6, 8  # the size of a block of the class map, in pixels
IMAGES = {"a": ImageSpec(), "b": ImageSpec(), "grey": ImageSpec(channels=1), "map": ImageSpec(1, classes=24, void=VOID)}

# What a part cannot do without, or what makes it move a picture of 32 x 36 pixels enough to see.
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "CenterCrop": {"size": (24, 20)},
    "LongestMaxSize": {"max_size": 24},
    "PadTo": {"size": (40, 48)},
    "RandomAffine": {"degrees": 30.0, "translate": (0.2, 0.2), "scale": (0.7, 1.3)},
    "RandomCrop": {"size": (24, 20)},
    "RandomResizedCrop": {"size": (24, 20)},
    "RandomRotation": {"degrees": 40.0},
    "RandomRotation90": {"times": (1, 3)},
    "RandomShear": {"shear": 20.0},
    "RandomTranslate": {"translate_x": (-0.3, 0.3)},
    "Resize": {"size": (24, 20)},
    "SmallestMaxSize": {"max_size": 24},
    "RandomElasticTransform": {"kernel_size": (15, 15), "sigma": (4.0, 4.0), "alpha": (4.0, 4.0)},
    "ColorJiggle": {"brightness": (0.5, 0.8)},
    "ColorJitter": {"brightness": (0.5, 0.8)},
    "RandomBrightness": {"brightness": (0.5, 0.8)},
    "RandomContrast": {"contrast": (0.5, 0.8)},
    "RandomGamma": {"gamma": (0.5, 0.8)},
    "RandomHue": {"hue": (0.1, 0.3)},
    "RandomSaturation": {"saturation": (0.2, 0.6)},
    "RandomGaussianBlur": {"kernel_size": (5, 5), "sigma": (0.5, 2.0)},
    "RandomMotionBlur": {"kernel_size": 5, "angle": 30.0, "direction": 0.5},
    "RandomSnow": {"snow_coefficient": (0.5, 0.5)},
}
# They leave [0, 1], fetch weights over the network, or take tensors, which no recipe can write.
UNFIT = {"augmentations": {"Normalize", "Denormalize", "RandomDissolving", "RandomFisheye"}}
# It scales a class map half a pixel off its picture.
UNFIT["preparations"] = {"CropAndPad"}

PREPARATIONS: dict[str, dict[str, Any]] = {
    "CenterCrop": {"height": 24, "width": 20},
    "LongestMaxSize": {"max_size": 24},
    "PadIfNeeded": {"min_height": 50, "min_width": 48},
    "RandomCrop": {"height": 24, "width": 20},
    "RandomResizedCrop": {"size": (24, 20)},
    "RandomScale": {"scale_limit": (0.2, 0.4)},
    "Resize": {"height": 24, "width": 20},
    "SmallestMaxSize": {"max_size": 24},
    "Affine": {"rotate": (-30, 30), "translate_percent": (-0.2, 0.2)},
    "Superpixels": {"p_replace": (1, 1), "n_segments": (20, 20)},
}
# Those that albumentations computes in 8 bits, or that stumble over 16.
EIGHT_BITS_ONLY = {
    *("AdditiveNoise", "CLAHE", "ColorJitter", "Downscale", "GaussNoise", "HueSaturationValue", "ImageCompression"),
    *("MedianBlur", "MultiplicativeNoise", "Posterize", "RandomFog", "RandomGamma", "RandomRain", "RandomShadow"),
    *("RandomSnow", "RandomToneCurve", "Superpixels"),
}


def part(kind: str, name: str, **parameters: Any) -> functools.partial[Any]:
    base = plugins.load(kind, name)
    always = {"p": 1.0} if "p" in inspect.signature(base).parameters else {}
    known = AUGMENTATIONS if kind == "augmentations" else PREPARATIONS
    return functools.partial(base, **always | known.get(name, {}) | parameters)


def augment(name: str, images: dict[str, ImageSpec] = IMAGES, on: tuple[str, ...] | None = None, **parameters: Any):
    return DeviceAugment([Step(part("augmentations", name, **parameters), on)], images)


def prepare(name: str, images: dict[str, ImageSpec] = IMAGES, on: tuple[str, ...] | None = None, **parameters: Any):
    return HostPrepare([Step(part("preparations", name, **parameters), on)], images)


def scene() -> dict[str, np.ndarray]:
    """Pictures whose first two channels hold x and y, and a map of blocks that follow from these."""
    y, x = np.mgrid[:H, :W].astype(np.float32)
    picture = np.stack([x / W, y / H, (np.sin(x) * np.cos(y) + 1) / 2])
    return {"a": picture, "b": picture.copy(), "grey": picture[:1].copy(), "map": blocks(picture).astype(np.uint8)}


def blocks(picture: np.ndarray) -> np.ndarray:
    x, y = (picture[0] * W).round().astype(int), (picture[1] * H).round().astype(int)
    return (x // COLUMNS + (W // COLUMNS) * (y // ROWS))[None]


def batch(n: int = 3) -> dict[str, torch.Tensor]:
    tensors = {name: torch.from_numpy(picture).expand(n, -1, -1, -1).clone() for name, picture in scene().items()}
    return tensors | {"map": tensors["map"].long()}


def seeded(augmentation: DeviceAugment, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    np.random.seed(next(CALLS))  # a draw from these would make two calls with one torch seed differ
    random.seed(next(CALLS))
    return augmentation(batch())


def check_moved_together(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> None:
    assert np.array_equal(after["a"], after["b"])
    assert np.allclose(after["a"][:1], after["grey"], atol=1e-5)
    assert after["map"].dtype == before["map"].dtype
    assert set(np.unique(after["map"])) <= {*np.unique(before["map"]), VOID}
    inside = after["map"] != VOID
    # Along the edge of the padding a picture is blended with it, which its class map never is.
    assert (blocks(after["a"]) == after["map"])[inside].mean() > 0.9
    assert (after["a"][2] == 0).mean() == pytest.approx((~inside).mean(), abs=0.1)


def moving(kind: str) -> list[str]:
    base = {"augmentations": "Intensity", "preparations": "ImageOnlyTransform"}[kind]
    return [n for n in registered(kind) if not any(base in c.__name__ for c in plugins.load(kind, n).__mro__)]


def registered(kind: str) -> list[str]:
    return [name for name in plugins.names(kind) if name not in UNFIT[kind]]


@pytest.mark.parametrize("kind", UNFIT)
def test_nothing_unfit_is_registered(kind: str) -> None:
    assert not UNFIT[kind] & set(plugins.names(kind))


@pytest.mark.parametrize("name", moving("augmentations"))
def test_augmentation_moves_all_pictures_of_a_sample_alike(name: str) -> None:
    before = batch()
    after = seeded(augment(name), 0)
    for i in range(3):
        check_moved_together(*({k: v[i].numpy() for k, v in images.items()} for images in (before, after)))
    assert after["a"].shape != before["a"].shape or not torch.equal(after["a"], before["a"])
    assert all(torch.equal(after[k], again) for k, again in seeded(augment(name), 0).items())


@pytest.mark.parametrize("name", sorted(set(registered("augmentations")) - set(moving("augmentations"))))
def test_augmentation_changes_the_values_of_the_input_alone(name: str) -> None:
    before, after = batch(), seeded(augment(name), 0)
    assert not torch.equal(after["a"], before["a"])
    assert after["a"].shape == before["a"].shape
    assert after["a"].min() >= 0
    assert after["a"].max() <= 1
    assert all(torch.equal(after[k], before[k]) for k in ("b", "grey", "map"))
    assert torch.equal(after["a"], seeded(augment(name), 0)["a"])
    both = seeded(augment(name, on=("a", "b")), 0)
    assert torch.equal(both["a"], both["b"])


def test_each_sample_of_a_batch_gets_its_own_draw() -> None:
    after = seeded(augment("RandomAffine"), 0)
    assert not torch.equal(after["a"][0], after["a"][1])


def test_whether_a_sample_is_moved_at_all_is_drawn_for_all_its_pictures() -> None:
    before = batch(16)
    torch.manual_seed(0)
    after = augment("RandomHorizontalFlip", p=0.5)(before)
    flipped = [not torch.equal(after["a"][i], before["a"][i]) for i in range(16)]
    assert 0 < sum(flipped) < 16
    assert flipped == [not torch.equal(after["map"][i], before["map"][i]) for i in range(16)]


def test_padding_of_a_map_is_void_or_class_0() -> None:
    affine = {"degrees": 0.0, "translate": None, "scale": (0.5, 0.5), "padding_mode": "fill", "fill_value": 0.7}
    assert seeded(augment("RandomAffine", **affine), 0)["map"][0, 0, 0, 0] == VOID
    no_void = IMAGES | {"map": ImageSpec(1, classes=24)}
    assert seeded(augment("RandomAffine", no_void, **affine), 0)["map"][0, 0, 0, 0] == 0


def test_a_crop_larger_than_the_picture_does_not_blend_classes() -> None:
    after = seeded(augment("RandomCrop", size=(40, 50)), 0)
    assert set(after["map"].unique().tolist()) <= set(batch()["map"].unique().tolist())


def test_one_fill_value_a_channel() -> None:
    coloured = {name: IMAGES[name] for name in ("a", "b", "map")}
    after = augment("RandomCrop", coloured, size=(40, 40), padding=10, fill=[0.1, 0.2, 0.3])(batch())
    assert after["b"].shape[-2:] == (40, 40)


def test_resize_averages_before_it_drops_pixels() -> None:
    checkers = (torch.arange(64)[:, None] + torch.arange(64)) % 2
    images = {"a": checkers.float().expand(1, 3, 64, 64)}
    size = {"size": (16, 16)}
    small = augment("Resize", {"a": ImageSpec()}, **size)(images)["a"]
    assert (small[..., 2:-2, 2:-2] - 0.5).abs().max() < 0.05
    rough = augment("Resize", {"a": ImageSpec()}, **size, antialias=False)(images)["a"]
    assert rough.std() > 0.2
    host = {"a": checkers.numpy().astype(np.float32)[None].repeat(3, 0)}
    assert np.allclose(prepare("Resize", {"a": ImageSpec()}, height=16, width=16)(host, 0)["a"], 0.5)


def test_on_names_the_pictures_that_are_moved() -> None:
    before, after = batch(), seeded(augment("RandomHorizontalFlip", on=("b",)), 0)
    assert torch.equal(after["b"], before["b"].flip(-1))
    assert torch.equal(after["a"], before["a"])


def test_the_callers_pictures_are_left_alone() -> None:
    images = batch()
    augment("RandomInvert")(images)
    assert torch.equal(images["a"], batch()["a"])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: augment("RandomGamma", on=("A1",)), "augment.0 (RandomGamma): on: the task has no picture 'A1'"),
        (lambda: augment("RandomGamma", on=("gray",)), "Did you mean 'grey'?"),
        (lambda: augment("RandomGamma", on=("map",)), "on = ['a', 'b', 'grey']"),
        (lambda: augment("RandomPerspective", distortion_scale=7.0), "augment.0 (RandomPerspective): "),
        (lambda: augment("RandomJPEG", on=("grey",))(batch()), "augment.0 (RandomJPEG): "),
        (lambda: prepare("Blur", on=("map",)), "prepare.0 (Blur): changes values"),
        (lambda: prepare("Resize", mask_interpolation=1), "mask_interpolation would blend classes"),
        (
            lambda: prepare("RandomCrop", height=99)(scene(), 0),
            "prepare.0 (RandomCrop): fails on 'a' (36x32x3 float32)",
        ),
        (lambda: prepare("ISONoise", on=("grey",))(scene(), 0), "fails on 'grey' (36x32x1 float32)"),
        (lambda: prepare("ToGray", num_output_channels=1)(scene(), 0), "makes 1 channels of the 3 of 'a'"),
    ],
)
def test_errors_name_the_part_and_the_remedy(make: Any, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert sentence in str(caught.value)


def test_only_the_two_libraries_make_parts() -> None:
    with pytest.raises(PluginError, match="is not a 2-D augmentation of Kornia's but Identity"):
        DeviceAugment([Step(torch.nn.Identity)], IMAGES)
    with pytest.raises(PluginError, match="is not a transform of albumentations' but Identity"):
        HostPrepare([Step(torch.nn.Identity)], IMAGES)


def test_pictures_of_different_sizes_are_not_torn_apart() -> None:
    images = batch() | {"b": torch.rand(3, 3, 64, 72)}
    with pytest.raises(UsageError, match="'a' is 36x32 but 'b' 72x64"):
        augment("RandomHorizontalFlip")(images)
    sample = scene() | {"b": np.zeros((3, 64, 72), np.float32)}
    for name in ("RandomCrop", "HorizontalFlip", "Rotate"):
        with pytest.raises(UsageError, match="'a' is 36x32 but 'b' 72x64"):
            prepare(name)(sample, 0)
    assert prepare("Resize")(sample, 0)["b"].shape == (3, 24, 20)
    assert prepare("Blur", on=("a", "b"))(sample, 0)["b"].shape == (3, 64, 72)


@pytest.mark.parametrize("name", moving("preparations"))
def test_preparation_moves_all_pictures_of_a_sample_alike(name: str) -> None:
    before, after = scene(), prepare(name)(scene(), 1)
    check_moved_together(before, after)
    assert after["a"].shape != before["a"].shape or not np.array_equal(after["a"], before["a"])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("name", moving("preparations"))
def test_preparation_keeps_bit_depths(name: str, dtype: str) -> None:
    most = np.iinfo(dtype).max
    sample = {k: v if k == "map" else np.round(v * most).astype(dtype) for k, v in scene().items()}
    after = prepare(name)(sample | {"map": sample["map"].astype(dtype)}, 1)
    expected = prepare(name)(scene(), 1)
    assert {picture.dtype.name for picture in after.values()} == {dtype}
    assert np.abs(after["a"] / most - expected["a"]).max() < 2 / 255


@pytest.mark.parametrize("name", sorted(set(registered("preparations")) - set(moving("preparations"))))
def test_preparation_changes_the_values_of_the_input_alone(name: str) -> None:
    before, after = scene(), prepare(name)(scene(), 1)
    assert not np.array_equal(after["a"], before["a"])
    assert after["a"].shape == before["a"].shape
    assert after["a"].min() >= 0
    assert after["a"].max() <= 1
    assert all(np.array_equal(after[k], before[k]) for k in ("b", "grey", "map"))
    both = prepare(name, on=("a", "b"))(scene(), 1)
    assert np.array_equal(both["a"], both["b"])
    assert np.array_equal(both["a"], after["a"])


@pytest.mark.parametrize("name", sorted(set(registered("preparations")) - set(moving("preparations"))))
def test_preparation_of_16_bits_is_right_or_refused(name: str) -> None:
    sample = scene() | {"a": np.round(scene()["a"] * 65535).astype(np.uint16)}
    if name in EIGHT_BITS_ONLY:
        with pytest.raises(UsageError, match=rf"^prepare.0 \({name}\): .*uint16"):
            prepare(name)(sample, 1)
    else:
        assert np.abs(prepare(name)(sample, 1)["a"] / 65535 - prepare(name)(scene(), 1)["a"]).max() < 1e-3


def test_padding_of_a_prepared_map_is_void_unless_the_step_says_otherwise() -> None:
    assert prepare("PadIfNeeded")(scene(), 0)["map"][0, 0, 0] == VOID
    assert prepare("PadIfNeeded", IMAGES | {"map": ImageSpec(1, classes=24)})(scene(), 0)["map"][0, 0, 0] == 0
    assert prepare("PadIfNeeded", fill_mask=7)(scene(), 0)["map"][0, 0, 0] == 7


def digest(seeds: list[int]) -> dict[int, str]:
    names = ["RandomResizedCrop", "Affine", "GaussNoise", "RandomRain"]
    steps = [Step(part("preparations", name, p=0.7)) for name in names]
    chain = pickle.loads(pickle.dumps(HostPrepare(steps, IMAGES)))
    results = {seed: chain(scene(), seed) for seed in seeds}
    return {s: hashlib.sha256(b"".join(p.tobytes() for p in r.values())).hexdigest() for s, r in results.items()}


def test_a_prepared_sample_depends_on_its_seed_alone() -> None:
    forward = digest(list(range(6)))
    assert len(set(forward.values())) == 6
    assert digest(list(reversed(range(6)))) == forward
    code = "import sys; sys.path.insert(0, 'tests'); from test_augment import digest; print(digest([4]))"
    other = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str({4: forward[4]})


def test_each_step_of_a_chain_has_its_own_draw() -> None:
    chain = HostPrepare([Step(part("preparations", "HorizontalFlip", p=0.5))] * 2, IMAGES)
    assert any(not np.array_equal(chain(scene(), seed)["a"], scene()["a"]) for seed in range(9))


def test_nothing_to_do_costs_nothing() -> None:
    assert DeviceAugment([], IMAGES)(images := batch()) == images
    assert HostPrepare([], IMAGES)(sample := scene(), 0) == sample


def test_the_successor_of_albumentations_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_albumentations()
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.0.9" if name == "albumentationsx" else "1")
    with pytest.raises(PluginError, match="pip uninstall albumentationsx && pip install --force-reinstall albumentati"):
        prepare("Resize")


def test_pictures_that_are_no_pairs_are_drawn_for_each_by_itself() -> None:
    steps = [Step(part("preparations", "RandomCrop", height=8, width=8))]
    other = np.zeros((3, 40, 31), np.float32)
    unlike = {**scene(), "b": np.concatenate([other, other], 1)}
    crops = [HostPrepare(steps, IMAGES, paired=False)(scene(), seed) for seed in range(4)]
    assert all(crop["a"].shape == (3, 8, 8) for crop in crops)
    assert any(not np.array_equal(crop["a"], crop["b"]) for crop in crops)
    assert np.array_equal(HostPrepare(steps, IMAGES, paired=False)(scene(), 2)["b"], crops[2]["b"])
    assert HostPrepare(steps, IMAGES, paired=False)(unlike, 0)["b"].shape == (3, 8, 8)
    with pytest.raises(UsageError, match="one size only"):
        HostPrepare(steps, IMAGES)(unlike, 0)


QUICK = [
    ("RandomCrop", {}),
    ("RandomCrop", {"size": (H, W)}),
    ("RandomCrop", {"size": (40, 20)}),  # larger than the picture, which Kornia enlarges
    ("RandomCrop", {"padding": 3}),
    ("RandomHorizontalFlip", {"p": 0.5}),
    ("RandomVerticalFlip", {"p": 0.3}),
    ("RandomHorizontalFlip", {"p": 1.0}),
    ("Resize", {}),
    ("Resize", {"size": (40, 50), "resample": "bicubic"}),
    ("Resize", {"size": 20}),
]


@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize(("name", "parameters"), QUICK)
def test_the_quick_way_is_the_library_s_to_the_last_bit(name: str, parameters: dict[str, Any], maps: bool) -> None:
    images = IMAGES if maps else {key: spec for key, spec in IMAGES.items() if key != "map"}
    quick, plain = augment(name, images, **parameters), augment(name, images, **parameters)
    plain._steps = [dataclasses.replace(step, cuts=None, fixed=False) for step in plain._steps]
    for seed in range(4):
        given = {key: batch(5)[key] for key in images}
        torch.manual_seed(seed)
        expected, after = plain(given), torch.rand(1)
        torch.manual_seed(seed)
        got, after_quick = quick(given), torch.rand(1)
        assert all(torch.equal(got[key], expected[key]) for key in images)
        assert all(got[key].is_contiguous() == expected[key].is_contiguous() for key in images)
        assert torch.equal(after, after_quick)  # as many numbers were drawn
        assert all(torch.equal(given[key], batch(5)[key]) for key in images)


def test_the_common_jitter_takes_the_quick_way() -> None:
    chain = [("Resize", {}), ("RandomCrop", {}), ("RandomHorizontalFlip", {})]
    steps = [augment(name, **parameters)._steps[0] for name, parameters in chain]
    assert [bool(step.cuts or step.fixed) for step in steps] == [True] * 3
    assert not augment("RandomAffine")._steps[0].cuts


SETTLED = {
    "CenterCrop": [{}, {"pad_if_needed": True, "height": 60}],
    "InvertImg": [{}],
    "LongestMaxSize": [{}],
    "PadIfNeeded": [{}, {"position": "top_left"}],
    "Resize": [{}],
    "SmallestMaxSize": [{}],
    "ToGray": [{}],
    "ToSepia": [{}],
}
DRAWING = [
    ("LongestMaxSize", {"max_size": [20, 24]}),
    ("PadIfNeeded", {"position": "random"}),
    ("CenterCrop", {"pad_if_needed": True, "height": 60, "pad_position": "random"}),
    ("Resize", {"p": 0.5}),
]


@pytest.mark.parametrize("name", registered("preparations"))
def test_what_is_taken_to_draw_nothing_draws_nothing(name: str) -> None:
    for parameters in SETTLED.get(name, [{}]):
        chain = prepare(name, **parameters)
        settled, drawn = chain.split()
        assert (bool(settled), bool(drawn)) == (name in SETTLED, name not in SETTLED)
        if name in SETTLED:
            for rng in ("py_random", "random_generator"):
                setattr(chain._steps[0].transform, rng, None)  # whatever would be drawn raises
            chain._steps[0].transform.set_random_seed = lambda seed: None
            expected = prepare(name, **parameters)(scene(), 3)
            assert all(np.array_equal(picture, expected[key]) for key, picture in chain(scene(), 7).items())


@pytest.mark.parametrize(("name", "parameters"), DRAWING)
def test_settled_parts_that_were_told_to_draw_are_not(name: str, parameters: dict[str, Any]) -> None:
    assert prepare(name, **parameters).split()[0] is None


@pytest.mark.parametrize("paired", [True, False])
def test_a_chain_in_two_halves_gives_what_the_whole_gives(paired: bool) -> None:
    names = ["Resize", "HorizontalFlip", "ToGray", "RandomCrop", "GaussNoise"]
    chosen = {"Resize": {"height": 40, "width": 44}, "HorizontalFlip": {"p": 0.5}}
    chain = HostPrepare([Step(part("preparations", n, **chosen.get(n, {}))) for n in names], IMAGES, paired=paired)
    settled, drawn = chain.split()
    assert settled is not None
    assert drawn is not None
    assert len(settled._steps) == 1
    for seed in range(6):
        whole, halves = chain(scene(), seed), drawn(settled(scene(), 99), seed)
        assert all(np.array_equal(whole[name], halves[name]) for name in IMAGES)
