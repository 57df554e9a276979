"""Faults of a stranger's parts: each is one sentence that names the part and the place, told before a run begins."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2i import plugins, recipe
from i2i.compose import blamed, compose, rehearse
from i2i.contracts import Batch
from i2i.engine import enough_memory
from i2i.errors import PluginError, ResourceError
from i2i.generators.unet import UNet

Run = Callable[..., tuple[int, str, str]]

CODE = """
import numpy as np
import torch
from torch import nn
from i2i.generators.unet import UNet
from i2i.metrics.l1 import L1
from i2i.methods.pix2pix import Pix2Pix
from i2i.tasks.paired import Paired


class Method(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.g = UNet(3, 3, depth=2, width=4)
    def translate(self, x):
        return self.g(x).tanh()

class Misspelt(Method):
    def step(self, batch):
        yield "g", {"l1": (self.g(batchh.a) - batch.b).abs().mean()}

class Missing(Method):
    def step(self, batch):
        yield "g", {"l1": (self.h(batch.a) - batch.b).abs().mean()}

class Returns(Method):
    def step(self, batch):
        return "g", {"l1": (self.g(batch.a) - batch.b).abs().mean()}

class Floats(Method):
    def step(self, batch):
        yield "g", {"l1": 0.5}

class Unlike(Method):
    def step(self, batch):
        yield "g", (self.g(batch.a) - batch.b).abs().mean()

class Ends(Method):
    def step(self, batch):
        raise SystemExit(0)
        yield

class Nameless(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.net = UNet(3, 3, depth=2, width=4)
    def translate(self, x):
        return self.net(x)
    def step(self, batch):
        yield "net", {"l1": self.net(batch.a).mean()}

class Stepless(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.g = UNet(3, 3, depth=2, width=4)

class Each:
    def __call__(self, fake, real):
        return (fake - real).abs().mean((1, 2, 3))

class Halves(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.net = nn.Conv2d(in_channels, out_channels, 1)
    def forward(self, x):
        return self.net(x)[..., ::2, :]

class Takes(nn.Module):
    def __init__(self):
        super().__init__()

class Wordless(Paired):
    decode = property()

class Uncomputed:
    higher_is_better = False
    def update(self, fake, real, *, mask=None, images=None):
        pass

class Fails(L1):
    def update(self, fake, real, *, mask=None, images=None):
        raise KeyError("oops")

class Late(L1):
    def compute(self):
        raise KeyError("too late")

class Shy(L1):
    def update(self, fake, real, *, mask=None, images=None):
        if len(fake) > 1:  # one in the rehearsal
            raise KeyError("enough")

class Deaf:
    def __init__(self, run):
        pass
    def close(self):
        pass

class Unreached:
    def __init__(self, run):
        pass
    def log(self, step, values):
        raise OSError("no server")
    def image(self, step, name, picture):
        pass
    def close(self):
        pass

class Source:
    def __init__(self, images):
        pass
    def __len__(self):
        return 4
    def __getitem__(self, index):
        return {"a": self.picture(), "b": self.picture()}
    def picture(self):
        return np.zeros((3, 32, 32), np.uint8)

class Empty(Source):
    def __len__(self):
        return 0

class Worded(Source):
    def __len__(self):
        return "four"

class Wide(Source):
    def picture(self):
        return np.full((3, 32, 32), 255.0)

class Mistyped(Source):
    def __getitem__(self, index):
        return self.filez[index]
    def describe(self, index):
        return self.filez[index]
"""
PARTS = {
    "methods": ["Misspelt", "Missing", "Returns", "Floats", "Unlike", "Ends", "Nameless", "Stepless"],
    "losses": ["Each"],
    "generators": ["Halves", "Takes"],
    "tasks": ["Wordless"],
    "metrics": ["Uncomputed", "Fails", "Late", "Shy"],
    "trackers": ["Deaf", "Unreached"],
    "sources": ["Empty", "Worded", "Wide", "Mistyped"],
}


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with the parts above, under their names in small letters."""
    folder = tmp_path / "site" / "acme-1.0.dist-info"
    folder.mkdir(parents=True)
    lines = [
        f"[i2i.{kind}]\n" + "".join(f"{n.lower()} = acme_faults:{n}\n" for n in names) for kind, names in PARTS.items()
    ]
    (folder / "entry_points.txt").write_text("\n".join(lines))
    (folder.parent / "acme_faults.py").write_text(CODE)
    monkeypatch.setattr(sys, "path", [str(folder.parent), *sys.path])
    sys.modules.pop("acme_faults", None)
    plugins.scan.cache_clear()
    yield
    plugins.scan.cache_clear()


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(CODE.splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("setting", "code", "sentence"),
    [
        (
            'method="misspelt"',
            4,
            f"step of the method Misspelt fails: NameError: {{}}acme_faults.py:{line_of('batchh')})",
        ),
        (
            'method="missing"',
            4,
            f"step of the method Missing fails: AttributeError: {{}}acme_faults.py:{line_of('self.h(')})",
        ),
        ('method="returns"', 4, "method Returns: step gives a tuple, and should yield its turns"),
        ('method="floats"', 4, "the term 'l1' of 'g' is a float, and should be a scalar tensor"),
        ('method="unlike"', 4, "method Unlike: a turn is (player, {term: scalar}), not ('g', tensor("),
        (
            'method="ends"',
            4,
            f"a part ends the process, which none may: SystemExit: 0 {{}}acme_faults.py:{line_of('SystemExit(0)')})",
        ),
        ('method="nameless"', 4, "method Nameless is no torch module with a network 'g'"),
        ('method="stepless"', 4, "method Stepless has no step and no translate"),
        (
            'method.reconstruction="each"',
            4,
            "the term 'reconstruction' of 'g' is of shape (2,), and should be a scalar",
        ),
        (
            'method.generator={name="halves"}',
            4,
            "with the generator Halves translates 2 x 3 x 32 x 32 into 2 x 3 x 16 x 32",
        ),
        ('method.generator={name="takes"}', 4, "Pix2Pix cannot be made with generator = Takes"),
        ('task="wordless"', 4, "task Wordless has no decode"),
        ('metrics=["uncomputed"]', 4, "metric Uncomputed has no compute"),
        ('metrics=["fails"]', 4, "metric Fails fails: KeyError: 'oops' ("),
        ('source={name="empty"}', 3, "source Empty is empty"),
        ('source={name="worded"}', 4, "the length of source Worded fails: TypeError: "),
        ('source={name="wide"}', 4, "sample 0: the source gives 'a' as float64 from 255 to 255; expected uint8"),
        (
            'source={name="mistyped"}',
            4,
            f"sample 0: the source failed: AttributeError: {{}}acme_faults.py:{line_of('return self.filez')})",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "=" in value else "",
)
def test_a_fault_is_told_before_a_run_begins(
    setting: str, code: int, sentence: str, run: Run, tiny: Path, tmp_path: Path, acme: None
) -> None:
    for verb in ("check", "train"):
        more = ["--runs", tmp_path / "runs"] if verb == "train" else []
        got, _, err = run(verb, tiny, "--set", setting, "--device", "cpu", *more)
        start, _, end = sentence.partition("{}")
        assert got == code, err
        assert start in err and end in err[err.index(start) :], err
        assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_a_tracker_or_a_metric_that_fails_costs_no_run(run: Run, tiny: Path, tmp_path: Path, acme: None) -> None:
    settings = [
        "--set",
        'trackers=["unreached", "csv"]',
        "--set",
        'metrics=["late", "shy", "l1"]',
        "--set",
        "validation.count=4",
    ]
    code, out, err = run("train", tiny, *settings, "--runs", tmp_path / "runs", "--device", "cpu")
    assert code == 0, err
    assert out.count("the tracker Unreached is left out from here on: its 'log' fails: OSError: no server") == 1
    assert "not measured: metric late fails: KeyError: 'too late'" in out
    assert "not measured: metric shy fails: KeyError: 'enough'" in out
    assert "held out: l1" in out
    assert list((tmp_path / "runs").glob("*/*.csv"))


def test_a_tracker_without_its_methods_is_named(run: Run, tiny: Path, tmp_path: Path, acme: None) -> None:
    code, _, err = run("train", tiny, "--set", 'trackers=["deaf"]', "--runs", tmp_path / "runs", "--device", "cpu")
    assert (code, err.strip()) == (4, "error: tracker Deaf has no log and no image, which every tracker needs.")


class TwoAnswers(UNet):
    """A generator that answers twice while it is trained, as some do."""

    def forward(self, x: Tensor) -> Any:
        y = super().forward(x)
        return (y, y) if self.training else y


def test_a_method_that_translates_in_eval_mode_alone_is_not_refused(tiny: Path) -> None:
    class Method(nn.Module):
        def __init__(self, task: Any) -> None:
            super().__init__()
            self.g = TwoAnswers(3, 3, depth=2, width=4)

        def translate(self, x: Tensor) -> Tensor:
            y: Tensor = self.g(x).tanh()
            return y

        def step(self, batch: Batch) -> Iterator[tuple[str, dict[str, Tensor]]]:
            one, _ = self.g(batch.a)
            yield "g", {"l1": (one - batch.b).abs().mean()}

    rehearse(compose(replace(recipe.read(tiny), method=Method)))


def test_memory_that_runs_out_in_a_part_is_no_fault_of_it() -> None:
    with pytest.raises(ResourceError), enough_memory("here", "less"), blamed("a part"):
        torch.empty(10**15)


def test_what_fails_on_the_way_says_how_to_go_on(
    run: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from i2i.methods.pix2pix import Pix2Pix

    steps, real = [], Pix2Pix.step

    def fails(self: Pix2Pix, batch: object) -> object:
        steps.append(1)
        if len(steps) > 5:  # two of them rehearsed, without numbers
            raise ZeroDivisionError("by nought")
        yield from real(self, batch)

    monkeypatch.setattr(Pix2Pix, "step", fails)
    monkeypatch.delenv("I2I_TRACEBACK", raising=False)
    code, out, err = run("train", tiny, "--runs", tmp_path / "runs", "--device", "cpu")
    (made,) = (tmp_path / "runs").iterdir()
    assert code == 4
    assert f"{made}: saved up to step 2. Go on: i2i train --resume {made}" in out
    assert "training by the method Pix2Pix fails after step 3: ZeroDivisionError: by nought (" in err
    monkeypatch.setenv("I2I_TRACEBACK", "1")
    with pytest.raises(PluginError) as caught:
        run("train", "--resume", made, "--device", "cpu")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
