"""What the checks give a part: small pictures, small tasks, and what a run would supply to its constructor."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.build import Part
from i2i.contracts import Batch, Images, ImageSpec, Source, Task
from i2i.errors import I2IError

Check = Callable[[Part], None]

SIDES = (56, 40)
"""Height and width of the pictures in the checks, where the part does not ask for others."""


def given(part: Part, name: str, usual: Any) -> Any:
    """Return what the settings say that the run supplies as `name`, or else the usual."""
    return getattr(part, "supplied", {}).get(name, usual)


def made_for(part: Part) -> tuple[Any, Task]:
    """Make a method, for the task of its settings, or for the first of some toys that it does not refuse."""
    return _accepting(part, given(part, "task", None), [Toy(), Toy(paired=False), Labelled()])


def asked_for(part: Part) -> tuple[Source, Mapping[str, ImageSpec]]:
    """Make a source, asked for the images of its settings, or for the first of some that it does not refuse."""
    pair, photo, labelled = {"a": RGB, "b": RGB}, {"photo": RGB}, {"photo": RGB, "label": ImageSpec(1, 20, 255)}
    return _accepting(part, given(part, "images", None), [pair, photo, labelled])


def _accepting(part: Part, chosen: Any, usual: Iterable[Any]) -> tuple[Any, Any]:
    refusals = []
    for supplied in usual if chosen is None else (chosen,):
        try:
            return part(supplied), supplied
        except I2IError as error:
            refusals.append(error)
    raise refusals[0]


RGB = ImageSpec(3)


def at_once(network: nn.Module, call: Callable[[Tensor], Tensor], x: Tensor) -> list[Tensor]:
    """Call for each picture of x in a thread of its own; all reach each module inside before one goes on."""
    together = threading.Barrier(len(x))

    def meet(*_: Any) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(10)

    def called(one: Tensor) -> Tensor:
        with torch.no_grad():
            return call(one)

    hooks = [module.register_forward_pre_hook(meet) for module in network.modules()]
    hooks += [module.register_forward_hook(meet) for module in network.modules()]
    try:
        with ThreadPoolExecutor(len(x)) as pool:
            return list(pool.map(called, torch.split(x, 1)))
    finally:
        for hook in hooks:
            hook.remove()


@dataclass(frozen=True)
class Toy:
    """A minimal task for checking methods, which can be reversed; with a `hole` only the left half counts."""

    in_channels: int = 3
    out_channels: int = 3
    paired: bool = True
    hole: bool = False
    inputs: tuple[str, ...] = ("a",)
    target: str = "b"

    @property
    def images(self) -> Mapping[str, ImageSpec]:
        """The input and the target."""
        return {self.inputs[0]: ImageSpec(self.in_channels), self.target: ImageSpec(self.out_channels)}

    def batch(self, images: Images) -> Batch:
        """Bring both pictures into network space."""
        b = images[self.target] * 2 - 1
        left = torch.arange(b.shape[3]) < b.shape[3] // 2
        return Batch(self.encode(images), b, left.expand_as(b[:, :1]).float() if self.hole else None)

    def encode(self, images: Images) -> Tensor:
        """Bring the input into [-1, 1]."""
        return images[self.inputs[0]] * 2 - 1

    def activate(self, output: Tensor) -> Tensor:
        """Bound raw scores by tanh, in float32."""
        return output.float().tanh()

    def decode(self, output: Tensor, images: Images) -> Tensor:
        """Bring a translation back to [0, 1]."""
        return (output + 1) / 2

    def reverse(self) -> Toy:
        """Return the task of translating the other way."""
        return Toy(self.out_channels, self.in_channels, self.paired, self.hole, (self.target,), self.inputs[0])


class Labelled:
    """A minimal task from a map of five classes to a picture, for methods that translate nothing else."""

    images: Mapping[str, ImageSpec] = {"label": ImageSpec(1, 5), "photo": RGB}
    inputs: tuple[str, ...] = ("label",)
    target = "photo"
    paired = True
    in_channels = 5
    out_channels = 3

    def batch(self, images: Images) -> Batch:
        """Bring both pictures into network space."""
        return Batch(self.encode(images), images["photo"] * 2 - 1)

    def encode(self, images: Images) -> Tensor:
        """Bring the label into one-hot form."""
        return F.one_hot(images["label"][:, 0], 5).movedim(3, 1).float()

    def activate(self, output: Tensor) -> Tensor:
        """Bound raw scores by tanh, in float32."""
        return output.float().tanh()

    def decode(self, output: Tensor, images: Images) -> Tensor:
        """Bring a translation back to [0, 1]."""
        return (output + 1) / 2


def pictures(images: Mapping[str, ImageSpec], count: int = 2, sides: tuple[int, int] = SIDES, seed: int = 0) -> Images:
    """Return random pictures as a source would give them, count × C × H × W; a map's corner is void if anything is."""
    draw = torch.Generator().manual_seed(seed)

    def picture(spec: ImageSpec) -> Tensor:
        if spec.classes is not None:
            classes = torch.randint(spec.classes, (count, 1, *sides), generator=draw)
            if spec.void is not None:
                classes[..., :4, :4] = spec.void
            return classes
        return torch.rand(count, spec.channels, *sides, generator=draw)

    return {name: picture(spec) for name, spec in images.items()}
