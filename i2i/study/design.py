"""How a study is made, and which pictures each of its participants is shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from i2i.errors import UsageError

SIDES = ("left", "right")


@dataclass(frozen=True)
class Design:
    """How a study is made; the defaults are those of the paper (Isola et al. 2017, section 4.1).

    practice: the first trials, answered with feedback; they do not count. trials: those that count, without feedback.
    seconds: how long pictures are seen. size: the longer side in pixels at which they are shown; larger ones are scaled
    down. same_input: real and fake show the same scene (the paper's colorization); by default they show different ones
    (its maps and aerial photographs), which is harder. in_turn: one picture after the other, each for `seconds`, as on
    the page that the authors used; by default both at once.
    """

    practice: int = 10
    trials: int = 40
    seconds: float = 1.0
    size: int = 256
    same_input: bool = False
    in_turn: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        faults = {
            f"--trials {self.trials}: at least 1 is needed": self.trials < 1,
            f"--practice {self.practice}: cannot be negative": self.practice < 0,
            f"--seconds {self.seconds}: must lie between 0.05 and 60": not 0.05 <= self.seconds <= 60,
            f"--size {self.size}: must lie between 16 and 4096": not 16 <= self.size <= 4096,
            f"--seed {self.seed}: cannot be negative": self.seed < 0,
        }
        for fault, present in faults.items():
            if present:
                raise UsageError(f"{fault}.")

    @property
    def total(self) -> int:
        """The trials of a session, practice and all."""
        return self.practice + self.trials

    @property
    def pictures(self) -> int:
        """The held-out pictures at which no participant sees a scene twice."""
        return self.total * (1 if self.same_input else 2)


@dataclass(frozen=True)
class Trial:
    """A fake picture against a real one, each the number of one of the run's pictures."""

    fake: int
    real: int
    fake_on: str


def draw_trials(count: int, design: Design, number: int) -> list[Trial]:
    """Return the trials of the study's session `number` over `count` pictures; they follow from the seed.

    No picture of the practice comes up in the trials that count, as long as there are enough for that.
    """
    rng = np.random.default_rng([design.seed, number])
    order = rng.permutation(count)
    least = 1 if design.same_input else 2
    cut = 0
    if design.practice:
        cut = min(max(round(count * design.practice / design.total), least), count - least)
    pools = (order[:cut], order[cut:]) if cut >= least or not design.practice else (order, order)
    return [*_pairs(pools[0], design.practice, design, rng), *_pairs(pools[1], design.trials, design, rng)]


def _pairs(pool: np.ndarray, count: int, design: Design, rng: np.random.Generator) -> list[Trial]:
    """Go through the pool as often as need be: every fake once a round, its real half the pool away, or the same."""
    trials: list[Trial] = []
    while len(trials) < count:
        fakes = rng.permutation(pool)
        reals = np.roll(fakes, 0 if design.same_input else len(pool) // 2)
        trials += [Trial(int(f), int(r), SIDES[rng.integers(2)]) for f, r in zip(fakes, reals, strict=True)]
    return trials[:count]
