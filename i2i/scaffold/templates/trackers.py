"""A tracker that writes lines of text, registered in pyproject.toml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from i2i.contracts import Count
from i2i.errors import ResourceError

if TYPE_CHECKING:
    import numpy as np


class Placeholder:
    """Appends a line for each report to `placeholder.txt` in the run's folder, for `tail -f`.

    digits: those that count of every value. ResourceError when the file cannot be written.
    """

    def __init__(self, run: Path, *, digits: Count = 4) -> None:
        self.path = run / "placeholder.txt"
        self.digits = digits

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step as one line."""
        told = "  ".join(f"{name} {value:.{self.digits}g}" for name, value in values.items())
        try:
            with self.path.open("a", encoding="utf-8") as file:  # closed every time: a crash loses nothing
                file.write(f"step {step}  {told}\n")
        except OSError as error:
            raise ResourceError(f"{self.path}: cannot be written: {error.strerror}. Free some space.") from error

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        """Leave pictures out: lines of text have no place for them."""

    def close(self) -> None:
        """Close nothing: the file is closed after each line."""
