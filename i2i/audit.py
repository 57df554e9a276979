"""The audit of a recipe's pictures before training: what is missing, broken, shifted, constant or there twice."""

from __future__ import annotations

import hashlib
import os
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from torch.utils.data import Dataset

from i2i import images, shifts
from i2i.build import name_of
from i2i.compose import check_pairs, make_samples, make_task
from i2i.contracts import ImageSpec, Sample, Task
from i2i.data import Samples, in_order
from i2i.errors import FaultyFiles, I2IError
from i2i.recipe import Data, Recipe
from i2i.shifts import Plane, Shift

KINDS = {
    "no mate": "a file that belongs to no pair",
    "unreadable": "a file that cannot be decoded",
    "size": "pictures of a sample differ in height or width, or samples of a batch do",
    "values": "channels, bits or values that the task does not take",
    "classes": "class indices that the task does not have",
    "depth": "pictures of different bit depths, or that use a small part of theirs",
    "duplicate": "the same picture twice",
    "near duplicate": "nearly the same picture twice",
    "shift": "pictures of a pair that do not lie on each other",
    "constant": "a picture that shows next to nothing",
}
"""What is looked for, the gravest first."""

FLAT = 0.005
"""Standard deviation, of a range of 1, under which a picture shows next to nothing: 1.3 of 255 grey levels."""
ALIKE = 0.9
"""Correlation of two fingerprints from which pictures are near duplicates.

Measured: of 951 photos (facades, BSDS300, LOL) no two of different scenes come above 0.78, and no copy through JPEG of
quality 30, less contrast, gamma 0.6 or half the size below 0.96. Of a 64-bit pHash both have 56 to 60 equal bits.
A copy that was cut by 2 % on each side, or mirrored, is not found.
"""
THUMB = 32
BLOCK = 1024
CELL = 240
PROCESSES = 200
"""Samples from which worker processes are worth their start."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    kind: of KINDS. split: "source" or "validation". sample: its index, None for what concerns many. names: which of
    its pictures. files: theirs, or what the source calls the sample. worst: the greater, the worse among its kind.
    other: (split, index) of what it repeats. shift: pixels (right, down) that the second picture lies off the first.
    """

    kind: str
    split: str
    text: str
    sample: int | None = None
    names: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    worst: float = 0.0
    other: tuple[str, int] | None = None
    shift: tuple[float, float] | None = None


@dataclass
class Audit:
    """What was looked at, and what was found: the gravest kind first, in each the worst first.

    notes: what could not be looked at, and why.
    """

    findings: list[Finding]
    notes: list[str]
    splits: dict[str, Samples] = field(repr=False)
    task: Task = field(repr=False)

    def by_kind(self) -> dict[str, list[Finding]]:
        """Return the findings of every kind that has some."""
        found = {kind: [finding for finding in self.findings if finding.kind == kind] for kind in KINDS}
        return {kind: those for kind, those in found.items() if those}


Follow = Callable[[str, Iterator[Any], int], Iterable[Any]]
"""Passes what is seen of a split through, to show how far the audit is: (split, what is seen, how much there will be).
"""


def audit(recipe: Recipe, follow: Follow = lambda split, seen, count: seen) -> Audit:
    """Look at every sample of a recipe's source and held-out pictures as the files hold them, before any preparation.

    UsageError for a recipe that cannot be, DataError for a folder that is not there. Files that the source itself
    finds to be unfit are listed, where it tells which they are with FaultyFiles, and the rest is looked at.
    """
    task = make_task(recipe)
    looked = []
    for split, data in (("source", recipe.source), ("validation", recipe.validation)):
        if data is not None:
            samples, left_out = _samples(data, task)
            lost = [Finding("no mate", split, what, files=(file,)) for file, what in left_out]
            looked.append(_Split(split, samples, name_of(data.make), lost))
    splits = {one.name: one.samples for one in looked}
    check_pairs(recipe, task, splits["source"], splits.get("validation"))
    for one in looked:
        one.look(follow, recipe.train.workers)
    findings = [finding for one in looked for finding in one.found()]
    if not recipe.source.prepare and recipe.train.batch > 1:
        findings += looked[0].sizes_differ()
    findings += _depths(looked)
    findings += _repeated(looked, task)
    order = list(KINDS)
    findings.sort(key=lambda finding: (order.index(finding.kind), -finding.worst, finding.split, finding.sample or 0))
    return Audit(findings, [note for one in looked for note in one.notes()], splits, task)


def _samples(data: Data, task: Task) -> tuple[Samples, Sequence[tuple[str, str]]]:
    """Return a source's samples without their preparation, and (file, what is wrong) of what is none of them."""
    try:
        return Samples(make_samples(data, task).source, task.images), ()
    except FaultyFiles as error:
        if not len(error.rest):
            raise
        return Samples(error.rest, task.images), error.left_out


def _files(samples: Samples, index: int) -> dict[str, Path]:
    """Return the file of each picture of a sample, where the source tells."""
    files = getattr(samples.source, "files", None)
    return dict(files(index)) if files else {}


# ---- one sample, in a worker process ----


@dataclass(frozen=True)
class Fault:
    """What is wrong with a sample by itself: as a finding, without its place."""

    kind: str
    names: tuple[str, ...]
    text: str
    worst: float = 0.0


@dataclass
class Seen:
    """What is kept of a sample when its pictures are gone, by their names: some 9 kB each.

    digests: of all pixels. prints: of `fingerprint`. stored: data type and greatest value. sizes: (H, W). common: of
    two pictures, how well they lie on each other around no shift. apart: of two, the shift that they may have.
    """

    index: int
    faults: list[Fault] = field(default_factory=list)
    digests: dict[str, bytes] = field(default_factory=dict)
    prints: dict[str, Plane] = field(default_factory=dict)
    stored: dict[str, tuple[str, int]] = field(default_factory=dict)
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    common: dict[tuple[str, str], Plane] = field(default_factory=dict)
    apart: dict[tuple[str, str], Shift] = field(default_factory=dict)


class Look(Dataset[Any]):
    """What is seen of a sample, by (index, names of its pictures that are to be looked at); each is decoded once."""

    def __init__(self, samples: Samples) -> None:
        self.samples, self.specs = samples, samples.images

    def __getitem__(self, key: tuple[int, tuple[str, ...]]) -> Seen:
        """Return what is seen of a sample."""
        index, names = key
        seen = Seen(index)
        sample = self._read(seen, names)
        planes = {name: np.asarray(sample[name].mean(axis=0, dtype=np.float32)) for name in names if name in sample}
        for name, plane in planes.items():
            picture, spec = sample[name], self.specs[name]
            seen.digests[name] = hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=16).digest()
            seen.prints[name], seen.sizes[name] = fingerprint(plane), plane.shape
            self._flat(seen, name, picture)
            if spec.classes is None and picture.dtype.kind in "ui":
                seen.stored[name] = (picture.dtype.str, int(picture.max()))
        if self.samples.paired:
            self._together(seen, planes)
            self._own_mates(seen)
        return seen

    def _read(self, seen: Seen, names: tuple[str, ...]) -> Sample:
        """Return those pictures of a sample that can be looked at."""
        try:
            sample = {name: np.asarray(picture) for name, picture in self.samples.source[seen.index].items()}
        except Exception as error:  # a stranger's source may raise anything
            return self._one_by_one(seen, names, error)
        try:
            self.samples.check(sample, seen.index)
        except I2IError as error:
            over = tuple(name for name in names if name in sample and _over(sample[name], self.specs[name]))
            seen.faults.append(Fault("classes" if over else "values", over or names, self._said(seen.index, error)))
        fit = [name for name in names if name in sample and sample[name].ndim == 3 and sample[name].size]
        return {name: sample[name] for name in fit if np.isfinite(sample[name]).all()}

    def _one_by_one(self, seen: Seen, names: tuple[str, ...], error: Exception) -> Sample:
        """Find which of a sample's files are broken; of an unpaired sample, look at the others."""
        files = {name: path for name, path in _files(self.samples, seen.index).items() if name in names}
        broken, whole = dict.fromkeys(files.values(), ""), {}
        for name, path in files.items():
            try:
                whole[name] = images.read(path, channels=self.specs[name].channels).pixels.transpose(2, 0, 1)
            except I2IError as own:
                if not broken[path]:  # halves are of one file
                    seen.faults.append(Fault("unreadable", (name,), self._said(seen.index, own)))
                broken[path] = str(own)
        if not any(broken.values()) and len(names) == len(self.specs):
            named = tuple(name for name, path in files.items() if str(error).startswith(f"{path}: ")) or names
            seen.faults.append(Fault("values" if files else "unreadable", named, self._said(seen.index, error)))
        return {} if self.samples.paired else whole

    def _said(self, index: int, error: Exception) -> str:
        """Return an error's text without the files, which have a column of their own."""
        said = str(error) if isinstance(error, I2IError) else f"the source failed: {type(error).__name__}: {error}"
        for file in (self.samples.describe(index), *map(str, _files(self.samples, index).values())):
            said = said.removeprefix(f"{file}: ")
        return said

    def _flat(self, seen: Seen, name: str, picture: np.ndarray) -> None:
        if self.specs[name].classes is not None:
            if (picture == picture.flat[0]).all():
                seen.faults.append(Fault("constant", (name,), f"{name} holds one class, {picture.flat[0]}", 1))
            return
        spread = float(picture.std(axis=(1, 2), dtype=np.float32).max()) / _peak(picture.dtype)
        if spread < FLAT:
            text = f"{name} is nearly constant: its standard deviation is {spread:.2%} of its range"
            seen.faults.append(Fault("constant", (name,), text, -spread))

    def _own_mates(self, seen: Seen) -> None:
        for one, other in combinations(seen.digests, 2):
            if seen.digests[one] == seen.digests[other] and seen.sizes[one] == seen.sizes[other]:
                seen.faults.append(Fault("duplicate", (one, other), f"{other} is {one} itself"))

    def _together(self, seen: Seen, planes: Mapping[str, Plane]) -> None:
        """Compare the pictures of one scene in size and place."""
        if len(set(seen.sizes.values())) > 1:
            told = ", ".join(f"{name} {width}x{height}" for name, (height, width) in seen.sizes.items())
            seen.faults.append(Fault("size", tuple(planes), f"the pictures differ in size: {told}"))
            return
        edges = {n: shifts.edges(plane, classes=self.specs[n].classes is not None) for n, plane in planes.items()}
        for one, other in combinations(edges, 2):
            if (near := shifts.correlated(edges[one], edges[other])) is None:
                continue
            if (middle := shifts.around_zero(near)) is not None:
                seen.common[one, other] = middle.copy()
            if shift := shifts.apart(near, edges[one], edges[other]):
                seen.apart[one, other] = shift


def _over(picture: np.ndarray, spec: ImageSpec) -> bool:
    """Whether a class map has an index that is neither a class nor void."""
    return spec.classes is not None and bool(((picture >= spec.classes) & (picture != spec.void)).any())


# ---- all samples of a split ----


@dataclass
class _Split:
    """What is seen of the samples of one split."""

    name: str
    samples: Samples
    source: str
    lost: list[Finding]
    seen: list[Seen] = field(default_factory=list)

    def look(self, follow: Follow, workers: int | str) -> None:
        """Look at every sample, and in an unpaired source at every file once, though it is the mate of many."""
        names = tuple(self.samples.images)
        keys = [(index, names) for index in range(len(self.samples))]
        if not self.samples.paired and self.has_files:
            known: set[tuple[str, Path]] = set()
            keys = []
            for index in range(len(self.samples)):
                new = [place for place in _files(self.samples, index).items() if place not in known]
                known.update(new)
                keys.append((index, tuple(name for name, _ in new)))
        if workers == "auto":
            workers = min(4, os.cpu_count() or 1) if len(keys) >= PROCESSES else 0
        seen = in_order(Look(self.samples), keys, workers=int(workers))
        self.seen = list(follow(self.name, seen, len(keys)))

    @property
    def has_files(self) -> bool:
        """Whether the source tells which files its samples are of."""
        return hasattr(self.samples.source, "files")

    @property
    def mates_recur(self) -> bool:
        """Whether a picture may be given with several samples without its file being the same twice."""
        return not self.samples.paired and not self.has_files

    def notes(self) -> Iterator[str]:
        """Yield what could not be looked at."""
        if not self.has_files:
            yield f"[{self.name}] the source {self.source!r} names no files: only what it gives was looked at."
        for name in self.samples.images if self.samples.paired and len(self.samples.images) > 1 else ():
            yield from self._with_others(name)

    def _with_others(self, name: str) -> Iterator[str]:
        """Yield that pictures are there with several mates: usual where one scene has many, and else an error."""
        alike: dict[object, list[Seen]] = {}
        for seen in self.seen:
            if _shows(seen, name):
                alike.setdefault((seen.digests[name], seen.sizes[name]), []).append(seen)
        many = [group for group in alike.values() if len({tuple(sorted(one.digests.items())) for one in group}) > 1]
        if many:
            first = " and ".join(dict.fromkeys(file for one in many[0][:2] for file in self.files(one.index, (name,))))
            text = f"{len(many)} pictures {name!r} are there more than once, with other mates: {first}, for one."
            yield f"[{self.name}] {text} A network answers one input with the mean of its targets."

    def files(self, index: int, names: Sequence[str]) -> tuple[str, ...]:
        """Return the files of some pictures of a sample, or what the source calls it."""
        files = _files(self.samples, index)
        return tuple(dict.fromkeys(str(files[n]) for n in names if n in files)) or (self.samples.describe(index),)

    def found(self) -> Iterator[Finding]:
        """Yield what is wrong with the samples one by one, and how pairs are shifted."""
        yield from self.lost
        for seen in self.seen:
            for fault in seen.faults:
                files = self.files(seen.index, fault.names)
                yield Finding(fault.kind, self.name, fault.text, seen.index, fault.names, files, fault.worst)
        for two in combinations(self.samples.images, 2):
            yield from self._shifted(two)

    def _shifted(self, two: tuple[str, str]) -> Iterator[Finding]:
        together = shifts.of_all([seen.common[two] for seen in self.seen if two in seen.common])
        found = [(seen, seen.apart[two]) for seen in self.seen if two in seen.apart]
        words = f"{two[1]} lies {{}} of {two[0]} ({{:.0f}} standard deviations clear)"
        if shifts.all_apart(together):
            text = "over all samples, " + words.format(together, together.height)
            yield Finding("shift", self.name, text, names=two, worst=1e6, shift=(together.right, together.down))
        for seen, shift in found:
            if shifts.sure(shift, together):
                text, files = words.format(shift, shift.height), self.files(seen.index, two)
                place = (self.name, text, seen.index, two, files, shift.height)
                yield Finding("shift", *place, shift=(shift.right, shift.down))

    def sizes_differ(self) -> Iterator[Finding]:
        """Yield that samples cannot be stacked to a batch; mates that differ in size are told by themselves."""
        names = tuple(self.samples.images)
        for group in [names] if self.samples.paired else [(name,) for name in names]:
            first: dict[tuple[int, ...], int] = {}
            sizes: Counter[tuple[int, ...]] = Counter()
            for seen in self.seen:
                own = {seen.sizes.get(name, ()) for name in group}
                if len(own) == 1 and own != {()}:
                    (size,) = own
                    first.setdefault(size, seen.index)
                    sizes[size] += 1
            if len(sizes) > 1:
                shown = ", ".join(f"{size[1]}x{size[0]} ({count})" for size, count in sizes.most_common(3))
                rarest = sizes.most_common()[-1][0]
                text = f"samples of {len(sizes)} sizes, and no [[source.prepare]] that makes them equal: {shown}"
                yield Finding("size", self.name, text, first[rarest], group, self.files(first[rarest], group))

    @cached_property
    def usual(self) -> dict[str, np.dtype[Any]]:
        """The data type that most pictures of a name have."""
        kinds = {
            name: Counter(s.stored[name][0] for s in self.seen if name in s.stored) for name in self.samples.images
        }
        return {name: np.dtype(counted.most_common(1)[0][0]) for name, counted in kinds.items() if counted}


def _bits(dtype: np.dtype[Any]) -> int:
    return 8 * dtype.itemsize


def _depths(splits: Sequence[_Split]) -> Iterator[Finding]:
    """Yield pictures of other bits than most, and bits that no picture uses."""
    usual = splits[0].usual
    for split in splits:
        for name, most in split.usual.items():
            used = 0
            for seen in split.seen:
                own, greatest = seen.stored.get(name, (most.str, 0))
                used = max(used, greatest if own == most.str else 0)
                if own != most.str:
                    text = f"{name} has {_bits(np.dtype(own))} bits, most others {_bits(most)}"
                    yield Finding("depth", split.name, text, seen.index, (name,), split.files(seen.index, (name,)))
            if used < _peak(most) / 4:
                bits = max(1, used.bit_length())
                text = (
                    f"{name} uses {bits} of its {_bits(most)} bits: no value of any picture is over {used:,}. "
                    f"If that is their depth, state range = [0, {2**bits - 1}] of the task"
                )
                yield Finding("depth", split.name, text, names=(name,), worst=_bits(most) - bits)
            if name in usual and most != usual[name]:
                text = f"{name} has {_bits(most)} bits, and in training {_bits(usual[name])}"
                yield Finding("depth", split.name, text, names=(name,))
    if len(set(usual.values())) > 1:
        told = ", ".join(f"{name} {_bits(most)}" for name, most in usual.items())
        yield Finding("depth", splits[0].name, f"the pictures differ in bits: {told}", names=tuple(usual))


# ---- what is there twice ----

Place = tuple[_Split, Seen]


def _repeated(splits: Sequence[_Split], task: Task) -> Iterator[Finding]:
    """Yield what is there twice: whole samples of a paired source, single pictures of an unpaired one.

    Of pairs, a held-out picture that is trained on with another mate is one as well. Within a split that is usual: one
    scene by day has many nights.
    """
    names = tuple(task.images)
    if not all(split.samples.paired for split in splits):
        for name in names:
            yield from _twice(splits, (name,))
        return
    whole = list(_twice(splits, names))
    yield from whole
    told = {finding.sample for finding in whole if finding.split != splits[0].name}
    for name in names if len(splits) > 1 and len(names) > 1 else ():
        trained = {seen.digests[name]: seen for seen in splits[0].seen if _shows(seen, name)}
        for seen in splits[1].seen:
            first = trained.get(seen.digests.get(name, b""))
            if first and seen.index not in told:
                yield _twin("duplicate", (splits[1], seen), (splits[0], first), (name,), "equals", 1.0)


def _shows(seen: Seen, name: str) -> bool:
    """Whether a picture was seen, and has something on it by which it is known."""
    return name in seen.prints and not seen.prints[name][-1]


def _twice(splits: Sequence[_Split], names: tuple[str, ...]) -> Iterator[Finding]:
    """Yield every sample that an earlier one equals in all the named pictures, or nearly: of those the likest.

    A held-out sample is compared with those to train on first: what is learnt by heart is measured as if understood.
    """
    every = [(split, seen) for split in splits for seen in split.seen if all(name in seen.prints for name in names)]
    places = [(split, seen) for split, seen in every if any(_shows(seen, name) for name in names)]
    train = sum(split is splits[0] for split, _ in places)
    known: dict[tuple[object, ...], int] = {}
    closest = likest([seen.prints for _, seen in places], names, train)
    for at, (split, seen) in enumerate(places):
        key = tuple((seen.digests[name], seen.sizes[name]) for name in names)
        first = known.setdefault(key, at)
        if first != at and split.mates_recur and places[first][0] is split:
            continue
        if first != at:
            yield _twin("duplicate", (split, seen), places[first], names, "equals", 1.0)
        elif at in closest:
            before, alike = closest[at]
            yield _twin("near duplicate", (split, seen), places[before], names, f"is {alike:.1%} like", alike)


def _twin(kind: str, own: Place, first: Place, names: tuple[str, ...], words: str, alike: float) -> Finding:
    (split, seen), (first_split, first_seen) = own, first
    leak = first_split is not split
    files = " and ".join(first_split.files(first_seen.index, names))
    text = f"{words} {first_split.name} {first_seen.index}: {files}{' (held out, and trained on)' if leak else ''}"
    if len(names) < len(split.samples.images):
        text = f"{names[0]} {text}"
    place = (seen.index, names, split.files(seen.index, names), alike + leak, (first_split.name, first_seen.index))
    return Finding(kind, split.name, text, *place)


def likest(prints: Sequence[Mapping[str, Plane]], names: Sequence[str], train: int) -> dict[int, tuple[int, float]]:
    """Return for every sample the earlier one that is most like it, and how much, from ALIKE on.

    The likeness of two samples is the least of their pictures'. Every two are compared, as a product of matrices.
    """
    found: dict[int, tuple[int, float]] = {}
    stacked = [np.stack([one[name] for one in prints]) for name in names] if prints else []
    for low in range(0, len(prints), BLOCK):
        high = min(low + BLOCK, len(prints))
        alike = np.minimum.reduce([matrix[low:high] @ matrix[:high].T for matrix in stacked])
        alike[np.arange(high)[None] >= np.arange(low, high)[:, None]] = 0
        for row in np.nonzero(alike.max(axis=1) >= ALIKE)[0]:
            at = low + int(row)
            leaks = alike[row, :train] if at >= train else alike[row]
            best = leaks if leaks.max(initial=0) >= ALIKE else alike[row]
            found[at] = (int(best.argmax()), float(min(1, best.max())))
    return found


# ---- the sheet ----


def sheet(found: Audit, rows: int) -> npt.NDArray[np.uint8] | None:
    """Return the worst findings as a contact sheet, H × W × 3: what is wrong, the pictures, and what they repeat.

    The kinds take turns, so that a thousand duplicates do not hide one shift. A pair has its edges laid over each
    other as well, red and green: yellow where they agree. None where nothing found can be shown.
    """
    palette = getattr(found.task, "palette", None)
    turns = (finding for round in zip_longest(*found.by_kind().values()) for finding in round if finding)
    shown: list[list[npt.NDArray[np.uint8]]] = []
    for finding in turns:
        if len(shown) < rows and (finding.sample is not None or finding.kind == "no mate"):
            shown += _row(found, finding, palette)
    return images.contact_sheet(shown, cell=CELL) if shown else None


def _row(
    found: Audit, finding: Finding, palette: Sequence[Sequence[int]] | None
) -> Iterator[list[npt.NDArray[np.uint8]]]:
    """Yield the row of a finding, if any of its pictures can be read."""
    place = finding.split if finding.sample is None else f"{finding.split} {finding.sample}"
    row = [_words(f"{finding.kind}: {place}\n{finding.text}\n{' and '.join(finding.files)}")]
    if finding.sample is None or finding.kind == "unreadable":
        row += [_of_file(file) for file in finding.files]
        yield row
        return
    for split, index in [(finding.split, finding.sample), *([finding.other] if finding.other else [])]:
        samples = found.splits[split]
        try:
            pictures = {name: np.asarray(samples.source[index][name]) for name in finding.names}
            row += [_seen(picture, samples.images[name], palette) for name, picture in pictures.items()]
        except Exception:  # which the finding tells
            return
        if finding.kind == "shift":
            row.append(_laid_over(pictures, samples.images))
    yield row


def _of_file(file: str) -> npt.NDArray[np.uint8]:
    """Return a picture file to look at, or that there is nothing to look at."""
    try:
        pixels = images.read(file).pixels
    except I2IError:
        return _words("(cannot be shown)")
    return _seen(pixels.transpose(2, 0, 1), ImageSpec(pixels.shape[2]), None)


def _laid_over(pictures: Mapping[str, np.ndarray], specs: Mapping[str, ImageSpec]) -> npt.NDArray[np.uint8]:
    """Return the edges of the first picture in red and those of the second in green."""
    lit = []
    for name, picture in pictures.items():
        edges = shifts.edges(picture.mean(axis=0, dtype=np.float32), classes=specs[name].classes is not None)
        lit.append(np.minimum(255, 128 * edges / (np.percentile(edges, 95) + 1e-6)).astype(np.uint8))
    return np.dstack([*lit, np.zeros_like(lit[0])])


def _seen(picture: np.ndarray, spec: ImageSpec, palette: Sequence[Sequence[int]] | None) -> npt.NDArray[np.uint8]:
    """Return a picture of a sample to look at, H × W × 3 uint8; classes that the task does not have are magenta."""
    if spec.classes is not None:
        colours = [*(palette or ())][: spec.classes] or [(i, i, i) for i in np.linspace(0, 255, spec.classes)]
        table = np.full((65536, 3), (255, 0, 255), np.uint8)
        table[: len(colours)] = np.asarray(colours)
        if spec.void is not None:
            table[spec.void] = 128
        return np.asarray(table[picture[0]])
    shown = (picture[:3] if len(picture) >= 3 else picture[:1]).astype(np.float32) / _peak(picture.dtype)
    grown = np.rint(shown.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(np.broadcast_to(grown, (*grown.shape[:2], 3)))


def _words(text: str) -> npt.NDArray[np.uint8]:
    """Return a cell of text."""
    cell = Image.new("RGB", (CELL, CELL), "white")
    font = ImageFont.load_default(13)
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, 32, break_on_hyphens=False)]
    ImageDraw.Draw(cell).multiline_text((2, 2), "\n".join(lines), "black", font)
    return np.array(cell)


# ---- what is measured of a picture ----


def _peak(dtype: np.dtype[Any]) -> float:
    return float(np.iinfo(dtype).max) if dtype.kind in "ui" else 1.0


def fingerprint(plane: Plane) -> Plane:
    """Return 32 × 32 pixels less their surroundings, of mean 0 and length 1; the last value is 1 where nothing is left.

    The product of two is their correlation: brightness and contrast have no part in it, nor has what all pictures of a
    kind share, such as a bright sky above a dark street.
    """
    small = cv2.resize(plane, (THUMB, THUMB), interpolation=cv2.INTER_AREA)
    small = small - cv2.GaussianBlur(small, (0, 0), 2)
    small -= small.mean()
    length = float(np.linalg.norm(small))
    flat = length <= 1e-3 * max(1e-6, float(plane.max()))
    kept = np.zeros(THUMB * THUMB + 1, np.float32)
    kept[:-1] = 0 if flat else small.ravel() / length
    kept[-1] = flat
    return kept
