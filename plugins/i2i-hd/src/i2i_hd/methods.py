"""The methods pix2pixHD and SPADE: who plays, with which weights, and when."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from i2i.adversarial.hinge import Hinge
from i2i.adversarial.lsgan import LSGAN
from i2i.contracts import Batch, MakeAdversarial, MakeDiscriminator, MakeGenerator, MakeLoss, Natural, Task, Weight
from i2i.errors import UsageError
from i2i_hd.multiscale import Multiscale
from i2i_hd.objective import Features, Objective
from i2i_hd.pix2pixhd import CoarseToFine
from i2i_hd.spade import SPADEGenerator
from i2i_hd.style import MakeEncoder, Styled, VAEEncoder

Phase = Literal["coarse", "frozen", "whole"]
"""What pix2pixHD trains of its generator: the global one alone, the enhancers around it alone, or all of it."""
SPADE_DISCRIMINATOR: MakeDiscriminator = partial(Multiscale, scales=2, spectral=True)
FEATURES = (
    "How far the discriminator's features of translations are from those of the real pictures, times its weight. It "
    "falls, then follows the discriminator, whose features go on changing: it need not end lower than it was."
)


class Pix2PixHD(nn.Module):
    """High resolution from labels, by adversaries at three scales, coarse to fine (Wang et al. 2018, section 3).

    feature_weight: λ of feature matching, of which the paper has 10; the discriminator needs `features` for it.
    reconstruction, weight: a loss between fake and real, such as `perceptual` (`sum` adds up several), and its weight;
    the paper's 10 stands beside sums over three scales, which are means here: 3.3 corresponds to it. The objective of
    the discriminator is halved, as in the authors' code.

    coarse_steps: for so many steps the global generator is trained alone, on pictures of half the size. frozen_steps:
    for so many steps after these the enhancers are trained alone, and then all of it. With 0 and 0 all of it is trained
    from the start; a generator other than `pix2pixhd` knows no other way.
    """

    terms: ClassVar = {"features": FEATURES}

    steps: Tensor

    def __init__(
        self,
        task: Task,
        *,
        generator: MakeGenerator = CoarseToFine,
        discriminator: MakeDiscriminator = Multiscale,
        adversarial: MakeAdversarial = LSGAN,
        feature_weight: Weight = 10.0,
        reconstruction: MakeLoss | None = None,
        weight: Weight = 10.0,
        coarse_steps: Natural = 0,
        frozen_steps: Natural = 0,
    ) -> None:
        super().__init__()
        if frozen_steps and not coarse_steps:
            raise UsageError(
                "pix2pixhd: 'frozen_steps' without 'coarse_steps' would freeze what has learnt nothing yet"
            )
        self.task = task
        self.coarse_steps, self.frozen_steps = coarse_steps, frozen_steps
        loss = reconstruction() if reconstruction else None
        self.objective = Objective(adversarial(), features=feature_weight, reconstruction=loss, weight=weight)
        self.g = generator(task.in_channels, task.out_channels)
        self.d = discriminator(task.in_channels + task.out_channels)
        if coarse_steps:
            if not hasattr(self.g, "begin_coarse"):
                raise UsageError("pix2pixhd: 'coarse_steps' needs a generator with enhancers, such as 'pix2pixhd'")
            self.g.begin_coarse()
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def step(self, batch: Batch) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Train g, then d on the same pictures; what d sees in the real ones serves both turns."""
        for phase in self._phases():
            yield from self._turns(batch, phase)
        if self.coarse_steps:
            self.steps.add_(1)

    def _phases(self) -> list[Phase]:
        """Return the phase that this step is in; in a rehearsal, those whose shapes differ."""
        if not self.coarse_steps:
            return ["whole"]
        if self.steps.is_meta:  # has no value to ask for
            return ["coarse", "whole"]
        done = int(self.steps)  # waits for the device, once a step
        self.g.refined.fill_(done >= self.coarse_steps)
        if done < self.coarse_steps:
            return ["coarse"]
        return ["frozen" if done < self.coarse_steps + self.frozen_steps else "whole"]

    def _turns(self, batch: Batch, phase: Phase) -> Iterator[tuple[str, dict[str, Tensor]]]:
        if phase == "coarse":
            batch = batch.map(self.g.shrunk)
            scores = self.g.coarse(batch.a)
        else:
            scores = self.g.fine(batch.a, frozen=True) if phase == "frozen" else self.g(batch.a)
        fake = batch.composite(self.task.activate(scores))
        judge = partial(self._seen, batch.a)
        of_real = judge(batch.b)
        yield "g", self.objective.for_generator(fake, batch.b, judge(fake), of_real)
        yield "d", self.objective.for_discriminator(judge, fake, batch.b, of_real, share=0.5)

    def _seen(self, a: Tensor, b: Tensor) -> Features:
        return self.objective.seen(self.d, torch.cat([a, b], 1))

    def translate(self, x: Tensor) -> Tensor:
        """Map encoded input N × in_channels × H × W to network space N × out_channels × H × W."""
        return self.task.activate(self.g(x))


class SPADE(nn.Module):
    """Labels to pictures by spatially adaptive normalisation (Park et al. 2019, sections 3 and 4).

    feature_weight: λ of feature matching. reconstruction, weight: a loss between fake and real (`sum` adds up several)
    and its weight, 10 for the paper's `perceptual`. The paper's two time scales are two tables: [optimizer.g] lr =
    1e-4, [optimizer.d] lr = 4e-4, both with betas = [0.0, 0.9].

    With a task that gives a `style`, such as `styled_labels`, there is an encoder which makes a code of it, a player
    together with the generator; divergence_weight is that of the code's divergence from N(0, 1), a sum over its numbers
    and a mean over the batch (section 3; the authors' code sums over the batch too). A translation has the mean of the
    style's codes, or the code 0 where there is none; a stochastic one draws.
    """

    terms: ClassVar = {
        "features": FEATURES,
        "divergence": (
            "How far the styles of pictures are from a normal distribution, times its weight. It rises at first, "
            "when the encoder begins to say something, and settles; where it is zero, styles say nothing."
        ),
    }

    def __init__(
        self,
        task: Task,
        *,
        generator: MakeGenerator = SPADEGenerator,
        encoder: MakeEncoder = VAEEncoder,
        discriminator: MakeDiscriminator = SPADE_DISCRIMINATOR,
        adversarial: MakeAdversarial = Hinge,
        feature_weight: Weight = 10.0,
        divergence_weight: Weight = 0.05,
        reconstruction: MakeLoss | None = None,
        weight: Weight = 10.0,
    ) -> None:
        super().__init__()
        self.task = task
        self.divergence_weight = divergence_weight
        loss = reconstruction() if reconstruction else None
        self.objective = Objective(adversarial(), features=feature_weight, reconstruction=loss, weight=weight)
        self.style = 3 if "style" in task.inputs else 0
        self.labels = task.in_channels - self.style
        if self.style:
            made = encoder(self.style)
            try:
                inner = generator(self.labels, task.out_channels, latent=made.latent)  # type: ignore[call-arg]
            except TypeError as error:
                raise UsageError(
                    f"spade: a style needs a generator that takes 'latent', such as 'spade' ({error})"
                ) from error
            self.g: nn.Module = Styled(inner, made, self.style)
            self.stochastic = False
        else:
            self.g = generator(self.labels, task.out_channels)
            if getattr(self.g, "latent", 0):
                raise UsageError(
                    "spade: 'latent' is for a task that gives a style, such as 'styled_labels': leave it out"
                )
        self.d = discriminator(self.labels + task.out_channels)

    def step(self, batch: Batch) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Train g, then d on the same pictures; what d sees in the real ones serves both turns."""
        terms = {}
        if self.style:
            scores, divergence = self.g(batch.a, draw=True)
            terms["divergence"] = self.divergence_weight * divergence.mean()
        else:
            scores = self.g(batch.a)
        fake = batch.composite(self.task.activate(scores))
        judge = partial(self._seen, batch.a[:, : self.labels])
        of_real = judge(batch.b)
        yield "g", {**self.objective.for_generator(fake, batch.b, judge(fake), of_real), **terms}
        yield "d", self.objective.for_discriminator(judge, fake, batch.b, of_real)

    def _seen(self, labels: Tensor, picture: Tensor) -> Features:
        return self.objective.seen(self.d, torch.cat([labels, picture], 1))

    def translate(self, x: Tensor) -> Tensor:
        """Map encoded input N × in_channels × H × W to network space N × out_channels × H × W."""
        scores = self.g(x, draw=self.stochastic)[0] if self.style else self.g(x)
        return self.task.activate(scores)
