"""From a source to batches on the device: order, preparation in worker processes, checks, the move to float.

The order of the samples and what is drawn for each are functions of (seed, epoch, position) alone: the stream is the
same with any number of workers, and a run that starts at step k sees what it would have seen.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from i2i.contracts import Images, ImageSpec, Sample, Source, deep
from i2i.errors import DataError, I2IError, PluginError, told

ALL = slice(None)
Prepare = Callable[[Sample, int], Sample]
"""From a sample and its seed to what is trained on. `split()` (optional) gives what draws nothing, then the rest."""


class Shelf(Protocol):
    """Where samples are kept after their first reading."""

    def get(self, index: int) -> Sample | None:
        """Return a copy of what was put there, None where nothing was."""

    def put(self, index: int, sample: Sample) -> None:
        """Keep a sample, if there is room."""


def mix(*numbers: int) -> int:
    """Return 63 bits that depend on every number, the same on every machine: a seed from (seed, epoch, position)."""
    words = np.random.SeedSequence([number & (2**64 - 1) for number in numbers]).generate_state(2, np.uint64)
    return int(words[0] >> np.uint64(1))


@dataclass(frozen=True)
class Order:
    """The infinite stream of samples: every epoch a new permutation of `count` samples, drawn from (seed, epoch)."""

    count: int
    seed: int

    def batches(self, size: int, start: int, rows: slice = ALL) -> Iterator[list[tuple[int, int]]]:
        """Yield batches of (index, sample seed) from batch number `start`; a batch may cross into the next epoch.

        rows: which of each batch, where others have the rest.
        """
        position, epoch, order = start * size, -1, np.zeros(0, dtype=np.int64)
        while True:
            batch = []
            for position in range(position, position + size):  # noqa: B020
                if position // self.count != epoch:
                    epoch = position // self.count
                    order = np.random.default_rng(mix(self.seed, epoch)).permutation(self.count)
                batch.append((int(order[position % self.count]), mix(self.seed, epoch, position % self.count, 1)))
            position += 1
            yield batch[rows]


class Samples(Dataset[Any]):
    """A source with its preparation and its checks, as the worker processes see it.

    An error is returned, not raised: torch would wrap it in the text of a traceback. shelf: keeps each sample as it is
    before the first step of its preparation that draws; a source that draws its samples has nothing to keep.
    """

    def __init__(self, source: Source, images: Mapping[str, ImageSpec], prepare: Prepare | None = None) -> None:
        self.source, self.images, self.prepare = source, images, prepare
        self.shelf: Shelf | None = None
        split = getattr(prepare, "split", None)
        parts: tuple[Prepare | None, Prepare | None] = split() if split else (None, prepare)
        self._settle, self._finish = parts

    @property
    def drawn(self) -> str:
        """What makes another sample each time: "source", "prepare", or "" where it is always the same."""
        return "source" if hasattr(self.source, "draw") else "prepare" if self._finish else ""

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, int]) -> Sample | I2IError:
        """Return the sample of (index, seed), prepared, or what was wrong with it."""
        index, seed = key
        try:
            sample = self.settled(index, seed)
            if self._finish:
                sample = self._finish(sample, seed)
            self.check(sample, index)
            return {name: np.ascontiguousarray(sample[name]) for name in self.images}
        except I2IError as error:
            named = self.describe(index) in str(error) or not hasattr(self.source, "describe")
            return error if named else type(error)(f"{self.describe(index)}: {error}")
        except Exception as error:
            return PluginError(f"{self.describe(index)}: the source failed: {told(error)}")

    def settled(self, index: int, seed: int) -> Sample:
        """Return a sample as it is before the first step of its preparation that draws, from the shelf if there."""
        if self.shelf and (kept := self.shelf.get(index)) is not None:
            return kept
        draw = getattr(self.source, "draw", None)
        given = draw(index, mix(seed, 1)) if draw else self.source[index]
        sample = {name: np.asarray(picture) for name, picture in given.items()}
        if self._settle:
            sample = self._settle(sample, seed)
        if self.shelf and not draw and sample.keys() >= self.images.keys():
            self.shelf.put(index, {name: sample[name] for name in self.images})
        return sample

    @cached_property
    def deep(self) -> bool:
        """Whether pictures have more than 8 bits a sample: the task says so, or else those of the first sample do."""
        if deep(self.images):
            return True
        unsaid = [name for name, spec in self.images.items() if spec.classes is None and spec.bits is None]
        try:
            first = self.source[0]
            return any(np.asarray(first[name]).dtype != np.uint8 for name in unsaid)
        except Exception:  # whatever it was, it is told when the sample's turn comes
            return False

    @property
    def paired(self) -> bool:
        """Whether the pictures of a sample show the same scene."""
        return bool(getattr(self.source, "paired", True))

    def describe(self, index: int) -> str:
        """Return words for a sample: its files, where the source knows them."""
        describe = getattr(self.source, "describe", None)
        try:
            return str(describe(index)) if describe else f"sample {index}"
        except Exception:  # often the very fault that is to be told
            return f"sample {index}"

    def check(self, sample: Sample, index: int) -> None:
        """Raise PluginError or DataError for a sample that is not as the task says."""
        for name, spec in self.images.items():
            array = sample.get(name)
            if array is None or array.ndim != 3 or array.shape[0] != spec.channels:
                shape = "nothing" if array is None else f"an array of shape {array.shape}"
                raise PluginError(
                    f"{self.describe(index)}: the source gives {shape} for {name!r}; "
                    f"expected {spec.channels} channel(s) x height x width."
                )
            if spec.classes is not None:
                self._check_classes(array, spec, name, index)
                continue
            self._check_depth(array, spec, name, index)
            if array.dtype not in (np.uint8, np.uint16):
                self._check_range(array, name, index)

    def _check_depth(self, array: np.ndarray, spec: ImageSpec, name: str, index: int) -> None:
        """Find a source that does not heed what the task says of bits and range."""
        whole = array.dtype in (np.uint8, np.uint16)
        full = (0, np.iinfo(array.dtype).max) if whole else None
        unscaled = spec.range is not None and whole and spec.range != full
        other = spec.range is None and spec.bits is not None and 8 * array.dtype.itemsize != spec.bits
        if unscaled or other:
            said = (
                f"range = [{spec.range[0]:g}, {spec.range[1]:g}]" if unscaled and spec.range else f"bits = {spec.bits}"
            )
            raise PluginError(
                f"{self.describe(index)}: the source gives {name!r} as {array.dtype}, and the task says {said}. "
                "Use a source that heeds it (folder, pairs), or leave it out of the task."
            )

    def _check_range(self, array: np.ndarray, name: str, index: int) -> None:
        lowest, highest = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
        # Resampling goes a little beyond; NaN compares as false.
        if not np.issubdtype(array.dtype, np.floating) or not (lowest > -0.5 and highest < 2):
            raise PluginError(
                f"{self.describe(index)}: the source gives {name!r} as {array.dtype} from {lowest:.6g} to "
                f"{highest:.6g}; expected uint8, uint16, or float32 in [0, 1]."
            )

    def _check_classes(self, array: np.ndarray, spec: ImageSpec, name: str, index: int) -> None:
        assert spec.classes is not None
        bad = array >= spec.classes
        if spec.void is not None:
            bad &= array != spec.void
        if bad.any():
            _, y, x = np.argwhere(bad)[0]
            void = "" if spec.void is None else f" (and {spec.void} for void)"
            raise DataError(
                f"{self.describe(index)}: {name!r} has class {array[0, y, x]} at row {y}, column {x}, but the task has "
                f"classes 0 to {spec.classes - 1}{void}. Set the task's 'classes' or 'void', or mend the file."
            )


def identity(samples: Samples) -> dict[str, Any]:
    """Return by what it is seen that a source gives others: its length, and a digest of its files' names and sizes.

    The names are taken from the folder that all lie in, so that it may be moved; None where it tells no files.
    """
    files = getattr(samples.source, "files", None)
    if not files:
        return {"samples": len(samples), "files": None}
    paths = dict.fromkeys(Path(path).absolute() for i in range(len(samples)) for path in files(i).values())
    digest, base = hashlib.sha256(), Path()
    with contextlib.suppress(ValueError):  # files of two drives of Windows
        base = Path(os.path.commonpath(paths))
    for path in paths:
        name = path.relative_to(base) if base in path.parents else path
        digest.update(f"{name.as_posix()}\0{path.stat().st_size if path.exists() else 0}\0".encode())
    return {"samples": len(samples), "files": digest.hexdigest()}


class Collate:
    """Stacks samples into a batch of torch tensors, N x C x H x W; differing sizes are an error that names both."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __call__(self, items: list[Sample | I2IError]) -> dict[str, Tensor] | I2IError:
        good: list[Sample] = []
        for item in items:
            if isinstance(item, I2IError):
                return item
            good.append(item)
        batch = {}
        for name in self.samples.images:
            shapes = {item[name].shape[1:] for item in good}
            if len(shapes) > 1:
                sizes = " and ".join(f"{w}x{h}" for h, w in sorted(shapes)[:2])
                return DataError(
                    f"pictures {name!r} of one batch differ in size ({sizes}). Give the source a preparation that "
                    'makes them equal: [[source.prepare]] name = "RandomCrop" (or Resize), height and width.'
                )
            batch[name] = torch.from_numpy(np.stack([item[name] for item in good]))
        return batch


def _quiet_worker(_: int) -> None:
    # Ctrl-C goes to the whole process group: the parent ends the step and saves, and ends the workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)


def auto_workers(device: torch.device) -> int:
    """Return the number of worker processes: none on a CPU, whose cores the training needs, else up to 4."""
    return 0 if device.type == "cpu" else min(4, max(1, (os.cpu_count() or 2) - 1))


def to_device(batch: Mapping[str, Tensor], images: Mapping[str, ImageSpec], device: torch.device) -> Images:
    """Bring integers to picture space on the device: float32 in [0, 1], or int64 class indices.

    Pixels stay 8 or 16 bits until here: the transfer is 4 or 2 times smaller than in float32.
    """
    moved = {}
    for name, tensor in batch.items():
        there = tensor.to(device, non_blocking=True)
        if images[name].classes is not None:
            moved[name] = there.long()
        elif tensor.dtype == torch.uint8:
            moved[name] = there.float().div_(255)
        elif tensor.dtype == torch.uint16:
            moved[name] = there.float().div_(65535)
        else:
            moved[name] = there.float()
    return moved


def stream(
    samples: Samples, *, batch: int, seed: int, start: int, workers: int, device: torch.device, rows: slice = ALL
) -> Iterator[Images]:
    """Yield endless batches of pictures on the device, from step `start`; an I2IError of a worker is raised here.

    rows: which pictures of each batch, where other processes have the rest.
    """
    for item in read(samples, batch=batch, seed=seed, start=start, workers=workers, device=device, rows=rows):
        yield to_device(item, samples.images, device)


def read(
    samples: Samples, *, batch: int, seed: int, start: int, workers: int, device: torch.device, rows: slice = ALL
) -> Iterator[dict[str, Tensor]]:
    """Yield the batches of `stream` as they are on the host: with the pixels that the source gives."""
    loader = DataLoader(
        samples,
        batch_sampler=_Batches(Order(len(samples), seed), batch, start, rows),
        collate_fn=Collate(samples),
        num_workers=workers,
        worker_init_fn=_quiet_worker,
        pin_memory=device.type == "cuda",
        # The loader draws a base seed when it starts: from a generator of its own, so that the run's stays untouched.
        generator=torch.Generator(),
    )
    for item in loader:
        if isinstance(item, I2IError):
            raise item
        yield item


def in_order(dataset: Dataset[Any], keys: Sequence[Any], *, workers: int) -> Iterator[Any]:
    """Yield what a data set gives for each key, in their order, read by worker processes."""
    yield from DataLoader(
        dataset,
        batch_size=None,
        sampler=keys,
        collate_fn=_as_it_is,
        num_workers=workers,
        worker_init_fn=_quiet_worker,
        generator=torch.Generator(),
    )


def _as_it_is(item: Any) -> Any:
    return item


@dataclass(frozen=True)
class _Batches:
    order: Order
    size: int
    start: int
    rows: slice

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return self.order.batches(self.size, self.start, self.rows)


def fixed(samples: Samples, indices: Sequence[int], device: torch.device) -> Images:
    """Return the given samples as one batch of pictures on the device, prepared with seeds that never change."""
    return together(samples, [samples[index, mix(0, index)] for index in indices], device)


def together(samples: Samples, items: list[Sample | I2IError], device: torch.device) -> Images:
    """Return items of `samples` as one batch of pictures on the device; the I2IError that one of them is is raised."""
    batch = Collate(samples)(items)
    if isinstance(batch, I2IError):
        raise batch
    return to_device(batch, samples.images, device)
