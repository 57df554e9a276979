"""Batches are the same to the last bit with and without a cache, for any number of workers, from any step."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from i2i import cache, plugins, recipe
from i2i.augment import HostPrepare
from i2i.compose import compose
from i2i.contracts import ImageSpec, Sample
from i2i.data import Samples, stream
from i2i.errors import DataError, ResourceError, UsageError
from i2i.recipe import Step
from i2i.train import batches, cache_of

CPU = torch.device("cpu")
IMAGES = {"b": ImageSpec(), "a": ImageSpec(1, classes=4), "deep": ImageSpec(1), "float": ImageSpec(1)}
RESIZE = ("Resize", {"height": 12, "width": 14})
CROP = ("RandomCrop", {"height": 8, "width": 8})


class Pictures:
    """Seven pictures of every depth; `read` counts how often each was read."""

    def __init__(self, grow: int = 0) -> None:
        self.read = [0] * 7
        self.grow = grow

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> Sample:
        self.read[index] += 1
        random, side = np.random.default_rng(index), 16 + self.grow * index
        return {
            "a": random.integers(0, 4, (1, side, 18), dtype=np.uint8),
            "b": random.integers(0, 256, (3, side, 18), dtype=np.uint8),
            "deep": random.integers(0, 65536, (1, side, 18), dtype=np.uint16),
            "float": random.random((1, side, 18), dtype=np.float32),
            "more": np.zeros((1, 99, 99), np.uint8),  # nobody asked
        }


class Drawn(Pictures):
    """Another sample each time."""

    def draw(self, index: int, seed: int) -> Sample:
        return self[(index + seed) % 7]


def prepared(*steps: tuple[str, dict[str, Any]], source: Pictures | None = None) -> Samples:
    made = [Step(functools.partial(plugins.load("preparations", name), **given)) for name, given in steps]
    return Samples(source or Pictures(), IMAGES, HostPrepare(made, IMAGES) if made else None)


def taken(samples: Samples, kind: str, *, workers: int = 0, start: int = 0, count: int = 9) -> list[dict[str, Any]]:
    how = {"batch": 3, "seed": 5, "start": start, "workers": workers, "device": CPU}
    choice = cache.choose(samples, kind, CPU, workers)
    assert choice.kind == kind
    return [*islice(cache.batches(samples, choice, **how), count)]


def plain(samples: Samples, *, start: int = 0, count: int = 9) -> list[dict[str, Any]]:
    return [*islice(stream(samples, batch=3, seed=5, start=start, workers=0, device=CPU), count)]


def check_equal(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    for x, y in zip(one, other, strict=True):
        assert list(x) == list(y) == [*IMAGES]
        assert all(x[name].dtype == y[name].dtype and torch.equal(x[name], y[name]) for name in x)


CHAINS: list[list[tuple[str, dict[str, Any]]]] = [
    [],
    [RESIZE],
    [RESIZE, CROP, ("HorizontalFlip", {"p": 0.5})],
    [("HorizontalFlip", {"p": 0.5}), RESIZE],
]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("steps", CHAINS, ids=lambda steps: "-".join(name for name, _ in steps) or "nothing")
def test_batches_from_memory_are_the_same(steps: list[tuple[str, dict[str, Any]]], workers: int) -> None:
    expected = plain(prepared(*steps))
    check_equal(taken(prepared(*steps), "ram", workers=workers), expected)
    check_equal(taken(prepared(*steps), "ram", workers=workers, start=4, count=5), expected[4:])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("steps", CHAINS[:2], ids=lambda steps: "-".join(name for name, _ in steps) or "nothing")
def test_batches_from_the_device_are_the_same(steps: list[tuple[str, dict[str, Any]]], workers: int) -> None:
    expected = plain(prepared(*steps), count=20)
    check_equal(taken(prepared(*steps), "device", workers=workers, count=20), expected)
    check_equal(taken(prepared(*steps), "device", workers=workers, start=4, count=16), expected[4:])


@pytest.mark.parametrize("kind", ["ram", "device"])
def test_each_sample_is_read_once(kind: str) -> None:
    source = Pictures()
    taken(prepared(source=source), kind, count=20)
    # The first and the last once more to choose; the batch that completes a device's samples runs into the next epoch.
    assert sum(source.read) == 7 + 2 + (2 if kind == "device" else 0)


def test_what_draws_is_never_kept() -> None:
    samples = prepared(RESIZE, CROP)
    taken(samples, "ram")
    kept = samples.shelf.get(3)  # type: ignore[union-attr]
    assert kept is not None
    assert {name: (array.shape, str(array.dtype)) for name, array in kept.items()} == {
        "a": ((1, 12, 14), "uint8"),
        "b": ((3, 12, 14), "uint8"),
        "deep": ((1, 12, 14), "uint16"),
        "float": ((1, 12, 14), "float32"),
    }


def test_a_step_that_writes_into_its_picture_does_not_write_into_the_cache() -> None:
    def scribble(sample: Sample, seed: int) -> Sample:
        for picture in sample.values():
            picture[:, 0] = seed % 2
        return sample

    samples = Samples(Pictures(), IMAGES, scribble)
    check_equal(taken(samples, "ram"), plain(Samples(Pictures(), IMAGES, scribble)))


def test_sizes_that_differ_are_kept_in_memory_and_refused_on_the_device() -> None:
    chain = [("RandomCrop", {"height": 16, "width": 16})]
    check_equal(taken(prepared(*chain, source=Pictures(1)), "ram"), plain(prepared(*chain, source=Pictures(1))))
    with pytest.raises(
        UsageError, match=r'train.cache = "device": pictures differ in size \(18x16 and 18x22\). Set tr'
    ):
        cache.choose(prepared(source=Pictures(1)), "device", CPU, 0)


def test_a_size_that_differs_in_the_middle_is_told_where_it_was_asked_for() -> None:
    class Odd(Pictures):
        def __getitem__(self, index: int) -> Sample:
            return Pictures(1)[2] if index == 3 else super().__getitem__(index)

    how = {"batch": 1, "seed": 5, "start": 0, "workers": 0, "device": CPU}
    samples = prepared(source=Odd())
    asked = cache.choose(samples, "device", CPU, 0)
    with pytest.raises(UsageError, match=r'"device": sample 3: pictures differ in size. Set train.cache to "auto"'):
        list(islice(cache.batches(samples, asked, **how), 15))
    by_itself = dataclasses.replace(asked, asked=False)
    expected = [*islice(stream(prepared(source=Odd()), **how), 15)]
    check_equal([*islice(cache.batches(samples, by_itself, **how), 15)], expected)


def test_what_finds_no_room_is_read_anew() -> None:
    samples = prepared()
    choice = cache.choose(samples, "ram", CPU, 0)
    assert choice.room > 0
    source = samples.source
    small = dataclasses.replace(choice, room=choice.room // 2)
    how = {"batch": 3, "seed": 5, "start": 0, "workers": 0, "device": CPU}
    check_equal([*islice(cache.batches(samples, small, **how), 9)], plain(prepared()))
    assert max(source.read) > 2  # type: ignore[attr-defined]


def test_a_broken_sample_is_told_as_without_a_cache() -> None:
    class Broken(Pictures):
        broken = 0

        def __getitem__(self, index: int) -> Sample:
            if index == self.broken:
                raise DataError("four.png: is broken.")
            return super().__getitem__(index)

    for kind, Broken.broken in (("ram", 4), ("device", 4), ("ram", 0), ("device", 6)):
        with pytest.raises(DataError, match=r"^four.png: is broken.$"):
            taken(prepared(source=Broken()), kind)


@pytest.mark.parametrize(
    ("wanted", "make", "error", "sentence"),
    [
        ("ram", lambda: prepared(source=Drawn()), UsageError, 'train.cache = "ram": the source draws its samples'),
        ("device", lambda: prepared(CROP), UsageError, "draws on the host"),
        ("device", lambda: prepared(source=Pictures(1)), UsageError, 'Set train.cache to "auto" or "none"'),
    ],
)
def test_what_cannot_be_is_refused(
    wanted: str, make: Callable[[], Samples], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error) as caught:
        cache.choose(make(), wanted, CPU, 0)
    assert sentence in str(caught.value)


def test_what_does_not_fit_is_refused_or_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_free_memory", lambda: 40_000)
    samples = prepared()
    need = "7 samples of 2.9 kB are 20 kB of 40 kB free, more than a quarter"
    assert str(cache.choose(samples, "auto", CPU, 0)) == f"none ({need})"
    assert cache.choose(samples, "ram", CPU, 0).kind == "ram"
    monkeypatch.setattr(cache, "_free_memory", lambda: 20_000)
    with pytest.raises(ResourceError, match=r'^train.cache = "ram": 7 samples of 2.9 kB are 20 kB of 20 kB free. Set'):
        cache.choose(samples, "ram", CPU, 0)
    monkeypatch.setattr(cache, "_free_memory", lambda: None)
    assert cache.choose(samples, "auto", CPU, 0).kind == "none"
    assert cache.choose(samples, "ram", CPU, 0).kind == "ram"


def test_auto_says_what_it_chose_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_free_memory", lambda: 12 * 10**9)
    assert str(cache.choose(prepared(), "auto", CPU, 0)) == "ram (7 samples of 2.9 kB, 20 kB of 12 GB free)"
    assert str(cache.choose(prepared(source=Drawn()), "auto", CPU, 0)).startswith("none (the source draws")
    assert str(cache.choose(prepared(), "none", CPU, 0)) == "none (as the recipe says)"


def test_free_memory_is_read_where_linux_tells_it() -> None:
    if not Path("/proc/meminfo").exists():
        pytest.skip("not Linux")
    free = cache._free_memory()
    assert free is not None
    assert 2**20 < free < 2**50


def test_a_recipe_trains_on_the_same_batches_whatever_its_cache(tiny: Path) -> None:
    text = tiny.read_text() + '\n[[augment]]\nname = "RandomHorizontalFlip"\n'

    def first(kind: str, start: int = 0) -> list[torch.Tensor]:
        pipeline = compose(recipe.parse(tiny, text.encode(), [f"train.cache={kind}"]))
        assert cache_of(pipeline, CPU).kind == ("ram" if kind == "auto" else kind)
        made, found = batches(pipeline, CPU, start), []
        for step in range(start, 10):
            torch.manual_seed(step)  # as `fit` does
            batch = next(made)
            found.append(torch.cat([batch.a, batch.b]))
        return found

    expected = first("none")
    for kind in ("auto", "ram", "device"):
        assert all(map(torch.equal, first(kind), expected))
        assert all(map(torch.equal, first(kind, 6), expected[6:]))
