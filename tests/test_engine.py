"""The loop around `step`: players, learning rate, moving average, divergence, exact state."""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor, nn

from i2i.contracts import Batch
from i2i.engine import Report, Training, enough_memory, fit, pick_device, pick_precision
from i2i.errors import DivergedError, PluginError, ResourceError, UsageError
from i2i.recipe import OptimizerSettings
from i2i.watch import Averages


class Tug(nn.Module):
    """Two players: g draws its output to b, d draws its own to g's."""

    def __init__(self, turns: tuple[str, ...] = ("g", "d")) -> None:
        super().__init__()
        self.g, self.d, self.turns = nn.Linear(2, 2), nn.Linear(2, 2), turns

    def step(self, batch: Batch) -> Iterator[tuple[str, dict[str, Tensor]]]:
        fake = self.g(batch.a)
        yield self.turns[0], {"near": (fake - batch.b).square().mean(), "judge": 0.1 * self.d(fake).mean()}
        yield self.turns[1], {"near": (self.d(batch.a) - fake.detach()).square().mean()}

    def translate(self, x: Tensor) -> Tensor:
        out: Tensor = self.g(x)
        return out


def batches(value: float = 1.0) -> Iterator[Batch]:
    while True:
        a = torch.randn(3, 2)
        yield Batch(a, value * a.flip(1))


def training(steps: int = 20, seed: int = 0, **settings: float) -> Training:
    torch.manual_seed(7)
    return Training(Tug(), lambda player: OptimizerSettings(lr=0.05), steps=steps, seed=seed, **settings)  # type: ignore[arg-type]


def run_to(t: Training, step: int) -> list[Report]:
    reports = []
    for report in fit(t, batches()):
        reports.append(report)
        if report.step == step:
            break
    return reports


def test_every_step_reports_every_term() -> None:
    reports = run_to(training(), 3)
    assert [report.step for report in reports] == [1, 2, 3]
    assert list(reports[0].terms) == ["g/near", "g/judge", "d/near"]
    assert reports[-1].terms["g/near"] < 10


def test_it_learns() -> None:
    reports = run_to(training(steps=200), 200)
    assert reports[-1].terms["g/near"] < 0.1 * reports[0].terms["g/near"]


def test_a_turn_moves_its_player_only() -> None:
    t = training()
    before = copy.deepcopy(t.method.state_dict())
    turns = t.method.step(next(batches()))  # type: ignore[operator]
    _, losses = next(turns)
    sum(losses.values()).backward(inputs=t.players["g"])
    t.move("g")
    after = t.method.state_dict()
    assert not torch.equal(after["g.weight"], before["g.weight"])
    assert torch.equal(after["d.weight"], before["d.weight"])
    assert t.method.get_parameter("d.weight").grad is None


def test_a_weight_that_is_a_part_of_a_tensor_is_moved_alone() -> None:
    method = Tug()
    whole = torch.randn(*method.g.weight.shape[:-1], 2 * method.g.weight.shape[-1])
    method.g.weight = torch.nn.Parameter(whole[..., ::2])
    before, t = whole.clone(), Training(method, lambda player: OptimizerSettings(), steps=3)
    run_to(t, 3)
    assert torch.equal(whole, before)
    assert not torch.equal(t.method.get_parameter("g.weight"), before[..., ::2])


def test_a_turn_of_nobody_is_the_plugins_fault() -> None:
    t = Training(Tug(("g", "dd")), lambda player: OptimizerSettings(), steps=2)
    with pytest.raises(PluginError, match=r"turn for 'dd'.*Did you mean 'd'\? Its players: g, d"):
        run_to(t, 1)


def test_a_method_without_g_is_refused() -> None:
    with pytest.raises(PluginError, match="no child module 'g'"):
        Training(nn.Sequential(nn.Linear(1, 1)), lambda player: OptimizerSettings(), steps=1)


def test_the_rate_falls_linearly_and_never_to_zero() -> None:
    rates = [report.lr / 0.05 for report in run_to(training(steps=10, decay=0.5), 10)]
    assert rates[:6] == [1.0] * 6
    assert rates[6:] == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert [r.lr / 0.05 for r in run_to(training(steps=4, decay=0.0), 4)] == [1.0] * 4
    assert min(r.lr for r in run_to(training(steps=4, decay=1.0), 4)) > 0


def test_the_average_follows_and_translates() -> None:
    t = training(ema=0.9)
    run_to(t, 5)
    live = t.method.get_parameter("g.weight").clone()
    assert t.average is not None
    average = dict(t.average.named_parameters())["weight"]
    assert not torch.equal(live, average)
    with t.averaged() as method:
        assert method.get_parameter("g.weight") is average
        assert not method.training
    assert torch.equal(t.method.get_parameter("g.weight"), live)
    assert t.method.training


def test_without_an_average_the_generator_itself_translates() -> None:
    t = training(ema=0.0)
    with t.averaged() as method:
        assert method.get_parameter("g.weight") is t.method.get_parameter("g.weight")


@pytest.mark.parametrize("dropped", [None, "method/g.weight", "average/weight", "optimizer/g/0/exp_avg", "step"])
def test_a_restored_run_equals_the_unbroken_one(dropped: str | None) -> None:
    whole = training(steps=12)
    run_to(whole, 12)
    first = training(steps=12)
    run_to(first, 5)
    state = {key: value.clone() for key, value in first.tensors().items()}
    if dropped in state:
        state[str(dropped)].zero_()
    second = training(steps=12)
    second.restore(state, 4 if dropped == "step" else 5)
    run_to(second, 12)
    equal = all(torch.equal(second.tensors()[key], value) for key, value in whole.tensors().items())
    assert equal == (dropped is None)


def test_another_seed_is_another_run() -> None:
    one, other = training(), training(seed=1)
    run_to(one, 3)
    run_to(other, 3)
    assert not torch.equal(one.tensors()["method/g.weight"], other.tensors()["method/g.weight"])


def test_nan_is_named_with_its_term_and_step() -> None:
    averages = Averages()
    for step in (4, 5, 6):
        nan = float("nan") if step == 5 else 1.0
        averages.add(Report(step, 0.1, {"g/l1": torch.tensor(1.0), "d/adversarial": torch.tensor(nan)}))
    with pytest.raises(DivergedError, match=r"d/adversarial became nan in step 5\."):
        averages.read()


def test_a_weight_that_is_not_finite_is_found() -> None:
    t = training()
    with torch.no_grad():
        t.method.get_parameter("d.bias")[0] = float("inf")
    with pytest.raises(DivergedError, match=r"weight d.bias is not finite"):
        t.check_finite()


def test_averages_are_means_since_the_last_reading() -> None:
    averages = Averages()
    assert averages.read() == {}
    for value in (1.0, 3.0):
        averages.add(Report(1, 0.1, {"g/l1": torch.tensor(value)}))
    assert averages.read() == {"g/l1": 2.0}
    assert averages.read() == {}


def test_a_term_may_be_absent_from_some_steps() -> None:
    averages = Averages()
    averages.add(Report(1, 0.1, {"g/l1": torch.tensor(1.0)}))
    averages.add(Report(2, 0.1, {"g/l1": torch.tensor(3.0), "d/penalty": torch.tensor(8.0)}))
    assert averages.read() == {"g/l1": 2.0, "d/penalty": 8.0}


def test_memory_that_ran_out_is_a_sentence_and_nothing_else_is() -> None:
    with pytest.raises(ResourceError, match=r"memory ran out at batch 4: .*Try --set train.batch=2"), remedy():
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    with pytest.raises(RuntimeError, match="shape"), remedy():
        raise RuntimeError("shape mismatch")


def remedy() -> AbstractContextManager[None]:
    return enough_memory("at batch 4", "--set train.batch=2")


@pytest.mark.parametrize("name", ["cpuu", "cuda:99", "xpu"])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(UsageError, match=rf"^--device {name}: "):
        pick_device(name)


def test_bf16_is_asked_for_by_name_anywhere() -> None:
    assert pick_precision("bf16", torch.device("cpu")) == torch.bfloat16
    assert pick_precision("float32", torch.device("cpu")) == torch.float32
    assert pick_precision("auto", torch.device("cpu")) in (torch.bfloat16, torch.float32)


def test_bf16_keeps_float32_weights() -> None:
    t = training(precision=torch.bfloat16)  # type: ignore[arg-type]
    reports = run_to(t, 2)
    assert {value.dtype for value in t.tensors().values()} == {torch.float32}
    assert reports[-1].terms["g/near"].isfinite()


def test_a_term_of_several_turns_is_reported_as_their_mean() -> None:
    class Thrice(Tug):
        def step(self, batch: Batch) -> Iterator[tuple[str, dict[str, Tensor]]]:
            for value in (1.0, 2.0, 6.0):
                yield "d", {"value": self.d(batch.a).sum() * 0 + value}
            yield "g", {"near": (self.g(batch.a) - batch.b).square().mean()}

    t = Training(Thrice(), lambda player: OptimizerSettings(), steps=1)
    (report,) = run_to(t, 1)
    assert report.terms["d/value"].item() == pytest.approx(3.0)
    assert list(report.terms) == ["d/value", "g/near"]
