"""The progress of one run after another on one display."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from i2i.display import TrainDisplay


def test_a_second_run_begins_its_own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("i2i.display.time.perf_counter", lambda: now[0])
    out = io.StringIO()
    display = TrainDisplay(Console(file=out, width=200))
    for step in (1, 5, 10):
        now[0] += 1000
        display.progress(step, 10, {"images_per_second": 1.0})
    for step in (1, 5):
        now[0] += 4
        display.progress(step, 10, {"images_per_second": 1.0})
    assert out.getvalue().splitlines()[-1].endswith("0:05 left")


def test_a_bar_starts_anew_for_a_second_run() -> None:
    display = TrainDisplay(Console(file=io.StringIO(), force_terminal=True))
    display.progress(10, 10, {"images_per_second": 1.0})
    assert display.bar is not None
    assert display.bar.tasks[0].finished
    display.progress(1, 10, {"images_per_second": 1.0})
    assert not display.bar.tasks[0].finished
    assert display.bar.tasks[0].completed == 1
