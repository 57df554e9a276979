"""Small parts that keep their contracts, and for each check some that do not."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from broken_sources import Doubled, FromGlobalChance, OfItsProcess, OtherMate, OutOfRange, Unpicklable
from torch import Tensor, nn

from i2i.contracts import Batch, ImageSpec

# ---- constructors


def swallows(**options: int) -> None:
    """Take anything."""


def lists(*layers: int) -> None:
    """Take a list."""


def by_position(weight: float = 1.0) -> None:
    """Take by position what a user chooses."""


def untyped(*, weight=1.0) -> None:  # type: ignore[no-untyped-def]
    """Take something."""


def unreadable(*, weight: NoSuchName = 1.0) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Take something that only a type checker knows."""


def of_a_tensor(*, weight: Tensor | None = None) -> None:
    """Take what no recipe can hold."""


def misfit(*, depth: int = "3") -> None:  # type: ignore[assignment]
    """Take a number, and text by default."""


def undocumented(*, weight: float = 1.0) -> None: ...


def wanting(*, root: Path) -> None:
    """Take what has no default."""


def supplied_nothing(*, width: int = 8) -> None:
    """Have no place for the channels."""


# ---- generators and discriminators


def in_float32(x: Tensor) -> Tensor:
    """Copy N × C × H × W in a way that bfloat16 breaks."""
    y = torch.zeros(x.shape)
    y[torch.arange(len(x))] = x
    return y


class Net(nn.Module):
    """A convolution: N × in × H × W to raw scores N × out × H × W."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Cropping(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[..., :-1]


class Multiplied(Net):
    multiple = 0


class OfOneType(Net):
    def forward(self, x: Tensor) -> Tensor:
        return in_float32(self.conv(x))


class Unused(Net):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.forgotten = nn.Conv2d(8, 8, 3)


class OverTheBatch(Net):
    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(self.conv(x), None, None, training=True)


class KeepsItsInput(Net):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.scores = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return self.conv(x) + self.scores(self.x)


class AlwaysDropping(Net):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.conv(x))


class Counting(Net):
    calls: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.conv(x)


class Unsaved(Net):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.code = torch.randn(out_channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.code


class FromNumpy(Net):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.conv.bias.data[0] = float(np.random.rand())  # type: ignore[index]


class Branching(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.mean() > 0 else self.conv(-x)


class Judge(nn.Module):
    """Two convolutions: N × in × H × W to a list of one map of logits."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, 4, 4, stride=2)
        self.last = nn.Conv2d(4, 1, 4)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.features(x)[0][-1]]

    def features(self, x: Tensor) -> list[list[Tensor]]:
        inside = F.leaky_relu(self.first(x), 0.2)
        return [[inside, self.last(inside)]]


class WithoutList(Judge):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return self.features(x)[0][-1]


class OfOneTypeJudge(Judge):
    def forward(self, x: Tensor) -> list[Tensor]:
        return [in_float32(self.features(x)[0][-1])]


class Blind(Judge):
    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.features(x.detach())[0][-1]]


class WithoutLogits(Judge):
    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.features(x)[0][-1] * 2]


class OverTheBatchJudge(Judge):
    def forward(self, x: Tensor) -> list[Tensor]:
        return [F.batch_norm(self.features(x)[0][-1], None, None, training=True)]


class UnsavedJudge(Judge):
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.code = torch.randn(())

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.features(x)[0][-1] + self.code]


class FromNumpyJudge(Judge):
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.last.bias.data[0] = float(np.random.rand())  # type: ignore[index]


class BranchingJudge(Judge):
    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.features(x if x.mean() > 0 else -x)[0][-1]]


# ---- losses and adversarial objectives


class NoGradient:
    def __call__(self, fake: Tensor, real: Tensor) -> Tensor:
        return (fake.detach() - real).abs().mean() + 0 * fake.sum()


class RootOfZero:
    def __call__(self, fake: Tensor, real: Tensor) -> Tensor:
        return (fake - real).square().mean().sqrt()


class Reward:
    def __call__(self, fake: Tensor, real: Tensor) -> Tensor:
        return -(fake - real).abs().mean()


class Offset:
    def __call__(self, fake: Tensor, real: Tensor) -> Tensor:
        return (fake - real).abs().mean() + 1


class Gram:
    def __call__(self, fake: Tensor, real: Tensor) -> Tensor:
        return in_float32(fake.mT @ fake - real.mT @ real).abs().mean()


class Swapped:
    def generator(self, fake: list[Tensor]) -> Tensor:
        return torch.stack([m.mean() for m in fake]).mean()

    def discriminator(self, real: list[Tensor], fake: list[Tensor]) -> Tensor:
        return -self.generator(fake)


class LogOfSigmoid:
    def generator(self, fake: list[Tensor]) -> Tensor:
        return -torch.stack([m.sigmoid().log().mean() for m in fake]).mean()

    def discriminator(self, real: list[Tensor], fake: list[Tensor]) -> Tensor:
        return self.generator(real) + self.generator([-m for m in fake])


class DetachedPenalty:
    def penalty(self, judge: Any, real: Tensor, fake: Tensor) -> Tensor:
        between = real.clone().requires_grad_()
        (slope,) = torch.autograd.grad(judge(between)[0].sum(), between)
        return slope.square().mean()


# ---- tasks


class Right:
    """Picture a into picture b."""

    images: Mapping[str, ImageSpec] = {"a": ImageSpec(), "b": ImageSpec()}
    inputs: Any = ("a",)
    target = "b"
    paired = True
    in_channels = 3
    out_channels = 3

    def batch(self, images: dict[str, Tensor]) -> Batch:
        return Batch(self.encode(images), images["b"] * 2 - 1)

    def encode(self, images: dict[str, Tensor]) -> Tensor:
        return images["a"] * 2 - 1

    def activate(self, output: Tensor) -> Tensor:
        return output.float().tanh()

    def decode(self, output: Tensor, images: dict[str, Tensor]) -> Tensor:
        return (output + 1) / 2


class OneInput(Right):
    inputs = "a"


class OneChannel(Right):
    out_channels = 1


class Noisy(Right):
    def batch(self, images: dict[str, Tensor]) -> Batch:
        noise = torch.from_numpy(np.random.rand(*images["a"].shape)).float()
        return Batch(noise, images["b"] * 2 - 1)


class NeedsTheTruth(Right):
    def decode(self, output: Tensor, images: dict[str, Tensor]) -> Tensor:
        return ((output + 1) / 2).clamp(0, images["b"].max().item())


class HalfPrecision(Right):
    def activate(self, output: Tensor) -> Tensor:
        return output.tanh()


class Overflowing(Right):
    def activate(self, output: Tensor) -> Tensor:
        output = output.float()
        return (output.exp() - (-output).exp()) / (output.exp() + (-output).exp())


class Undecoded(Right):
    def decode(self, output: Tensor, images: dict[str, Tensor]) -> Tensor:
        return output


class Squared(Right):
    def decode(self, output: Tensor, images: dict[str, Tensor]) -> Tensor:
        return ((output + 1) / 2) ** 2


class ShownInNetworkSpace(Right):
    def preview(self, images: dict[str, Tensor]) -> Tensor:
        return self.encode(images)


class ReversedIntoItself(Right):
    def reverse(self) -> Right:
        return Right()


# ---- methods


class Tiny(nn.Module):
    """One convolution against another."""

    channels: tuple[int, int] | None = None

    def __init__(self, task: Any) -> None:
        super().__init__()
        self.task = task
        self.g = nn.Conv2d(*(self.channels or (task.in_channels, task.out_channels)), 3, padding=1)
        self.d = nn.Conv2d(task.out_channels, 1, 4, stride=4)

    def step(self, batch: Batch) -> Any:
        fake = self.translate(batch.a)
        yield "g", {"adversarial": F.softplus(-self.d(fake)).mean(), "l1": (fake - batch.b).abs().mean()}
        yield "d", {"adversarial": F.softplus(-self.d(batch.b)).mean() + F.softplus(self.d(fake.detach())).mean()}

    def translate(self, x: Tensor) -> Tensor:
        return self.task.activate(self.g(x))


class Misnamed(Tiny):
    def step(self, batch: Batch) -> Any:
        yield "G", {"l1": (self.translate(batch.a) - batch.b).abs().mean()}


class LyingOtherwise(Tiny):
    """Takes the first values in memory for those of the first channel."""

    def step(self, batch: Batch) -> Any:
        fake = self.translate(batch.a)
        yield "g", {"l1": fake.as_strided((1, 99), (99, 1)).mean()}


class Idle(Tiny):
    def step(self, batch: Batch) -> Any:
        yield "g", {"l1": (self.translate(batch.a) - batch.b).abs().mean()}


class OtherTurn(Tiny):
    def step(self, batch: Batch) -> Any:
        yield "d", {"l1": (self.translate(batch.a) - batch.b).abs().mean()}


class Meddling(Tiny):
    def step(self, batch: Batch) -> Any:
        for player, terms in super().step(batch):
            yield player, terms
            for parameter in self.d.parameters():
                parameter.data.clamp_(-0.01, 0.01)


class OfOneTypeMethod(Tiny):
    def step(self, batch: Batch) -> Any:
        yield "g", {"l1": (in_float32(self.g(batch.a)) - batch.b).abs().mean()}


class Pool(Tiny):
    """A pool of fakes that is full after 50 steps, long after the check has ended."""

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.pool: list[Tensor] = []

    def step(self, batch: Batch) -> Any:
        self.pool.append(self.translate(batch.a).detach())
        yield from super().step(batch)


class Remembering(Tiny):
    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.last: Tensor | None = None

    def step(self, batch: Batch) -> Any:
        before = 0 if self.last is None else self.last
        self.last = self.translate(batch.a).detach()
        yield "g", {"l1": (self.translate(batch.a) - batch.b + before).abs().mean()}


class Chancy(Tiny):
    def step(self, batch: Batch) -> Any:
        yield "g", {"l1": (self.translate(batch.a) - batch.b).abs().mean() * random.random()}


class ByAnother(Tiny):
    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.d = nn.Conv2d(task.out_channels, task.out_channels, 1)

    def translate(self, x: Tensor) -> Tensor:
        return self.task.activate(self.d(self.g(x)))


class KeepsItsBatch(Tiny):
    def translate(self, x: Tensor) -> Tensor:
        self.x = x
        y = super().translate(x)
        return y if self.x is x else -y


class Unbounded(Tiny):
    def translate(self, x: Tensor) -> Tensor:
        return self.g(x) * 100


class BackInPlace(Tiny):
    def back(self, x: Tensor) -> Tensor:
        return x[..., 1:]


class RGBOnly(Tiny):
    channels = (3, 3)


class Without(nn.Module):
    """No player."""

    def __init__(self, task: Any) -> None:
        super().__init__()


# ---- metrics and trackers


class Mean:
    """The mean difference."""

    higher_is_better: Any = False

    def __init__(self) -> None:
        self.values: list[Tensor] = []

    def update(self, fake: Tensor, real: Tensor, *, mask: Any = None, images: Any = None) -> None:
        self.values += list((fake - real).double().abs().mean((1, 2, 3)))

    def compute(self) -> Tensor:
        return torch.stack(self.values).mean()


class Undeclared(Mean):
    higher_is_better = "lower"


class LargestOfBatch(Mean):
    def update(self, fake: Tensor, real: Tensor, *, mask: Any = None, images: Any = None) -> None:
        self.values.append((fake - real).abs().max())


class OtherWay(Mean):
    higher_is_better = True


class OnceOnly:
    """Refuses a folder that it has been in before."""

    def __init__(self, run: Path) -> None:
        (run / "mine").mkdir()

    def log(self, step: int, values: Any) -> None: ...

    def image(self, step: int, name: str, picture: Any) -> None: ...

    def close(self) -> None: ...


BROKEN: list[tuple[str, Any, str, str]] = [
    (
        "losses",
        swallows,
        "takes_no_kwargs",
        r"swallows takes \*\*options: a misspelt key would be swallowed in silence",
    ),
    ("losses", lists, "takes_no_kwargs", r"takes \*layers, which no recipe can name"),
    ("losses", by_position, "parameters_are_keywords", "by_position takes 'weight' by position.* bare \\*"),
    ("generators", supplied_nothing, "parameters_are_keywords", "takes 0 positional parameters, and 2 are supplied"),
    ("losses", untyped, "parameters_are_typed", "'weight' of untyped has no type"),
    ("losses", unreadable, "parameters_are_typed", "'NoSuchName', which cannot be evaluated.*TYPE_CHECKING"),
    ("losses", of_a_tensor, "parameters_are_typed", "no recipe can hold such a value"),
    ("losses", misfit, "parameters_are_typed", "the default of 'depth' is not of its own type: '3' does not fit"),
    ("losses", undocumented, "is_documented", "undocumented has no docstring"),
    ("sources", Doubled, "is_documented", "Doubled has no docstring"),
    (
        "losses",
        wanting,
        "can_be_made",
        r"without 'root': give a default.*settings=\{\"losses.wanting\": \{\"root\": ...\}\}",
    ),
    ("generators", Cropping, "generator_keeps_the_size", r"expected \(2, 5, 25, 27\): the same size"),
    ("generators", Multiplied, "generator_keeps_the_size", "'multiple' is a number of pixels, not 0"),
    ("generators", OfOneType, "generator_bears_bf16", "Index put requires.*broken_parts.py"),
    ("generators", Unused, "generator_is_trainable", "no gradient reaches forgotten.weight, forgotten.bias"),
    ("generators", OverTheBatch, "generator_is_steady", "depends on the other pictures of the batch"),
    ("generators", AlwaysDropping, "generator_is_steady", "another output the second time"),
    ("generators", KeepsItsInput, "generator_is_steady", "mixes up what goes through it in two threads"),
    ("generators", Counting, "generator_is_steady", "in eval mode a call changes calls"),
    ("generators", Unsaved, "generator_survives_saving", "something that it depends on is not in the state dict"),
    ("generators", FromNumpy, "generator_follows_the_seed", "with torch's same seed conv.bias starts otherwise"),
    ("generators", Branching, "generator_compiles", "torch.compile cannot take Branching as one graph"),
    ("discriminators", WithoutList, "discriminator_gives_maps", "expected a list of maps, not Tensor"),
    ("discriminators", OfOneTypeJudge, "discriminator_bears_bf16", "Index put requires"),
    ("discriminators", Blind, "discriminator_is_trainable", "no gradient reaches the picture"),
    ("discriminators", WithoutLogits, "discriminator_features_end_in_the_logits", "is not its logits"),
    ("discriminators", OverTheBatchJudge, "discriminator_is_steady", "depends on the other pictures"),
    ("discriminators", UnsavedJudge, "discriminator_survives_saving", "not in the state dict"),
    ("discriminators", FromNumpyJudge, "discriminator_follows_the_seed", "last.bias starts otherwise"),
    ("discriminators", BranchingJudge, "discriminator_compiles", "torch.compile cannot take BranchingJudge"),
    ("losses", Reward, "loss_is_least_at_the_truth", "the truth does not score better than a guess"),
    ("losses", Offset, "loss_is_least_at_the_truth", "the loss of the truth itself is 1, not 0"),
    ("losses", NoGradient, "loss_has_a_gradient", "the gradient of a guess is 0 everywhere"),
    ("losses", RootOfZero, "loss_has_a_gradient", "the gradient at the truth is not finite"),
    ("losses", Gram, "loss_bears_bf16", "Index put requires"),
    ("adversarial", Swapped, "adversarial_pulls_both_ways", "the generator does not gain by fooling"),
    ("adversarial", LogOfSigmoid, "adversarial_bears_far_logits", r"logits of .200 \(real\) and .200 \(fake\) give"),
    ("adversarial", DetachedPenalty, "adversarial_penalty_trains_the_judge", "create_graph is missing"),
    ("tasks", OneInput, "task_declares_itself", "'inputs' is a tuple of names"),
    (
        "tasks",
        OneChannel,
        "task_keeps_its_promises",
        r"batch.b is \(2, 3, 57, 41\), and its channels say \(2, 1, 57, 41\)",
    ),
    ("tasks", Noisy, "task_keeps_its_promises", "torch's same seed make another batch"),
    (
        "tasks",
        NeedsTheTruth,
        "task_translates_without_the_truth",
        "reads the picture 'b', which 'inputs' does not name",
    ),
    (
        "tasks",
        HalfPrecision,
        "task_bounds_scores",
        "activate gives torch.bfloat16 for torch.bfloat16, expected float32",
    ),
    ("tasks", Overflowing, "task_bounds_scores", r"activate leaves \[-1, 1\]"),
    ("tasks", Undecoded, "task_decodes_into_pictures", r"decode leaves \[0, 1\]"),
    ("tasks", Squared, "task_decodes_the_truth", "decode does not undo what batch does"),
    ("tasks", ShownInNetworkSpace, "task_shows_pictures", r"preview leaves \[0, 1\]"),
    ("tasks", ReversedIntoItself, "task_reverses", "the reverse makes 'b', and this task starts from"),
    ("methods", Misnamed, "method_yields_turns", "turn 'G' is no child module with weights; there are g, d"),
    ("methods", OtherTurn, "method_yields_turns", "the terms of turn 'd' do not depend on its weights"),
    ("methods", Without, "method_yields_turns", "no child 'g' with weights"),
    ("methods", Idle, "method_trains_every_weight", "no turn of a first step reaches d.weight"),
    ("methods", Meddling, "method_moves_one_player_a_turn", "in g's turn d.weight moves"),
    ("methods", OfOneTypeMethod, "method_bears_bf16", "Index put requires"),
    ("methods", LyingOtherwise, "method_steps_alike_laid_out", "g/l1 of step 1 is .* laid out and .* as it was"),
    ("methods", Pool, "method_resumes_exactly", "self.pool goes on from step to step and is no buffer"),
    ("methods", Remembering, "method_resumes_exactly", "the step after a resume gives another g/l1"),
    ("methods", Chancy, "method_resumes_exactly", "draws from Python's or numpy's global random generator"),
    ("methods", ByAnother, "method_translates", "it depends on what the child 'g' does not hold"),
    ("methods", KeepsItsBatch, "method_translates", "translate mixes up what goes through it in two threads"),
    ("methods", Unbounded, "method_translates", r"translate leaves \[-1, 1\]: task.activate bounds"),
    ("methods", BackInPlace, "method_translates_back", "back makes"),
    ("methods", RGBOnly, "method_fits_other_channels", "expected input"),
    ("sources", Doubled, "source_gives_what_is_asked", "'a' is float64"),
    ("sources", OutOfRange, "source_gives_what_is_asked", r"'a' leaves \[0, 1\]"),
    ("sources", FromGlobalChance, "source_is_stable", "draws from a global random generator"),
    ("sources", OfItsProcess, "source_is_picklable", "'[ab]' of sample 3 differs in another process: `hash`"),
    ("sources", Unpicklable, "source_is_picklable", "cannot be pickled, which worker processes need"),
    ("sources", OtherMate, "source_draws_by_seed", r"'a' of draw\(3, 0\) differs from one call to the next"),
    ("metrics", Undeclared, "metric_declares_itself", "'higher_is_better' is true or false"),
    ("metrics", LargestOfBatch, "metric_ignores_the_batch_split", "it depends on the batch split"),
    ("metrics", OtherWay, "metric_knows_better_from_worse", "worse than that of a guess, if higher is better"),
    ("trackers", OnceOnly, "tracker_takes_everything", "FileExistsError"),
    ("augmentations", nn.Identity, "augmentation_keeps_the_kind", "not a 2-D augmentation of Kornia's but Identity"),
    ("preparations", nn.Identity, "preparation_keeps_the_kind", "not a transform of albumentations' but Identity"),
]
"""(kind, part, the check that it fails, what is said)"""
