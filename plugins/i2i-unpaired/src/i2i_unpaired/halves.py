"""An unpaired source made of a paired one: pictures of one half of its samples, and mates out of the other half."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from i2i.contracts import ImageSpec, MakeSource
from i2i.errors import DataError, UsageError
from i2i.sources.scenes import Scenes

if TYPE_CHECKING:
    from i2i.contracts import Sample


class UnpairedOf:
    """The task's first picture from the first half of a source's samples, the others from the second half.

    The halves are disjoint, so that the true mate of no picture is ever seen: what a method learns from them it has
    learnt without pairs, and pairs of other samples tell how well. An odd sample is left out. Both halves are to show
    the same kinds of things: a source sorted by them will not do. Every sample costs two of the source. UsageError for
    a task of one picture, DataError for fewer than two samples.
    """

    paired = False

    def __init__(self, images: Mapping[str, ImageSpec], *, source: MakeSource = Scenes) -> None:
        if len(images) < 2:
            raise UsageError(
                f"source 'unpaired_of' takes two pictures apart, and the task asks for one ({', '.join(images)}): "
                "use its source as it is."
            )
        self.first = next(iter(images))
        self.source = source(images)
        self.count = len(self.source) // 2
        if not self.count:
            raise DataError(
                f"source 'unpaired_of': its source has {len(self.source)} sample(s), and at least 2 are needed."
            )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> Sample:
        return self._together(index, index)

    def draw(self, index: int, seed: int, /) -> Sample:
        """Return sample `index` with a mate that the seed chooses."""
        return self._together(index, int(np.random.default_rng((index, seed)).integers(self.count)))

    def _together(self, index: int, mate: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(f"sample {index} of {self.count}")
        return {**self.source[self.count + mate], self.first: self.source[index][self.first]}

    def describe(self, index: int, /) -> str:
        """Return what the source calls the sample that the first picture is taken from."""
        describe = getattr(self.source, "describe", None)
        return f"{describe(index) if describe else f'sample {index}'} with a mate"
