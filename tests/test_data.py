"""The stream of samples is a function of (seed, epoch, position): any number of workers, any starting step."""

from itertools import islice

import numpy as np
import pytest
import torch

from i2i.contracts import ImageSpec, Sample
from i2i.data import Order, Samples, mix, stream
from i2i.errors import DataError, I2IError, PluginError

CPU = torch.device("cpu")


class Numbers:
    """Ten pictures, each of one value."""

    def __init__(self, size: int = 4) -> None:
        self.size = size

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Sample:
        if index == 9 and self.size == 0:
            raise DataError("nine.png: is broken.")
        return {"a": np.full((3, self.size or 4, 4 + (index if self.size == 5 else 0)), index, dtype=np.uint8)}


def add_noise(sample: Sample, seed: int) -> Sample:
    return {name: array + np.random.default_rng(seed).integers(0, 99, dtype=np.uint8) for name, array in sample.items()}


def values(workers: int, start: int = 0, count: int = 12, seed: int = 0) -> list[list[float]]:
    samples = Samples(Numbers(), {"a": ImageSpec()}, add_noise)
    batches = stream(samples, batch=4, seed=seed, start=start, workers=workers, device=CPU)
    return [(batch["a"][:, 0, 0, 0] * 255).round().tolist() for batch in islice(batches, count)]


def test_the_stream_does_not_depend_on_workers_or_on_the_start() -> None:
    alone = values(0)
    assert values(2) == alone
    assert values(0, start=5, count=7) == alone[5:]
    assert values(2, start=5, count=7) == alone[5:]
    assert values(0, seed=1) != alone


def test_every_epoch_is_a_permutation_and_another_one() -> None:
    positions = [index for batch in islice(Order(10, 0).batches(4, 0), 5) for index, _ in batch]
    assert sorted(positions[:10]) == sorted(positions[10:]) == list(range(10))
    assert positions[:10] != positions[10:]


def test_sample_seeds_never_repeat() -> None:
    seeds = [seed for batch in islice(Order(10, 0).batches(5, 0), 40) for _, seed in batch]
    assert len(set(seeds)) == len(seeds)
    assert mix(0, 1) != mix(1, 0)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_worker_arrives_as_it_was_raised(workers: int) -> None:
    batches = stream(Samples(Numbers(0), {"a": ImageSpec()}), batch=5, seed=0, start=0, workers=workers, device=CPU)
    with pytest.raises(DataError, match=r"^nine.png: is broken.$"):
        list(islice(batches, 3))


def test_sizes_that_differ_are_named_with_the_remedy() -> None:
    batches = stream(Samples(Numbers(5), {"a": ImageSpec()}), batch=5, seed=0, start=0, workers=0, device=CPU)
    with pytest.raises(DataError, match=r"differ in size .*x5 and .*x5.*RandomCrop"):
        next(batches)


def test_a_class_out_of_range_is_found_on_the_host() -> None:
    class Labels(Numbers):
        def __getitem__(self, index: int) -> Sample:
            label = np.zeros((1, 4, 4), dtype=np.uint8)
            label[0, 2, 1] = 7 if index else 255
            return {"label": label}

        def describe(self, index: int) -> str:
            return f"street-{index}.png"

    samples = Samples(Labels(), {"label": ImageSpec(channels=1, classes=5, void=255)})
    assert not isinstance(samples[0, 0], I2IError)
    error = samples[3, 0]
    assert isinstance(error, DataError)
    assert str(error).startswith(
        "street-3.png: 'label' has class 7 at row 2, column 1, but the task has classes 0 to 4"
    )


def test_wrong_channels_are_the_sources_fault() -> None:
    error = Samples(Numbers(), {"a": ImageSpec(channels=1)})[0, 0]
    assert isinstance(error, PluginError)
    assert "expected 1 channel(s)" in str(error)


def test_depths_become_the_same_range() -> None:
    class Deep(Numbers):
        def __getitem__(self, index: int) -> Sample:
            return {"a": np.full((3, 2, 2), 65535, np.uint16), "b": np.full((3, 2, 2), 255, np.uint8)}

    samples = Samples(Deep(), {"a": ImageSpec(), "b": ImageSpec()})
    batch = next(stream(samples, batch=2, seed=0, start=0, workers=0, device=CPU))
    assert batch["a"].dtype == torch.float32
    assert batch["a"].unique().tolist() == batch["b"].unique().tolist() == [1.0]


def test_a_source_with_a_part_of_chance_draws_it_from_the_sample_seed() -> None:
    class Drawn(Numbers):
        paired = False

        def draw(self, index: int, seed: int) -> Sample:
            return {"a": self[seed % 10]["a"] + np.uint8(100 + index)}

    samples = Samples(Drawn(), {"a": ImageSpec()})
    drawn = [samples[3, seed]["a"][0, 0, 0] for seed in range(20)]  # type: ignore[index]
    assert len(set(drawn)) > 3
    assert set(drawn) <= set(range(103, 113))
    assert samples[3, 7]["a"][0, 0, 0] == drawn[7]  # type: ignore[index]
    assert not samples.paired
    assert Samples(Numbers(), {"a": ImageSpec()}).paired
