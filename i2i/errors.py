"""The errors that i2i raises on purpose: each carries its exit code and a sentence that names the remedy."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


class I2IError(Exception):
    """An error that a user can act on; `str(error)` is shown as it is, without a traceback."""

    exit_code = 1


class SomeFailed(I2IError):
    """Some items of a batch job failed; the others were done (exit code 1)."""


class UsageError(I2IError):
    """The command line or the recipe asks for something that cannot be (exit code 2)."""

    exit_code = 2


class DataError(I2IError):
    """The data are missing, unreadable, or do not fit together (exit code 3)."""

    exit_code = 3


class FaultyFiles(DataError):
    """Some files of a source are unfit.

    rest: the source itself, of which single samples may raise a DataError when their turn comes. left_out: (file, what
    is wrong) of the files that are none of its samples, such as those without a mate.
    """

    def __init__(self, message: str, rest: Any, left_out: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.rest, self.left_out = rest, left_out


class PluginError(I2IError):
    """A part is unknown, broken, or breaks its contract (exit code 4)."""

    exit_code = 4


class UnsafeFileError(I2IError):
    """A file is damaged or of a kind that may run code when read (exit code 5)."""

    exit_code = 5


class DivergedError(I2IError):
    """A loss or a weight has become NaN or infinite (exit code 6)."""

    exit_code = 6


class ResourceError(I2IError):
    """Memory or disk space has run out, or a place cannot be written (exit code 7)."""

    exit_code = 7


class StepTooLarge(ResourceError):
    """Memory has run out in a step of the training (exit code 7, where no smaller part of a batch is left to try)."""


class Interrupted(I2IError):
    """The run was told to stop and has saved its state (exit code 130 after Ctrl-C, 75 after SIGTERM)."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Elsewhere(I2IError):
    """Another process of the same training has failed, and says why, so that this one need not: its exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Terminated(KeyboardInterrupt):
    """SIGTERM has come: as Ctrl-C, but for the exit code, which is 75."""


def told(error: BaseException) -> str:
    """Return what a foreign error says, and the last file and line on its way that are not torch's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "torch" not in Path(frame.filename).parts] or frames
    place = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{place}"


def sizes(shape: Iterable[int]) -> str:
    """Return a shape in words: 3 x 256 x 256, or 'a single number' where it has no dimension."""
    return " x ".join(map(str, shape)) or "a single number"


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` (with the leading space) for the closest of `names`, or an empty string."""
    folded = {candidate.casefold(): candidate for candidate in names if candidate != name}
    close = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    return f" Did you mean {folded[close[0]]!r}?" if close else ""
