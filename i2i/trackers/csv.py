"""CSV: a run's figures as a table that spreadsheets and data frames open."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from i2i.errors import ResourceError

if TYPE_CHECKING:
    import numpy as np


class CSV:
    """Appends to `log.csv` in the run's folder, a line `step,name,value` for each value (names may come and go).

    Every call is flushed, so a crash loses no line but the one being written; a line cut short is dropped when the run
    goes on. Steps that are trained again after a resume stand there twice, the later line being the one that counts.
    ResourceError when the file cannot be written.
    """

    def __init__(self, run: Path) -> None:
        self._path = run / "log.csv"
        try:
            whole = self._path.read_bytes().rfind(b"\n") + 1 if self._path.exists() else 0
            self._file = self._path.open("a", newline="", encoding="utf-8")
            self._file.truncate(whole)
        except OSError as error:
            raise self._unwritable(error) from error
        self._rows = csv.writer(self._file, lineterminator="\n")
        if not whole:
            self._rows.writerow(("step", "name", "value"))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write one line for each value and flush."""
        try:
            self._rows.writerows((step, name, value) for name, value in values.items())
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        """Leave the picture out: a table has no place for it, and the run keeps its sample grids anyway."""

    def close(self) -> None:
        """Close the file; more calls do nothing."""
        self._file.close()

    def _unwritable(self, error: OSError) -> ResourceError:
        return ResourceError(f"{self._path}: cannot be written: {error.strerror}. Free some space or close its reader.")
