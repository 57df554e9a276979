"""What is watched in a training without waiting for the device at each step, and what its curves should look like.

Chintala et al. 2016, "How to train a GAN? Tips and tricks", 10: a discriminator's loss near zero is a failure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from i2i.engine import GENERATOR, Report
from i2i.errors import DivergedError
from i2i.ranks import ALONE, World

WON = 0.02
"""A discriminator's adversarial loss below which it has won: it is sure of 98 of 100 (0.69 halved is guessing)."""
WON_STEPS = 1000
"""Steps in a row, by the means that are logged, after which that is said."""
ALIKE = 0.05
"""How far translations of several pictures differ, as a share of how far the real ones do, below which that is said."""
BEGUN = 500
"""Steps before which that is not judged: a network that has not learnt yet answers everything alike."""


class Averages:
    """Means of the terms since the last reading, kept on the device and read in one transfer."""

    def __init__(self, world: World = ALONE) -> None:
        self._world = world  # whose terms are added up when they are read: each has its share of the batch
        self._sums: dict[str, Tensor] = {}
        # After how many of its steps a sum was a number: it does not become one again.
        self._finite: dict[str, Tensor] = {}
        self._steps: dict[str, list[int]] = {}

    def add(self, report: Report) -> None:
        """Take in one report; a term may be absent from some steps."""
        for name, value in report.terms.items():
            if name in self._sums:
                total = self._sums[name] + value.float()
                self._finite[name] = self._finite[name] + torch.isfinite(total)
            else:
                total = value.float()
                self._finite[name] = torch.isfinite(total).float()
            self._sums[name] = total
            self._steps.setdefault(name, []).append(report.step)

    def tensors(self) -> dict[str, Tensor]:
        """Return what was taken in since the last reading, for a checkpoint: (sum, count) by place and name.

        DivergedError when a sum is not finite.
        """
        return {
            f"log/{place:03}/{name}": torch.tensor([total, len(self._steps[name])], dtype=torch.float64)
            for place, (name, total) in enumerate(self._read().items())
        }

    def restore(self, tensors: Mapping[str, Tensor], step: int, device: torch.device) -> None:
        """Take up what `tensors` returned at `step`: a log whose lines are means over all of their steps."""
        for key in sorted(key for key in tensors if key.startswith("log/")):
            name, (total, count) = key.split("/", 2)[2], tensors[key].tolist()
            self._sums[name] = torch.tensor(total, dtype=torch.float32, device=device)
            self._finite[name] = torch.tensor(count, dtype=torch.float32, device=device)
            self._steps[name] = list(range(step + 1 - int(count), step + 1))

    def read(self) -> dict[str, float]:
        """Return the means and start anew; DivergedError, with the first step, when one is not finite."""
        means = {name: total / len(self._steps[name]) for name, total in self._read().items()}
        self._sums, self._finite, self._steps = {}, {}, {}
        return means

    def _read(self) -> dict[str, float]:
        if not self._sums:
            return {}
        both = torch.stack([*self._sums.values(), *self._finite.values()]).view(2, -1)
        if self._world.size > 1:
            both = torch.stack([self._world.summed(both[0].clone()), self._world.least(both[1].clone())])
        sums, finite = both.tolist()
        broken = [
            (self._steps[name][int(good)], name, total)
            for name, total, good in zip(self._sums, sums, finite, strict=True)
            if not math.isfinite(total)
        ]
        if broken:
            step, name, value = min(broken, key=lambda one: one[0])
            raise DivergedError(
                f"{name} became {value} in step {step}. Try a lower learning rate (--set optimizer.lr=1e-4) or "
                "--set train.precision=float32."
            )
        return dict(zip(self._sums, sums, strict=True))


class Watch:
    """Says, once each, what a beginner could not read off the curves. What it knows of a run is what its log holds."""

    def __init__(self, log: Iterable[Mapping[str, Any]] = ()) -> None:
        self._since: dict[str, int] = {}
        self._last = 0
        self._said: set[str] = set()
        for entry in log:
            if "warning" in entry:
                self._said.add(entry["of"])
            else:
                self.logged(entry)

    def logged(self, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Take in a line of the log, means over the steps since the line before; return the warnings, for the log."""
        warnings = []
        step, before, self._last = int(entry["step"]), self._last, int(entry["step"])
        losses: dict[str, list[float]] = {}
        for name, value in entry.items():
            player, _, term = name.partition("/")
            if player != GENERATOR and term.startswith("adversarial"):
                losses.setdefault(player, []).append(value)
        for player, values in losses.items():
            if not all(0 <= value < WON for value in values):  # one below zero (wgan_gp) is no sign of anything
                self._since.pop(player, None)
                continue
            since = self._since.setdefault(player, before + 1)
            if step + 1 - since >= WON_STEPS:
                warnings += self._once(
                    step,
                    player,
                    f"the discriminator ({player}) has won since step {since:,}: it tells every translation from a "
                    "real picture, and the generator learns nothing from it. Try a lower rate for it (--set "
                    f"optimizer.{player}.lr=5e-5), a weaker one (a smaller width), more pictures, or diff_augment.",
                )
        return warnings

    def sampled(self, step: int, rows: Sequence[Sequence[np.ndarray]]) -> list[dict[str, Any]]:
        """Take in rows of sample pictures (input, output, real), H × W × C uint8; return the warnings, for the log."""
        if len(rows) < 2 or step < BEGUN:
            return []
        outputs, reals = (spread([row[place] for row in rows]) for place in (1, 2))
        if reals < 1 or outputs >= ALIKE * reals:
            return []
        return self._once(
            step,
            "outputs",
            f"the translations have become alike by step {step:,}: they differ from one another by {outputs:.2g} "
            f"levels of 255, real pictures by {reals:.2g}. The generator answers every picture with the same one. Try "
            "a lower rate (--set optimizer.lr=1e-4), more weight on what compares with the truth or the input, or "
            "another seed (--set train.seed=1).",
        )

    def _once(self, step: int, of: str, text: str) -> list[dict[str, Any]]:
        if of in self._said:
            return []
        self._said.add(of)
        return [{"step": step, "of": of, "warning": text}]


def spread(pictures: Sequence[np.ndarray]) -> float:
    """Return how far pictures H × W × C differ from one another: the deviation of 8 × 8 of their means, in levels."""
    import cv2

    small = [cv2.resize(picture, (8, 8), interpolation=cv2.INTER_AREA).astype(np.float32) for picture in pictures]
    return float(np.stack(small).std(0).mean())


TERMS = {
    f"{GENERATOR}/adversarial": (
        "How easily the discriminator tells the translations from real pictures. It falls where they fool it and "
        "rises where it learns; a balance (with vanilla about 0.7 to 3) is good, zero is not what it is after, and a "
        "steady rise says that the discriminator wins. With hinge and wgan_gp it has no bound and may be below zero."
    ),
    "adversarial": (
        "How badly the discriminator tells real pictures from translations. Halved, near 0.69 it is guessing (with "
        "vanilla; 0.25 with lsgan, 1 with hinge): the translations are good, or it is too weak. Between a tenth and a "
        "half of that both learn; near 0 it has won, and the generator learns little from it. That of wgan_gp is "
        "minus a distance: it falls, then rises towards 0."
    ),
    "penalty": (
        "What holds the discriminator's slope down. It is small and steady; one that grows says that the rate is too "
        "high."
    ),
    "reconstruction": (
        "How far the translations are from the truth, times its weight. It falls quickly, then ever more slowly; "
        "where it goes on falling here while the held-out measures do not, the pictures are being learnt by heart."
    ),
}
"""What the terms of the built-in method look like when all is well, by `player/term`, or by term whoever has it."""
OTHER = (
    "A loss, times its weight: it should fall, quickly at first and then slowly. One that rises for long is a bad sign."
)


def expected(method: nn.Module, log: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return what each logged term should look like, by its name; a method says it of its own terms in `terms`."""
    told = TERMS | dict(getattr(method, "terms", {}))
    names = dict.fromkeys(name for entry in log for name in entry if "/" in name)
    found = {}
    for name in names:
        term = name.partition("/")[2]
        ways = (name, term, f"{name.partition('/')[0]}/{term.partition('_')[0]}", term.partition("_")[0])
        found[name] = next((told[way] for way in ways if way in told), OTHER)
    return found
