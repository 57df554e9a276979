"""Ablations: variants trained alike, measured once, put into one table, and gone on with after a kill."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, TINY, Run

from i2i import images, recipe
from i2i.ablate import Row, markdown, read, table
from i2i.compose import compose, rehearse

FILE = """
base = "tiny.toml"
seeds = [0, 1]
rows = 2
set = ['metrics=["l1", "psnr"]', "train.steps=STEPS"]
source = "a paper"
[variants]
"L1" = ["method.gan_weight=0"]
"L1+cGAN" = []
[paper."L1"]
l1 = 0.25
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "tiny.toml").write_text(TINY)
    path = tmp_path / "objectives.toml"
    path.write_text(FILE.replace("STEPS", "2"))
    return path


def ablate(run: Run, file: Path, *extra: object) -> str:
    code, out, err = run("ablate", file, "--runs", file.parent / "runs", "--device", "cpu", *extra)
    assert code == 0, err
    return out


def test_a_table_has_the_mean_and_the_spread_of_the_seeds(run: Run, file: Path) -> None:
    out = ablate(run, file)
    folder = file.parent / "runs" / "objectives"
    results = [json.loads((folder / f"L1-{seed}" / "result.json").read_text())["metrics"]["l1"] for seed in (0, 1)]
    values = [result["translated"] for result in results]
    lines = [line.split("  ") for line in out.splitlines() if line.startswith("L1 ")]
    expected = f"{np.mean(values):.4g} ± {np.std(values, ddof=1):.2g}"
    assert expected in [cell.strip() for cell in lines[0]]
    assert "0.25" in [cell.strip() for cell in lines[0]]
    assert f"| L1 | {expected} | 0.25 |" in (folder / "table.md").read_text()
    assert "untranslated input" in out
    with (folder / "table.csv").open() as rows:
        found = {(row["variant"], row["metric"]): row for row in csv.DictReader(rows)}
    assert float(found["L1", "l1"]["seed 1"]) == values[1]
    assert found["L1", "l1"]["paper"] == "0.25"
    assert found["L1+cGAN", "l1"]["mean"] != found["L1", "l1"]["mean"]
    assert (folder / "plot.svg").read_text().startswith("<svg")
    grid = images.read(folder / "grid.png").pixels
    assert grid.shape == (18 + 4 + 2 * 36, 4 + 4 * 36, 3)  # a head, two rows of input, two variants, truth


def test_what_is_finished_is_not_trained_again(run: Run, file: Path) -> None:
    ablate(run, file)
    folder = file.parent / "runs" / "objectives"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("result.json")}
    assert len(before) == 4
    (folder / "L1-1" / "result.json").unlink()
    out = ablate(run, file)
    assert "L1, seed 1 (2 of 4)" in out
    assert "seed 0" not in out
    assert {p for p, at in before.items() if p.stat().st_mtime_ns != at} == {folder / "L1-1" / "result.json"}


def test_a_metric_that_was_added_is_measured_without_training(run: Run, file: Path) -> None:
    ablate(run, file)
    out = ablate(run, file, "--set", 'metrics=["ssim"]')
    assert "training" not in out
    assert "ssim" in out
    assert "psnr" not in out


def test_a_killed_ablation_goes_on(file: Path, run: Run) -> None:
    file.write_text(FILE.replace("STEPS", "40"))
    folder = file.parent / "runs" / "objectives"
    command = [sys.executable, "-m", "i2i", "ablate", file, "--runs", file.parent / "runs", "--device", "cpu"]
    command += ["--set", "method.generator.width=6"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as process:
        deadline = time.monotonic() + 120
        while not list((folder / "L1-1").glob("state/*.safetensors")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    first = (folder / "L1-0" / "result.json").stat().st_mtime_ns
    command = re.search(r"Go on: i2i (ablate .*)", err.replace("\n", " "))
    assert command is not None, err
    code, out, err = run(*shlex.split(command[1]))
    assert code == 0, err
    assert "going on at step" in out
    assert (folder / "L1-0" / "result.json").stat().st_mtime_ns == first
    assert len(list(folder.glob("*/result.json"))) == 4


def test_other_settings_are_not_mixed_with_old_runs(run: Run, file: Path) -> None:
    ablate(run, file)
    code, _, err = run("ablate", file, "--runs", file.parent / "runs", "--set", "method.weight=5", "--device", "cpu")
    assert code == 2
    assert "was trained with another [method]" in err
    assert "--runs" in err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds", "sedes", "sedes: no such parameter. Did you mean 'seeds'"),
        ("[0, 1]", "[]", "one of the seeds"),
        ('"L1+cGAN" = []', '"l1" = 3', "does not fit: input should be a valid array"),
        ('"L1+cGAN" = []', '"L1-" = []', "rename it"),
        ("method.gan_weight=0", "method.gan_wieght=0", "Did you mean 'gan_weight'"),
        ("tiny.toml", "tinny.toml", "Did you mean 'tiny.toml'"),
        ("[0, 1]", "[1, 1]", "name each seed once"),
        ('[paper."L1"]', '[paper."L1+GAN"]', "there is no such row. Did you mean 'L1+cGAN'"),
        ('"L1+cGAN" = []', '"ground truth" = []', "rename it"),
        ('"L1+cGAN" = []', '"b" = ["method.x=1"]\n"c" = ["method.y=1"]', "variant 'c'"),
    ],
)
def test_a_broken_file_is_told_before_anything_is_trained(
    run: Run, file: Path, old: str, new: str, message: str
) -> None:
    file.write_text(FILE.replace("STEPS", "2").replace(old, new))
    code, _, err = run("ablate", file, "--runs", file.parent / "runs", "--device", "cpu")
    assert code == 2
    assert message in err
    assert not (file.parent / "runs").exists()


def test_a_row_without_a_value_has_an_empty_cell() -> None:
    rows = [Row("a", {"x": [1.0, 3.0]}), Row("b", {}, {"x": 2.0})]
    head, lines = table(rows)
    assert head == ["", "x", "paper"]
    assert lines == [["a", "2 ± 1.4", ""], ["b", "", "2"]]
    assert markdown(head, lines).splitlines()[2] == "| a | 2 ± 1.4 |  |"


PAPER = sorted((ROOT / "recipes" / "paper").glob("*.toml"))
SMALL = [
    *("source.size=96", "source.count=4", "validation.size=96", "validation.count=2"),
    *(
        "method.generator.depth=5",
        "method.generator.width=4",
        "train.batch=2",
        "train.epochs=1",
        "train.precision=float32",
    ),
]


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_every_variant_of_the_paper_composes(path: Path) -> None:
    ablation = read(path)
    assert set(ablation.paper) <= {*ablation.variants, "ground truth"}
    for chosen in ablation.variants.values():
        rehearse(compose(recipe.read(path.parent / ablation.base, [*ablation.set, *chosen, *SMALL])))


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_the_command_in_its_header_is_an_ablation(path: Path) -> None:
    """What a header tells to write for the real data set fits the parts; the data set itself is not here."""
    header = "\n".join(line.removeprefix("#") for line in path.read_text().splitlines() if line.startswith("#"))
    settings = re.findall(r"--set '([^']+)'", header)
    ablation = read(path)
    ours = [text for text in settings if not text.startswith("scorer.")]
    assert recipe.read(path.parent / ablation.base, ours).resolved()["source"]["name"] == "pairs"
    if ablation.scorer:
        theirs = [text.removeprefix("scorer.") for text in settings if text not in ours]
        assert recipe.read(path.parent / ablation.scorer["base"], theirs).resolved()["source"]["name"] == "pairs"


def test_the_tables_of_the_paper_run(run: Run, tmp_path: Path) -> None:
    """A scorer is trained first and judges the translations; the real photos stand beside them."""
    small = [*SMALL, "method.discriminator.width=4"]
    settings = [word for text in small for word in ("--set", text)]
    theirs = [word for text in SMALL for word in ("--set", f"scorer.{text}")]
    for name in ("table1", "figure7"):
        path = tmp_path / f"{name}.toml"
        text = (ROOT / "recipes" / "paper" / path.name).read_text()
        path.write_text(text.replace("../", f"{ROOT / 'recipes'}/").replace("[0, 1]", "[0]"))
        scored = theirs if name == "table1" else []
        code, out, err = run("ablate", path, "--runs", tmp_path / "runs", "--device", "cpu", *settings, *scored)
        assert code == 0, err
    with (tmp_path / "runs" / "table1" / "table.csv").open() as rows:
        found = {(row["variant"], row["metric"]): row for row in csv.DictReader(rows)}
    for variant in ("L1", "GAN", "cGAN", "L1+GAN", "L1+cGAN", "ground truth"):
        row = found[variant, "fcn_score/pixel accuracy"]
        assert 0 <= float(row["mean"]) <= 1
        assert row["paper"]
    assert (tmp_path / "runs" / "figure7" / "histograms.svg").exists()
    code, out, err = run("ablate", path, "--runs", tmp_path / "runs", "--device", "cpu", *settings)
    assert code == 0, err
    assert "training" not in out


def test_what_does_not_belong_in_set_is_refused(run: Run, file: Path) -> None:
    for setting, message in (("train.seed=3", "set them there"), ("scorer.train.steps=1", "has no [scorer]")):
        code, _, err = run("ablate", file, "--runs", file.parent / "runs", "--set", setting, "--device", "cpu")
        assert code == 2
        assert message in err


def test_a_variant_that_diverges_does_not_stop_the_others(run: Run, file: Path) -> None:
    text = file.read_text().replace('"L1" = ["method.gan_weight=0"]', '"L1" = ["optimizer.lr=1e30"]')
    file.write_text(text.replace("train.steps=2", "train.steps=4"))
    code, out, err = run("ablate", file, "--runs", file.parent / "runs", "--device", "cpu")
    assert code == 1
    assert "L1, seed 0" in err
    assert "lower learning rate" in err
    rows = {line.split("  ")[0]: line for line in out.splitlines()}
    assert "±" in rows["L1+cGAN"]
    assert "±" not in rows["L1"]
    assert (file.parent / "runs" / "objectives" / "grid.png").exists()


def test_a_scorer_that_cannot_judge_is_told_before_the_variants_train(run: Run, file: Path) -> None:
    file.write_text(file.read_text() + '[scorer]\nbase = "tiny.toml"\nset = ["train.steps=1"]\n')
    code, _, err = run("ablate", file, "--runs", file.parent / "runs", "--device", "cpu")
    assert code == 2
    assert "segmentation" in err
    assert [path.parent.name for path in file.parent.rglob("result.json")] == ["scorer"]


def test_damaged_measures_are_made_again(run: Run, file: Path) -> None:
    first = ablate(run, file)
    kept = file.parent / "runs" / "objectives" / "L1-0" / "measures.json"
    for damage in ("{}", '{"of', "[]"):
        kept.write_text(damage)
        assert ablate(run, file).splitlines()[-5:] == first.splitlines()[-5:]
