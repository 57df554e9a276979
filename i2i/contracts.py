"""The contracts between the core and the parts: what each kind of part is given and what it must answer.

A kind is a call signature. What the run knows is *supplied* as positional arguments; what the user chooses is a
keyword-only parameter with a type and a default. The two never overlap. Nothing here needs to be inherited from.

Shapes: N images a batch, C channels, H × W pixels. *Picture space* is float32 in [0, 1] (or int64 class indices);
*network space* is what the task's `encode` makes of it, [-1, 1] for pictures.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, runtime_checkable

from annotated_types import Ge, Gt, Interval

from i2i.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Images = dict[str, Tensor]
    """Pictures by name, N × C × H × W: float32 in [0, 1], or int64 class indices N × 1 × H × W."""
    Sample = dict[str, np.ndarray]
    """One picture of each name, C × H × W: uint8, uint16 or float32 in [0, 1]; class indices are uint8 or uint16."""
else:  # importable without numpy and torch
    Images = Sample = dict

# Types for parameters, so that parts need not import the library that checks them.
Count = Annotated[int, Ge(1)]
Natural = Annotated[int, Ge(0)]
Weight = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Probability = Annotated[float, Interval(ge=0, le=1)]
Bits = Literal[8, 16, 32]  # of a stored sample; 32 is float


@dataclass(frozen=True)
class ImageSpec:
    """What a task expects of one of the pictures that a source gives it.

    channels: 1 grey, 3 RGB, 4 with alpha, or any number. classes: when set, the picture is a map of class indices 0 ...
    classes-1 (channels is 1), resampled by nearest and never blended. void: the index that counts for nothing, if there
    is one. bits: of a stored sample, 8, 16, or 32 for float; None for any. range: the stored values that picture space
    has as 0 and 1; None for all that the integers have, and for float as it is. UsageError for an empty range.
    """

    channels: int = 3
    classes: int | None = None
    void: int | None = None
    bits: int | None = None
    range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.range is None:
            return
        low, high = self.range
        if not -1e30 < low < high < 1e30:
            raise UsageError(f"range = [{low:g}, {high:g}]: give two numbers, the lower one first.")
        if self.bits in (8, 16):
            least = -(2 ** (self.bits - 1)) if low < 0 else 0
            if not least <= low < high <= least + 2**self.bits - 1:
                raise UsageError(f"range = [{low:g}, {high:g}]: {self.bits} bits do not hold it; change one of both.")

    @property
    def deep(self) -> bool:
        """Whether it is said to have more than 8 bits a sample, all of which bfloat16 would not keep."""
        return self.bits in (16, 32) or (self.range is not None and self.bits != 8)


def deep(images: Mapping[str, ImageSpec]) -> bool:
    """Whether any picture of a task is said to have more than 8 bits a sample."""
    return any(spec.deep for spec in images.values())


@dataclass(frozen=True)
class Batch:
    """One training batch in network space, on the device.

    a: the input, N × Cin × H × W. b: the truth, N × Cout × H × W. mask: N × 1 × H × W, 1 where the output counts
    and 0 where it does not (pixels that are known, or labelled void); None counts everywhere.
    """

    a: Tensor
    b: Tensor
    mask: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch of what `change` makes of each of its tensors."""
        return Batch(change(self.a), change(self.b), None if self.mask is None else change(self.mask))

    def composite(self, fake: Tensor) -> Tensor:
        """Return `fake` where it counts and the truth elsewhere, N × Cout × H × W."""
        return fake if self.mask is None else self.mask * fake + (1 - self.mask) * self.b


@runtime_checkable
class Generator(Protocol):
    """`Generator(in_channels, out_channels, *, ...)`: a torch module from x to *raw, unbounded* scores, same H × W.

    The task bounds them (`Task.activate`), so a stock segmentation network is a generator without glue.
    `multiple` (optional, default 1): both sides of x must divide by it; the core pads and crops.
    """

    def __call__(self, x: Tensor, /) -> Tensor: ...


@runtime_checkable
class Discriminator(Protocol):
    """`Discriminator(in_channels, *, ...)`: a torch module from x to its logit maps, one a scale, no sigmoid.

    The picture to be judged is the last channels of x, behind what it is judged beside. `features(x)` (optional): for
    each scale the maps of its layers, the logits last, for methods that compare them.
    """

    def __call__(self, x: Tensor, /) -> list[Tensor]: ...


@runtime_checkable
class Loss(Protocol):
    """`Loss(*, ...)`: (fake, real), both N × C × H × W in network space, to a scalar that is 0 at its best."""

    def __call__(self, fake: Tensor, real: Tensor, /) -> Tensor: ...


@runtime_checkable
class Adversarial(Protocol):
    """`Adversarial(*, ...)`: the objective of both players, from a discriminator's lists of logit maps to a scalar.

    `penalty(judge, real, fake)` (optional): a term more for the discriminator, from pictures N × C × H × W of both
    kinds; `judge` maps such pictures to the discriminator's lists. Random numbers come from torch's global generator.
    """

    def generator(self, fake: list[Tensor], /) -> Tensor: ...

    def discriminator(self, real: list[Tensor], fake: list[Tensor], /) -> Tensor: ...


@runtime_checkable
class Task(Protocol):
    """`Task(*, ...)`: says what is translated into what. Stateless but for its parameters; holds no trainable weight.

    images: every picture that training takes from the source. inputs: the names that `encode` reads, the picture to
    translate first; then "mask" where there is a hole to be filled, or the name of a picture that guides. An input that
    the source need not give is made by `batch`. target: the name of the picture that `decode` predicts; where the
    source gives none of that name, the truth is what `decode` makes of Batch.b. paired: the pictures of a sample must
    show the same scene. palette (optional): RGB triples in 0 ... 255 for a target of class indices. optional (optional,
    default ()): those of the inputs behind the first without which `encode` can do.

    Two methods are optional. `preview(images)`: the input as a picture to look at, N × 1 or 3 × H × W in [0, 1], where
    the first channels of `encode` are none; images holds "mask" where `batch` drew one. `present(decoded, images)`:
    what `i2i translate` writes, where that is more than the target picture (a photo cut out: N × 4 × H × W). And
    `reverse()`: the task of translating the other way, for methods that learn both.
    """

    images: Mapping[str, ImageSpec]
    inputs: tuple[str, ...]
    target: str
    paired: bool
    in_channels: int
    out_channels: int

    def batch(self, images: Images, /) -> Batch:
        """Make the training batch; what is drawn at random (a hole) comes from torch's global generator."""
        ...

    def encode(self, images: Images, /) -> Tensor:
        """Make the network's input N × in_channels × H × W from the pictures named in `inputs`."""
        ...

    def activate(self, output: Tensor, /) -> Tensor:
        """Bring a generator's raw scores into network space, float32 (tanh for pictures, softmax for classes)."""
        ...

    def decode(self, output: Tensor, images: Images, /) -> Tensor:
        """Make the target picture from an output in network space: N × C × H × W in [0, 1], or int64 N × 1 × H × W."""
        ...


@runtime_checkable
class Method(Protocol):
    """`Method(task, *, ...)`: an algorithm from a paper, a torch module whose children are the players.

    A player is a child module with weights to train; its name is the name in `step`'s turns and of its
    `[optimizer.NAME]` table. Player `g` is all that `translate` needs. What else a method carries from step to step (a
    pool of pictures, a count) it keeps in buffers, and a resumed run finds it there.

    `back(x)` (optional): as `translate`, from the target to the input, by a method that learns both ways. `stochastic`
    (optional, False): the user sets it for translations that draw from torch's global generator. `terms` (optional): by
    term, or `player/term`, what its curve looks like when all is well, for the report. A discriminator's terms that
    begin with "adversarial" are watched: near 0 it has won.
    """

    def step(self, batch: Batch, /) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Yield (player, {term: scalar}) turn by turn; at each yield that player's optimizer takes one step."""
        ...

    def translate(self, x: Tensor, /) -> Tensor:
        """Map encoded input N × in_channels × H × W to network space N × out_channels × H × W."""
        ...


@runtime_checkable
class Source(Protocol):
    """`Source(images, *, ...)`: samples by index; `images` is the task's mapping of names to ImageSpec.

    `source[i]` is the same for the same i, in every process. Optional: `describe(i)` names the files of a sample.
    `files(i)`: the file of each picture, a mapping of names to paths, by which `i2i data check` names the unfit.
    `paired` (True where there is none): False when the pictures of a sample show different scenes; each is then
    prepared with a draw of its own, and there is no truth to measure by. `draw(i, seed)` is asked in the place of
    `source[i]` where chance has a part in a sample, such as its mate: the same for the same i and seed.

    A constructor that finds some of its files unfit raises one FaultyFiles that names them and holds the source itself.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


@runtime_checkable
class Metric(Protocol):
    """`Metric(*, ...)`: accumulates over pictures in picture space; the result does not depend on the batch split.

    mask: N × 1 × H × W, 1 where the output counts (not void; in the hole), None everywhere. images: the samples'
    pictures by name, as the source gave them. A metric leaves aside what it does not need. compute gives one scalar,
    or several by name.

    beside (optional, default ("input",)): what is measured next to the translations: "input", the untranslated picture
    where it can be compared; "truth", the real target pictures in the place of the translations. variant (optional):
    what the table adds to the metric's name in brackets, such as the features that stand in for others. paired
    (optional, default True): False for a metric that compares two sets of pictures, and needs no truth of each. Both
    beside and paired are attributes of the class.
    """

    higher_is_better: bool

    def update(
        self, fake: Tensor, real: Tensor, /, *, mask: Tensor | None = None, images: Images | None = None
    ) -> None: ...

    def compute(self) -> Tensor | dict[str, Tensor]: ...


@runtime_checkable
class Tracker(Protocol):
    """`Tracker(run, *, ...)`: hears of a run's progress; `run` is the folder of the run."""

    def log(self, step: int, values: Mapping[str, float], /) -> None: ...

    def image(self, step: int, name: str, picture: np.ndarray, /) -> None:
        """Take a picture H × W × 3, uint8."""
        ...

    def close(self) -> None: ...


def lacking(thing: object, protocol: type) -> list[str]:
    """Return what a protocol asks for and a part has not, in the protocol's order."""
    asked = ("__len__", "__getitem__")
    methods = [name for name, value in vars(protocol).items() if callable(value) and (name[0] != "_" or name in asked)]
    return [name for name in (*inspect.get_annotations(protocol), *methods) if not hasattr(thing, name)]


SUPPLIED: dict[str, tuple[str, ...]] = {
    "generators": ("in_channels", "out_channels"),
    "discriminators": ("in_channels",),
    "methods": ("task",),
    "sources": ("images",),
    "trackers": ("run",),
}
"""The positional parameters that the run supplies, by kind; a kind not named here is supplied none."""


@dataclass(frozen=True)
class Slot:
    """Marks a parameter that takes a part: the recipe's value there is a name, or a table with a `name`.

    A package's own kind says with its slot what it supplies: Slot("encoders", ("in_channels",)).
    """

    kind: str
    supplied: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = SUPPLIED.setdefault(self.kind, self.supplied)
        if self.supplied not in ((), known):
            raise ValueError(f"kind {self.kind!r} is supplied {known}, not {self.supplied}")


# The value of such a parameter: the part's constructor, its own parameters already filled in and checked.
MakeGenerator = Annotated[Callable[[int, int], Any], Slot("generators")]
MakeDiscriminator = Annotated[Callable[[int], Any], Slot("discriminators")]
MakeLoss = Annotated[Callable[[], Loss], Slot("losses")]
MakeAdversarial = Annotated[Callable[[], Adversarial], Slot("adversarial")]
MakeTask = Annotated[Callable[[], Task], Slot("tasks")]
MakeMethod = Annotated[Callable[[Task], Any], Slot("methods")]
MakeSource = Annotated[Callable[[Mapping[str, ImageSpec]], Source], Slot("sources")]
MakeMetric = Annotated[Callable[[], Metric], Slot("metrics")]
MakeAugmentation = Annotated[Callable[[], Any], Slot("augmentations")]
MakePreparation = Annotated[Callable[[], Any], Slot("preparations")]
MakeTracker = Annotated[Callable[[Path], Tracker], Slot("trackers")]
