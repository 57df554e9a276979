"""Files that are written whole or not at all, and JSON among them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from i2i.errors import DataError, ResourceError, UnsafeFileError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; on success it is synced and renamed to `path`, else removed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise ResourceError(
            f"{path}: cannot be written: {error.strerror or error}. Free some space or choose another folder."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON, whole or not at all."""
    with writing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False, default=str) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; DataError when it is missing, UnsafeFileError when it is damaged."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path}: is missing.") from error
    except (OSError, ValueError) as error:
        raise UnsafeFileError(f"{path}: is damaged: {error}.") from error
