"""What both methods ask of a batch, and teach their discriminators."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from i2i.contracts import Adversarial, Batch
from i2i.errors import DataError


def told_apart(
    adversarial: Adversarial, judge: Callable[[Tensor], list[Tensor]], real: Tensor, fake: Tensor
) -> dict[str, Tensor]:
    """Return the terms of one discriminator's turn: its objective, halved to slow it down, and a penalty if it has one.

    real, fake: N × C × H × W in network space; DataError where the objective has a penalty and their sizes differ.
    """
    terms = {"adversarial": adversarial.discriminator(judge(real), judge(fake)) / 2}
    if penalty := getattr(adversarial, "penalty", None):
        if real.shape != fake.shape:
            sizes = " and ".join(f"{x.shape[3]}x{x.shape[2]}" for x in (real, fake))
            raise DataError(
                f"the penalty of {type(adversarial).__name__} mixes real pictures and translations, which are {sizes}: "
                "bring both sets to one size with [[source.prepare]], or take another 'adversarial'."
            )
        terms["penalty"] = penalty(judge, real, fake)
    return terms


def check_sides(batch: Batch, multiple: int) -> None:
    """Raise DataError where the target's sides do not divide by `multiple`; those of the input are seen to before."""
    height, width = batch.b.shape[2:]
    if height % multiple or width % multiple:
        raise DataError(
            f"training pictures of the target are {width}x{height} pixels, and the generator, which is shown them too, "
            f'needs sides that divide by {multiple}: bring them there, with [[source.prepare]] name = "RandomCrop".'
        )
