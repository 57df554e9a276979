"""CycleGAN: its losses against small computations, both directions, and an exact resume with a filling pool."""

import functools
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from i2i_unpaired.cyclegan import CycleGAN
from i2i_unpaired.task import Unpaired
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor, nn

import i2i
from i2i import recipe, train
from i2i.contracts import Batch
from i2i.display import TrainDisplay
from i2i.errors import DataError, PluginError, UsageError
from i2i.generators.resnet import ResNet
from i2i.tasks.paired import Paired

torch.set_num_threads(1)

TINY = """
task = "unpaired"
[source]
name = "unpaired_of"
source = { name = "scenes", size = 32, count = 8 }
[validation]
name = "scenes"
size = 32
count = 2
[method]
name = "cyclegan"
pool = 4
generator = { name = "resnet", blocks = 1, width = 4 }
discriminator = { name = "patch", field = 16, width = 4 }
[train]
steps = 6
batch = 1
save_every = 3
log_every = 1
samples = 1
"""


class Scaled(nn.Module):
    """A generator of one weight: artanh of the picture, scaled, so that the task's tanh gives scale × picture at 1."""

    def __init__(self, in_channels: int, out_channels: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.scale * x.clamp(-0.999, 0.999).atanh()
        return scores


class Mean(nn.Module):
    """A discriminator whose only logit is the weighted mean of the picture."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.weight * x.mean(dim=(1, 2, 3), keepdim=True)]


def batch(count: int = 2, side: int = 8) -> Batch:
    torch.manual_seed(1)
    return Batch(torch.rand(count, 3, side, side) - 0.2, torch.rand(count, 3, side, side) - 0.8)


def test_generators_that_undo_each_other_cost_no_cycle() -> None:
    method = CycleGAN(Unpaired(), generator=Scaled, discriminator=Mean)
    with torch.no_grad():
        method.g["ab"].scale.fill_(2.0)
        method.g["ba"].scale.fill_(0.5)
    _, terms = next(method.step(batch()))
    assert terms["cycle_a"] < 1e-5
    assert terms["cycle_b"] < 1e-5
    assert terms["identity_a"] > 0.1
    with torch.no_grad():
        method.g["ba"].scale.fill_(1.0)
    _, terms = next(method.step(batch()))
    assert terms["cycle_a"] > 0.1


def test_every_term_is_what_the_paper_says() -> None:
    method = CycleGAN(Unpaired(), generator=Scaled, discriminator=Mean, cycle=4.0, identity=0.25)
    with torch.no_grad():
        method.g["ab"].scale.fill_(1.3)
        method.g["ba"].scale.fill_(0.6)
    data = batch()
    a, b = data.a, data.b

    def ab(x: Tensor) -> Tensor:
        return (1.3 * x.atanh()).tanh()

    def ba(x: Tensor) -> Tensor:
        return (0.6 * x.atanh()).tanh()

    def judged(x: Tensor) -> Tensor:
        return 0.5 * x.mean((1, 2, 3))

    steps = method.step(data)
    player, terms = next(steps)
    assert player == "g"
    wanted = {
        "adversarial_a": (judged(ba(b)) - 1).square().mean(),
        "adversarial_b": (judged(ab(a)) - 1).square().mean(),
        "cycle_a": 4 * (ba(ab(a)) - a).abs().mean(),
        "cycle_b": 4 * (ab(ba(b)) - b).abs().mean(),
        "identity_a": 4 * 0.25 * (ba(a) - a).abs().mean(),
        "identity_b": 4 * 0.25 * (ab(b) - b).abs().mean(),
    }
    compare(terms, wanted)
    player, terms = next(steps)
    assert player == "d"
    wanted = {
        "adversarial_a": ((judged(a) - 1).square().mean() + judged(ba(b)).square().mean()) / 2,
        "adversarial_b": ((judged(b) - 1).square().mean() + judged(ab(a)).square().mean()) / 2,
    }
    compare(terms, wanted)
    assert next(steps, None) is None


def compare(terms: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    assert terms.keys() == wanted.keys()
    for name, value in wanted.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-4), name


def test_discriminators_are_shown_what_the_pool_gives() -> None:
    method = CycleGAN(Unpaired(), generator=Scaled, discriminator=Mean, pool=1)
    old = torch.full((1, 3, 8, 8), 0.9)
    torch.manual_seed(3)
    seen = set()
    for _ in range(12):
        method.pool["b"].pictures = old.clone()  # type: ignore[assignment]
        turns = method.step(batch(1))
        next(turns)
        seen.add(round(next(turns)[1]["adversarial_b"].item(), 4))
    assert len(seen) == 2


def test_a_penalty_is_part_of_both_discriminators_turns() -> None:
    from i2i.adversarial.wgan_gp import WassersteinGP

    turns = CycleGAN(Unpaired(), generator=Scaled, discriminator=Mean, adversarial=WassersteinGP).step(batch())
    next(turns)
    assert list(next(turns)[1]) == ["adversarial_a", "penalty_a", "adversarial_b", "penalty_b"]


def test_tasks_that_cannot_be_reversed_are_refused() -> None:
    with pytest.raises(UsageError, match=r"no way to.*'unpaired', or the method 'cut'"):
        CycleGAN(Paired(in_channels=1), generator=Scaled, discriminator=Mean)
    assert CycleGAN(Paired(), generator=Scaled, discriminator=Mean).opposite.out_channels == 3


def test_sides_of_the_target_must_divide_too() -> None:
    small = functools.partial(ResNet, blocks=1, width=2)
    method = CycleGAN(Unpaired(), generator=small, discriminator=Mean)
    assert method.multiple == 4
    with pytest.raises(DataError, match=r"of the target are 10x8 pixels.*divide by 4"):
        next(method.step(Batch(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 10))))


class Broken(Exception):
    """Ends a run after a step."""


def state(run: Path, step: int) -> dict[str, Tensor]:
    (path,) = (run / "state").glob(f"{step:09d}-*.safetensors")
    return load_file(path)


class BreaksAt:
    """A display that breaks the run off."""

    def __init__(self, step: int) -> None:
        self.step = step

    def note(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...

    def progress(self, step: int, steps: int, entry: Mapping[str, float]) -> None:
        if step == self.step:
            raise Broken


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps without a break, and one that was broken off after three and gone on with."""
    folder = tmp_path_factory.mktemp("runs")
    plan = recipe.parse(Path("tiny.toml"), TINY.encode())
    with TrainDisplay(Console(quiet=True)) as display:
        train.start(plan, runs=folder, device="cpu", display=display, name="whole")
        with pytest.raises(PluginError, match="Broken"):
            train.start(plan, runs=folder, device="cpu", display=BreaksAt(3), name="broken")
        train.resume(folder / "broken", device="cpu", display=display)
    return folder


def test_a_resumed_run_equals_the_unbroken_one_bit_for_bit(runs: Path) -> None:
    half = state(runs / "whole", 3)
    assert half["method/pool.a._extra_state"].shape == (3, 3, 32, 32)  # has begun to fill
    whole = state(runs / "whole", 6)
    resumed = state(runs / "broken", 6)
    assert whole["method/pool.a._extra_state"].shape == (4, 3, 32, 32)  # and is full
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    first, second = ((runs / name / "log.jsonl").read_text().splitlines()[-1] for name in ("whole", "broken"))
    drop = {"images_per_second"}
    assert {k: v for k, v in json.loads(first).items() if k not in drop} == {
        k: v for k, v in json.loads(second).items() if k not in drop
    }


def test_without_its_pool_a_resumed_run_would_differ(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from i2i_unpaired.pool import Pool

    monkeypatch.setattr(Pool, "set_extra_state", lambda self, state: None)
    plan = recipe.parse(Path("tiny.toml"), TINY.encode())
    with TrainDisplay(Console(quiet=True)) as display:
        with pytest.raises(PluginError, match="Broken"):
            train.start(plan, runs=runs, device="cpu", display=BreaksAt(3), name="poolless")
        train.resume(runs / "poolless", device="cpu", display=display)
    whole = state(runs / "whole", 6)
    without = state(runs / "poolless", 6)
    assert not torch.equal(whole["method/pool.a._extra_state"], without["method/pool.a._extra_state"])


def test_the_model_holds_both_generators_alone_and_translates_both_ways(runs: Path) -> None:
    weights = load_file(runs / "whole" / "model" / "model.safetensors")
    assert {name.split(".")[0] for name in weights} == {"ab", "ba"}
    there = i2i.load(runs / "whole", device="cpu")
    back = i2i.load(runs / "whole", device="cpu", reverse=True)
    picture = np.random.default_rng(0).integers(0, 255, (33, 50, 3), dtype=np.uint8)
    night, day = there(picture), back(picture)
    assert night.shape == day.shape == picture.shape
    assert not np.array_equal(night, day)
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        expected = (back.method.method.g["ba"](x * 2 - 1).tanh() + 1) / 2
    assert torch.allclose(back(x), expected, atol=1e-5)


def test_the_command_line_translates_back(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from i2i import cli, images

    night = np.random.default_rng(0).integers(0, 255, (24, 20, 3), dtype=np.uint8)
    images.write(tmp_path / "nights" / "1.png", night)
    place = ["--model", runs / "whole", "--device", "cpu", "--precision", "float32"]
    monkeypatch.setattr("sys.argv", ["i2i", "translate", tmp_path / "nights", tmp_path / "days", *place, "--reverse"])
    monkeypatch.setattr("sys.argv", [str(word) for word in sys.argv])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    day = images.read(tmp_path / "days" / "1.png").pixels
    assert np.array_equal(day, i2i.load(runs / "whole", device="cpu", reverse=True)(night))
