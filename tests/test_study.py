"""The perceptual study: what is drawn, kept and counted; the server and hostile clients; the page in Chromium."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from i2i import study
from i2i.errors import DataError, ResourceError, UnsafeFileError, UsageError
from i2i.study import Design, pictures, read_answers, results, server
from i2i.study.answers import AnswerFile
from i2i.study.design import draw_trials
from i2i.study.pictures import Pictures
from i2i.study.server import Server
from i2i.study.sessions import Refused, Session, Study

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def train_tiny(root: Path, settings: list[str]) -> Path:
    """Train a tiny recipe without a display and return its run."""
    from conftest import TINY
    from rich.console import Console

    from i2i import recipe, train
    from i2i.display import TrainDisplay

    plan = recipe.parse(root / "tiny.toml", TINY.encode(), ["train.steps=1", *settings])
    with TrainDisplay(Console(quiet=True)) as display:
        return train.start(plan, runs=root / "runs", device="cpu", display=display).path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run with 5 held-out pictures."""
    return train_tiny(tmp_path_factory.mktemp("trained"), ["validation.count=5"])


def png(*colour: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(buffer, "PNG")
    return buffer.getvalue()


def coloured(run: str = "one", count: int = 8, model: str = "a1", settings: tuple[str, ...] = ()) -> Pictures:
    """Pictures that tell what they are: red has the number, green says which are fake."""
    real, fake = ([png(i, green, 0) for i in range(count)] for green in (0, 255))
    return Pictures(run, model, list(settings), list(range(count)), real, fake)


def meaning(data: bytes) -> tuple[int, bool]:
    """Return of a picture of `coloured` (number, whether it is fake)."""
    red, green, _ = Image.open(io.BytesIO(data)).getpixel((0, 0))  # type: ignore[misc]
    return red, green == 255


Made = Callable[..., Study]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    """Make a study of runs that tell what they are; it keeps its answers in answers.jsonl."""
    with contextlib.ExitStack() as stack:

        def make(*runs: str, **design: Any) -> Study:
            file = stack.enter_context(contextlib.closing(AnswerFile(tmp_path / "answers.jsonl")))
            given = Design(**{"practice": 2, "trials": 3, **design})
            return Study([coloured(run) for run in runs or ("one",)], given, file)

        yield make


def take(of: Study, name: str, said: Callable[[Session], str], count: int | None = None) -> None:
    """Answer a session's trials, all by default."""
    session = of.session(name)
    for _ in range(of.design.total if count is None else count):
        number = session.number
        of.show(name, number)
        of.answer(name, number, said(session))


def right(session: Session) -> str:
    return session.trials[session.number - 1].fake_on


def wrong(session: Session) -> str:
    return {"left": "right", "right": "left"}[right(session)]


# ---- what is drawn


@pytest.mark.parametrize("same_input", [False, True])
def test_the_papers_study_shows_no_scene_twice(same_input: bool) -> None:
    design = Design(same_input=same_input)
    trials = draw_trials(design.pictures, design, number=3)
    assert len(trials) == 50
    assert all((trial.fake == trial.real) == same_input for trial in trials)
    scenes = [{trial.fake, trial.real} for trial in trials]
    assert sum(map(len, scenes)) == len(set().union(*scenes)) == design.pictures
    sides = Counter(trial.fake_on for trial in trials)
    assert min(sides.values()) > 10
    assert trials == draw_trials(design.pictures, design, number=3)
    assert trials != draw_trials(design.pictures, design, number=4)


@pytest.mark.parametrize(
    ("count", "same_input"), [(2, False), (3, False), (7, False), (40, False), (1, True), (2, True)]
)
def test_few_pictures_repeat(count: int, same_input: bool) -> None:
    design = Design(practice=10, trials=40, same_input=same_input)
    trials = draw_trials(count, design, number=0)
    assert len(trials) == 50
    assert all((trial.fake == trial.real) == same_input for trial in trials)
    practised = {number for trial in trials[:10] for number in (trial.fake, trial.real)}
    counted = [number for trial in trials[10:] for number in (trial.fake, trial.real)]
    if count >= (2 if same_input else 4):  # what feedback was given on does not count later
        assert not practised & set(counted)
    times = Counter(counted)
    assert max(times.values()) - min(times.values()) <= 2


def test_without_practice_every_picture_counts() -> None:
    trials = draw_trials(8, Design(practice=0, trials=4), number=0)
    assert sorted([n for trial in trials for n in (trial.fake, trial.real)]) == list(range(8))


@pytest.mark.parametrize(
    "wrong", [{"trials": 0}, {"practice": -1}, {"seconds": float("nan")}, {"size": 1}, {"seed": -1}]
)
def test_a_design_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"^--{next(iter(wrong))} "):
        Design(**wrong)


# ---- pictures


def decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        assert image.mode == "RGB"
        assert not image.info
        return np.asarray(image)


def test_pictures_of_a_run(trained: Path) -> None:
    made = study.render(trained, Design(practice=1, trials=1), device="cpu")
    assert made.run == trained.name
    assert made.model == json.loads((trained / "model" / "model.json").read_text())["sha256"]
    assert len(made.samples) == 4  # as many as the study needs
    assert len(set(made.samples)) == 4
    from i2i.sources.scenes import Scenes
    from i2i.tasks.paired import Paired

    source = Scenes(Paired().images, size=32, count=5, seed=1)
    for index, real, fake in zip(made.samples, made.real, made.fake, strict=True):
        assert np.array_equal(decoded(real), source[index]["b"].transpose(1, 2, 0))
        assert decoded(fake).shape == decoded(real).shape
        assert not np.array_equal(decoded(fake), decoded(real))
    assert made == study.render(trained, Design(practice=1, trials=1), device="cpu")
    assert made.samples != study.render(trained, Design(practice=1, trials=1, seed=1), device="cpu").samples
    small = study.render(trained, Design(practice=0, trials=1, size=16), ["validation.size=64"], device="cpu")
    assert {decoded(data).shape for data in small.real + small.fake} == {(16, 16, 3)}


def test_runs_that_cannot_be_shown(trained: Path) -> None:
    with pytest.raises(UsageError, match="1 held-out picture"):
        study.render(trained, Design(), ["validation.count=1"], device="cpu")
    study.render(trained, Design(same_input=True), ["validation.count=1"], device="cpu")


def test_a_void_does_not_betray_the_real_picture(tmp_path: Path) -> None:
    """Void is black in the colours of the truth, and no network predicts it."""
    task = 'task={name="segmentation", classes=12, void=0}'
    settings = [task, "metrics=[]", "validation.count=2", 'method.reconstruction="cross_entropy"']
    made = study.render(train_tiny(tmp_path, settings), Design(same_input=True), device="cpu")
    voids = [
        (decoded(real).max(2) == 0, decoded(fake).max(2) == 0) for real, fake in zip(made.real, made.fake, strict=True)
    ]
    assert any(real.any() for real, _ in voids)
    assert all(np.array_equal(real, fake) for real, fake in voids)


def test_a_cut_out_is_shown_on_grey() -> None:
    task = SimpleNamespace(present=lambda decoded, images: torch.cat([decoded, images["alpha"]], 1))
    alpha = torch.tensor([[[[1.0, 0.0]]]])
    shown = decoded(pictures._png(task, torch.ones(1, 3, 1, 2), {"alpha": alpha}, 16))  # type: ignore[arg-type]
    assert shown.tolist() == [[[255] * 3, [128] * 3]]


# ---- the file of answers


def test_what_was_cut_off_is_left_out_and_dropped(made: Made, tmp_path: Path) -> None:
    first = made()
    name = first.begin()
    take(first, name, right, 2)
    first.file.close()
    path = tmp_path / "answers.jsonl"
    whole = path.read_bytes()
    for cut in (whole + whole.splitlines(keepends=True)[-1][:-40], whole + b'{"kind": "ans\xff', whole + b"17"):
        path.write_bytes(cut)
        assert len(read_answers(path)) == 3
        AnswerFile(path).close()
        assert path.read_bytes() == whole
    path.write_bytes(whole[:-1])  # only the end of the line is missing: the answer counts
    assert len(read_answers(path)) == 3
    again = AnswerFile(path)
    again.append(again.records[-1])
    again.close()
    assert len(read_answers(path)) == 4


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b"7", b'{"kind": "x"}', b'{"kind": "session", "session": 5}', b"[" * 9999, b"\xff"]
)
def test_other_damage_is_an_error_that_names_the_line(made: Made, tmp_path: Path, line: bytes) -> None:
    first = made()
    first.begin()
    first.file.close()
    path = tmp_path / "answers.jsonl"
    path.write_bytes(path.read_bytes() + line + b"\n" + path.read_bytes())
    with pytest.raises(UnsafeFileError, match="line 2"):
        read_answers(path)
    with pytest.raises(UnsafeFileError, match="line 2"):
        AnswerFile(path)


def test_a_full_disk_leaves_the_file_whole(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = made()
    name = of.begin()
    of.show(name, 1)
    before = (tmp_path / "answers.jsonl").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(ResourceError, match="No space left"):
            of.answer(name, 1, "left")
    assert (tmp_path / "answers.jsonl").read_bytes() == before
    assert of.answer(name, 1, "left")["state"]["trial"] == 2  # sent again, it is kept
    assert len(read_answers(tmp_path / "answers.jsonl")) == 2


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--answers"):
        read_answers(tmp_path / "none.jsonl")


# ---- results


def test_results_count_what_counts(made: Made) -> None:
    of = made("one", "two")
    names = [of.begin() for _ in range(4)]
    runs = {name: of.session(name).pictures.run for name in names}
    one, two = ([name for name in names if runs[name] == run] for run in ("one", "two"))
    take(of, one[0], wrong)
    take(of, one[1], lambda session: right(session) if session.number < 4 else wrong(session), 4)
    take(of, two[0], wrong, 2)  # practice alone
    table = results(read_answers(of.file.path))
    assert table["one"] == {
        "participants": 2, "finished": 1, "answers": 5, "fooled": 80.0, "low": table["one"]["low"],
        "high": table["one"]["high"], "over": "participants",
    }  # fmt: skip
    assert table["two"] == dict.fromkeys(("participants", "finished", "answers"), 0) | dict.fromkeys(
        ("fooled", "low", "high", "over")
    )


def answered(run: str, fooled: list[list[bool]]) -> list[dict[str, Any]]:
    """The records of participants, by trial whether they were fooled."""
    return [
        {"kind": "answer", "run": run, "session": f"{run}{k}", "trial": t, "practice": False, "correct": not one}
        for k, person in enumerate(fooled)
        for t, one in enumerate(person)
    ]


def test_the_interval_of_one_participant_is_the_binomial_one() -> None:
    """Of 40 answers at 25 %, answers drawn anew spread like a binomial of 40: quantiles 5 and 16 (R: qbinom)."""
    table = results(answered("one", [[i % 4 == 0 for i in range(40)]]))["one"]
    assert (table["fooled"], table["low"], table["high"], table["over"]) == (25.0, 12.5, 40.0, "answers")


def test_the_interval_of_several_participants_is_that_of_their_means() -> None:
    """40 people, half of them always fooled: not the 1600 answers but the 40 people are independent."""
    table = results(answered("one", [[k % 2 == 0] * 40 for k in range(40)]))["one"]
    standard = 100 * 0.5 / 40**0.5
    assert table["fooled"] == 50.0
    assert table["low"] == pytest.approx(50 - 1.96 * standard, abs=1.5)
    assert table["high"] == pytest.approx(50 + 1.96 * standard, abs=1.5)
    assert table["over"] == "participants"
    assert table == results(answered("one", [[k % 2 == 0] * 40 for k in range(40)]))["one"]


def test_an_answer_written_twice_counts_once() -> None:
    first = answered("one", [[True, False]])
    assert results([*first, *answered("one", [[False, True]])])["one"]["fooled"] == 50.0
    assert results([*first, *answered("one", [[False, True]])])["one"]["answers"] == 2


def test_answers_of_different_designs_are_rows_of_their_own(made: Made) -> None:
    for seconds, says in ((1.0, wrong), (5.0, right)):
        of = made("one", "two", seconds=seconds)
        for _ in range(2):
            take(of, of.begin(), says)
        of.file.close()
    table = results(read_answers(of.file.path))
    shares = {row: (values["participants"], values["fooled"]) for row, values in table.items()}
    assert shares == {
        f"{run} (seconds={seconds})": (1, fooled)
        for run in ("one", "two")
        for seconds, fooled in ((1.0, 100.0), (5.0, 0.0))
    }


def test_answers_about_different_pictures_are_rows_of_their_own(made: Made) -> None:
    of = made()
    for given in (coloured("two"), coloured(), coloured(model="b2"), coloured(settings=("validation.size=64",))):
        of = Study([given], of.design, of.file)
        of.begin()
    names = ["two", "one (model=a1)", "one (model=b2)", "one (model=a1, --set validation.size=64)"]
    assert list(results(read_answers(of.file.path))) == names


# ---- the study


def test_runs_are_assigned_in_balance(made: Made) -> None:
    of = made("one", "two", "three")
    runs = [of.session(of.begin()).pictures.run for _ in range(12)]
    assert all(sorted(runs[i : i + 3]) == ["one", "three", "two"] for i in range(0, 12, 3))
    assert len({tuple(runs[i : i + 3]) for i in range(0, 12, 3)}) > 1  # in no fixed order


def test_a_restarted_server_goes_on(made: Made) -> None:
    first = made("one", "two")
    names = [first.begin() for _ in range(3)]
    take(first, names[0], right, 4)
    first.show(names[1], 1)
    first.file.close()
    again = made("one", "two")
    assert again.state(names[0]) == {"trial": 5, "shown": False, "done": False}
    assert again.state(names[1]) == {"trial": 1, "shown": False, "done": False}
    for name in names:
        assert again.session(name).trials == first.session(name).trials
    last = again.begin()
    assert again.count == 4
    assert Counter(s.pictures.run for s in again.sessions.values()) == {"one": 2, "two": 2}
    take(again, names[0], right, 1)
    assert again.state(names[0]) == {"trial": 6, "shown": False, "done": True, "correct": 3}
    again.file.close()
    other = made("one", "two", seconds=2.0)  # another study in the same file: its sessions are not this one's
    with pytest.raises(Refused, match="ended"):
        other.session(last)
    assert results(read_answers(other.file.path))[again.session(names[0]).pictures.run]["finished"] == 1


def test_two_studies_have_no_file_in_common(made: Made, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    first = made()
    with pytest.raises(ResourceError, match=r"answers.jsonl: another process is at work"):
        made()
    first.begin()
    first.file.close()
    assert made().count == 1
    path = tmp_path / "damaged.jsonl"
    path.write_text("{}\n")
    with pytest.raises(UnsafeFileError) as kept:  # what cannot be read is not held either
        AnswerFile(path)
    with pytest.raises(UnsafeFileError):
        AnswerFile(path)
    assert "line 1" in str(kept.value)


@pytest.mark.parametrize("new", [{"model": "b2"}, {"settings": ("validation.count=8",)}])
def test_a_session_does_not_go_on_with_other_pictures(made: Made, new: dict[str, Any]) -> None:
    first = made()
    name = first.begin()
    take(first, name, wrong)
    first.file.records = read_answers(first.file.path)
    for given, known in ((coloured(), True), (coloured(**new), False)):
        again = Study([given], first.design, first.file)
        assert again.count == 1
        assert (name in again.sessions) == known


# ---- the server


class Client:
    """A participant without a browser."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> tuple[int, Any, bytes]:
        return self._open(urllib.request.Request(self.base + path))

    def post(self, path: str, body: Any = b"") -> tuple[int, Any, bytes]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._open(urllib.request.Request(self.base + path, data, method="POST"))

    def _open(self, request: urllib.request.Request) -> tuple[int, Any, bytes]:
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.status, response.headers if "/s/" not in response.url else response, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def begin(self) -> str:
        """Press start; return the path of the session."""
        status, response, page = self.post("/sessions")
        assert status == 200
        assert b"<!doctype html>" in page
        return str(response.url).removeprefix(self.base)

    def answer(self, at: str, number: int, fake: str) -> Any:
        assert self.post(f"{at}/shown", {"trial": number})[0] == 200
        status, _, body = self.post(f"{at}/answers", {"trial": number, "fake": fake})
        assert status == 200
        return json.loads(body)


@contextlib.contextmanager
def serving(of: Study) -> Iterator[Client]:
    with Server("127.0.0.1", 0, say=lambda text: None) as server:
        server.study = of
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield Client(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def served(made: Made) -> Iterator[tuple[Study, Client]]:
    of = made("one", "two")
    with serving(of) as client:
        yield of, client


def test_a_session_over_http(served: tuple[Study, Client]) -> None:
    of, client = served
    at = client.begin()
    session = of.session(at.removeprefix("/s/"))
    seen = []
    for number in range(1, 6):
        pair = {side: meaning(client.get(f"{at}/pictures/{number}/{side}")[2]) for side in ("left", "right")}
        fake_on = next(side for side, (_, fake) in pair.items() if fake)
        assert [fake for _, fake in pair.values()].count(True) == 1
        assert pair["left"][0] != pair["right"][0]  # different scenes
        assert fake_on == session.trials[number - 1].fake_on
        reply = client.answer(at, number, "left")
        practice = {"correct": fake_on == "left", "fake": fake_on}
        assert reply["feedback"] == (practice if number <= 2 else None)
        seen.append(fake_on == "left")
    assert reply["state"] == {"trial": 6, "shown": False, "done": True, "correct": sum(seen[2:])}
    kept = [record for record in read_answers(of.file.path) if record["kind"] == "answer"]
    assert [record["correct"] for record in kept] == seen
    assert [record["practice"] for record in kept] == [True, True, False, False, False]
    assert all(record["said"] == "left" and record["seconds"] >= 0 for record in kept)
    told = json.loads(client.get("/results.json")[2])[session.pictures.run]
    assert (told["answers"], told["finished"]) == (3, 1)


def test_nothing_tells_the_fake(served: tuple[Study, Client]) -> None:
    _, client = served
    at = client.begin()
    hints = []
    for side in ("left", "right"):
        status, response, data = client.get(f"{at}/pictures/1/{side}")
        headers = {key: value for key, value in response.headers.items() if key not in ("Content-Length", "Date")}
        hints.append((status, decoded(data).shape, headers))
    assert hints[0] == hints[1]
    assert hints[0][2]["Cache-Control"] == "no-store"
    assert not {"ETag", "Last-Modified"} & set(hints[0][2])
    client.answer(at, 1, "left")
    client.answer(at, 2, "left")
    assert client.answer(at, 3, "left") == {"state": {"trial": 4, "shown": False, "done": False}, "feedback": None}
    told = client.get(at)[2].partition(b'id="design">')[2].partition(b"</script>")[0]
    assert set(json.loads(told)) == {"practice", "trials", "seconds", "size", "in_turn"}  # no seed, no run


def test_what_is_refused(served: tuple[Study, Client]) -> None:
    of, client = served
    at, unknown = client.begin(), "/s/" + "x" * 22
    post, get = client.post, client.get
    for path in (
        unknown,
        f"{unknown}/state",
        f"{unknown}/pictures/1/left",
        "/s/short",
        "/none",
        "/../etc/passwd",
        "/page.html",
    ):
        assert get(path)[0] == 404, path
    for path in (f"{unknown}/shown", f"{unknown}/answers"):
        assert post(path, {"trial": 1, "fake": "left"})[0] == 404, path
    assert post(f"{at}/answers", {"trial": 1, "fake": "left"})[0] == 400  # never shown
    assert post(f"{at}/shown", {"trial": 2})[0] == 400
    assert get(f"{at}/pictures/2/left")[0] == 404
    assert post(f"{at}/shown", {"trial": 1})[0] == 200
    assert get(f"{at}/pictures/1/left")[0] == 410  # seen for a second, and no longer
    assert post(f"{at}/shown", {"trial": 1})[0] == 200  # sent again
    fields = ({}, {"trial": "2"}, {"trial": True}, {"trial": 0}, {"trial": -1}, {"trial": 2}, {"trial": 10**300})
    sides = ({"trial": 1, "fake": side} for side in (None, "up", ["left"], 0))
    for bad in (b"", b"{", b"[]", b"[" * 900, b"\xff", *({**one, "fake": "left"} for one in fields), *sides):
        assert post(f"{at}/answers", bad)[0] == 400, bad
    assert post(f"{at}/answers", b" " * 5000)[0] == 413
    assert post("/sessions", b" " * 5000)[0] == 413
    assert len(read_answers(of.file.path)) == 1
    assert client.get(f"{at}/state")[0] == 200


def test_a_body_without_a_length_is_not_waited_for(served: tuple[Study, Client]) -> None:
    port = int(served[1].base.rpartition(":")[2])
    for headers in ({"Transfer-Encoding": "chunked"}, {"Content-Length": "-1"}, {"Content-Length": "1e3"}):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.putrequest("POST", "/sessions")
        for key, value in headers.items():
            connection.putheader(key, value)
        connection.endheaders()
        assert connection.getresponse().status == 411
        connection.close()
    assert not served[0].sessions


def test_a_second_answer_changes_nothing(served: tuple[Study, Client]) -> None:
    of, client = served
    at = client.begin()
    first = client.answer(at, 1, "left")
    before = of.file.path.read_bytes()
    status, _, body = client.post(f"{at}/answers", {"trial": 1, "fake": "right"})
    assert status == 200
    assert json.loads(body) == first
    assert of.file.path.read_bytes() == before


def test_an_answer_that_cannot_be_kept_can_be_sent_again(
    served: tuple[Study, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    of, client = served
    at = client.begin()
    client.post(f"{at}/shown", {"trial": 1})
    with monkeypatch.context() as patched:
        patched.setattr(of.file, "append", lambda record: (_ for _ in ()).throw(ResourceError("/secret: full")))
        status, _, text = client.post(f"{at}/answers", {"trial": 1, "fake": "left"})
        assert status == 500
        assert b"/secret" not in text
    assert client.post(f"{at}/answers", {"trial": 1, "fake": "left"})[0] == 200


def test_several_participants_at_once(served: tuple[Study, Client]) -> None:
    of, client = served

    def take_part(side: str) -> None:
        at = client.begin()
        for number in range(1, 6):
            client.get(f"{at}/pictures/{number}/left")
            client.answer(at, number, side)

    threads = [threading.Thread(target=take_part, args=(side,)) for side in ("left", "right") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = read_answers(of.file.path)
    kept = Counter((record["session"], record["said"]) for record in records if record["kind"] == "answer")
    assert len(kept) == 8
    assert set(kept.values()) == {5}  # everybody's answers, and nobody else's
    assert Counter(record["run"] for record in records if record["kind"] == "session") == {"one": 4, "two": 4}
    assert {row["finished"] for row in results(records).values()} == {4}


def test_results_are_for_this_machine_alone() -> None:
    handler = server._Handler.__new__(server._Handler)
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        handler.client_address = (address, 1)
        handler._only_here()
    for address in ("192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7"):
        handler.client_address = (address, 1)
        with pytest.raises(Refused, match="the machine that serves"):
            handler._only_here()


def test_an_address_that_cannot_be_had(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_time(*_: object) -> None:
        pytest.fail("pictures were made before the port was known to be free")

    monkeypatch.setattr(study, "render", no_time)
    answers = tmp_path / "answers.jsonl"
    with Server("127.0.0.1", 0) as taken, pytest.raises(UsageError, match=r"in use.*--port 0"):
        study.study([trained], answers, Design(), port=taken.server_address[1])
    with pytest.raises(UsageError, match="is no port"):
        study.study([trained], answers, Design(), port=99999)
    with pytest.raises(UsageError, match="cannot be listened on"):
        study.study([trained], answers, Design(), host="no.such.host.invalid", port=0)
    with pytest.raises(UsageError, match="is given 2 times"):
        study.study([trained, trained], answers, Design(), port=0)
    with pytest.raises(UsageError, match="give a run"):
        study.study([], answers, Design(), port=0)
    assert not answers.exists()


def test_a_run_that_was_trained_on_is_refused(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "render", lambda *_: pytest.fail("pictures were made before the model was known"))
    with contextlib.closing(AnswerFile(tmp_path / "answers.jsonl")) as file:
        Study([coloured(trained.name, model="0123456789abcdef")], Design(), file).begin()
    with pytest.raises(UsageError, match=rf"another model of '{trained.name}' \(sha256 0123456789ab, now .*--answers"):
        study.study([trained], file.path, Design(), port=0)


# ---- the process

CODE = """
import signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
from i2i.study import Design, study
print(study([Path(sys.argv[1])], Path(sys.argv[2]), Design(practice=1, trials=2), port=0, device="cpu",
            say=lambda text: print(text, flush=True)))
"""


@contextlib.contextmanager
def process(run: Path, answers: Path) -> Iterator[tuple[subprocess.Popen[str], Client, list[str]]]:
    """A study in a process of its own: (process, client, the lines that it has printed)."""
    child = subprocess.Popen(
        [sys.executable, "-c", CODE, run, answers],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert child.stdout is not None
    lines: list[str] = []
    try:
        while not lines or not lines[-1].startswith("results:"):
            lines.append(child.stdout.readline())
            assert lines[-1], lines
        yield child, Client(int(lines[-1].split("/results")[0].rpartition(":")[2])), lines
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_a_killed_server_loses_nothing_and_ctrl_c_ends_with_the_results(trained: Path, tmp_path: Path) -> None:
    answers = tmp_path / "new" / "answers.jsonl"
    with process(trained, answers) as (child, client, lines):
        assert any("5 held-out pictures" in line for line in lines)
        assert any("they repeat" in line for line in lines)
        at = client.begin()
        client.answer(at, 1, "left")
        client.answer(at, 2, "right")
        child.send_signal(signal.SIGKILL)
        child.wait()
    kept = [record for record in read_answers(answers) if record["kind"] == "answer"]
    assert [(record["trial"], record["said"]) for record in kept] == [(1, "left"), (2, "right")]
    with process(trained, answers) as (child, client, _):
        assert json.loads(client.get(f"{at}/state")[2])["trial"] == 3  # the participant goes on where he was
        client.answer(at, 3, "left")
        child.send_signal(signal.SIGINT)
        assert child.stdout is not None
        printed = child.stdout.read()
        assert child.wait() == 0
    assert f"{{'{trained.name}': {{'participants': 1, 'finished': 1, 'answers': 2," in printed


# ---- the page

WATCH = """
addEventListener("DOMContentLoaded", () => {
  // One observer for both: what changes in one step of the page is told in one call, at one time.
  const observer = new MutationObserver(records => {
    const now = performance.now();
    for (const { target } of records) {
      noted(target.closest("button").id, !target.hidden && target.naturalWidth > 0, now);
      // An answer while the pictures are still to be seen, which must not count.
      const key = new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true });
      if (!target.hidden) document.body.dispatchEvent(key);
    }
  });
  for (const image of document.querySelectorAll("#left img, #right img"))
    observer.observe(image, { attributes: true, attributeFilter: ["hidden"] });
});
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Participant:
    """A person at a browser: sees what is visible, presses keys, clicks or taps; notes how long pictures were seen."""

    def __init__(self, browser: Any, client: Client, **context: Any) -> None:
        self.client = client
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.seen: list[tuple[str, bool, float]] = []
        self.faults: list[str] = []
        self.requested: list[str] = []
        self.page.expose_function("noted", lambda *event: self.seen.append(event))
        self.page.add_init_script(WATCH)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("request", lambda request: self.requested.append(request.url))

    def start(self) -> None:
        self.page.goto(self.client.base)
        self.page.locator("#start").click()
        self.page.locator("#go.on").wait_for()

    def asked(self) -> None:
        """Wait until the pictures are gone and an answer is wanted."""
        self.page.locator("#left:enabled").wait_for()
        for side in ("left", "right"):
            assert not self.page.locator(f"#{side} img").is_visible()

    def says(self) -> str:
        return str(self.page.locator("#say").inner_text())

    def exposures(self) -> dict[str, list[tuple[float, float]]]:
        """Return by side the times at which pictures appeared and vanished, in milliseconds."""
        times = {side: [(seen, at) for one, seen, at in self.seen if one == side] for side in ("left", "right")}
        assert all([seen for seen, _ in events] == [True, False] * (len(events) // 2) for events in times.values())
        return {side: [(a[1], b[1]) for a, b in zip(e[::2], e[1::2], strict=True)] for side, e in times.items()}


def test_the_whole_study_with_keys_and_mouse(browser: Any, made: Made) -> None:
    of = made(practice=2, trials=2, seconds=0.3)
    with serving(of) as client:
        person = Participant(browser, client)
        page = person.page
        person.start()
        session = of.session(page.url.rpartition("/")[2])
        assert "2 pairs for practice" in person.says()
        page.keyboard.press("ArrowLeft")  # nothing is asked yet
        page.keyboard.press("Enter")
        person.asked()
        assert len(read_answers(of.file.path)) == 1
        page.keyboard.press({"left": "ArrowLeft", "right": "ArrowRight"}[right(session)])
        page.locator("#go.on").wait_for()
        assert person.says() == "Right: that one was fake."
        assert page.locator(f"#{session.trials[0].fake_on} .truth").inner_text() == "fake"
        page.keyboard.press("Space")
        person.asked()
        page.locator(f"#{wrong(session)}").click()
        page.locator("#go.on").wait_for()
        assert person.says() == "No, that one was real."
        assert page.locator("#left img").is_visible()  # feedback shows the pair again
        assert len(read_answers(of.file.path)) == 3  # kept before the feedback
        page.locator("#go").click()
        page.locator("#go.on").wait_for()
        assert "2 pairs, and you are not told" in person.says()
        exposures = person.exposures()
        page.keyboard.press("Enter")
        person.asked()
        page.reload()  # now, with the pair seen and no answer given
        page.locator("#go.on").wait_for()
        assert "Pair 1 of 2" in page.locator("#count").inner_text()
        page.keyboard.press("Enter")
        person.asked()
        assert "You have seen this pair" in person.says()
        page.keyboard.press("ArrowDown" if wrong(session) == "right" else "ArrowUp")
        person.asked()  # no feedback, and the next pair by itself
        assert "Pair 2 of 2" in page.locator("#count").inner_text()
        page.locator(f"#{right(session)}").click()
        page.locator("#score").wait_for(state="visible")
        assert page.locator("#score").inner_text() == "You told the fake one in 1 of 2 pairs."
        assert results(read_answers(of.file.path))["one"]["fooled"] == 50.0
        page.goto(f"{client.base}/results")
        assert page.locator("tbody tr").inner_text().split("\t")[:5] == ["one", "1", "1", "2", "50.0 %"]
        for side in ("left", "right"):
            for begun, ended in exposures[side][::2]:  # between them, the feedback
                assert 280 <= ended - begun <= 10_000
        assert not person.faults
        assert all(url.startswith((client.base, "blob:")) for url in person.requested)
        person.context.close()


def test_pictures_are_seen_for_a_second_and_together(browser: Any, made: Made) -> None:
    with serving(made(practice=0, trials=1)) as client:
        person = Participant(browser, client)
        person.start()
        person.page.keyboard.press("Space")
        person.asked()
        [left], [right] = person.exposures().values()
        assert left == right
        assert 980 <= left[1] - left[0] <= 10_000  # how much more than a second is a matter of the machine's load
        person.context.close()


def test_in_turn_one_follows_the_other(browser: Any, made: Made) -> None:
    with serving(made(practice=0, trials=1, seconds=0.2, in_turn=True)) as client:
        person = Participant(browser, client)
        person.start()
        person.page.keyboard.press("Space")
        person.asked()
        [left], [right] = person.exposures().values()
        assert right[0] - left[1] >= 550
        assert all(180 <= ended - begun <= 10_000 for begun, ended in (left, right))
        person.context.close()


def test_on_a_phone(browser: Any, made: Made, tmp_path: Path) -> None:
    with serving(made(practice=1, trials=1, seconds=0.2)) as client:
        size = {"width": 390, "height": 844}
        person = Participant(browser, client, viewport=size, is_mobile=True, has_touch=True, device_scale_factor=3)
        page = person.page
        page.goto(client.base)
        page.locator("#start").tap()
        page.locator("#go").tap()
        person.asked()
        boxes = {name: page.locator(f"#{name}").bounding_box() for name in ("left", "right", "go")}
        assert boxes["left"]["x"] == boxes["right"]["x"]
        assert boxes["left"]["width"] == boxes["left"]["height"] == 256
        assert boxes["left"]["y"] + 256 < boxes["right"]["y"]
        for box in boxes.values():  # nothing needs to be scrolled to
            assert box["x"] >= 0 and box["x"] + box["width"] <= 390
            assert box["y"] >= 0 and box["y"] + box["height"] <= 844
        assert page.locator("body").bounding_box()["width"] == 390
        assert page.locator("#left").inner_text() == "Upper"
        page.locator("#right").tap()
        page.locator("#go.on").tap()
        page.locator("#go.on").tap()
        person.asked()
        page.locator("#left").tap()
        page.locator("#score").wait_for(state="visible")
        kept = read_answers(tmp_path / "answers.jsonl")[1:]
        assert [record["said"] for record in kept] == ["right", "left"]
        assert not person.faults
        person.context.close()


def test_a_lost_connection_loses_no_answer(browser: Any, made: Made, tmp_path: Path) -> None:
    with serving(made(practice=0, trials=1, seconds=0.1)) as client:
        person = Participant(browser, client)
        page = person.page
        person.start()
        page.keyboard.press("Enter")
        person.asked()
        person.context.set_offline(True)
        page.keyboard.press("ArrowLeft")
        page.locator("#go.on").wait_for()
        assert "connection is lost" in person.says()
        person.context.set_offline(False)
        page.keyboard.press("Enter")
        page.locator("#score").wait_for(state="visible")
        assert len(read_answers(tmp_path / "answers.jsonl")) == 2
        person.context.close()
