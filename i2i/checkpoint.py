"""A run's directory and a model's folder: what stands in them, and how it is written so that nothing is ever lost.

safetensors and JSON only; no pickle is read or written. A file appears under its name only when it is whole (temporary
name, fsync, rename). A state's name is its step and its checksum, so that one rename makes it, and no other file need
agree with it; the last two are kept.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from i2i.errors import DataError, ResourceError, UnsafeFileError, UsageError, nearest
from i2i.files import commit, disk_errors, lock, make_folder, read_json, write_json, writing
from i2i.recipe import Recipe, parse

MODEL_FORMAT = 1
KEEP_STATES = 2


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors as safetensors; return the sha256 of the file."""
    # A tensor may be a view or share its memory (tied weights), which the format refuses: each gets its own copy.
    whole = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    path.touch()
    mode = path.stat().st_mode
    try:
        save_file(whole, path)
    except SafetensorError as error:  # its way to tell of a full disk
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error)) from error
    path.chmod(mode)  # as of any new file; safetensors lets its owner alone read it
    return _digest(path)


def _read_tensors(path: Path, *digests: str) -> dict[str, Tensor]:
    """Read tensors; UnsafeFileError where the sha256 is none of those given (none given: it is not asked for)."""
    try:
        # A flipped bit loads in silence: only the checksum finds it.
        if digests and _digest(path) not in digests:
            raise UnsafeFileError(f"{path}: is damaged: its sha256 is not the one recorded when it was written.")
        return load_file(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: is missing.") from error
    except PermissionError as error:
        raise ResourceError(f"{path}: may not be read by you: ask its owner for the right to.") from error
    except (OSError, SafetensorError, ValueError) as error:
        raise UnsafeFileError(f"{path}: is not a readable safetensors file: {error}.") from error


@dataclass(frozen=True)
class Run:
    """A run's directory.

    recipe.toml the recipe byte for byte; resolved.json every default filled in, versions, seed; model/ enough to
    translate; state/ enough to go on; log.jsonl; samples/; result.json and report.html when it has finished.
    """

    path: Path

    @classmethod
    def create(cls, root: Path, name: str) -> Run:
        """Make a new directory `root/name-date-time`, never one that exists."""
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        for suffix in ("", *(f"-{i}" for i in range(2, 1000))):
            path = root / f"{name}-{stamp}{suffix}"
            try:
                make_folder(path, exist_ok=False)
                return cls(path)
            except (FileExistsError, NotADirectoryError):
                if not root.is_dir():
                    raise UsageError(f"{root}: is a file, or in one; a folder for the runs is needed there.") from None
            except OSError as error:
                raise ResourceError(f"{path}: cannot be made: {error.strerror}. Choose another with --runs.") from error
        raise ResourceError(f"{root}: holds a thousand runs of this second.")

    @classmethod
    def at(cls, path: Path) -> Run:
        """Take a directory, made if need be, for a new run; UsageError when it holds one."""
        if (path / "recipe.toml").exists():
            raise UsageError(f"{path}: holds a run already. Go on with it (i2i train --resume), or remove it.")
        try:
            make_folder(path)
        except OSError as error:
            raise ResourceError(f"{path}: cannot be made: {error.strerror}. Choose another with --runs.") from error
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open a run's directory; UsageError when it is none, UnsafeFileError when it is a file."""
        if path.is_file():
            raise _no_folder(path)
        if not (path / "recipe.toml").is_file():
            there = [p.name for p in path.parent.glob("*") if p.is_dir()] if path.parent.is_dir() else []
            raise UsageError(f"{path}: is not a run (no recipe.toml in it).{nearest(path.name, there)}")
        return cls(path)

    @property
    def recipe(self) -> Path:
        """The recipe as it was, byte for byte."""
        return self.path / "recipe.toml"

    @property
    def log(self) -> Path:
        """One JSON object a logged step."""
        return self.path / "log.jsonl"

    @property
    def model(self) -> Path:
        """The model folder."""
        return self.path / "model"

    @property
    def samples(self) -> Path:
        """Sample grids, `STEP.png`."""
        return self.path / "samples"

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return (self.path / "result.json").is_file()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep a second process from the run; ResourceError when another one is at work on it."""
        with disk_errors(self.path):
            file = (self.path / ".lock").open("ab")
        with file:
            # Of this process alone: workers live on for seconds after a kill, and the run goes on at once.
            lock(file, self.path, alone=True)
            yield

    def worked_on(self) -> float:
        """Return when its log was written last, in seconds since 1970, or when it began."""
        return (self.log if self.log.exists() else self.recipe).stat().st_mtime

    def result(self) -> dict[str, Any]:
        """Return what a finished run wrote: its measures, its length, its time."""
        return dict(read_json(self.path / "result.json"))

    def start(self, recipe: bytes, resolved: Mapping[str, Any]) -> None:
        """Write the recipe and what it means, before the first step."""
        write_json(self.path / "resolved.json", resolved)
        with writing(self.recipe) as temporary:  # by which a folder is known for a run
            temporary.write_bytes(recipe)

    def resolved(self) -> dict[str, Any]:
        """Return what the run was started with: the recipe with its defaults filled in, `--set` values, versions.

        Nothing where the file is not there; UnsafeFileError with the remedy where it is damaged.
        """
        path = self.path / "resolved.json"
        try:
            return dict(read_json(path)) if path.exists() else {}
        except (UnsafeFileError, TypeError, ValueError) as error:
            raise UnsafeFileError(
                f"{str(error).removesuffix('.')}. Remove it, and the run goes by its recipe.toml alone: write what was "
                "given with --set into that."
            ) from error

    def plan(self, settings: Sequence[str] = ()) -> Recipe:
        """Return the recipe as the run was started with it, and further `--set` values after those."""
        resolved = self.resolved()
        overrides = [*resolved.get("overrides", []), *settings]
        return parse(self.recipe, self.recipe.read_bytes(), overrides, name=resolved.get("name"))

    def save_state(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Write the training state of a step, behind the log up to there; it and the one before it are kept."""
        folder = self.path / "state"
        hidden = folder / f".{step:09d}.{os.getpid()}.part"
        try:
            with disk_errors(folder):
                make_folder(folder)
                with self.log.open("ab") as log:
                    os.fsync(log.fileno())
                path = folder / f"{step:09d}-{_write_tensors(hidden, tensors)}.safetensors"
                commit(hidden, path)
        finally:
            with contextlib.suppress(OSError):
                hidden.unlink(missing_ok=True)
        # One of a later step is what a resumed run could not read, or what it went back behind.
        keep = [path, *[state for state in self._states() if _step_of(state) < step][1 - KEEP_STATES :]]
        for state in {*self._states()} - {*keep}:
            with contextlib.suppress(OSError):
                state.unlink()

    def _states(self) -> list[Path]:
        return sorted((self.path / "state").glob("*.safetensors"))

    def has_state(self) -> bool:
        """Whether a state was ever saved whole; a run stopped before that begins anew."""
        return bool(self._states())

    def last_saved(self) -> int:
        """Return the step of the newest state, 0 where there is none."""
        return max(map(_step_of, self._states()), default=0)

    def load_state(self) -> tuple[int, dict[str, Tensor], list[str]]:
        """Return (step, tensors, warnings) of the newest state that is whole.

        DataError when there is none, UnsafeFileError when all are damaged.
        """
        warnings: list[str] = []
        for state in reversed(self._states()):
            try:
                tensors = _read_tensors(state, state.stem.partition("-")[2])
                return _step_of(state), tensors, [f"{text} Falling back to the state before it." for text in warnings]
            except (UnsafeFileError, DataError) as error:
                warnings.append(str(error))
        problem = " ".join([*warnings, f"{self.path}: has no whole training state to go on from: train anew."])
        raise (UnsafeFileError if warnings else DataError)(problem)

    def sweep(self) -> None:
        """Remove the halves of files that a killed process has left."""
        for part in self.path.rglob(".*.part"):
            with contextlib.suppress(OSError):
                part.unlink()

    def append_log(self, entry: Mapping[str, Any]) -> None:
        """Add one line to the log."""
        with disk_errors(self.log), self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def read_log(self, until: int | None = None) -> list[dict[str, Any]]:
        """Return the log's entries, up to a step; a line cut off by a crash, or damaged, is left out."""
        entries = filter(None, map(_entry, self._log_lines()))
        return [entry for entry in entries if until is None or entry.get("step", 0) <= until]

    def _log_lines(self) -> list[bytes]:
        return self.log.read_bytes().split(b"\n") if self.log.exists() else []

    def cut_log(self, step: int) -> int:
        """Drop what was logged after a step: a resumed run says it anew; return how many damaged lines went as well."""
        entries = self.read_log(until=step)
        lost = [line for line in self._log_lines()[:-1] if _entry(line) is None]  # a crash may cut off the last
        with writing(self.log) as temporary:
            temporary.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
        return len(lost)


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("step", 0), int) else None


def save_model(folder: Path, description: Mapping[str, Any], generator: Mapping[str, Tensor]) -> None:
    """Write model.safetensors, and model.json with its checksum.

    Killed between the two, the folder holds the old weights and the new description: it knows the checksum of both.
    """
    path = folder / "model.safetensors"
    with writing(path) as temporary:
        digest = _write_tensors(temporary, generator)
        before = {"sha256_before": _digest(path)} if path.exists() else {}
        write_json(folder / "model.json", {"format": MODEL_FORMAT, **description, "sha256": digest, **before})


def read_description(folder: Path) -> dict[str, Any]:
    """Return what a model folder's model.json says, `sha256` of the weights included."""
    description = read_json(folder / "model.json")
    if not isinstance(description, dict) or description.get("format") != MODEL_FORMAT:
        raise UnsafeFileError(f"{folder / 'model.json'}: is not a model description of format {MODEL_FORMAT}.")
    return {"sha256": None, **description}


def load_model(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return (description, the generator's weights) of a model folder, the checksum verified."""
    description = read_description(folder)
    digests = [description["sha256"], description.get("sha256_before")]
    return description, _read_tensors(folder / "model.safetensors", *filter(None, digests))


def _step_of(state: Path) -> int:
    return int(state.stem.partition("-")[0]) if state.stem[:9].isdecimal() else 0


def newest_run(root: Path) -> Run:
    """Return the newest finished run below `root`; UsageError with the remedy when there is none."""
    runs = [Run(path.parent) for path in root.glob("*/result.json")]
    if not runs:
        begun = [path.parent for path in root.glob("*/recipe.toml")]
        hint = f" {begun[-1]} has not finished: i2i train --resume {begun[-1]}." if begun else ""
        raise UsageError(f"{root}: no finished run in it.{hint} Train one (i2i train RECIPE) or name one with --model.")
    return max(runs, key=lambda run: ((run.path / "result.json").stat().st_mtime, run.path.name))


def unfinished_run(root: Path) -> Run:
    """Return the run below `root` that was worked on last of those that have not finished; UsageError for none."""
    runs = [Run(path.parent) for path in root.glob("*/recipe.toml")]
    begun = [run for run in runs if not run.finished]
    if not begun:
        hint = "all have finished" if runs else "there is none"
        raise UsageError(f"{root}: no run in it to go on with: {hint}. Train one (i2i train RECIPE) or name another.")
    return max(begun, key=lambda run: (run.worked_on(), run.path.name))


def find_model(path: Path) -> Path:
    """Return the model folder that a path means: a model folder itself, or a run; UsageError when it is neither.

    UnsafeFileError for a file, whatever it holds.
    """
    for folder in (path, path / "model"):
        if (folder / "model.json").is_file():
            return folder
    if path.is_file():
        raise _no_folder(path)
    there = [p.name for p in path.parent.glob("*") if p.is_dir()] if path.parent.is_dir() else []
    raise UsageError(f"{path}: is neither a run nor a model folder.{nearest(path.name, there)}")


def _no_folder(path: Path) -> UnsafeFileError:
    return UnsafeFileError(
        f"{path}: is a file, and a file of weights may run code when it is read: give its folder, with "
        "model.json in it, or a run. i2i import makes one of a generator that torch.save wrote."
    )


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    import platform
    from importlib.metadata import version

    return {"i2i": version("i2i"), "torch": torch.__version__, "python": platform.python_version()}


def slug(text: str) -> str:
    """Return a text as part of a file name."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "run"
