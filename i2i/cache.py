"""Samples kept after their first reading, in memory or on the device: what is chosen, and batches taken from there.

A batch is the same to the last bit with and without: kept are the pixels that the source gives, as far as nothing is
drawn, and what is drawn follows from the sample's seed as ever.
"""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor

from i2i.contracts import Images, Sample
from i2i.data import ALL, Order, Samples, read, stream, to_device
from i2i.errors import ResourceError, UsageError

SHARE = 4
"""`auto` takes at most this part of the memory that is free: a quarter."""
_MARGIN = 1.02
_REMEDY = 'Set train.cache to "auto" or "none".'


@dataclass(frozen=True)
class Choice:
    """Where samples are kept ("device", "ram" or "none"), why, and how many bytes that may take; str() tells both."""

    kind: str
    why: str
    room: int = 0
    asked: bool = False

    def __str__(self) -> str:
        return f"{self.kind} ({self.why})"


def choose(samples: Samples, wanted: str, device: torch.device, workers: int, sharing: int = 1) -> Choice:
    """Choose where to keep samples: `wanted` as in the recipe's `train.cache`; workers: how many processes read them.

    sharing: how many processes of this machine each keep them in its memory.

    Reads the first sample, and the last. UsageError when what is wanted does not suit the data, ResourceError when it
    does not fit, each with the remedy.
    """
    if wanted == "none":
        return Choice("none", "as the recipe says")
    kinds = [wanted] if wanted != "auto" else ["device", "ram"] if device.type == "cuda" else ["ram"]
    if samples.drawn == "source":
        why = "the source draws its samples, another one each time"
        if wanted != "auto":
            raise UsageError(f'train.cache = "{wanted}": {why}. {_REMEDY}')
        return Choice("none", why)
    ends = _ends(samples)
    if not ends:
        return Choice("none", "the first sample and the last cannot be read")
    each = max(sum(picture.nbytes for picture in end.values()) for end in ends)
    reasons = []
    for kind in kinds:
        unfit = _unfit_device(samples, ends) if kind == "device" else _unfit_ram(workers)
        if unfit and wanted != "auto":
            raise UsageError(f'train.cache = "{wanted}": {unfit}. {_REMEDY}')
        free = _free(torch.device("cpu") if kind == "ram" else device)
        if free is not None and kind == "ram":
            free //= sharing
        fits, words = _fits(len(samples), each, free, 1 if wanted != "auto" else SHARE)
        if not fits and wanted != "auto":
            raise ResourceError(f'train.cache = "{wanted}": {words}. {_REMEDY}')
        if fits and not unfit:
            return Choice(kind, words, int(len(samples) * (each * _MARGIN + 512)), wanted != "auto")
        reasons.append(unfit or words)
    return Choice("none", "; ".join(dict.fromkeys(reasons)))


def _ends(samples: Samples) -> list[Sample]:
    """Return the first sample and the last; one that cannot be read is left out, and told when its turn comes."""
    ends = []
    for index in sorted({0, len(samples) - 1}):
        with contextlib.suppress(Exception):
            sample = samples.settled(index, 0)
            ends.append({name: sample[name] for name in samples.images})
    return ends


def _unfit_device(samples: Samples, ends: list[Sample]) -> str:
    """Return why samples cannot be kept on the device, "" where they can."""
    if samples.drawn:
        return "the preparation ([[source.prepare]]) draws on the host, and what it makes is another each time"
    if any(ends[0][name].shape != ends[-1][name].shape for name in ends[0]):
        return f"pictures differ in size ({' and '.join(_sides(end) for end in ends)})"
    return ""


def _sides(sample: Sample) -> str:
    height, width = next(iter(sample.values())).shape[-2:]
    return f"{width}x{height}"


def _unfit_ram(workers: int) -> str:
    """Return why samples cannot be kept in memory that all the processes share, "" where they can."""
    if workers and multiprocessing.get_context().get_start_method() != "fork":
        return f"on this system, {workers} worker processes cannot share it (train.workers = 0 can)"
    return ""


def _fits(count: int, each: int, free: int | None, share: int) -> tuple[bool, str]:
    """Return whether samples fit into a share of the free bytes, and words for that."""
    need = count * each
    words = f"{count} sample{'s' * (count > 1)} of {_size(each)}"
    if free is None:
        return share == 1, f"{words}, and this system does not say how much memory is free"
    of_free = f"{_size(need)} of {_size(free)} free"
    if need * _MARGIN > free / share:
        return False, f"{words} are {of_free}" + (", more than a quarter" if share > 1 else "")
    return True, f"{words}, {of_free}"


def _size(count: float) -> str:
    """Return a number of bytes for people: 29 MB, 0.4 MB."""
    unit, name = next(((u, n) for u, n in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if count >= 0.1 * u), (1.0, "bytes"))
    return f"{count / unit:.2g} {name}" if count < 10 * unit else f"{count / unit:,.0f} {name}"


def _free(device: torch.device) -> int | None:
    """Return how many bytes are free on a device, None where nobody says."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return _free_memory() if device.type == "cpu" else None


def _free_memory() -> int | None:
    """Return how many bytes of memory a process may still take on Linux; a container's limit counts."""
    found = []
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / name).read_text() for name in ("memory.max", "memory.current"))
        found.append(int(limit) - int(used))
    except (OSError, ValueError, KeyError):
        pass
    return max(0, min(found)) if found else None


class SharedShelf:
    """Samples in memory that worker processes, forked afterwards, share with this one and fill with it.

    Memory is taken as samples come, up to `room` bytes; one that finds no room is read anew each time.
    """

    def __init__(self, count: int, room: int) -> None:
        self._lock = multiprocessing.Lock()
        self._memory = mmap.mmap(-1, max(room, 1))
        # Where each sample begins and ends; behind these, where the free room begins.
        self._ends = np.frombuffer(mmap.mmap(-1, 8 * (2 * count + 1)), dtype=np.int64)

    def get(self, index: int) -> Sample | None:
        """Return a copy of what was put there, None where nothing was."""
        with self._lock:
            begin, end = map(int, self._ends[2 * index : 2 * index + 2])
        return load(self._memory[begin:end]) if end else None

    def put(self, index: int, sample: Sample) -> None:
        """Keep a sample, if there is room and its arrays are of plain numbers."""
        try:
            data = save({name: np.ascontiguousarray(picture) for name, picture in sample.items()})
        except (SafetensorError, KeyError, TypeError, ValueError):
            return
        with self._lock:
            begin = int(self._ends[-1])
            end = begin + len(data)
            if end <= len(self._memory) and not self._ends[2 * index + 1]:
                self._memory[begin:end] = data
                self._ends[2 * index : 2 * index + 2] = begin, end
                self._ends[-1] = end


def batches(
    samples: Samples,
    choice: Choice,
    *,
    batch: int,
    seed: int,
    start: int,
    workers: int,
    device: torch.device,
    rows: slice = ALL,
) -> Iterator[Images]:
    """Yield what `data.stream` yields, from where `choice` says; UsageError when sizes turn out to differ after all."""
    if choice.kind == "device":
        return _on_device(
            samples, choice, batch=batch, seed=seed, start=start, workers=workers, device=device, rows=rows
        )
    if choice.kind == "ram":
        samples.shelf = SharedShelf(len(samples), choice.room)
    return stream(samples, batch=batch, seed=seed, start=start, workers=workers, device=device, rows=rows)


def _on_device(
    samples: Samples,
    choice: Choice,
    *,
    batch: int,
    seed: int,
    start: int,
    workers: int,
    device: torch.device,
    rows: slice = ALL,
) -> Iterator[Images]:
    """Read every sample once, as ever and by the worker processes, and from then on gather batches on the device."""
    order = Order(len(samples), seed).batches(batch, start, rows)
    kept: dict[str, Tensor] = {}
    known = np.zeros(len(samples), dtype=bool)
    reading = read(samples, batch=batch, seed=seed, start=start, workers=workers, device=device, rows=rows)
    for item in reading:
        there = {name: tensor.to(device, non_blocking=True) for name, tensor in item.items()}
        indices = [index for index, _ in next(order)]
        kept = kept or {name: _room(len(samples), tensor) for name, tensor in there.items()}
        fits = all(kept[name].shape[1:] == tensor.shape[1:] for name, tensor in there.items())
        if not fits and choice.asked:
            where = samples.describe(indices[0])
            raise UsageError(f'train.cache = "device": {where}: pictures differ in size. {_REMEDY}')
        if fits:
            chosen = _there(indices, device)
            for name, tensor in there.items():
                kept[name][chosen] = _plain(tensor)
            known[indices] = True
        yield to_device(there, samples.images, device)
        if known.all():
            break
    del reading  # and with it the worker processes
    dtypes = {name: tensor.dtype for name, tensor in item.items()}
    for keys in order:
        chosen = _there([index for index, _ in keys], device)
        gathered = {name: row[chosen].view(dtypes[name]) for name, row in kept.items()}
        yield to_device(gathered, samples.images, device)


def _there(indices: list[int], device: torch.device) -> Tensor:
    """Return indices on the device; the host does not wait until it has done what it was given."""
    chosen = torch.tensor(indices)
    return chosen.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else chosen.to(device)


def _room(count: int, like: Tensor) -> Tensor:
    return torch.empty((count, *like.shape[1:]), dtype=_plain(like).dtype, device=like.device)


def _plain(tensor: Tensor) -> Tensor:
    """Return 16 bits as the signed ones that every device can gather."""
    return tensor.view(torch.int16) if tensor.dtype == torch.uint16 else tensor
