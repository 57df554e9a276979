"""The paper's perceptual study: people tell real pictures from a run's translations on a web page of this machine."""

from __future__ import annotations

import contextlib
import errno
import io
import ipaddress
import json
import os
import re
import secrets
import socket
import socketserver
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from i2i.checkpoint import Run, read_description
from i2i.contracts import Images, Task
from i2i.errors import DataError, I2IError, ResourceError, UnsafeFileError, UsageError
from i2i.evaluate import HeldOut, in_colour
from i2i.files import lock, sync_folder

SIDES = ("left", "right")
RESAMPLES = 10_000
MAX_BODY = 1024
MAX_SESSIONS = 100_000  # a robot on the start button fills neither the memory nor the disk
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob: data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


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


# ---- pictures


@dataclass(frozen=True)
class Pictures:
    """A run's held-out pictures as PNG files in memory, the longer side at most `Design.size` pixels.

    model: the sha256 of the model that made the fakes. settings: the `--set` values that they were made with. samples:
    which of the held-out split they are.
    """

    run: str
    model: str
    settings: list[str]
    samples: list[int]
    real: list[bytes]
    fake: list[bytes]


def render(path: Path, design: Design, settings: Sequence[str] = (), device: str = "auto") -> Pictures:
    """Translate as many of a run's held-out pictures as a study needs, drawn from the split by the study's seed.

    settings: `--set` values for the run's recipe, such as another `[validation]`.
    """
    run = Run.open(path)
    model = str(read_description(run.model)["sha256"])
    held_out = HeldOut.of(run, run.plan(settings), device)
    task, samples = held_out.task, held_out.samples
    least = 1 if design.same_input else 2
    if len(samples) < least:
        raise UsageError(f"{path}: {len(samples)} held-out picture(s), but a study needs {least} at least.")
    if design.same_input and not task.paired:
        raise UsageError(f"{path}: its pictures are no pairs of one scene; leave --same-input out.")
    chosen = np.random.default_rng(design.seed).permutation(len(samples))[: design.pictures].tolist()
    real, fake = [], []
    for index in chosen:
        pictures, batch, translation = held_out.translated(index)
        truth = pictures[task.target]
        if batch.mask is not None:  # a void that only the real picture has would tell it from the fake
            translation = torch.where(batch.mask > 0, translation, truth)
        real.append(_png(task, truth, pictures, design.size))
        fake.append(_png(task, translation, pictures, design.size))
    return Pictures(path.resolve().name, model, list(settings), chosen, real, fake)


def _png(task: Task, picture: Tensor, pictures: Images, size: int) -> bytes:
    """Encode what a person would be shown of 1 × C × H × W, real and fake alike, without metadata."""
    if present := getattr(task, "present", None):
        picture = present(picture, pictures)
    if picture.shape[1] == 4:  # cut out: on mid-grey, whatever the colour of the page
        picture = picture[:, :3] * picture[:, 3:] + 0.5 * (1 - picture[:, 3:])
    pixels = in_colour(picture[0], getattr(task, "palette", None))
    scale = size / max(pixels.shape[:2])
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


# ---- answers


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


# ---- the study


class Refused(Exception):
    """A request that cannot be granted: an HTTP status and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Session:
    """One participant: the trials of one run, and how far they have come."""

    name: str
    pictures: Pictures
    trials: list[Trial]
    correct: list[bool] = field(default_factory=list)
    shown_at: float | None = None

    @property
    def number(self) -> int:
        """The trial to be answered next, from 1; one more than there are when all are answered."""
        return len(self.correct) + 1


class Study:
    """Who sees what, and what they said; every method may be called from several threads."""

    def __init__(self, pictures: Sequence[Pictures], design: Design, file: AnswerFile) -> None:
        self.pictures = {of_run.run: of_run for of_run in pictures}
        self.design, self.file = design, file
        self.lock = threading.Lock()
        self.sessions: dict[str, Session] = {}
        self.count = 0
        for record in file.records:
            self._restore(record)

    def _restore(self, record: Mapping[str, Any]) -> None:
        """Take up a session of this very study again, so that a restarted server goes on with its participants."""
        if record["kind"] == "session":
            self.count = max(self.count, record["number"] + 1)
            of_run = self.pictures.get(record["run"])
            if of_run and self._begun_with(of_run).items() <= record.items():
                self._add(record["session"], of_run, record["number"])
        elif (session := self.sessions.get(record["session"])) and record["trial"] == session.number:
            session.correct.append(record["correct"])

    def _begun_with(self, of_run: Pictures) -> dict[str, Any]:
        """Return what must be the same for a session of a run to go on."""
        return {
            "model": of_run.model,
            "settings": of_run.settings,
            "pictures": len(of_run.samples),
            "design": asdict(self.design),
        }

    def _add(self, name: str, of_run: Pictures, number: int) -> None:
        self.sessions[name] = Session(name, of_run, draw_trials(len(of_run.samples), self.design, number))

    def begin(self) -> str:
        """Begin a session with the run that has the fewest, and return its name, which cannot be guessed."""
        with self.lock:
            if len(self.sessions) >= MAX_SESSIONS:
                raise Refused(503, "This study takes no more participants.")
            begun = Counter(session.pictures.run for session in self.sessions.values())
            fewest = min(begun[run] for run in self.pictures)
            rng = np.random.default_rng([self.design.seed, self.count, 1])
            of_run = self.pictures[str(rng.choice([run for run in self.pictures if begun[run] == fewest]))]
            name, number = secrets.token_urlsafe(16), self.count
            self._append("session", name, of_run, number=number, **self._begun_with(of_run))
            self.count += 1
            self._add(name, of_run, number)
            return name

    def _append(self, kind: str, name: str, of_run: Pictures, **values: Any) -> None:
        now = datetime.now().astimezone().isoformat(timespec="milliseconds")
        self.file.append({"kind": kind, "session": name, "run": of_run.run, **values, "time": now})

    def session(self, name: str) -> Session:
        """Return a session by its name; Refused when there is none."""
        if name not in self.sessions:
            raise Refused(404, "This session is not known: the study it belongs to has ended. A new one starts at /.")
        return self.sessions[name]

    def state(self, name: str) -> dict[str, Any]:
        """Return where a session stands; how well it went is told at the end alone."""
        session = self.session(name)
        done = session.number > self.design.total
        state = {"trial": session.number, "shown": session.shown_at is not None, "done": done}
        return {**state, "correct": sum(session.correct[self.design.practice :])} if done else state

    def picture(self, name: str, number: int, side: str) -> bytes:
        """Return one picture of the trial at hand, before it counts as shown and never after."""
        with self.lock:
            session = self.session(name)
            if number != session.number or number > self.design.total:
                raise Refused(404, "That is not the trial at hand.")
            if session.shown_at is not None:
                raise Refused(410, "These pictures have been shown.")
            trial = session.trials[number - 1]
            return session.pictures.fake[trial.fake] if side == trial.fake_on else session.pictures.real[trial.real]

    def show(self, name: str, number: int) -> dict[str, Any]:
        """Note that the pictures of the trial at hand are being shown."""
        with self.lock:
            session = self.session(name)
            if number != session.number or number > self.design.total:
                raise Refused(400, "That is not the trial at hand.")
            if session.shown_at is None:
                session.shown_at = time.monotonic()
            return self.state(name)

    def answer(self, name: str, number: int, said: str) -> dict[str, Any]:
        """Keep which side a participant named as fake; a trial's first answer stands, and a second changes nothing.

        Returns the new state, and for practice the feedback.
        """
        with self.lock:
            session = self.session(name)
            if not 1 <= number <= self.design.total:
                raise Refused(400, f"There is no trial {number}.")
            if number > session.number or (number == session.number and session.shown_at is None):
                raise Refused(400, f"Trial {number} has not been shown.")
            if number == session.number:
                self._keep(session, said)
            answer = {"state": self.state(name), "feedback": None}
            if number <= self.design.practice:
                fake_on = session.trials[number - 1].fake_on
                answer["feedback"] = {"correct": session.correct[number - 1], "fake": fake_on}
            return answer

    def _keep(self, session: Session, said: str) -> None:
        number, trial = session.number, session.trials[session.number - 1]
        assert session.shown_at is not None
        self._append(
            "answer",
            session.name,
            session.pictures,
            trial=number,
            practice=number <= self.design.practice,
            fake_on=trial.fake_on,
            said=said,
            correct=said == trial.fake_on,
            seconds=round(time.monotonic() - session.shown_at, 3),
            fake_sample=session.pictures.samples[trial.fake],
            real_sample=session.pictures.samples[trial.real],
        )
        session.correct.append(said == trial.fake_on)
        session.shown_at = None


# ---- the server


class Server(ThreadingHTTPServer):
    """Listens at once, and answers from when `study` is set; what goes wrong meanwhile is given to `say`."""

    daemon_threads = True
    request_queue_size = 64
    allow_reuse_port = False  # a second server on the same port would take half of the participants
    study: Study

    def __init__(self, host: str, port: int, say: Callable[[str], None] = print) -> None:
        self.say = say
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OverflowError as error:
            raise UsageError(f"--port {port}: is no port; choose one from 1024 to 65535.") from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                free = "Choose another, such as --port 0 for any free one, or end the program that has it."
                raise UsageError(f"--port {port}: is in use on {host}. {free}") from error
            reason = error.strerror or error
            raise UsageError(f"--host {host} --port {port}: cannot be listened on: {reason}. Choose others.") from error

    def server_bind(self) -> None:
        """Bind without asking for the host's full name, which waits for a name server."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = map(str, self.server_address[:1]), self.server_address[1]  # type: ignore[assignment]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over a participant who went away; anything else is a fault of ours and is said."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    @cached_property
    def page(self) -> bytes:
        """The page of every view, with the study's design in it."""
        text = files("i2i").joinpath("study.html").read_text(encoding="utf-8")
        design = asdict(self.study.design)
        told = {key: design[key] for key in ("practice", "trials", "seconds", "size", "in_turn")}
        return text.replace("{{design}}", json.dumps(told)).encode()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "i2i", ""
    timeout = 30

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal belongs to who runs the study."""

    def do_GET(self) -> None:
        self._respond(
            {
                r"/": self._page,
                r"/results": self._results_page,
                r"/results\.json": self._results,
                r"/s/([\w-]{22})": self._session_page,
                r"/s/([\w-]{22})/state": lambda name: self._json(self.server.study.state(name)),
                r"/s/([\w-]{22})/pictures/(\d{1,6})/(left|right)": self._picture,
            }
        )

    def do_POST(self) -> None:
        self._respond(
            {
                r"/sessions": self._begin,
                r"/s/([\w-]{22})/shown": self._shown,
                r"/s/([\w-]{22})/answers": self._answer,
            }
        )

    def _respond(self, routes: Mapping[str, Callable[..., None]]) -> None:
        try:
            for pattern, handle in routes.items():
                if match := re.fullmatch(pattern, self.path.partition("?")[0]):
                    return handle(*match.groups())
            raise Refused(404, "There is no such page.")
        except Refused as refusal:
            self._refuse(refusal.status, str(refusal))
        except I2IError as error:
            self.server.say(str(error))
            self._refuse(500, "This could not be kept or read. Please tell the person who runs the study.")

    def _refuse(self, status: int, message: str) -> None:
        self.close_connection = True  # what is left of its body is not read
        self._send(status, "text/plain; charset=utf-8", message.encode())

    def _send(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        self.send_response(status)
        fixed_headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": _POLICY,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        for key, value in {**fixed_headers, **headers}.items():
            self.send_header(key, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _json(self, value: object) -> None:
        self._send(200, "application/json", json.dumps(value).encode())

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,9}", length):
            raise Refused(411, "A Content-Length is needed.")
        if int(length) > MAX_BODY:
            raise Refused(413, f"More than {MAX_BODY} bytes.")
        return self.rfile.read(int(length))

    def _fields(self) -> dict[str, Any]:
        """Return the request's JSON object, which names a trial."""
        try:
            fields = json.loads(self._body())
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict) or type(fields.get("trial")) is not int:
            raise Refused(400, "A JSON object with a trial's number is needed.")
        return fields

    def _page(self) -> None:
        self._send(200, "text/html; charset=utf-8", self.server.page)

    def _session_page(self, name: str) -> None:
        self.server.study.session(name)
        self._page()

    def _begin(self) -> None:
        self._body()
        self._send(303, "text/plain", b"", Location=f"/s/{self.server.study.begin()}")

    def _picture(self, name: str, number: str, side: str) -> None:
        self._send(200, "image/png", self.server.study.picture(name, int(number), side))

    def _shown(self, name: str) -> None:
        self._json(self.server.study.show(name, self._fields()["trial"]))

    def _answer(self, name: str) -> None:
        fields = self._fields()
        if fields.get("fake") not in SIDES:
            raise Refused(400, "'fake' is left or right.")
        self._json(self.server.study.answer(name, fields["trial"], fields["fake"]))

    def _only_here(self) -> None:
        """Keep the results, which name the runs, from participants on other machines."""
        address = ipaddress.ip_address(self.client_address[0])
        if not (getattr(address, "ipv4_mapped", None) or address).is_loopback:
            raise Refused(403, "The results are shown on the machine that serves the study.")

    def _results_page(self) -> None:
        self._only_here()
        self._page()

    def _results(self) -> None:
        self._only_here()
        self._json(results(read_answers(self.server.study.file.path), self.server.study.design.seed))


def study(
    runs: Sequence[Path],
    answers: Path,
    design: Design,
    *,
    settings: Sequence[str] = (),
    host: str = "127.0.0.1",
    port: int = 8000,
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> dict[str, dict[str, Any]]:
    """Serve a study of runs until Ctrl-C, and return its results; each participant sees the pictures of one run.

    answers: the file that answers are added to; a study that it was begun with goes on. port: 0 takes any free one.
    """
    names = Counter(path.resolve().name for path in runs)
    if not runs or names.most_common(1)[0][1] > 1:
        same = f"{names.most_common(1)[0][0]!r} is given twice" if runs else "none is given"
        raise UsageError(f"a study needs runs of different names: {same}. Example: i2i study runs/a runs/b.")
    models = {run.path.resolve().name: str(read_description(run.model)["sha256"]) for run in map(Run.open, runs)}
    with Server(host, port, say) as server, _opened(answers) as file:  # both fail before the pictures are made
        for name, model in models.items():
            file.check_model(name, model)
        pictures = []
        for path in runs:
            pictures.append(of_run := render(path, design, settings, device))
            say(f"{of_run.run}: {len(of_run.samples)} held-out pictures translated")
            if len(of_run.samples) < design.pictures:
                say(f"  they repeat, so that fakes are told more easily; {design.pictures} would show no scene twice")
        server.study = Study(pictures, design, file)
        shown_host = f"[{host}]" if ":" in host else host
        say(f"study:   http://{shown_host}:{server.server_address[1]}/")
        say(f"results: http://{shown_host}:{server.server_address[1]}/results (Ctrl-C ends the study and prints them)")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
        with server.study.lock:  # what is being written is written
            return results(read_answers(answers), design.seed)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[AnswerFile]:
    file = AnswerFile(path)
    try:
        yield file
    finally:
        file.close()
