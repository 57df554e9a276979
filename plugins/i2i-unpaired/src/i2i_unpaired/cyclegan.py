"""CycleGAN: two generators that undo each other, learnt from two sets of pictures without pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from i2i.adversarial.lsgan import LSGAN
from i2i.contracts import Batch, MakeAdversarial, MakeDiscriminator, MakeGenerator, Natural, Positive, Task, Weight
from i2i.discriminators.patch import PatchGAN
from i2i.errors import UsageError
from i2i.generators.resnet import ResNet
from i2i_unpaired.adversary import check_sides, told_apart
from i2i_unpaired.pool import Pool


class CycleGAN(nn.Module):
    """Unpaired translation with cycle-consistent adversarial networks (Zhu et al. 2017, sections 3 and 4).

    `g.ab` translates the task's input into its target and `g.ba` back again, so that a model translates both ways;
    `d.a` and `d.b` tell real pictures of either set from translations.

    cycle: λ, the weight of the L1 distance between a picture and its translation back. identity: the weight, as a share
    of λ, of the L1 distance between a picture of the set that a generator makes and what it makes of it: it keeps
    colours where they are (section 5.2), and needs as many channels on both sides; 0 leaves it out, and saves a third
    of the passes through the generators. pool: how many earlier translations each discriminator is shown some of; 0 for
    none. UsageError where a task cannot be translated back.
    """

    terms: ClassVar = {
        "cycle": (
            "How far a picture is from its translation back, times λ. It falls quickly and then slowly; where it "
            "is near zero from early on, too little may be changed: look at the pictures."
        ),
        "identity": "How much a generator changes what is of its own target already. It falls with the cycle's term.",
    }

    def __init__(
        self,
        task: Task,
        *,
        generator: MakeGenerator = ResNet,
        discriminator: MakeDiscriminator = PatchGAN,
        adversarial: MakeAdversarial = LSGAN,
        cycle: Positive = 10.0,
        identity: Weight = 0.5,
        pool: Natural = 50,
    ) -> None:
        super().__init__()
        self.task = task
        self.opposite = _reversed(task)
        if identity and task.in_channels != task.out_channels:
            raise UsageError(
                f"cyclegan: the identity loss needs as many channels on both sides, and the task translates "
                f"{task.in_channels} to {task.out_channels}: set identity = 0"
            )
        self.cycle = cycle
        self.identity = identity
        self.adversarial = adversarial()
        a, b = task.in_channels, task.out_channels
        self.g = nn.ModuleDict({"ab": generator(a, b), "ba": generator(b, a)})
        self.d = nn.ModuleDict({"a": discriminator(a), "b": discriminator(b)})
        self.pool = nn.ModuleDict({"a": Pool(pool), "b": Pool(pool)})
        self.multiple = math.lcm(*(int(getattr(one, "multiple", 1)) for one in self.g.values()))

    def step(self, batch: Batch) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Train both generators together, then both discriminators on translations out of the pools."""
        check_sides(batch, self.multiple)
        a, b = batch.a, batch.b
        fake_b, fake_a = self.translate(a), self.back(b)
        terms = {
            "adversarial_a": self.adversarial.generator(self.d["a"](fake_a)),
            "adversarial_b": self.adversarial.generator(self.d["b"](fake_b)),
            "cycle_a": self.cycle * F.l1_loss(self.back(fake_b), a),
            "cycle_b": self.cycle * F.l1_loss(self.translate(fake_a), b),
        }
        if self.identity:
            terms["identity_a"] = self.cycle * self.identity * F.l1_loss(self.back(a), a)
            terms["identity_b"] = self.cycle * self.identity * F.l1_loss(self.translate(b), b)
        yield "g", terms
        terms = {}
        for side, real, fake in (("a", a, fake_a), ("b", b, fake_b)):
            shown = self.pool[side](fake)
            for name, term in told_apart(self.adversarial, self.d[side], real, shown).items():
                terms[f"{name}_{side}"] = term
        yield "d", terms

    def translate(self, x: Tensor) -> Tensor:
        """Map encoded input N × in_channels × H × W to network space N × out_channels × H × W."""
        return self.task.activate(self.g["ab"](x))

    def back(self, x: Tensor) -> Tensor:
        """Map pictures of the target in network space, N × out_channels × H × W, to N × in_channels × H × W."""
        return self.opposite.activate(self.g["ba"](x))


def _reversed(task: Task) -> Task:
    """Return the task the other way; one that has no `reverse`, but as many channels, is taken to be alike."""
    if hasattr(task, "reverse"):
        opposite: Task = task.reverse()
        return opposite
    if task.in_channels != task.out_channels:
        raise UsageError(
            f"cyclegan: learns to translate back as well, which the task {type(task).__name__} has no way to "
            "(no reverse()). Use the task 'unpaired', or the method 'cut', which learns one direction"
        )
    return task
