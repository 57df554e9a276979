"""The checks of methods, through the engine that trains them."""

from __future__ import annotations

import collections
import contextlib
import itertools
import math
import random
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from i2i.build import Part
from i2i.compose import multiple_of
from i2i.contracts import Batch, Task
from i2i.engine import GENERATOR, Report, Training, fit, players
from i2i.errors import I2IError
from i2i.plugins import random_states
from i2i.products import lay_out, use_products
from i2i.recipe import OptimizerSettings
from i2i.testing.supply import Check, Toy, at_once, given, made_for, pictures

LEAST = 128
"""Pixels of a training picture's shorter side, at least: a discriminator of three scales needs them."""


def _made(part: Part, seed: int = 0) -> tuple[nn.Module, Task]:
    torch.manual_seed(seed)
    method, task = made_for(part)
    assert GENERATOR in players(method), (
        f"there is no child {GENERATOR!r} with weights: it is the player that translates"
    )
    return method, task


def _batches(method: nn.Module, task: Task, start: int = 0) -> Iterator[Batch]:
    """Give training batches of two, each of other pictures, from a step on."""
    multiple = multiple_of(method)
    high = -(-LEAST // multiple)
    wide = high + high // 2  # square where a single multiple is as large: more would cost as much again
    sides = (high * multiple, wide * multiple)
    return (task.batch(pictures(task.images, sides=sides, seed=step)) for step in itertools.count(start))


def _training(method: nn.Module, precision: torch.dtype = torch.float32) -> Training:
    return Training(method, lambda player: OptimizerSettings(), steps=100, precision=precision)


def _steps(training: Training, batches: Iterator[Batch], count: int) -> list[Report]:
    return list(itertools.islice(fit(training, batches), count))


def method_yields_turns(part: Part) -> None:
    """A turn is named after a child with weights, and its terms are finite scalars that reach weights of that child."""
    method, task = _made(part)
    turns = 0
    for player, terms in method.step(next(_batches(method, task))):  # type: ignore[operator]
        turns += 1
        known = players(method)
        assert player in known, f"turn {player!r} is no child module with weights; there are {', '.join(known)}"
        assert terms, f"turn {player!r} has no terms"
        for name, value in terms.items():
            assert isinstance(value, Tensor) and value.ndim == 0, f"{player}/{name} is no scalar tensor"
            assert value.isfinite(), f"{player}/{name} is {value.item()}"
        total = torch.stack(list(terms.values())).sum()
        assert total.requires_grad, f"the terms of turn {player!r} do not depend on any weight"
        gradients = torch.autograd.grad(total, known[player], allow_unused=True)
        assert any(g is not None for g in gradients), f"the terms of turn {player!r} do not depend on its weights"
    assert turns, "'step' yields no turn: nothing is learnt"


def method_trains_every_weight(part: Part) -> None:
    """Every weight of every player is reached by a term of one of its turns."""
    method, task = _made(part)
    named = {name: p for name, p in method.named_parameters() if p.requires_grad}
    reached: set[str] = set()
    for player, terms in method.step(next(_batches(method, task))):  # type: ignore[operator]
        own = {name: p for name, p in named.items() if name.startswith(f"{player}.")}
        gradients = torch.autograd.grad(torch.stack([*terms.values()]).sum(), [*own.values()], allow_unused=True)
        reached |= {name for name, gradient in zip(own, gradients, strict=True) if gradient is not None}
    left = [name for name in named if name not in reached]
    assert not left, f"no turn of a first step reaches {', '.join(left[:5])}: they would stay as they were drawn"


def method_moves_one_player_a_turn(part: Part) -> None:
    """Trained by the engine, a turn moves weights of its player, and of no other."""
    method, task = _made(part)
    training = _training(method)
    step, told = method.step, list[str]()

    def weights() -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in method.named_parameters() if p.requires_grad}

    def watched(batch: Batch) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Lay to each turn what moves from it to the next: the engine's work, and what `step` does then."""
        place, own, before = "before any turn,", "", weights()
        for player, terms in itertools.chain(step(batch), [("", {})]):  # type: ignore[operator]
            moved = [name for name, value in weights().items() if not torch.equal(value, before[name])]
            told.extend(f"{place} {name} moves" for name in moved if not (own and name.startswith(own)))
            place, own, before = f"in {player}'s turn", f"{player}.", weights()
            if player:
                yield player, terms

    method.step = watched  # type: ignore[assignment]
    _steps(training, _batches(method, task), 2)
    assert not told, told[0]


def method_bears_bf16(part: Part) -> None:
    """Two steps under bfloat16 autocast leave finite terms and weights."""
    method, task = _made(part)
    training = _training(method, torch.bfloat16)
    for report in _steps(training, _batches(method, task), 2):
        for name, value in report.terms.items():
            assert value.isfinite(), f"{name} is {value.item()} under bfloat16 autocast"
    training.check_finite()


def _of_host() -> list[object]:
    states = random_states()
    return [states[library][0] for library in ("Python", "numpy")]


def method_steps_alike_laid_out(part: Part) -> None:
    """Laid out for a processor (i2i.products), three steps come to the same, dropout left aside.

    In float64: of float32's rounding a few steps of Adam make much. What dropout drops is drawn in the order in which a
    map lies in memory. A network that asks for views passes: it keeps its layout.
    """
    with in_double():
        slow = steps_laid_out(part, torch.contiguous_format, 3)
        try:
            fast = steps_laid_out(part, torch.channels_last, 3)
        except RuntimeError as error:
            if "view size is not compatible" in str(error):
                return
            raise
    for step, (one, other) in enumerate(zip(slow, fast, strict=True), 1):
        for name, value in one.items():
            alike = math.isclose(other[name], value, rel_tol=1e-7, abs_tol=1e-9)
            assert alike, f"{name} of step {step} is {other[name]} laid out and {value} as it was"


@contextlib.contextmanager
def in_double() -> Iterator[None]:
    """Make float64 of all that asks for floats."""
    usual = torch.Tensor.float
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.Tensor.float = usual  # type: ignore[method-assign]
        torch.set_default_dtype(torch.float32)


def steps_laid_out(part: Part, layout: torch.memory_format, count: int) -> list[dict[str, float]]:
    """Return the terms of so many steps, on pictures of torch's default dtype, one at a time."""
    method, task = _made(part)
    for module in method.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
    if layout == torch.channels_last:
        lay_out(method, layout)
        use_products(method)
    dtype = torch.get_default_dtype()
    batches = (batch.map(lambda x: x[:1].to(dtype)) for batch in _batches(method, task))
    training = Training(method.to(dtype), lambda player: OptimizerSettings(), steps=100, layout=layout)
    return [{name: value.item() for name, value in report.terms.items()} for report in _steps(training, batches, count)]


def method_resumes_exactly(part: Part) -> None:
    """After two steps another method takes up the saved state, and the third step is the same, bit for bit."""
    method, task = _made(part)
    training, drawn = _training(method), _of_host()
    _steps(training, _batches(method, task), 2)
    saved = save({key: value.detach().clone().contiguous() for key, value in training.tensors().items()})
    before = _carried(method)
    (report,) = _steps(training, _batches(method, task, 2), 1)
    grown = [name for name, value in _carried(method).items() if name in before and before[name] != value]
    assert not grown, (
        f"{grown[0]} goes on from step to step and is no buffer (self.register_buffer): a resumed run would lose it"
    )
    assert _of_host() == drawn, (
        "a step draws from Python's or numpy's global random generator, which no resumed run takes up: use torch's"
    )
    other, _ = _made(part, seed=1)
    resumed = _training(other)
    resumed.restore(load(saved), 2)
    (again,) = _steps(resumed, _batches(other, task, 2), 1)
    unlike = [name for name, value in report.terms.items() if not torch.equal(value, again.terms[name])]
    after = resumed.tensors()
    unlike += [name for name, value in training.tensors().items() if not torch.equal(value, after[name])]
    assert not unlike, f"the step after a resume gives another {unlike[0]}: what it depends on is in no buffer"


def _carried(method: nn.Module) -> dict[str, Any]:
    """Return what a method might carry on beside its state dict: sizes of containers, counts, generators' states."""
    found: dict[str, Any] = {}
    own = {"_parameters", "_buffers", "_modules", "training"}
    for path, module in method.named_modules():
        for name, value in vars(module).items():
            if name not in own:
                found |= _counted(".".join(filter(None, ("self", path, name))), value, 3)
    return found


def _counted(name: str, value: Any, depth: int) -> dict[str, Any]:
    """Look into a value that no module registers; a tensor or a number that each step sets anew tells nothing."""
    if isinstance(value, bool | str | float | Tensor | nn.Module | type):
        return {}
    if isinstance(value, int):
        return {name: value}
    if isinstance(value, list | tuple | dict | set | collections.deque):
        return {name: len(value)}
    if isinstance(value, random.Random):
        return {name: value.getstate()}
    if isinstance(value, np.random.Generator):
        return {name: str(value.bit_generator.state)}
    if isinstance(value, torch.Generator):
        return {name: value.get_state().tolist()}
    inside = getattr(value, "__dict__", {}) if depth and not callable(value) else {}
    return {k: v for key, item in inside.items() for k, v in _counted(f"{name}.{key}", item, depth - 1).items()}


def method_translates(part: Part) -> None:
    """With the weights of `g` alone, `translate` gives the same: finite, in [-1, 1], each picture by itself."""
    _translates(part, "translate")


def method_translates_back(part: Part) -> None:
    """Where there is a `back`: from the target's space to the input's, by the weights of `g` alone."""
    if hasattr(_made(part)[0], "back"):
        _translates(part, "back")


def _translates(part: Part, way: str) -> None:
    (method, task), (other, _) = _made(part), _made(part, seed=1)
    batch = next(_batches(method, task))
    x, like = (batch.a, batch.b) if way == "translate" else (batch.b, batch.a)
    stored = save({k: v.clone().contiguous() for k, v in getattr(method, GENERATOR).state_dict().items()})
    getattr(other, GENERATOR).load_state_dict(load(stored))
    ours, theirs = getattr(method.eval(), way), getattr(other.eval(), way)
    with torch.no_grad():
        y = ours(x)
        assert y.shape == like.shape, f"{way} makes {tuple(y.shape)} of {tuple(x.shape)}, expected {tuple(like.shape)}"
        assert y.isfinite().all() and y.abs().max() <= 1, f"{way} leaves [-1, 1]: task.activate bounds raw scores"
        assert torch.equal(y, ours(x)), f"in eval mode {way} gives another output the second time"
        assert torch.equal(y, theirs(x)), (
            f"a method made anew with the weights of {GENERATOR!r} gives another output of {way}: "
            f"it depends on what the child {GENERATOR!r} does not hold"
        )
        assert torch.allclose(y[:1], ours(x[:1]), atol=1e-4), f"{way} depends on the other pictures of the batch"
    for one, other_one in zip(y, at_once(method, ours, x), strict=True):
        assert torch.allclose(one, other_one[0], atol=1e-4), f"{way} mixes up what goes through it in two threads"


def method_fits_other_channels(part: Part) -> None:
    """With one channel in and two out, and a mask, it trains and translates; it may also refuse the task."""
    if given(part, "task", None):
        return  # a method for tasks of a kind of their own
    task = cast(Task, Toy(in_channels=1, out_channels=2, hole=True))
    try:
        method = part(task)
    except I2IError:
        return
    batch = next(_batches(method, task))
    for report in _steps(_training(method), iter([batch]), 1):
        assert all(value.isfinite() for value in report.terms.values()), "a term is not finite where there is a mask"
    with torch.no_grad():
        y = method.eval().translate(batch.a)
    assert y.shape == batch.b.shape, f"for a task of 1 channel into 2, translate gives {tuple(y.shape)}"


CHECKS: list[Check] = [
    method_yields_turns,
    method_trains_every_weight,
    method_moves_one_player_a_turn,
    method_bears_bf16,
    method_steps_alike_laid_out,
    method_resumes_exactly,
    method_translates,
    method_translates_back,
    method_fits_other_channels,
]
