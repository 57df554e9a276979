"""What a step will hold is told before it is made, from tensors without numbers, and nothing is touched by it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import TINY
from torch import Tensor, nn
from typer.testing import CliRunner

from i2i import check, engine, recipe
from i2i.compose import Pipeline, compose, rehearse
from i2i.contracts import Batch
from i2i.memory import Count, copy_without_numbers, free_memory, without_numbers
from i2i.train import training_of

CPU = torch.device("cpu")
SETTINGS = ["source.size=64", "validation.size=64", "method.generator.width=16", "method.discriminator.width=16"]


def prepared(*settings: str) -> tuple[Pipeline, Batch]:
    pipeline = compose(recipe.parse(Path("tiny.toml"), TINY.encode(), [*SETTINGS, *settings]))
    return pipeline, rehearse(pipeline)[1]


def held(training: engine.Training) -> int:
    """Return the bytes that a training holds between steps."""
    return sum(tensor.untyped_storage().nbytes() for tensor in training.tensors().values())


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("again", ["false", "true"])
def test_a_prediction_is_what_a_real_step_holds(precision: str, again: str) -> None:
    settings = [f'train.precision="{precision}"', f"train.activation_checkpointing={again}"]
    pipeline, batch = prepared(*settings, 'method.generator={name="resnet", width=8, blocks=4}')
    predicted = check.step_memory(pipeline, batch, 2, CPU)
    training = training_of(pipeline, CPU)
    engine._turns(training, batch)
    with Count() as count:
        engine._turns(training, batch)
    real = held(training) + count.most + sum(x.untyped_storage().nbytes() for x in (batch.a, batch.b))
    assert predicted == pytest.approx(real, rel=0.03)


def test_checkpointing_and_a_smaller_batch_are_predicted_to_need_less() -> None:
    pipeline, batch = prepared('method.generator={name="resnet", width=8, blocks=4}')
    whole = check.step_memory(pipeline, batch, 8, CPU)
    settings = replace(pipeline.recipe.train, activation_checkpointing=True)
    saving = replace(pipeline, recipe=replace(pipeline.recipe, train=settings))
    assert check.step_memory(saving, batch, 8, CPU) < 0.9 * whole
    assert check.step_memory(pipeline, batch, 4, CPU) < 0.7 * whole


def test_nothing_is_drawn_and_the_pipeline_is_left_as_it_was() -> None:
    pipeline, batch = prepared("train.activation_checkpointing=true")
    kinds = [type(module) for module in pipeline.method.modules()]
    before = {name: value.clone() for name, value in pipeline.method.state_dict().items()}
    state = torch.get_rng_state()
    check.step_memory(pipeline, batch, 4, CPU)
    assert torch.equal(state, torch.get_rng_state())
    assert [type(module) for module in pipeline.method.modules()] == kinds
    after = pipeline.method.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not any(parameter.grad is not None for parameter in pipeline.method.parameters())


def test_a_drawn_number_decides_and_a_count_is_not_asked_for() -> None:
    class Decides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
            self.kept = torch.ones(3)

        def forward(self, x: Tensor) -> Tensor:
            assert self.steps.is_meta
            self.steps.add_(1)
            return torch.cat([x, x]) if torch.rand(()) < 2 else x

    network = Decides()
    with without_numbers(), Count() as count:
        copy = copy_without_numbers(network, CPU)
        y = copy(torch.empty(1, 2, 4, 4))
        assert y.shape == (2, 2, 4, 4)
        copy(y)
        assert count.most > count.alive >= 4 * 2 * 2 * 16
        del y
        assert count.alive < 4 * 2 * 2 * 16
    assert int(network.steps) == 0


def test_too_little_memory_is_said_with_what_helps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from i2i.cli.app import app

    assert (free_memory(CPU) or 2**30) > 2**20
    monkeypatch.setattr(check, "free_memory", lambda device: 2**20)
    file = tmp_path / "tiny.toml"
    file.write_text(TINY)
    out = CliRunner().invoke(app, ["check", str(file), "--device", "cpu", *(f"--set={s}" for s in SETTINGS)]).output
    line = next(line for line in out.splitlines() if line.startswith("memory of a step"))
    assert "1 MiB are free: too little. It takes" in line
    for remedy in (
        "with --set train.activation_checkpointing=true",
        "with --set train.batch=1,",
        "with --set train.batch=1 --set train.activation_checkpointing=true",
    ):
        assert remedy in line, line
