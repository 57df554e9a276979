"""`i2i train --profile` says where the time of a step goes: every moment in one part, nothing in two."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from i2i.profile import REST, Breakdown, Profiler, Span, advise, pieces, window, write

Cli = Callable[..., tuple[int, str, str]]
PARTS = ["data", "augment", "g: forward", "g: backward", "g: optimizer", "d: forward", "d: backward", "d: optimizer"]


def test_how_many_steps_are_measured() -> None:
    assert window(30) == window(10_000) == (10, 20)
    assert window(29) == (9, 20)
    assert window(3) == (1, 2)
    assert window(2) is window(0) is None


def test_every_moment_of_a_step_is_in_one_part() -> None:
    spans = [
        *(Span("data", 1, 5), Span("augment", 3, 4)),
        *(Span("forward", 5, 8), Span("d: backward", 8, 10), Span("d: optimizer", 10, 11)),
        *(Span("forward", 12, 14), Span("g: backward", 14, 20), Span("g: optimizer", 20, 21)),
        *(Span("forward", 21, 22), Span("average", 22, 23), Span("data", 30, 40)),
    ]
    cut = pieces(Span("ProfilerStep#1", 0, 25), spans)
    times: dict[str, float] = {}
    for piece in cut:
        times[piece.name] = times.get(piece.name, 0) + piece.end - piece.begin
    assert times == {
        REST: 1 + 1 + 2,
        "data": 3,
        "augment": 1,
        "d: forward": 3,
        "d: backward": 2,
        "d: optimizer": 1,
        "g: forward": 2 + 1,  # what follows the last turn is of its player
        "g: backward": 6,
        "g: optimizer": 1,
        "average": 1,
    }
    assert [piece.begin for piece in cut[1:]] == [piece.end for piece in cut[:-1]]


@pytest.fixture
def profiled(run: Cli, tiny: Path, tmp_path: Path) -> tuple[dict[str, Any], str]:
    """Train seven steps: (what --json prints, what is said)."""
    steps = ["--set", "train.steps=7", "--set", 'augment=["RandomHorizontalFlip"]']
    code, out, said = run("train", tiny, *steps, "--runs", tmp_path / "runs", "--profile", "--json")
    assert code == 0, said
    return json.loads(out), said


def test_a_profiled_run_says_where_its_time_went(profiled: tuple[dict[str, Any], str]) -> None:
    result, said = profiled
    assert "a short run: measuring 5 of its 7 steps, after the first 2" in said
    assert "USDT" not in said
    folder, found = Path(result["run"]), result["profile"]
    assert found["steps"] == 5
    assert list(found["shares"]) == [*PARTS, "average", "log", REST]
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert min(found["shares"].values()) > 0
    assert found["shares"][REST] < 0.3
    assert "gpu_busy" not in found
    trace = json.loads((folder / "trace.json").read_text())
    assert {event.get("name") for event in trace["traceEvents"]} >= {"data", "g: backward"}
    page = (folder / "profile.html").read_text()
    assert all(f"<th>{name}</th>" in page for name in PARTS)
    operators = page.split("The dearest operators")[1]
    assert operators.count("<tr>") == 1 + 10  # with its head; torch's own, and our products
    assert "aten::" in operators
    assert "ram (6 samples of" in page
    assert "src=" not in page
    assert "href=" not in page


def test_training_is_the_same_when_it_is_watched(
    profiled: tuple[dict[str, Any], str], run: Cli, tiny: Path, tmp_path: Path
) -> None:
    steps = ["--set", "train.steps=7", "--set", 'augment=["RandomHorizontalFlip"]']
    code, out, _ = run("train", tiny, *steps, "--runs", tmp_path / "plain", "--json")
    assert code == 0
    plain, watched = json.loads(out), profiled[0]
    assert "profile" not in plain
    assert not (Path(plain["run"]) / "profile.html").exists()
    assert plain["metrics"] == watched["metrics"]


def test_too_few_steps_are_told(run: Cli, tiny: Path, tmp_path: Path) -> None:
    code, out, _ = run("train", tiny, "--set", "train.steps=2", "--runs", tmp_path / "runs", "--profile")
    assert code == 0
    assert "no profile: with 2 steps there is nothing to measure; 3 are the least." in out
    assert not [*(tmp_path / "runs").rglob("profile.html")]


def test_a_run_that_goes_on_is_profiled(tiny: Path, tmp_path: Path, run: Cli) -> None:
    steps = ["--set", "train.steps=7", "--set", "train.save_every=4"]
    code, _, _ = run("train", tiny, *steps, "--runs", tmp_path / "runs")
    assert code == 0
    (folder,) = (tmp_path / "runs").iterdir()
    (folder / "result.json").unlink()  # as if it had been broken off behind step 4
    for state in (folder / "state").glob("000000007-*.safetensors"):
        state.unlink()
    code, out, error = run("train", "--resume", folder, "--profile", "--json")
    assert code == 0, error
    assert json.loads(out)["profile"]["steps"] == 2
    assert "measuring 2 of its 3 steps" in error


class Broken(Exception):
    pass


@pytest.mark.parametrize(("ended", "there"), [(1, False), (4, True)])
def test_a_run_that_is_broken_off_has_the_profile_of_what_there_was(ended: int, there: bool, tmp_path: Path) -> None:
    said: list[str] = []
    profiler = Profiler(tmp_path, torch.device("cpu"), 9, {}, said.append)
    with contextlib.suppress(Broken), profiler:
        for step in range(9):
            if step == ended:
                raise Broken
            torch.ones(2).add(1)
            profiler.step()
    assert (tmp_path / "profile.html").exists() == there
    if there:
        assert profiler.found is not None
        assert profiler.found.steps == 1
        assert profiler.found.parts.keys() == {REST}


def test_what_cannot_be_written_costs_no_run(tmp_path: Path) -> None:
    said: list[str] = []
    with Profiler(tmp_path / "gone", torch.device("cpu"), 3, {}, said.append) as profiler:
        for _ in range(3):
            profiler.step()
    assert said[-1].startswith("no profile: ")


def test_advice_follows_from_the_shares(tmp_path: Path) -> None:
    slow = Breakdown(3, 100.0, {"data": 30.0, "augment": 12.0, "g: optimizer": 25.0, "log": 11.0, REST: 22.0})
    assert [sentence.split(" take")[0] for sentence in advise(slow)] == [
        *("Reading and preparing pictures", "Augmentation", "The optimizers", "Logging, samples and saving"),
    ]
    assert advise(Breakdown(3, 100.0, {"data": 1.0, REST: 99.0}))[0].startswith("The networks take nearly all")
    hidden = Breakdown(3, 100.0, {"data": 30.0, REST: 70.0}, busy=97.0, device={"data": 1.0})
    assert advise(hidden)[0].startswith("The networks")
    idle = Breakdown(3, 100.0, {"data": 30.0, REST: 70.0}, busy=60.0, device={"data": 1.0})
    assert advise(idle)[-1].startswith("The GPU idles 40%")
    write(tmp_path / "page.html", idle, {"<b>": "&"}, "trace.json")
    page = (tmp_path / "page.html").read_text()
    assert "60.0% of the time" in page
    assert "&lt;b&gt;" in page
    assert idle.shares()["gpu_shares"] == {"data": 0.01}
