"""A folder of images, for tasks of one picture, which make their own pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from i2i import images as files
from i2i.contracts import ImageSpec
from i2i.errors import FaultyFiles, UsageError

if TYPE_CHECKING:
    from i2i.contracts import Sample


class Folder:
    """Every image of a folder and its sub-folders, for a task that asks for one picture; UsageError for another.

    A sample holds C × H × W arrays, uint8, uint16 or float32 as the file is, or float32 where the task states a range;
    sizes may differ from sample to sample. Construction reads every header (10,000 local files in 1 to 3 s) and raises
    one FaultyFiles that names what cannot be read, or has other channels, bits or values than the task says; a file
    whose body is damaged raises a DataError when its turn comes.
    """

    def __init__(self, images: Mapping[str, ImageSpec], *, root: Path) -> None:
        if len(images) != 1:
            raise UsageError(
                f"source 'folder': gives one picture a sample, and the task asks for {len(images)}: "
                f"{', '.join(images)}. Use source 'pairs' for pictures that belong together."
            )
        ((self.name, self.spec),) = images.items()
        if self.spec.classes is not None:
            raise UsageError(
                f"source 'folder': the task wants class indices as {self.name!r}, which a folder of pictures does not "
                "hold. Use source 'pairs', with the pictures in one folder and the class maps in another."
            )
        self.paths = files.list_images(root)
        problems = files.sizes(self.paths, self.spec)[1]
        if problems:
            raise FaultyFiles("\n".join(problems), self)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Sample:
        picture = files.read(self.paths[index], spec=self.spec)
        return {self.name: np.array(picture.pixels.transpose(2, 0, 1), order="C")}

    def describe(self, index: int, /) -> str:
        """Return the path of a sample's file."""
        return str(self.paths[index])

    def files(self, index: int, /) -> dict[str, Path]:
        """Return the file of a sample's picture."""
        return {self.name: self.paths[index]}
