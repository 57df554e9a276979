"""Label maps, instance maps and photos in the folders of pix2pixHD's and SPADE's code, of Cityscapes and of ADE20K."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from i2i import images as files
from i2i.contracts import ImageSpec
from i2i.errors import DataError, FaultyFiles, UsageError, nearest

if TYPE_CHECKING:
    from i2i.contracts import Sample

Layout = Literal["pix2pixhd", "cityscapes", "ade20k"]


@dataclass(frozen=True)
class Place:
    """Where pictures of one name are: a folder, and how the names of their files end there before the extension."""

    folder: str
    endings: tuple[str, ...] = ("",)


LAYOUTS: Mapping[str, Mapping[str, Place]] = {
    "pix2pixhd": {
        "label": Place("{split}_label", ("_gtFine_labelIds", "")),
        "instance": Place("{split}_inst", ("_gtFine_instanceIds", "")),
        "photo": Place("{split}_img", ("_leftImg8bit", "")),
    },
    "cityscapes": {
        "label": Place("gtFine/{split}", ("_gtFine_labelIds",)),
        "instance": Place("gtFine/{split}", ("_gtFine_instanceIds",)),
        "photo": Place("leftImg8bit/{split}", ("_leftImg8bit",)),
    },
    "ade20k": {"label": Place("annotations/{split}"), "photo": Place("images/{split}")},
}


class LabelFolders:
    """Pictures `label`, `instance` and `photo` of one scene, read as their data set is laid out; only those asked for.

    - "pix2pixhd", of the code of pix2pixHD and SPADE: `root/train_label`, `root/train_inst`, `root/train_img`, files of
      one name, or of Cityscapes' names with their endings. split: `train`, `test` or `val`.
    - "cityscapes", as it is handed out: `root/gtFine/train/CITY/*_gtFine_labelIds.png` (8 bits) and
      `*_gtFine_instanceIds.png` (16 bits), `root/leftImg8bit/train/CITY/*_leftImg8bit.png`; what else is there is
      passed over. split: `train`, `val` or `test`.
    - "ade20k", of its scene parsing challenge: `root/annotations/training`, whose 0 is what belongs to no class, and
      `root/images/training`. It has no instance maps. split: `training` or `validation`.

    A sample holds C × H × W arrays, uint8 or uint16; label and instance are the numbers that the files hold.
    Construction reads every header and one map of each kind, and raises one DataError that names the files without a
    mate, of another size than their mates, or that cannot be read; a file whose body is damaged raises a DataError when
    its turn comes.
    """

    def __init__(
        self, images: Mapping[str, ImageSpec], *, root: Path, layout: Layout = "pix2pixhd", split: str = "train"
    ) -> None:
        places = LAYOUTS[layout]
        for name in images:
            if name not in places:
                raise UsageError(
                    f"source 'label_folders': the layout {layout!r} has no picture {name!r}.{nearest(name, places)} "
                    f"It has: {', '.join(places)}."
                )
        self.images = dict(images)
        problems: list[str] = []
        left_out: list[tuple[str, str]] = []
        folders = {name: Path(root, places[name].folder.format(split=split)) for name in images}
        found = {name: _named(folders[name], places[name].endings, problems) for name in images}
        self.samples = _matched(folders, found, problems, left_out)
        problems += _unlike(self.samples)
        if problems:
            raise FaultyFiles("\n".join(dict.fromkeys(problems)), self, left_out)
        for name, path in self.samples[0].items():
            if self.images[name].classes is not None:
                files.read_index(path)  # colours in place of indices are mostly so in every file: one shows it

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int, /) -> Sample:
        sample = {}
        for name, path in self.samples[index].items():
            spec = self.images[name]
            indices = spec.classes is not None
            pixels = files.read_index(path)[..., None] if indices else files.read(path, channels=spec.channels).pixels
            sample[name] = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        return sample

    def describe(self, index: int, /) -> str:
        """Return the paths of a sample's files."""
        return " and ".join(map(str, self.samples[index].values()))

    def files(self, index: int, /) -> dict[str, Path]:
        """Return the files of a sample's pictures."""
        return self.samples[index]


def _named(folder: Path, endings: Sequence[str], problems: list[str]) -> dict[str, Path]:
    """Return the files of a folder that end as they should, by their path in it without that; add to `problems`."""
    try:
        paths = files.list_images(folder)
    except DataError as error:
        problems.append(str(error))
        return {}
    named: dict[str, Path] = {}
    double = []
    for path in paths:
        stem = path.relative_to(folder).with_suffix("").as_posix()
        ending = next((ending for ending in endings if stem.endswith(ending)), None)
        if ending is not None and named.setdefault(stem.removesuffix(ending), path) != path:
            double.append(str(path.relative_to(folder)))
    if not named:
        problems.append(f"{folder}: holds no picture whose name ends in {endings[0]!r}. Choose another layout.")
    problems += _problem(folder, double, "a name that another file there has, too", "Remove one of each")
    return named


def _matched(
    folders: Mapping[str, Path],
    found: Mapping[str, Mapping[str, Path]],
    problems: list[str],
    left_out: list[tuple[str, str]],
) -> list[dict[str, Path]]:
    """Return the samples whose pictures are all there; tell `problems` and `left_out` what is missing where."""
    every = list(dict.fromkeys(key for named in found.values() for key in named))
    for name, named in found.items():
        missing = [key for key in every if key not in named] if named else []
        problems += _problem(folders[name], missing, f"no {name} here", "Add what is missing, or remove its mates")
    whole = [key for key in every if all(key in named for named in found.values())]
    for named in found.values():
        for key in sorted(named.keys() - set(whole)):
            lacks = " and no ".join(name for name, others in found.items() if key not in others)
            left_out.append((str(named[key]), f"has no {lacks}"))
    return [{name: named[key] for name, named in found.items()} for key in whole]


def _unlike(samples: Sequence[Mapping[str, Path]]) -> list[str]:
    """Return the problems of files that cannot be read, and of those whose sizes differ from their mates'."""
    sizes, problems = files.sizes(path for sample in samples for path in sample.values())
    unlike = []
    for sample in samples:
        own = {name: sizes[path] for name, path in sample.items() if path in sizes}
        if len(set(own.values())) > 1:
            shown = ", ".join(f"{name} {height} x {width}" for name, (height, width) in own.items())
            unlike.append(f"{next(iter(sample.values()))} ({shown})")
    return [*problems, *_problem(None, unlike, "mates of another height x width", "Scale or crop them alike")]


def _problem(folder: Path | None, names: Sequence[str], what: str, remedy: str) -> list[str]:
    """Return no line, or one that names the first five."""
    if not names:
        return []
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    place = f"{folder}: " if folder else ""
    return [f"{place}{len(names)} picture{'s have' if len(names) > 1 else ' has'} {what}: {shown}. {remedy}."]
