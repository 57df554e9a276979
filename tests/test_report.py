from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from i2i.errors import ResourceError
from i2i.report import POINTS, STRIP, thinned, write_report

VOID = {"meta", "img", "line", "path"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; raises at a tag that is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def has(self, text: str) -> bool:
        return text in "".join(self.text)


def page(folder: Path, **given: Any) -> Page:
    write_report(folder / "report.html", **{"title": "day2night", "summary": {}} | given)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def strokes(attributes: dict[str, str | None]) -> list[list[tuple[float, float]]]:
    runs = (attributes["d"] or "").split("M")[1:]
    pairs = [re.findall(r"([\d.]+) ([\d.]+)", run) for run in runs]
    return [[(float(x), float(y)) for x, y in run] for run in pairs]


def samples(folder: Path, count: int) -> list[tuple[str, Path]]:
    paths = [folder / f"{i}.png" for i in range(count)]
    for i, path in enumerate(paths):
        Image.fromarray(np.full((2, 3, 3), i, np.uint8)).save(path)
    return [(f"step {i}", path) for i, path in enumerate(paths)]


def test_a_report_needs_nothing_but_itself(tmp_path: Path) -> None:
    log = [{"step": i, "g/l1": 1 / i, "lr": 2e-4} for i in range(1, 100)]
    result = page(
        tmp_path,
        summary={"Task": "paired"},
        log=log,
        notes={"g/l1": "l1 should fall."},
        warnings=["the discriminator has won since step 50"],
        metrics={"psnr": {"translated": 21.4321, "untranslated input": 10.2}},
        samples=samples(tmp_path, 2),
        recipe="task = 'paired'",
    )
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in result.all("img"))
    assert len(result.all("img")) == 2
    assert not result.all("script")
    assert not result.all("link")
    assert "http" not in (tmp_path / "report.html").read_text().replace("http-equiv", "")
    for text in (
        "day2night",
        "paired",
        "l1 should fall.",
        "the discriminator has won since step 50",
        "g/l1",
        "lr",
        "21.43",
        "10.2",
        "untranslated input",
        "task =",
    ):
        assert result.has(text)
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".png"] == ["report.html"]


def test_all_text_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert('&\"')</script>"
    path = samples(tmp_path, 1)[0][1]
    result = page(
        tmp_path,
        title=evil,
        summary={evil: evil},
        log=[{"step": 1, evil: 1.0, f"g/{evil}": 1.0}],
        notes={f"g/{evil}": evil},
        warnings=[evil],
        metrics={evil: {evil: evil}},
        samples=[(evil, path), (evil, path)],
        recipe=evil,
    )
    assert not result.all("script")
    assert "".join(result.text).count(evil) >= 10


@pytest.mark.parametrize("count", [1, 2, 50, 600, 601, 10_000])
def test_a_curve_has_few_points_that_span_the_run(count: int, tmp_path: Path) -> None:
    result = page(tmp_path, log=[{"step": i, "g/l1": math.sin(i)} for i in range(count)])
    for path in result.all("path"):
        (stroke,) = strokes(path)
        assert len(stroke) == min(count, math.ceil(count / math.ceil(count / POINTS))) or count == 1
        assert all(0 <= x <= 520 and 0 <= y <= 190 for x, y in stroke)
        if count > 1:
            assert stroke[-1][0] - stroke[0][0] > 450


def test_thinning_averages() -> None:
    points = [(float(x), float(x % 2)) for x in range(1200)]
    assert thinned(points, 600) == [(2 * i + 0.5, 0.5) for i in range(600)]
    points[4] = points[5] = (4.5, math.nan)
    points[6] = (6.0, math.inf)
    assert math.isnan(thinned(points, 600)[2][1])
    assert thinned(points, 600)[3][1] == 1.0


def test_what_is_not_finite_is_a_gap(tmp_path: Path) -> None:
    log = [{"step": i, "d/adversarial": math.nan if 100 <= i < 200 else 0.7} for i in range(400)]
    log += [{"step": 400, "g/broken": math.inf}]
    result = page(tmp_path, log=log)
    assert [len(strokes(path)) for path in result.all("path")] == [2, 2]
    assert result.has("never a finite number")
    assert "nan" not in "".join(str(path["d"]) for path in result.all("path"))


def test_a_lone_point_between_gaps_is_seen(tmp_path: Path) -> None:
    log = [{"step": i, "g/l1": 1.0 if i == 2 else math.nan} for i in range(5)]
    (stroke,) = strokes(page(tmp_path, log=log).all("path")[0])
    assert stroke[0] == stroke[1]


def test_nothing_logged_yet(tmp_path: Path) -> None:
    assert page(tmp_path, log=[]).has("Nothing has been logged yet.")
    assert page(tmp_path, log=[{"step": 1}]).has("Nothing has been logged yet.")


def test_the_latest_sample_comes_first_and_the_earlier_ones_are_few(tmp_path: Path) -> None:
    given = samples(tmp_path, 30)
    shown = [image["alt"] for image in page(tmp_path, samples=given).all("img")]
    assert shown[0] == "step 29"
    assert len(shown) == STRIP + 1
    assert (shown[1], shown[-1]) == ("step 0", "step 28")
    given[-1][1].unlink()
    assert page(tmp_path, samples=given).has("29.png cannot be read: No such file or directory")


def test_a_metric_may_lack_a_column(tmp_path: Path) -> None:
    result = page(tmp_path, metrics={"l1": {"translated": 0.00005}, "ssim": {"translated": 1.0, "better": "higher"}})
    assert len(result.all("td")) == 4
    assert result.has("5e-5")


def test_a_failed_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page(tmp_path, title="old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(ResourceError, match=r"report\.html: cannot be written: No space left on device"):
        page(tmp_path, title="new")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert "old" in (tmp_path / "report.html").read_text()
