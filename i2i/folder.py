"""Translation of a folder: what is to be done, and reading, translating and writing at the same time."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from i2i import images
from i2i.compose import multiple_of
from i2i.contracts import Images
from i2i.data import mix
from i2i.engine import enough_memory, keep_freed_memory, pick_device, pick_precision
from i2i.errors import DataError, I2IError, ResourceError, UsageError
from i2i.manifest import Given, Shard, given
from i2i.tiles import fits
from i2i.translate import Translator, scarce

FORMATS = ("png", "jpg", "webp", "tif", "npy")
WINDOW = 256
"""Pictures whose batch is not full yet; of these only the names are kept."""


@dataclass(frozen=True)
class Item:
    """One picture of a folder and where its translation goes; rival: another picture that would go there as well."""

    source: Path
    target: Path
    rival: Path | None = None


Result = tuple[Item, I2IError | None]
Find = Callable[[Path], Path]


def plan(
    input_dir: Path | Given,
    output_dir: Path,
    *,
    extension: str | Callable[[Path], str] = "png",
    overwrite: bool = False,
    shard: Shard | None = None,
) -> list[Item]:
    """Return what a translation of a folder will read and write; every obstacle is found before the first picture.

    Of pictures whose translations would have one name none is translated, as each is told.

    input_dir: or what `manifest.given` has made of a list. extension: of every output, or what gives it for an input,
    such as `Translator.extension`. shard: of the pictures, only this one's.
    """
    inputs = input_dir if isinstance(input_dir, Given) else given(input_dir)
    if isinstance(extension, str) and extension not in FORMATS:
        raise UsageError(f"--format {extension}: not a format that is written. Known: {', '.join(FORMATS)}.")
    if output_dir.exists() and not output_dir.is_dir():
        raise UsageError(f"{output_dir}: is a file; the translations need a folder.")
    if output_dir.resolve() == inputs.root.resolve():
        raise UsageError(f"{output_dir}: is the input folder; choose another, so that no original is overwritten.")
    sources = [path for path in inputs.paths if output_dir.resolve() not in path.resolve().parents]
    ends = [extension if isinstance(extension, str) else extension(path) for path in sources]
    items = [
        Item(path, output_dir / path.relative_to(inputs.root).with_suffix(f".{end}"))
        for path, end in zip(sources, ends, strict=True)
    ]
    alike: dict[Path, list[Path]] = {}
    for item in items:
        alike.setdefault(item.target, []).append(item.source)
    for place, item in enumerate(items):
        if rival := next((other for other in alike[item.target] if other != item.source), None):
            items[place] = replace(item, rival=rival)
    if shard:
        items = [item for item in items if shard.has(item.source.relative_to(inputs.root).with_suffix("").as_posix())]
    existing = [item.target for item in items if item.target.exists() and not item.rival]
    if existing and not overwrite:
        raise UsageError(
            f"{existing[0]} exists already ({len(existing)} such file(s)). Add --resume to translate "
            "the others, or --overwrite to replace them."
        )
    return items


def whole(item: Item) -> bool:
    """Whether an item's output is there, can be read to its end, and is no older than the item."""
    try:
        if item.rival:
            return False
        images.read(item.target)
        return item.target.stat().st_mtime >= item.source.stat().st_mtime
    except (I2IError, OSError):
        return False


def any_deep(paths: Sequence[Path], device: str) -> bool:
    """Whether one of some pictures has more than 8 bits a sample, where the device is one that may not keep them."""
    where = pick_device(device)
    if where.type != "cuda" and pick_precision("auto", where) == torch.float32:
        return False

    def is_deep(path: Path) -> bool:
        try:
            return images.head(path).bits > 8
        except DataError:  # which is told when its turn comes
            return False

    return any(map(is_deep, paths))


def finder(input_dir: Path, other: Path, what: str) -> Find:
    """Return the function from a picture to its mask or guide: same folder and stem below `other`, or `other` itself.

    what: how errors call it.
    """
    if other.is_file():
        return lambda source: other
    by_stem = {path.relative_to(other).with_suffix(""): path for path in images.list_images(other)}

    def find(source: Path) -> Path:
        stem = source.relative_to(input_dir).with_suffix("")
        if stem not in by_stem:
            raise DataError(f"{source}: has no {what} {other / stem}.png")
        return by_stem[stem]

    return find


Sides = tuple[int, int] | None


@dataclass(frozen=True)
class Pace:
    """How a folder's pictures go through a device.

    workers: threads of which each reads, translates and writes a batch, so that one translates while another reads.
    threads: processors that each of them multiplies with. cores: those that one has for a picture that goes alone.
    batch: pictures at most in a batch. pixels: those that it may have when padded; a larger picture goes alone.
    in_turn: whether only one worker translates at a time.
    """

    workers: int
    threads: int
    cores: int
    batch: int
    pixels: int
    in_turn: bool

    @classmethod
    def of(cls, device: torch.device, count: int, *, batch: int | None = None, in_turn: bool = False) -> Pace:
        """Return that of a device for so many pictures; batch: in place of its own."""
        cores = torch.get_num_threads()
        if device.type != "cpu":
            workers = min(16, os.cpu_count() or 1, count)
            return cls(workers, 1, cores, batch or 16, 64 * 256**2, True)
        # Two networks on one core each are a third quicker than one on two: nobody waits for the other's share.
        workers = min(2 if in_turn else 8, cores, count)
        together = min(batch or 8, -(-count // workers))
        return cls(workers, cores // workers, cores, together, 32 * 256**2 // workers, in_turn)

    def together(self, sides: Sides) -> int:
        """Return how many pictures of this size, padded, are translated at once."""
        return 1 if sides is None else max(1, min(self.batch, self.pixels // (sides[0] * sides[1])))


def translate_folder(
    translator: Translator,
    items: Sequence[Item],
    *,
    masks: Find | None = None,
    guides: Find | None = None,
    seed: int = 0,
    batch: int | None = None,
    cut: tuple[int, int] | None = None,
    say: Callable[[str], object] = warnings.warn,
) -> Generator[Result, None, None]:
    """Translate items; yield each once with None, or with the reason why it failed. A failed item writes nothing.

    Workers translate while others read and write; items of equal padded size go through the model together, at most
    `batch` (by default what suits the device), so results come in another order than the items. However many items
    there are, at most `Pace.workers` batches of pictures are held. A disk that is full is raised.

    What a stochastic model draws for an item follows from seed and the name of the item's output, not from its
    neighbours in the folder: such a model is given its pictures one by one.

    cut: the side of tiles and their overlap; pictures that are larger go one at a time, tile by tile. say is told of
    those that went so because memory did not hold them at once.
    """
    job = Job(translator, masks, guides, seed, cut, say)
    if translator.device.type == "cpu":
        keep_freed_memory()
    rest = iter(items)
    while job.alone is None and (first := next(rest, None)):
        yield from job.done([first])
    left = list(rest)
    if not left:
        return
    job.pace = pace = Pace.of(translator.device, len(left), batch=batch, in_turn=job.alone is not False)
    pool, begun = ThreadPoolExecutor(pace.workers, thread_name_prefix="translate"), deque[Future[list[Result]]]()
    try:
        for group in _grouped(((item, job.size(item)) for item in left), pace):
            begun.append(pool.submit(job.done, group))
            if len(begun) > 4 * pace.workers:  # of which nothing but the names is kept before their turn
                yield from begun.popleft().result()
        while begun:
            yield from begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(pace.cores)  # which a thread's own number has changed for threads to come


def _grouped(sized: Iterable[tuple[Item, Sides]], pace: Pace) -> Iterator[list[Item]]:
    """Gather items of equal size to batches, each given away when it is full, or the oldest of more than WINDOW."""
    waiting: dict[Sides, list[Item]] = {}
    for item, side in sized:
        group = waiting.setdefault(side, [])
        group.append(item)
        if len(group) >= pace.together(side):
            yield waiting.pop(side)
        elif sum(map(len, waiting.values())) > WINDOW:
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()


@dataclass
class Work:
    """An item under way: what was read, then what it was translated into, or the reason why it failed."""

    item: Item
    error: I2IError | None = None
    picture: images.Picture | None = None
    mask: np.ndarray | None = None
    guide: images.Picture | None = None
    inputs: Images | None = None
    """What the network is given; None where it goes by tiles."""
    guided: Path | None = None
    output: Tensor | None = None
    pixels: np.ndarray | None = None
    arrived: Any = None
    """The event after which `output` is on the host, where the device works by itself."""

    def told(self, error: I2IError) -> I2IError:
        """Return an error that names the item."""
        return type(error)(f"{self.item.source}{f' guided by {self.guided}' if self.guided else ''}: {error}")


class Job:
    """What is done with items: `read`, `translate` and `write`, each of them in several threads at once."""

    def __init__(
        self,
        translator: Translator,
        masks: Find | None,
        guides: Find | None,
        seed: int,
        cut: tuple[int, int] | None,
        say: Callable[[str], object],
    ) -> None:
        self.translator, self.masks, self.guides, self.seed = translator, masks, guides, seed
        self.cut, self.say = cut, say
        self.multiple = multiple_of(translator.method)
        self.pace = Pace.of(translator.device, 1)
        self.turn = threading.Lock()
        # Not known before one picture has gone through, unless its pictures feel each other's presence.
        self.alone: bool | None = True if _mixes(translator.method) else None

    def done(self, group: list[Item]) -> list[Result]:
        """Read, translate and write a batch."""
        return [self.write(work) for work in self.translate([self.read(item) for item in group])]

    def size(self, item: Item) -> Sides:
        """Return the padded size of a picture, from its header; None where that cannot be read."""
        try:
            height, width = images.size(item.source)
        except I2IError:  # which is told when the whole of it is read
            return None
        return -(-height // self.multiple) * self.multiple, -(-width // self.multiple) * self.multiple

    def read(self, item: Item) -> Work:
        """Read an item, its mask and its guide, and bring them into picture space on the host."""
        work, model = Work(item), self.translator
        if item.rival:
            text = f"{item.source}: would become {item.target}, and so would {item.rival}: rename one of them."
            work.error = DataError(text)
            return work
        try:
            with enough_memory(f"on reading {item.source}", "a smaller picture"):
                work.picture = model.read(item.source)
                work.guided = self.guides(item.source) if self.guides is not None else None
                work.guide = model.read_guide(work.guided) if work.guided else None
                work.mask = self._mask(item)
        except I2IError as error:
            work.error = error
            return work
        try:
            if self.cut and not fits(model, work.picture, self.cut[0]):
                return work
            with enough_memory(*scarce(work.picture)):
                work.inputs = model.prepare(work.picture, work.mask, work.guide)
                if model.device.type == "cuda":  # a copy from pinned memory is made while the device works
                    work.inputs = {name: x.pin_memory() for name, x in work.inputs.items()}
        except ResourceError:  # a smaller part of it may fit
            work.inputs = None
        except I2IError as error:
            work.error = work.told(error)
        return work

    def _mask(self, item: Item) -> np.ndarray | None:
        if self.masks is None or not self.translator.wants_mask:
            return None
        drawn = images.read(self.masks(item.source), channels=1).pixels
        return (drawn[:, :, 0] > np.iinfo(drawn.dtype).max // 2).astype(np.float32)

    def translate(self, group: list[Work]) -> list[Work]:
        """Translate what was read, all at once if that may be, else one by one."""
        good = [work for work in group if not work.error]
        with self._processors(good):
            whole = [work for work in good if work.inputs is not None]
            together = self.alone is False and len(whole) > 1 and self._together(whole)
            for work in [work for work in good if not (together and work.inputs is not None)]:
                self._alone(work)
        for work in group:
            work.inputs = work.mask = work.guide = None
        return group

    @contextlib.contextmanager
    def _processors(self, group: list[Work]) -> Iterator[None]:
        """Give the calling thread its share of the processors, or all of them in turn for a large picture."""
        pixels = sum(x.shape[2] * x.shape[3] for work in group for x in list((work.inputs or {}).values())[:1])
        tiled = any(work.inputs is None for work in group)  # of which one at a time is held, for they are large
        if self.pace.in_turn or tiled or pixels > self.pace.pixels:
            with self.turn:
                torch.set_num_threads(self.pace.cores)
                yield
        else:
            torch.set_num_threads(self.pace.threads)
            yield

    def _together(self, group: list[Work]) -> bool:
        """Translate at once; False where something is wrong with one of them, or memory runs out."""
        with contextlib.suppress(I2IError), enough_memory("on several pictures at once", "--batch 1"):
            outputs = self.translator.run([work.inputs for work in group if work.inputs is not None])
            for work, output in zip(group, outputs, strict=True):
                _bring(work, output)
            return True
        return False

    def _alone(self, work: Work) -> None:
        """Translate one, with what it draws."""
        device = self.translator.device
        torch.manual_seed(mix(self.seed, zlib.crc32(work.item.target.name.encode())))
        before = _generators(device) if self.alone is None else []
        try:
            self._whole_or_tiled(work)
        except I2IError as error:
            work.error = work.told(error)
        else:
            if self.alone is None:
                self.alone = not all(map(torch.equal, before, _generators(device)))

    def _whole_or_tiled(self, work: Work) -> None:
        """Translate one at once where that is asked for and memory holds it, else by tiles."""
        assert work.picture is not None
        asked = work.picture, work.mask, work.guide
        if work.inputs is None and self.cut and not fits(self.translator, work.picture, self.cut[0]):
            work.pixels = self.translator.by_tiles(
                *asked, self.cut, lambda text: self.say(f"{work.item.source}: {text}")
            )
            return
        try:
            with enough_memory(*scarce(work.picture)):
                _bring(work, *self.translator.run([work.inputs or self.translator.prepare(*asked)]))
                return
        except ResourceError as error:
            reason = str(error)  # of the error nothing else is kept: its frames hold what has filled the memory
        work.inputs = None
        work.pixels = self.translator.by_smaller_tiles(*asked, reason, self.say)

    def write(self, work: Work) -> Result:
        """Write an item's translation, when it is there."""
        if work.error is None:
            assert work.picture is not None
            if work.arrived is not None:
                work.arrived.synchronize()
            try:
                pixels = self._finished(work, work.picture)
            except I2IError as error:
                return work.item, work.told(error)
            try:
                _write(self.translator, work.item, work.picture, pixels)
            except UsageError as error:  # what this format cannot hold; on a full disk no further item would fit
                return work.item, error
        return work.item, work.error

    def _finished(self, work: Work, picture: images.Picture) -> np.ndarray:
        if work.pixels is not None:
            return work.pixels
        assert work.output is not None
        with enough_memory(*scarce(picture)):
            return self.translator.finish(work.output, picture)


def _bring(work: Work, output: Tensor) -> None:
    """Begin to bring an output to the host, while the device goes on to the next batch."""
    if output.device.type != "cuda":
        work.output = output.cpu()
        return
    host = torch.empty(output.shape, dtype=output.dtype, pin_memory=True)
    work.output = host.copy_(output, non_blocking=True)
    work.arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
    work.arrived.record()


def _write(translator: Translator, item: Item, picture: images.Picture, pixels: np.ndarray) -> None:
    arrays = item.target.suffix in (".tif", ".npy")
    if pixels.dtype == np.float32 and not arrays and translator.target_spec.range is None:
        pixels = np.rint(pixels * 65535).astype(np.uint16)  # as was asked for: as many as a screen or a sensor has
    palette = getattr(translator.task, "palette", None)
    alpha = None if translator.wants_mask or palette else picture.alpha
    presented = hasattr(translator.task, "present")
    if pixels.shape[2] == 4 and (presented or not arrays or images.head(item.source).fourth_is_alpha):
        pixels, alpha = pixels[:, :, :3], pixels[:, :, 3]
    alpha = alpha if pixels.shape[2] in (1, 3) else None
    if alpha is not None and alpha.dtype != pixels.dtype:
        alpha = images.converted(alpha, pixels.dtype)
    icc = (
        picture.icc
        if pixels.shape[2] == picture.pixels.shape[2] and not palette and item.target.suffix != ".npy"
        else None
    )
    images.write(item.target, pixels, alpha=alpha, icc=icc, palette=palette, overwrite=True)


def _mixes(method: nn.Module) -> bool:
    """Whether a network's output for a picture depends on the others of its batch: by their common statistics."""
    norms = (module for module in method.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    return any(norm.training or norm.running_mean is None for norm in norms)


def _generators(device: torch.device) -> list[Tensor]:
    """Return the state of the generators that a method may draw from."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    elif device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states
