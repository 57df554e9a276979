"""The file that a study's answers are added to, and what they come to."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from i2i.errors import DataError, ResourceError, UnsafeFileError, UsageError
from i2i.files import lock, sync_folder

RESAMPLES = 10_000


def read_answers(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file of answers; a last line cut off by a crash is left out, other damage is an error."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: is missing. Name the file with --answers, or begin a study: i2i study RUN."
        ) from error
    except OSError as error:
        raise ResourceError(f"{path}: cannot be read: {error.strerror}.") from error
    *whole, tail = data.split(b"\n")
    records = [_record(path, number, line) for number, line in enumerate(whole, 1)]
    with contextlib.suppress(UnsafeFileError):
        records.append(_record(path, len(records) + 1, tail))
    return records


_KEYS = {
    "session": {
        "session": str,
        "run": str,
        "model": str,
        "settings": list,
        "number": int,
        "pictures": int,
        "design": dict,
    },
    "answer": {"session": str, "run": str, "trial": int, "practice": bool, "correct": bool, "fake_on": str},
}


def _record(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
        keys = _KEYS[record["kind"]]
        if all(isinstance(record[key], kind) for key, kind in keys.items()):
            return dict(record)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise UnsafeFileError(f"{path}, line {number}: is no record of a study. Restore the file, or name another.")


class AnswerFile:
    """The JSON lines of a study: what `append` has returned from is on the disk; no second process has the file open.

    Two studies of one file would give their participants the same numbers, and so the same trials.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with contextlib.ExitStack() as undo:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = undo.enter_context(path.open("ab", buffering=0))
                sync_folder(path.parent)
                lock(self._file, path)
                self.records = read_answers(path)
                self._mend()
            except OSError as error:
                reason = error.strerror or error
                raise ResourceError(f"{path}: cannot be written: {reason}. Choose another --answers.") from error
            undo.pop_all()

    def _mend(self) -> None:
        """Drop a last line that a crash has cut off, which nobody was told of; end one that lacks but its end."""
        lines = self.path.read_bytes().split(b"\n")
        if lines[-1] and len(lines) > len(self.records):
            self._file.truncate(self._end() - len(lines[-1]))
        elif lines[-1]:
            self._file.write(b"\n")

    def check_model(self, run: str, model: str) -> None:
        """Raise UsageError when the file has answers about another model of the same run."""
        for record in self.records:
            if record["kind"] == "session" and record["run"] == run and record["model"] != model:
                raise UsageError(
                    f"{self.path}: has answers about another model of {run!r} (sha256 {record['model'][:12]}, now "
                    f"{model[:12]}): it was trained since. Keep the two apart: name another file with --answers."
                )

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a record, whole or not at all."""
        end = self._end()
        try:
            line = json.dumps(record).encode() + b"\n"
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise ResourceError(f"{self.path}: cannot be written: {error.strerror}. Free some space.") from error

    def _end(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def results(records: Sequence[Mapping[str, Any]], seed: int = 0) -> dict[str, dict[str, Any]]:
    """Return by run how often its translations were taken for real: what was answered in practice does not count.

    Answers given under different conditions (the design, the model, the `--set` values) are not added up: where a file
    has several, each is a row of its own, named by the run and what sets it apart, such as `maps (seconds=5.0)`.
    participants: those with an answer that counts. finished: those of them who have answered every trial. answers: all
    that count. fooled: the percentage of them that named the real picture as fake; 50 is chance. low, high: the 95 %
    bootstrap interval, `over` participants, or over answers where there is one participant. The bootstrap knows no
    spread that it has not seen: with few participants its interval is too narrow.
    """
    begun = {record["session"]: record for record in records if record["kind"] == "session"}
    fooled: dict[tuple[str, ...], dict[str, dict[int, bool]]] = {}
    for record in records:
        group = fooled.setdefault(_conditions(begun.get(record["session"], record)), {})
        if record["kind"] == "answer" and not record["practice"]:
            group.setdefault(record["session"], {}).setdefault(record["trial"], not record["correct"])
    table: dict[str, dict[str, Any]] = {}
    for conditions, sessions in fooled.items():
        counts = np.array([[sum(said.values()), len(said)] for said in sessions.values()], dtype=np.int64)
        counts = counts.reshape(-1, 2)
        finished = [
            name in begun and len(said) == begun[name]["design"].get("trials") for name, said in sessions.items()
        ]
        table[_label(conditions, list(fooled))] = {
            "participants": len(counts),
            "finished": sum(finished),
            "answers": int(counts[:, 1].sum()),
            **_percentage(counts, seed),
        }
    return table


def _conditions(session: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the run of a session, and what else must be the same for answers to be added up."""
    design = [f"{key}={value}" for key, value in session.get("design", {}).items()]
    settings = [f"--set {value}" for value in session.get("settings", [])]
    return (session["run"], f"model={session.get('model', '')[:12]}", *design, *settings)


def _label(conditions: tuple[str, ...], groups: Sequence[tuple[str, ...]]) -> str:
    """Return a group's run, with the conditions that not all groups share; a model is compared within its run."""
    run, model, *others = conditions
    apart = [] if all(group[1] == model for group in groups if group[0] == run) else [model]
    apart += [one for one in others if not all(one in group for group in groups)]
    return f"{run} ({', '.join(apart)})" if apart else run


def _percentage(counts: np.ndarray, seed: int) -> dict[str, Any]:
    """Return the percentage with its interval from participants × (fooled, answers)."""
    if not len(counts):
        return {"fooled": None, "low": None, "high": None, "over": None}
    rng = np.random.default_rng(seed)
    fooled, answers = counts.sum(axis=0)
    if len(counts) == 1:  # drawing answers with replacement is a binomial draw
        rates = rng.binomial(answers, fooled / answers, RESAMPLES) / answers
    else:
        drawn = [counts[rng.integers(len(counts), size=len(counts))].sum(axis=0) for _ in range(RESAMPLES)]
        rates = np.array([some / all_ for some, all_ in drawn])
    low, high = np.percentile(rates, [2.5, 97.5])
    values = {"fooled": 100 * fooled / answers, "low": 100 * low, "high": 100 * high}
    over = "answers" if len(counts) == 1 else "participants"
    return {**{key: round(float(value), 2) for key, value in values.items()}, "over": over}
