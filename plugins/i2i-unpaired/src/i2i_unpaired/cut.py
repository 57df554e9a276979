"""CUT: one generator learnt from two sets of pictures, whose patches must stay what they were."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.adversarial.lsgan import LSGAN
from i2i.contracts import Batch, Count, MakeAdversarial, MakeDiscriminator, MakeGenerator, Positive, Task
from i2i.discriminators.patch import PatchGAN
from i2i.errors import UsageError
from i2i.generators.resnet import ResNet
from i2i_unpaired.adversary import check_sides, told_apart
from i2i_unpaired.features import channels_of, default_layers, encoded, passed

Contrast = list[tuple[Tensor, Tensor]]
"""Of each layer the features of P places, N × P × C: of the translation, and of the picture that it was made from."""


class CUT(nn.Module):
    """Contrastive unpaired translation (Park et al. 2020, section 3).

    Each patch of a translation is to be told, by the generator's own features, from all other patches of the picture
    it was made from: what stands there must stay. One direction is learnt, by one generator.

    layers: names of the generator's sub-modules whose outputs are the features, and "input" for the picture itself; the
    defaults suit `resnet` (those of the paper) and `unet`. A layer whose output the next one overwrites is seen
    overwritten. patches: how many places of a picture are compared. dim: the width of the projection heads, player
    `heads`. temperature: τ. weight: λ of the contrastive loss. identity: pictures of the target are to keep their
    patches too; the two losses are then averaged, as by the authors' code. flip: half the inputs are mirrored, and
    their translations' features mirrored back (FastCUT, in the authors' code). UsageError for an unknown layer, and
    where a translation cannot be shown to its own generator for its channels.
    """

    terms: ClassVar = {
        "nce": (
            "How hard it is to find again, by its features, each patch of the input in the translation: at first "
            "about the logarithm of the number of patches (5.5 for 256), times λ; it falls and then stays well "
            "above zero."
        ),
        "heads/nce": "The same numbers as the generator's, by which the heads learn to compare patches.",
    }

    def __init__(
        self,
        task: Task,
        *,
        generator: MakeGenerator = ResNet,
        discriminator: MakeDiscriminator = PatchGAN,
        adversarial: MakeAdversarial = LSGAN,
        layers: list[str] | None = None,
        patches: Count = 256,
        dim: Count = 256,
        temperature: Positive = 0.07,
        weight: Positive = 1.0,
        identity: bool = True,
        flip: bool = False,
    ) -> None:
        super().__init__()
        if task.in_channels != task.out_channels:
            raise UsageError(
                f"cut: shows the generator its own translations, and the task translates {task.in_channels} channel(s) "
                f"to {task.out_channels}: take a task with as many on both sides"
            )
        self.task = task
        self.patches = patches
        self.temperature = temperature
        self.weight = weight
        self.identity = identity
        self.flip = flip
        self.adversarial = adversarial()
        self.g = generator(task.in_channels, task.out_channels)
        self.d = discriminator(task.out_channels)
        self.layers = default_layers(self.g) if layers is None else layers
        self.heads = nn.ModuleList(Head(c, dim) for c in channels_of(self.g, self.layers, task.in_channels))

    def step(self, batch: Batch) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Train the generator, the heads on the very features that it was judged by, then the discriminator.

        The heads' turn costs no pass through the generator, and equals the joint step of the authors' code: neither
        the features nor the heads have changed since the generator's loss.
        """
        check_sides(batch, int(getattr(self.g, "multiple", 1)))
        fake, contrast = self.translated(batch.a, flip=self.flip and bool(torch.rand(()) < 0.5))
        contrasts = {"nce": contrast}
        if self.identity:
            _, contrasts["nce_identity"] = self.translated(batch.b)
        adversarial = self.adversarial.generator(self.d(fake))
        yield "g", {"adversarial": adversarial, **self.nce(contrasts)}
        learnt = {name: [(q.detach(), k) for q, k in contrast] for name, contrast in contrasts.items()}
        yield "heads", self.nce(learnt)
        yield "d", told_apart(self.adversarial, self.d, batch.b, fake.detach())

    def translated(self, x: Tensor, *, flip: bool = False) -> tuple[Tensor, Contrast]:
        """Translate x, N × C × H × W, and pair what the translation's features are with those of x, place by place."""
        scores, keys = passed(self.g, self.layers, x.flip(-1) if flip else x)
        fake = self.task.activate(scores)
        queries = encoded(self.g, self.layers, fake)
        if flip:
            with torch.no_grad():
                keys = encoded(self.g, self.layers, x)
            queries = [query.flip(-1) for query in queries]
        return fake, [self._picked(query, key.detach()) for query, key in zip(queries, keys, strict=True)]

    def _picked(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Pick the same places, drawn by chance, of both maps, N × C × H × W: twice N × P × C."""
        places = torch.randperm(query.shape[2] * query.shape[3])[: self.patches].to(query.device)
        query, key = (x.flatten(2)[:, :, places].transpose(1, 2) for x in (query, key))
        return query, key

    def nce(self, contrasts: dict[str, Contrast]) -> dict[str, Tensor]:
        """Return the weighted contrastive loss of each, a mean over the layers."""
        terms = {}
        for name, contrast in contrasts.items():
            losses = []
            for head, (query, key) in zip(self.heads, contrast, strict=True):
                told = head(query)
                # Not before: torch 2.9's autocast keeps what it casts, and weights cast here would have no gradient.
                with torch.no_grad():
                    key = head(key)
                losses.append(patch_nce(told, key, self.temperature))
            terms[name] = self.weight / len(contrasts) * torch.stack(losses).mean()
        return terms

    def translate(self, x: Tensor) -> Tensor:
        """Map encoded input N × in_channels × H × W to network space N × out_channels × H × W."""
        return self.task.activate(self.g(x))


class Head(nn.Module):
    """Project features N × P × channels to unit vectors N × P × dim, by two linear layers (Park et al. 2020, 3)."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, dim), nn.ReLU(), nn.Linear(dim, dim))
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0.0, 0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Project and normalise, in float32."""
        return F.normalize(self.layers(x).float(), dim=-1)


def patch_nce(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    """Return the mean cross entropy of telling each place's key from those of the picture's other places.

    query, key: N × P × D unit vectors, in float32 (Park et al. 2020, equations 2 and 3).
    """
    # Under autocast the products would be bfloat16, wrong in the third digit and then multiplied by 14.
    kind = query.device.type
    exact = torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else contextlib.nullcontext()
    with exact:
        logits = query @ key.transpose(1, 2) / temperature
    right = torch.arange(query.shape[1], device=query.device).expand(len(query), -1)
    return F.cross_entropy(logits.transpose(1, 2), right)


def fastcut(
    task: Task,
    *,
    generator: MakeGenerator = ResNet,
    discriminator: MakeDiscriminator = PatchGAN,
    adversarial: MakeAdversarial = LSGAN,
    layers: list[str] | None = None,
    patches: Count = 256,
    dim: Count = 256,
    temperature: Positive = 0.07,
    weight: Positive = 10.0,
) -> CUT:
    """Make the lighter CUT (Park et al. 2020, section 3): no identity loss, ten times the weight, mirrored inputs.

    The parameters are those of `CUT`. A step takes about half the time.
    """
    return CUT(
        task,
        generator=generator,
        discriminator=discriminator,
        adversarial=adversarial,
        layers=layers,
        patches=patches,
        dim=dim,
        temperature=temperature,
        weight=weight,
        identity=False,
        flip=True,
    )
