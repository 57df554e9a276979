"""Stretches of rows of a table, gathered for many pieces at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.integer]


def runs(first: Integers, counts: Integers) -> Integers:
    """Return first[0], first[0] + 1, ... (counts[0] of them), then those of first[1], and so on."""
    ends = counts.cumsum()
    index = np.arange(ends[-1] if len(ends) else 0)
    index += (first - ends + counts).repeat(counts)
    return index
