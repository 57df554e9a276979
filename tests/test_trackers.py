from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from i2i import plugins
from i2i.contracts import Tracker
from i2i.errors import ResourceError
from i2i.trackers.csv import CSV


def rows(run: Path) -> list[list[str]]:
    with (run / "log.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("name", plugins.names("trackers"))
def test_every_tracker_hears_of_a_run(name: str, tmp_path: Path) -> None:
    tracker = plugins.load("trackers", name)(tmp_path)
    assert isinstance(tracker, Tracker)
    tracker.log(1, {"g/l1": 0.5})
    tracker.image(1, "samples", np.zeros((4, 6, 3), np.uint8))
    tracker.log(2, {"lr": 2e-4})
    tracker.close()
    tracker.close()


def test_names_may_come_and_go(tmp_path: Path) -> None:
    tracker = CSV(tmp_path)
    tracker.log(1, {"g/l1": 0.1, 'odd, "name"': math.nan})
    tracker.log(20, {"lr": 2e-4})
    tracker.close()
    expected = [["step", "name", "value"], ["1", "g/l1", "0.1"], ["1", 'odd, "name"', "nan"], ["20", "lr", "0.0002"]]
    assert rows(tmp_path) == expected


def test_every_line_is_on_disk_at_once(tmp_path: Path) -> None:
    tracker = CSV(tmp_path)
    tracker.log(1, {"g/l1": 0.1})
    assert rows(tmp_path)[-1] == ["1", "g/l1", "0.1"]
    tracker.close()


@pytest.mark.parametrize("torn", ["", "2,g/l", "2"])
def test_a_resumed_run_goes_on_after_the_last_whole_line(torn: str, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(f"step,name,value\n1,g/l1,0.1\n{torn}")
    tracker = CSV(tmp_path)
    tracker.log(2, {"g/l1": 0.2})
    tracker.close()
    assert rows(tmp_path) == [["step", "name", "value"], ["1", "g/l1", "0.1"], ["2", "g/l1", "0.2"]]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"log\.csv: cannot be written: No such file or directory"):
        CSV(tmp_path / "nowhere")
