"""Which pictures a translation is given: a folder, a pattern, a list in a text or Parquet file; and a shard of them."""

from __future__ import annotations

import glob
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from i2i import images
from i2i.errors import DataError, UsageError, nearest

COLUMNS = ("path", "image", "file", "filename", "file_name")
"""Names under which a Parquet file's column of paths is found."""


@dataclass(frozen=True)
class Given:
    """Pictures, in their order, and the folder that all of them lie below."""

    root: Path
    paths: list[Path]


def given(source: Path) -> Given:
    """Return the pictures that a path means.

    A folder: all in it and below. A `.txt` or `.lst`: one path a line, a `.parquet`: one a row, in the column `path`
    (or another of COLUMNS); paths in them count from the file's own folder. Else a pattern, as in `photos/**/*.jpg`.
    DataError where there is none.
    """
    if source.is_dir():
        return Given(source, images.list_images(source))
    kind = source.suffix.lower()
    if source.is_file() and kind in (".txt", ".lst", ".parquet"):
        lines = _rows(source) if kind == ".parquet" else _lines(source)
        paths = list(dict.fromkeys(source.parent / line for line in lines))
        if not paths:
            raise DataError(f"{source}: names no picture.")
    elif not source.exists() and glob.has_magic(str(source)):
        found = map(Path, glob.glob(str(source), recursive=True))
        paths = images.ordered(path for path in found if path.suffix.lower() in images.EXTENSIONS)
        if not paths:
            raise DataError(f"{source}: no picture is named so.")
    else:  # which says what is wrong with it
        return Given(source, images.list_images(source))
    # The folder itself where there is but one: a name without its folder is a name still.
    root = Path(os.path.commonpath([os.path.abspath(path.parent) for path in paths]))
    return Given(root, [Path(os.path.abspath(path)) for path in paths])


def _lines(source: Path) -> list[str]:
    try:
        text = source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: is no UTF-8 text (byte {error.start}). Give one path a line.") from error
    return [line for line in text.splitlines() if line.strip()]


def _rows(source: Path) -> list[str]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise UsageError(f"{source}: takes pyarrow to read. Run: pip install pyarrow; or give a .txt.") from error
    try:
        file = parquet.ParquetFile(source)
        names = file.schema_arrow.names
        column = next((name for name in COLUMNS if name in names), None)
        if column is None:
            close = nearest("path", names)
            raise DataError(f"{source}: has no column 'path'.{close} It has: {', '.join(names)}.")
        rows: list[str] = file.read(columns=[column]).column(0).to_pylist()
    except (OSError, ValueError) as error:
        raise DataError(f"{source}: cannot be read ({str(error).splitlines()[0]}).") from error
    if odd := next((row for row in rows if not isinstance(row, str)), None):
        raise DataError(f"{source}: the column {column!r} holds {type(odd).__name__}, and should hold paths.")
    return rows


@dataclass(frozen=True)
class Shard:
    """One of so many jobs, counted from 1, that share the pictures of a translation."""

    number: int
    count: int

    @classmethod
    def read(cls, text: str) -> Shard:
        """Read K/N; UsageError for another text."""
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(f"--shard {text}: say which of how many, as in 3/16; the first is 1/16.")
        return cls(int(found[1]), int(found[2]))

    def has(self, name: str) -> bool:
        """Whether what bears this name is this job's: the same whatever other names there are."""
        return zlib.crc32(name.encode()) % self.count == self.number - 1
