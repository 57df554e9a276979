"""docs/write-a-plugin.md is run as it is written, in a clean environment, and its snippets are what it says."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from conftest import ROOT, Clean

PAGE = (ROOT / "docs" / "write-a-plugin.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.M | re.S)
EXAMPLE = ROOT / "plugins" / "i2i-example"


def test_every_block_is_run_and_says_what_it_says(clean: Clean, tmp_path: Path) -> None:
    """bash: run, in order. text: of what the command before it printed. The rest: of a file of one of the packages."""
    package, said = tmp_path / "i2i-soft-edges", ""
    for language, block in BLOCKS:
        if language == "bash":
            said = clean.run("bash", "-euo", "pipefail", "-c", f"({block}) 2>&1", cwd=tmp_path)
            if block.startswith("i2i plugins new soft_edges"):
                said = "\n".join(str(p.relative_to(package)) for p in sorted(package.rglob("*")) if p.is_file())
        elif language == "text":
            for line in block.splitlines():
                assert line in said, f"{line!r} is not in:\n{said}"
        else:
            files = [p for folder in (EXAMPLE, package) for p in folder.rglob("*") if p.suffix in (".py", ".toml")]
            if language == "toml":
                assert any(
                    _within(tomllib.loads(block), tomllib.loads(p.read_text())) for p in files if p.suffix == ".toml"
                )
            else:
                assert any(block in p.read_text() for p in files)
    runs = {run.name.rpartition("-")[0].rpartition("-")[0]: run for run in (tmp_path / "runs").iterdir()}
    assert sorted(runs) == ["scene_folders", "soft_edges", "there_and_back"]
    assert all((run / "report.html").stat().st_size > 0 for run in runs.values())
    resolved = {name: json.loads((run / "resolved.json").read_text()) for name, run in runs.items()}
    assert resolved["soft_edges"]["method"]["reconstruction"] == {"name": "soft_edges", "edges": 0.5, "blur": 3}
    assert resolved["scene_folders"]["source"]["name"] == "scene_folders"
    assert resolved["there_and_back"]["optimizer"]["f"]["lr"] == 5e-4
    logged = json.loads((runs["there_and_back"] / "log.jsonl").read_text().splitlines()[-1])
    assert {"g/truth", "g/cycle", "f/truth"} <= logged.keys()


def _within(part: object, whole: object) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and _within(part[key], whole[key]) for key in part)
    return part == whole


def test_all_kinds_of_the_scaffold_are_named() -> None:
    from i2i.scaffold import KINDS

    assert all(f"`{kind}`" in PAGE for kind in KINDS)
