"""Pix2pix: translation learnt from pairs, by a reconstruction loss and a conditional adversarial network."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from i2i.adversarial.vanilla import Vanilla
from i2i.contracts import Batch, MakeAdversarial, MakeDiscriminator, MakeGenerator, MakeLoss, Task, Weight
from i2i.discriminators.patch import PatchGAN
from i2i.errors import UsageError
from i2i.generators.unet import UNet


class Pix2Pix(nn.Module):
    """Image-to-image translation with conditional adversarial networks (Isola et al. 2017, section 3).

    weight: λ of the reconstruction loss. gan_weight: that of the adversarial loss; 0 leaves the discriminator out, and
    the method is plain regression. conditional: the discriminator sees the input beside the output. Both weights 0
    raise UsageError. The objectives of section 4.2 by name:

    L1: gan_weight = 0. L2: that and reconstruction = "mse". cGAN: weight = 0. GAN: that and conditional = false.
    L1+cGAN: the defaults. L1+GAN: conditional = false.
    """

    def __init__(
        self,
        task: Task,
        *,
        generator: MakeGenerator = UNet,
        discriminator: MakeDiscriminator = PatchGAN,
        adversarial: MakeAdversarial = Vanilla,
        reconstruction: MakeLoss = nn.L1Loss,
        weight: Weight = 100.0,
        gan_weight: Weight = 1.0,
        conditional: bool = True,
    ) -> None:
        super().__init__()
        if weight == 0 and gan_weight == 0:
            raise UsageError("pix2pix: 'weight' and 'gan_weight' are both 0, so nothing would be learnt: raise one")
        self.task = task
        self.weight = weight
        self.gan_weight = gan_weight
        self.conditional = conditional
        self.adversarial = adversarial()
        self.reconstruction = reconstruction()
        self.g = generator(task.in_channels, task.out_channels)
        if gan_weight:
            self.d = discriminator(task.out_channels + (task.in_channels if conditional else 0))

    def step(self, batch: Batch) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Train g, then d on the same fakes; d's objective is halved, to slow it down beside g (section 3.3).

        An objective's own `penalty` is added whole. That of "wgan_gp" thus stands against half a critic's loss: 5 as
        its weight gives the proportions of its paper's 10, and Adam does not feel the common factor that is left.
        """
        fake = batch.composite(self.translate(batch.a))
        terms = {}
        if self.gan_weight:
            terms["adversarial"] = self.gan_weight * self.adversarial.generator(self.judge(batch.a, fake))
        if self.weight:
            terms["reconstruction"] = self.weight * self.reconstruction(fake, batch.b)
        yield "g", terms
        if self.gan_weight:
            fake = fake.detach()
            real, fakes = self.judge(batch.a, batch.b), self.judge(batch.a, fake)
            terms = {"adversarial": self.adversarial.discriminator(real, fakes) / 2}
            if penalty := getattr(self.adversarial, "penalty", None):
                terms["penalty"] = penalty(partial(self.judge, batch.a), batch.b, fake)
            yield "d", terms

    def judge(self, a: Tensor, b: Tensor) -> list[Tensor]:
        """Ask the discriminator about outputs b, N × out_channels × H × W, of inputs a: its maps of logits."""
        logits: list[Tensor] = self.d(torch.cat([a, b], 1) if self.conditional else b)
        return logits

    def translate(self, x: Tensor) -> Tensor:
        """Map encoded input N × in_channels × H × W to network space N × out_channels × H × W."""
        return self.task.activate(self.g(x))
