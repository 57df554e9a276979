"""What a training is watched for: said once, in words, in the log and the report, and the same after a resumption."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from conftest import TINY
from torch import Tensor, nn

from i2i import recipe
from i2i.compose import compose
from i2i.contracts import Batch
from i2i.engine import Report, Training, fit
from i2i.errors import DivergedError
from i2i.methods.pix2pix import Pix2Pix
from i2i.recipe import OptimizerSettings
from i2i.watch import OTHER, TERMS, WON_STEPS, Averages, Watch, expected, spread

Cli = Callable[..., tuple[int, str, str]]


def line(step: int, **terms: float) -> dict[str, float]:
    return {"step": step, "lr": 2e-4, **{name.replace("__", "/"): value for name, value in terms.items()}}


def test_a_discriminator_that_wins_is_told_once_with_its_first_step() -> None:
    watch, log = Watch(), []
    for step in range(100, 100 * 40, 100):
        loss = 0.3 if step <= 1500 else 0.004
        log.append(line(step, g__adversarial=0.001, d__adversarial=loss))
        log += watch.logged(log[-1])
    (warning,) = [entry for entry in log if "warning" in entry]
    assert warning["step"] == 1500 + WON_STEPS
    assert str(warning["warning"]).startswith("the discriminator (d) has won since step 1,501: ")
    assert "optimizer.d.lr" in str(warning["warning"])


@pytest.mark.parametrize("loss", [0.1, -3.0, -0.001])
def test_what_is_no_victory(loss: float) -> None:
    """An even game, and a critic's distance, which is below zero."""
    watch = Watch()
    assert not [w for step in range(100, 9000, 100) for w in watch.logged(line(step, d__adversarial=loss))]


def test_both_of_two_must_win_and_a_good_spell_counts_anew() -> None:
    watch = Watch()
    told = []
    for step in range(100, 3000, 100):
        lost = 0.5 if step == 1000 else 0.001
        told += watch.logged(line(step, d__adversarial_a=0.001, d__adversarial_b=lost))
    assert [entry["step"] for entry in told] == [2000]
    assert not [
        w for s in range(100, 3000, 100) for w in Watch().logged(line(s, d__adversarial_a=0, d__adversarial_b=1))
    ]


@pytest.mark.parametrize("cut", range(100, 2600, 300))
def test_a_log_is_all_that_a_watch_remembers(cut: int) -> None:
    whole: list[dict[str, float]] = []
    watch = Watch()
    for step in range(100, 2600, 100):
        if step == cut + 100:
            watch = Watch(json.loads(json.dumps(whole)))
        whole.append(line(step, d__adversarial=0.001))
        whole += watch.logged(whole[-1])
    assert [entry["step"] for entry in whole if "warning" in entry] == [WON_STEPS]


def grid(outputs: list[int]) -> list[list[np.ndarray]]:
    draw = np.random.default_rng(0)
    noise = [draw.integers(0, 255, (32, 40, 3), dtype=np.uint8) for _ in outputs]
    flat = [np.full((32, 40, 3), value, np.uint8) for value in outputs]
    real = [np.full((32, 40, 3), 60 * i, np.uint8) for i in range(len(outputs))]
    return [list(row) for row in zip(noise, flat, real, strict=True)]


def test_translations_that_are_all_alike_are_told_once() -> None:
    watch = Watch()
    assert watch.sampled(499, grid([100, 101, 100])) == []
    assert watch.sampled(500, grid([10, 60, 110])) == []
    assert watch.sampled(500, grid([10])) == []
    (warning,) = watch.sampled(1200, grid([100, 101, 100]))
    assert warning["warning"].startswith("the translations have become alike by step 1,200: ")
    assert watch.sampled(1300, grid([100, 100, 100])) == []
    assert Watch([warning]).sampled(1300, grid([100, 100, 100])) == []
    alike = [[row[0], row[1], row[1]] for row in grid([100, 100])]  # as the real ones are
    assert Watch().sampled(900, alike) == []
    assert spread([row[2] for row in grid([0, 0])]) == pytest.approx(30)


def test_the_first_bad_step_of_the_first_bad_term_is_named() -> None:
    averages = Averages()
    for step in range(1, 9):
        terms = {"g/l1": 1.0 if step < 6 else float("nan"), "d/adversarial": float("inf") if step == 4 else 1.0}
        averages.add(Report(step, 0.1, {name: torch.tensor(value) for name, value in terms.items()}))
    with pytest.raises(DivergedError, match=r"^d/adversarial became inf in step 4\."):
        averages.read()
    with pytest.raises(DivergedError, match=r"in step 4\."):
        averages.tensors()


def test_a_resumed_window_names_the_step_as_well() -> None:
    before, after = Averages(), Averages()
    for step in (5, 6):
        before.add(Report(step, 0.1, {"g/l1": torch.tensor(1.0)}))
    after.restore(before.tensors(), 6, torch.device("cpu"))
    for step in (7, 8):
        after.add(Report(step, 0.1, {"g/l1": torch.tensor(1.0 if step < 8 else float("nan"))}))
    with pytest.raises(DivergedError, match=r"in step 8\."):
        after.read()


Step = Callable[[Pix2Pix, Batch], Iterator[tuple[str, dict[str, Tensor]]]]
STEP: Step = Pix2Pix.step


def breaking(monkeypatch: pytest.MonkeyPatch, bad: int) -> None:
    """Make the reconstruction no number from a step of the training on."""
    now, pace = [0], Training.set_pace

    def paced(self: Training) -> float:
        now[0] = self.step + 1
        return pace(self)

    def step(self: Pix2Pix, batch: Batch) -> Iterator[tuple[str, dict[str, Tensor]]]:
        for player, terms in STEP(self, batch):
            if player == "g" and now[0] >= bad:
                terms["reconstruction"] = terms["reconstruction"] * float("nan")
            yield player, terms

    monkeypatch.setattr(Training, "set_pace", paced)
    monkeypatch.setattr(Pix2Pix, "step", step)


def test_a_run_that_diverges_keeps_its_last_good_state(
    run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from i2i.checkpoint import Run

    breaking(monkeypatch, 4)
    (tmp_path / "tiny.toml").write_text(
        TINY.replace("steps = 4", "steps = 20").replace("log_every = 1", "log_every = 9")
    )
    code, out, err = run("train", tmp_path / "tiny.toml", "--runs", tmp_path / "runs", "--device", "cpu")
    (made,) = (tmp_path / "runs").iterdir()
    assert code == 6
    assert "g/reconstruction became nan in step 4" in err
    assert "the model and the state of step 2 are kept" in out
    step, tensors, warnings = Run(made).load_state()
    assert (step, warnings) == (2, [])
    assert all(torch.isfinite(value).all() for value in tensors.values() if value.is_floating_point())


@pytest.mark.parametrize(
    ("gradient", "found"),
    [
        (float("nan"), r"^weight g\."),
        (float("inf"), r"^weight g\."),
        (1e25, r"^the optimizer's exp_avg_sq of weight g\."),
    ],
)
def test_a_broken_gradient_is_in_no_state(gradient: float, found: str) -> None:
    """The losses of its step are numbers still, and of the last one so are the weights."""
    training = Training(
        compose(recipe.parse(Path("tiny.toml"), TINY.encode())).method, lambda player: OptimizerSettings(), steps=1
    )
    training.players["g"][0].register_hook(lambda own: torch.full_like(own, gradient))
    (report,) = fit(training, [Batch(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32))])
    assert all(torch.isfinite(term) for term in report.terms.values())
    with pytest.raises(DivergedError, match=found + ".* is not finite after step 1"):
        training.check_finite()


def winning(self: Pix2Pix, batch: Batch) -> Iterator[tuple[str, dict[str, Tensor]]]:
    for player, terms in STEP(self, batch):
        yield player, {name: term * 1e-6 if player == "d" else term for name, term in terms.items()}


def test_warnings_stand_in_the_log_the_report_and_the_display(
    run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pix2Pix, "step", winning)
    monkeypatch.setattr("i2i.watch.WON_STEPS", 3)
    monkeypatch.setattr("i2i.watch.ALIKE", 1e9)
    monkeypatch.setattr("i2i.watch.BEGUN", 2)
    (tmp_path / "tiny.toml").write_text(TINY.replace("samples = 1", "samples = 2"))
    code, out, _ = run("train", tmp_path / "tiny.toml", "--runs", tmp_path / "runs", "--device", "cpu")
    assert code == 0
    (made,) = (tmp_path / "runs").iterdir()
    log = [json.loads(text) for text in (made / "log.jsonl").read_text().splitlines()]
    won, alike = ("the discriminator (d) has won since step 1", "the translations have become alike by step 2")
    assert [entry["warning"].partition(":")[0] for entry in log if "warning" in entry] == [alike, won]
    report = (made / "report.html").read_text()
    for text in (won, alike):
        assert f"warning: {text}" in out
        assert f'<p class="warning">{text}' in report
    assert f"! {won}" in next(text for text in out.splitlines() if text.startswith("step 4/4"))
    assert report.count('class="curve"') == 5  # terms, rate, speed


class Told(nn.Module):
    terms: ClassVar = {"cycle": "Back again.", "g/l1": "Near."}


def test_every_term_of_the_report_is_explained() -> None:
    log = [line(1, g__adversarial=1, g__cycle_a=1, g__l1=1, g__novel=1, d__adversarial_b=1, d__penalty=1)]
    found = expected(Told(), log)
    assert found["g/adversarial"] == TERMS["g/adversarial"]
    assert found["d/adversarial_b"] == TERMS["adversarial"]
    assert (found["g/cycle_a"], found["g/l1"], found["g/novel"]) == ("Back again.", "Near.", OTHER)
    assert found["d/penalty"] == TERMS["penalty"]
    assert "lr" not in found
