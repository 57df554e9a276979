"""Charts: well-formed SVG whose lengths are the values."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

from i2i.chart import bars, curves

SVG = "{http://www.w3.org/2000/svg}"


def drawn(svg: str, tag: str, kind: str) -> list[ET.Element]:
    return [node for node in ET.fromstring(svg).iter(f"{SVG}{tag}") if node.get("class") == kind]


def test_bars_are_as_long_as_their_values() -> None:
    svg = bars({"l1 <&>": [("a", 0.2, 0.05, 0.4), ("b", 0.1, None, None), ("none", None, None, None)]})
    first, second = (float(bar.attrib["width"]) for bar in drawn(svg, "rect", "bar"))
    assert math.isclose(first, 2 * second, rel_tol=0.01)
    (whisker,) = drawn(svg, "line", "spread")
    assert math.isclose(float(whisker.attrib["x2"]) - float(whisker.attrib["x1"]), first / 2, rel_tol=0.02)
    texts = [node.text for node in ET.fromstring(svg).iter(f"{SVG}text")]
    assert "l1 <&>" in texts
    assert "0.2 ± 0.05" in texts
    assert "none" not in texts
    assert len(drawn(svg, "path", "mark")) == 2  # one beside the bar, one that explains it


def test_a_panel_without_values_is_left_out() -> None:
    assert "nothing" not in bars({"nothing": [("a", None, None, None)], "zero": [("a", 0.0, None, None)]})


def test_a_gap_breaks_a_curve() -> None:
    svg = curves({"L": ([0, 1, 2, 3, 4], {"truth": [0, 1, math.nan, 1, 0], "fake": [1, 1, 1, 1, 1]})}, unit="share")
    broken, whole = (path.attrib["d"] for path in drawn(svg, "path", "curve"))
    assert broken.count("M") == 2
    assert "nan" not in broken
    assert whole.count("M") == 1
    assert whole.count("L") == 4


def test_a_negative_value_goes_the_other_way() -> None:
    svg = bars({"kid": [("a", 0.5, None, None), ("b", -0.5, 0.1, -0.4)]})
    up, down = drawn(svg, "rect", "bar")
    assert float(up.attrib["width"]) == float(down.attrib["width"])
    assert math.isclose(float(down.attrib["x"]) + float(down.attrib["width"]), float(up.attrib["x"]), abs_tol=0.2)


def test_a_long_legend_is_wrapped() -> None:
    names = [f"encoder-decoder, L1+cGAN {i}" for i in range(8)]
    svg = curves({"L": ([0, 1], dict.fromkeys(names, (0, 1)))})
    root = ET.fromstring(svg)
    for node in root.iter(f"{SVG}text"):
        if node.text in names:
            assert float(node.attrib["x"]) + 7 * len(node.text) <= 772
