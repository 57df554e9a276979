"""Two folders of pictures that are no pairs, in the layout of CycleGAN's data sets or as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from i2i import images as files
from i2i.contracts import ImageSpec
from i2i.errors import DataError, FaultyFiles, UsageError, nearest

if TYPE_CHECKING:
    from i2i.contracts import Sample


class UnpairedFolders:
    """Pictures of two folders, for a task of two pictures: its first from the folder `a`, its second from `b`.

    - `root` alone: its folders `trainA` and `trainB`, as CycleGAN's data sets are laid out; split = "test" reads
      `testA` and `testB`, and so on.
    - `a` and `b`: two folders, below `root` where it is given.

    An epoch shows every picture of the larger set once, and mates of the other drawn by chance. A sample holds C × H ×
    W arrays, uint8, uint16 or float32 as the files are; sizes may differ, also within a sample. Construction reads
    every header (10,000 local files in 1 to 3 s) and raises one DataError that names what is missing or cannot be read;
    a file whose body is damaged raises a DataError when its turn comes.
    """

    paired = False

    def __init__(
        self,
        images: Mapping[str, ImageSpec],
        *,
        root: Path | None = None,
        split: str = "train",
        a: Path | None = None,
        b: Path | None = None,
    ) -> None:
        _check_task(images)
        self.images = dict(images)
        self.folders = _folders(root, split, a, b)
        self.paths: list[list[Path]] = []
        problems: list[str] = []
        for folder, spec in zip(self.folders, images.values(), strict=True):
            try:
                self.paths.append(files.list_images(folder))
                problems += files.sizes(self.paths[-1], spec)[1]
            except DataError as error:
                problems.append(str(error))
        if len(self.paths) < 2:
            raise DataError("\n".join(problems))

        self.anchor = 0 if len(self.paths[0]) >= len(self.paths[1]) else 1
        if problems:
            raise FaultyFiles("\n".join(problems), self)

    def __len__(self) -> int:
        return len(self.paths[self.anchor])

    def __getitem__(self, index: int, /) -> Sample:
        return self._read(index, index)

    def draw(self, index: int, seed: int, /) -> Sample:
        """Return picture `index` of the larger set with one of the other that the seed chooses."""
        return self._read(index, int(np.random.default_rng((index, seed)).integers(2**63)))

    def _read(self, index: int, mate: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        sample = {}
        for side, (name, spec) in enumerate(self.images.items()):
            paths = self.paths[side]
            path = paths[(index if side == self.anchor else mate) % len(paths)]
            sample[name] = np.array(files.read(path, spec=spec).pixels.transpose(2, 0, 1), order="C")
        return sample

    def describe(self, index: int, /) -> str:
        """Return the path of a sample's picture in the larger set, and where its mate is from."""
        return f"{self.paths[self.anchor][index]} with a mate from {self.folders[1 - self.anchor]}"

    def files(self, index: int, /) -> dict[str, Path]:
        """Return the files of `source[index]`, whose mates are taken in turn."""
        return {name: paths[index % len(paths)] for name, paths in zip(self.images, self.paths, strict=True)}


def _check_task(images: Mapping[str, ImageSpec]) -> None:
    """Raise UsageError for a task that two folders of pictures cannot serve."""
    if len(images) != 2:
        raise UsageError(
            f"source 'unpaired' gives two pictures, and the task asks for {len(images)} ({', '.join(images)}). "
            "Use the task 'unpaired', or another source."
        )
    if classes := [name for name, spec in images.items() if spec.classes is not None]:
        raise UsageError(
            f"source 'unpaired': the task wants class indices as {classes[0]!r}, and the folders hold pictures. "
            "Use the task 'unpaired'."
        )


def _folders(root: Path | None, split: str, a: Path | None, b: Path | None) -> tuple[Path, Path]:
    """Return the two folders; UsageError where they are not said, DataError where there is no such split."""
    base = Path() if root is None else Path(root)
    if a is not None and b is not None:
        if base / a == base / b:
            raise UsageError(f"source 'unpaired': a and b are both {str(a)!r}. Name two folders.")
        return base / a, base / b
    if a is not None or b is not None:
        raise UsageError("source 'unpaired': give both a and b, the folders of the two sets, or root alone.")
    if root is None:
        raise UsageError("source 'unpaired': give root, a folder with trainA and trainB in it, or two folders a and b.")
    two = base / f"{split}A", base / f"{split}B"
    if base.is_dir() and not any(folder.is_dir() for folder in two):
        splits = sorted(path.name[:-1] for path in base.glob("*A") if (base / f"{path.name[:-1]}B").is_dir())
        there = f"It has: {', '.join(splits)}." if splits else "Name its two folders as a and b."
        raise DataError(
            f"{root}: has no split {split!r}: neither {split}A nor {split}B.{nearest(split, splits)} {there}"
        )
    return two
