"""Which class was taken for which, over a whole set: the counts that every measure of class maps is made from."""

from __future__ import annotations

import torch
from torch import Tensor

from i2i.errors import DataError

MOST = 4096
"""An index from here on is no class but a mistake: the counts would take more than 128 MiB."""


class Confusion:
    """Pixels by true class (row) and predicted class (column), int64 K × K on the host; K grows with what is seen.

    Its measures are those of Long et al. 2015, section 5, with n_ij pixels of class i predicted as j, and t_i of class
    i in all. A class that is neither in the truth nor predicted does not count in a mean over classes.
    """

    def __init__(self) -> None:
        self.counts = torch.zeros(0, 0, dtype=torch.int64)

    def add(self, predicted: Tensor, true: Tensor, counted: Tensor) -> None:
        """Take in N × 1 × H × W class indices where `counted` is true; DataError for an index that is no class."""
        pairs = torch.stack([true[counted], predicted[counted]]).long()
        if not pairs.numel():
            return
        least, most = (int(value) for value in pairs.aminmax())
        if least < 0 or most >= MOST:
            wrong = least if least < 0 else most
            raise DataError(f"a class map holds the index {wrong}, which is no class: tell the task that it is 'void'.")
        size = max(most + 1, len(self.counts))
        counts = torch.bincount(pairs[0] * size + pairs[1], minlength=size * size).view(size, size).cpu()
        counts[: len(self.counts), : len(self.counts)] += self.counts
        self.counts = counts

    def iou(self) -> dict[int, Tensor]:
        """Return n_ii / (t_i + Σ_j n_ji - n_ii), the intersection over union, by class, in [0, 1]."""
        right, union = self.counts.diag().double(), self.counts.sum(0) + self.counts.sum(1) - self.counts.diag()
        return {index: right[index] / union[index] for index in union.nonzero().flatten().tolist()}

    def scores(self) -> dict[str, Tensor]:
        """Return the three measures in [0, 1]; DataError if nothing was counted.

        "pixel accuracy": Σ n_ii / Σ t_i. "class accuracy": the mean of n_ii / t_i over the classes in the truth.
        "class IoU": the mean of `iou`.
        """
        if not self.counts.numel():
            raise DataError("there are no pixels to measure: all are void, or there are no pictures")
        right, true = self.counts.diag().double(), self.counts.sum(1)
        return {
            "pixel accuracy": right.sum() / true.sum(),
            "class accuracy": (right / true)[true > 0].mean(),
            "class IoU": torch.stack([*self.iou().values()]).mean(),
        }
