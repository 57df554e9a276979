"""What the checks give a part: small pictures, small tasks, and what a run would supply to its constructor."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from i2i.build import Part
from i2i.contracts import SUPPLIED, Batch, Images, ImageSpec
from i2i.errors import I2IError

SIDES = (56, 40)
"""Height and width of the pictures in the checks, where the part does not ask for others."""


def base(part: Part) -> Part:
    """Return the class or function below the parameters that are filled in."""
    return base(part.func) if isinstance(part, functools.partial) else part


def name_of(part: Part) -> str:
    """Return what a sentence calls a part."""
    return str(getattr(base(part), "__name__", base(part)))


def given(part: Part, name: str, default: Any) -> Any:
    """Return what `settings` say that the run supplies as `name`, or the default."""
    return getattr(part, "supplied", {}).get(name, default)


@contextmanager
def supplies(kind: str, part: Part) -> Iterator[list[Any]]:
    """Give what a run would supply to the constructor of a part of this kind."""
    with tempfile.TemporaryDirectory() as folder:
        usual = {"in_channels": 6 if kind == "discriminators" else 3, "out_channels": 3, "run": Path(folder)}
        if kind == "methods":
            usual["task"] = task_for(part)
        if kind == "sources":
            usual["images"] = images_for(part)
        yield [given(part, name, usual.get(name)) for name in SUPPLIED.get(kind, ())]


@dataclass(frozen=True)
class Toy:
    """A minimal task for checking methods: a picture `a` into a picture `b`, or class maps where there are `classes`.

    hole: only the left half counts.
    """

    in_channels: int = 3
    out_channels: int = 3
    paired: bool = True
    classes: int | None = None
    hole: bool = False
    inputs: tuple[str, ...] = ("a",)
    target: str = "b"
    images: Mapping[str, ImageSpec] = field(init=False)

    def __post_init__(self) -> None:
        a = ImageSpec(self.in_channels) if self.classes is None else ImageSpec(1, self.classes)
        object.__setattr__(self, "images", {"a": a, "b": ImageSpec(self.out_channels)})

    def batch(self, images: Images) -> Batch:
        """Bring both pictures into network space."""
        mask = None
        if self.hole:
            mask = torch.zeros_like(images["b"][:, :1])
            mask[..., : mask.shape[3] // 2] = 1
        return Batch(self.encode(images), images["b"] * 2 - 1, mask)

    def encode(self, images: Images) -> Tensor:
        """Bring picture a into [-1, 1], or into one-hot form."""
        if self.classes is None:
            return images["a"] * 2 - 1
        return torch.nn.functional.one_hot(images["a"][:, 0], self.classes).movedim(3, 1).float()

    def activate(self, output: Tensor) -> Tensor:
        """Bound raw scores by tanh, in float32."""
        return output.float().tanh()

    def decode(self, output: Tensor, images: Images) -> Tensor:
        """Bring a translation back to [0, 1]."""
        return (output + 1) / 2


TASKS = (Toy(), Toy(paired=False), Toy(in_channels=5, classes=5))
"""For methods: a method that refuses the first with an I2IError is given the next."""

IMAGES: tuple[Mapping[str, ImageSpec], ...] = (
    {"a": ImageSpec(), "b": ImageSpec()},
    {"photo": ImageSpec()},
    {"photo": ImageSpec(), "label": ImageSpec(1, 20, 255)},
)
"""For sources: as `TASKS`."""


def task_for(part: Part) -> Any:
    """Return the task that `settings` name for a method, or the first toy that it does not refuse."""
    return given(part, "task", None) or _accepted(part, TASKS)


def images_for(part: Part) -> Mapping[str, ImageSpec]:
    """Return the images that `settings` name for a source, or the first of the usual ones that it does not refuse."""
    return given(part, "images", None) or _accepted(part, IMAGES)


def _accepted(part: Part, candidates: Any) -> Any:
    for candidate in candidates:
        try:
            part(candidate)
        except I2IError:
            continue
        return candidate
    return candidates[0]


def pictures(images: Mapping[str, ImageSpec], count: int = 2, sides: tuple[int, int] = SIDES, seed: int = 0) -> Images:
    """Return random pictures as a source would give them, count × C × H × W; blots on a gradient, not mere noise."""
    draw = torch.Generator().manual_seed(seed)

    def picture(spec: ImageSpec) -> Tensor:
        if spec.classes is not None:
            return torch.randint(spec.classes, (count, 1, *sides), generator=draw)
        return torch.rand(count, spec.channels, *sides, generator=draw)

    return {name: picture(spec) for name, spec in images.items()}
