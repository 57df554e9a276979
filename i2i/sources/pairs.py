"""Aligned pictures of two kinds: two folders matched by name, or files with the two side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from i2i import images as files
from i2i.contracts import ImageSpec
from i2i.errors import DataError, FaultyFiles, UsageError

if TYPE_CHECKING:
    from i2i.contracts import Sample


class Pairs:
    """Aligned pictures for a task of two images: its first from `a`, its second from `b`.

    - Two folders, `root/a` and `root/b`, whose files match by their path without the extension: `A/x/1.jpg` and
      `B/x/1.png`. `a` and `b` may go deeper (`A/train` and `B/train`), or be absolute and need no `root`.
    - Side by side: `a` and `b` are `left` and `right`, in either order, and every file of `root` holds the two halves
      (facades: `a = "right"`, labels, to `b = "left"`, photo). A `root` that has images directly in it and neither a
      folder `A` nor a folder `B` is read so too, `a` from the left and `b` from the right, unless you name others.

    A sample holds C × H × W arrays, uint8, uint16 or float32 as the file is, or float32 where the task states a
    range; a name with classes is read as indices. Construction reads every header (10,000 local pairs in 2 to 6 s) and
    one class map, and raises one FaultyFiles that names the files without a mate, of another size than their mate, of
    odd width, of other channels, bits or values than the task says, or that cannot be read; a file whose body is
    damaged raises a DataError when its turn comes.
    """

    def __init__(
        self, images: Mapping[str, ImageSpec], *, root: Path | None = None, a: str = "A", b: str = "B"
    ) -> None:
        if len(images) != 2:
            raise UsageError(
                f"source 'pairs' gives two pictures, and the task asks for {len(images)} ({', '.join(images)}). "
                "Use another source, such as 'folder' for a task that makes its own pairs."
            )
        if a == b:
            raise UsageError(f"source 'pairs': a and b are both {a!r}. Name two folders, or 'left' and 'right'.")
        if root is None and not (Path(a).is_absolute() and Path(b).is_absolute()):
            raise UsageError(f"source 'pairs': give root, the folder of {a!r} and {b!r}, or absolute paths as a and b.")
        self.images = dict(images)
        self.sides = _sides(root, a, b)
        base = Path() if root is None else Path(root)
        left_out: list[tuple[str, str]] = []
        specs = (*images.values(),)
        self.pairs, problems = (
            _matched(base / a, base / b, specs, left_out) if self.sides is None else _halved(base, *specs)
        )
        if self.pairs and not problems:
            problems = _unlike_indices(self.pairs[0], specs)
        if problems:
            raise FaultyFiles("\n".join(problems), self, left_out)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int, /) -> Sample:
        decode = cache(_decode)  # a side-by-side file is decoded once for both, where both are of one kind
        sample = {}
        for i, (name, spec) in enumerate(self.images.items()):
            pixels = decode(self.pairs[index][i], spec).pixels
            if self.sides is not None:
                middle = pixels.shape[1] // 2
                pixels = pixels[:, :middle] if self.sides[i] == "left" else pixels[:, middle:]
            sample[name] = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        return sample

    def describe(self, index: int, /) -> str:
        """Return the path or paths of a sample's files."""
        return " and ".join(dict.fromkeys(map(str, self.pairs[index])))

    def files(self, index: int, /) -> dict[str, Path]:
        """Return the file of each picture of a sample: of halves, twice the same."""
        return dict(zip(self.images, self.pairs[index], strict=True))


def _decode(path: Path, spec: ImageSpec) -> files.Picture:
    return files.Picture(files.read_index(path)[..., None]) if spec.classes is not None else files.read(path, spec=spec)


def _sides(root: Path | None, a: str, b: str) -> tuple[str, str] | None:
    """Return which half of a side-by-side file each picture is, or None for the layout of two folders."""
    if root is None or Path(root, a).is_dir() or Path(root, b).is_dir():
        return None
    if {a, b} == {"left", "right"}:
        return a, b
    if (a, b) != ("A", "B") or not Path(root).is_dir():
        return None
    direct = any(path.suffix.lower() in files.EXTENSIONS and path.is_file() for path in Path(root).iterdir())
    return ("left", "right") if direct else None


def _halved(root: Path, one: ImageSpec, two: ImageSpec) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Return each side-by-side file as its own mate, and the problems."""
    paths = files.list_images(root)
    sizes, unreadable = files.sizes(paths, one)
    if one != two and not unreadable:
        unreadable = files.sizes(paths, two)[1]
    odd = [f"{path.relative_to(root)} ({size[1]})" for path, size in sizes.items() if size[1] % 2]
    problems = _problem(root, odd, "an odd width, and so no two halves", "Cut them, or name two folders as a and b")
    return [(path, path) for path in paths], problems + unreadable


def _unlike_indices(paths: Sequence[Path], specs: Iterable[ImageSpec]) -> list[str]:
    """Return why the files of a pair are no class maps where they should be."""
    problems = []
    for path, spec in zip(paths, specs, strict=True):
        if spec.classes is not None:
            try:
                files.read_index(path)  # colours in place of indices are mostly so in every file: one shows it
            except DataError as error:
                problems.append(str(error))
    return problems


def _matched(
    a: Path, b: Path, specs: tuple[ImageSpec, ...], left_out: list[tuple[str, str]]
) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Match the files of two folders by relative path without extension; return the pairs and the problems.

    left_out: gains every file that is in no pair, and why.
    """
    (stems_a, problems_a), (stems_b, problems_b) = _stems(a, left_out), _stems(b, left_out)
    problems = problems_a + problems_b
    for folder, own, other, mates in ((a, stems_a, b, stems_b), (b, stems_b, a, stems_a)):
        lonely = [path for stem, path in own.items() if stem not in mates]
        left_out += [(str(path), f"has no mate in {other}") for path in lonely]
        names = [str(path.relative_to(folder)) for path in lonely]
        problems += _problem(folder, names, f"no mate in {other}", "Add mates of the same name, or remove them")
    pairs = [(path, stems_b[stem]) for stem, path in stems_a.items() if stem in stems_b]
    sizes, unreadable = files.sizes(stems_a.values(), specs[0])
    others, unreadable_b = files.sizes(stems_b.values(), specs[1])
    sizes |= others
    unlike = [
        f"{one.relative_to(a)} ({sizes[one][0]} x {sizes[one][1]}, not {sizes[two][0]} x {sizes[two][1]})"
        for one, two in pairs
        if one in sizes and two in sizes and sizes[one] != sizes[two]
    ]
    problems += _problem(a, unlike, f"another height x width than the mate in {b}", "Scale or crop them alike")
    return pairs, problems + unreadable + unreadable_b


def _stems(folder: Path, left_out: list[tuple[str, str]]) -> tuple[dict[Path, Path], list[str]]:
    """Return a folder's files by relative path without extension, and the problems."""
    stems: dict[Path, Path] = {}
    double = []
    for path in files.list_images(folder):
        relative = path.relative_to(folder)
        if stems.setdefault(relative.with_suffix(""), path) != path:
            double.append(str(relative))
            left_out.append(
                (str(path), f"has the name of {stems[relative.with_suffix('')].name} but for its extension")
            )
    return stems, _problem(folder, double, "a name that another file has with another extension", "Remove one of each")


def _problem(folder: Path, names: Sequence[str], what: str, remedy: str) -> list[str]:
    """Return no line, or one that names the first five files."""
    if not names:
        return []
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return [f"{folder}: {len(names)} picture{'s have' if len(names) > 1 else ' has'} {what}: {shown}. {remedy}."]
