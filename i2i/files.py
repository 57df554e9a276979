"""Files that are written whole or not at all, JSON among them, and the lock that one process has on a file."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from i2i.errors import DataError, ResourceError, UnsafeFileError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; on success it is synced and renamed to `path`, else removed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with disk_errors(path):
            make_folder(path.parent)
            yield temporary
            commit(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # where the parent is a file, which the error in flight tells
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def disk_errors(path: Path, remedy: str = "choose another folder") -> Iterator[None]:
    """Turn an error of the disk into a ResourceError that names the place and the remedy."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = f"Free some space, or {remedy}." if full else f"{remedy[0].upper()}{remedy[1:]}."
        raise ResourceError(f"{path}: cannot be written: {error.strerror or error}. {remedy}") from error


def commit(temporary: Path, path: Path) -> None:
    """Give a file its name in the same folder, once what is in it, and then that name, survives a loss of power."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def make_folder(folder: Path, *, exist_ok: bool = True) -> None:
    """Make a folder, and those above it, whose names survive a loss of power."""
    if folder.is_dir() and exist_ok:
        return
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    folder.mkdir(exist_ok=exist_ok)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """See to it that a file's new name in a folder survives a loss of power."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def lock(file: IO[bytes], path: Path, *, alone: bool = False) -> None:
    """Keep a second process from an open file until it is closed; where the system has no such lock, there is none.

    path: the name to tell. alone: the lock is of this process, not of those it forks, which may outlive it; the file is
    open for writing, and nowhere else in the process. Raises ResourceError when another one has the file.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        (fcntl.lockf if alone else fcntl.flock)(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        raise ResourceError(f"{path}: another process is at work on it. Wait for it to end, or end it.") from error
    except OSError:
        return


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
