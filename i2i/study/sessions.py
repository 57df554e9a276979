"""Who sees what in a study, and what they said."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from i2i.study.answers import AnswerFile
from i2i.study.design import Design, Trial, draw_trials
from i2i.study.pictures import Pictures

MAX_SESSIONS = 100_000  # a robot on the start button fills neither the memory nor the disk


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
