"""A method that learns from pairs and from their mirror images, registered in pyproject.toml."""

from __future__ import annotations

from collections.abc import Iterator

from i2i.contracts import Batch, MakeGenerator, MakeLoss, Task, Weight
from i2i.generators.unet import UNet
from torch import Tensor, nn


class Placeholder(nn.Module):
    """Regression whose translation of a mirrored picture is to be the mirrored translation.

    weight: of that demand, beside the loss of the translation itself. The one player is `g`; another one would be
    another child module with a turn of its own in `step`.
    """

    def __init__(
        self, task: Task, *, generator: MakeGenerator = UNet, loss: MakeLoss = nn.L1Loss, weight: Weight = 0.1
    ) -> None:
        super().__init__()
        self.task = task
        self.weight = weight
        self.loss = loss()
        self.g = generator(task.in_channels, task.out_channels)

    def step(self, batch: Batch) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Take the one turn: g learns the truth where it counts, and to do alike in the mirror."""
        fake = self.translate(batch.a)
        mirrored = self.translate(batch.a.flip(3)).flip(3)
        yield (
            "g",
            {
                "truth": self.loss(batch.composite(fake), batch.b),
                "mirror": self.weight * self.loss(mirrored, fake),
            },
        )

    def translate(self, x: Tensor) -> Tensor:
        """Map encoded input N × in_channels × H × W to network space N × out_channels × H × W."""
        return self.task.activate(self.g(x))
