"""Conformance: what every part of a kind must do, for our own tests and for those of plugin packages.

```python
@pytest.mark.parametrize("check", i2i.testing.checks("generators"))
def test_conforms(check):
    check(MyGenerator)  # or functools.partial(MyGenerator, blocks=2)
```
A check returns nothing, or raises AssertionError with a sentence.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from i2i.contracts import Batch, ImageSpec, Task
from i2i.data import Samples
from i2i.errors import I2IError, UsageError

Part = Callable[..., Any]
Check = Callable[[Part], None]

SIZE = 64
"""Pictures in the checks are this large, or the next size that divides by a generator's `multiple`."""


def checks(kind: str) -> list[Check]:
    """Return the checks of a kind, each a function of the part's constructor; those of every kind come first."""
    return [signature_is_a_schema, *_CHECKS.get(kind, [])]


def signature_is_a_schema(part: Part) -> None:
    """Every parameter that a user may set has a name of its own: a recipe can be checked against it."""
    base = part.func if hasattr(part, "func") else part
    parameters = inspect.signature(base).parameters.values()
    swallowing = [p.name for p in parameters if p.kind is p.VAR_KEYWORD]
    assert not swallowing, f"{base.__name__} takes **{swallowing[0]}: a misspelt key would be swallowed in silence"


class Toy:
    """A minimal task for checking methods: RGB to RGB."""

    images: Mapping[str, ImageSpec] = {"a": ImageSpec(), "b": ImageSpec()}
    inputs = ("a",)
    target = "b"
    paired = True
    in_channels = 3
    out_channels = 3

    def batch(self, images: dict[str, Tensor]) -> Batch:
        return Batch(self.encode(images), images["b"] * 2 - 1)

    def encode(self, images: dict[str, Tensor]) -> Tensor:
        return images["a"] * 2 - 1

    def activate(self, output: Tensor) -> Tensor:
        return output.float().tanh()

    def decode(self, output: Tensor, images: dict[str, Tensor]) -> Tensor:
        return (output + 1) / 2


def pictures(task: Task, count: int = 2, size: int = SIZE) -> dict[str, Tensor]:
    """Return random pictures as the task's source would give them, count × C × size × size."""
    draw = torch.Generator().manual_seed(0)
    return {
        name: torch.randint(spec.classes, (count, 1, size, size), generator=draw)
        if spec.classes is not None
        else torch.rand(count, spec.channels, size, size, generator=draw)
        for name, spec in task.images.items()
    }


# ---- networks


def _network(part: Part, *channels: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    network: nn.Module = part(*channels)
    multiple = int(getattr(network, "multiple", 1))
    side = -(-SIZE // multiple) * multiple
    return network, torch.rand(2, channels[0], side, side) * 2 - 1


def generator_keeps_the_size(part: Part) -> None:
    """2 x 3 x H x W gives finite 2 x 5 x H x W."""
    network, x = _network(part, 3, 5)
    y = network(x)
    assert y.shape == (2, 5, *x.shape[2:]), (
        f"input {tuple(x.shape)} gave {tuple(y.shape)}, expected 5 channels, same size"
    )
    assert y.isfinite().all(), "the output is not finite"


def generator_is_trainable(part: Part) -> None:
    """Every parameter that asks for a gradient gets one."""
    network, x = _network(part, 3, 3)
    network(x).square().mean().backward()
    _all_have_gradients(network)


def generator_is_steady(part: Part) -> None:
    """In eval mode the same input gives the same output, whatever else is in the batch."""
    network, x = _network(part, 3, 3)
    network.eval()
    with torch.no_grad():
        both, alone = network(x), network(x[:1])
    assert torch.allclose(both[:1], alone, atol=1e-4), (
        "in eval mode a picture's output depends on its neighbours or on chance"
    )


def network_survives_saving(part: Part) -> None:
    """A state dict taken through safetensors restores the network."""
    from safetensors.torch import load, save

    network, x = _network(part, 3, *([3] if _is_generator(part) else []))
    other = copy.deepcopy(network)
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    other.load_state_dict(load(save({key: value.contiguous() for key, value in network.state_dict().items()})))
    with torch.no_grad():
        ours, theirs = network.eval()(x), other.eval()(x)
    assert torch.equal(_first(ours), _first(theirs)), "after saving and loading the output differs"


def _is_generator(part: Part) -> bool:
    base = part.func if hasattr(part, "func") else part
    return "out_channels" in inspect.signature(base).parameters


def _first(output: Any) -> Tensor:
    value: Tensor = output[0] if isinstance(output, list) else output
    return value


def discriminator_gives_maps(part: Part) -> None:
    """The answer is a list of finite maps of logits, one picture a row, and every parameter gets a gradient."""
    network, x = _network(part, 6)
    maps = network(x)
    assert isinstance(maps, list), f"expected a list of maps, not {type(maps).__name__}"
    assert maps, "expected at least one map"
    for one in maps:
        assert one.ndim == 4 and len(one) == 2, f"expected maps N x C x h x w with N = 2, not {tuple(one.shape)}"
        assert one.isfinite().all(), "a map is not finite"
    sum((one.square().mean() for one in maps), torch.zeros(())).backward()
    _all_have_gradients(network)


def _all_have_gradients(network: nn.Module) -> None:
    without = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert not without, f"no gradient reaches {', '.join(without[:5])}"


# ---- losses


def loss_is_least_at_the_truth(part: Part) -> None:
    """A scalar with a gradient, smaller for the truth than for anything else."""
    loss = part()
    real = nn.functional.one_hot(torch.arange(16).reshape(1, 4, 4) % 3, 3).movedim(-1, 1).float()
    fake = torch.full_like(real, 1 / 3).requires_grad_()
    value = loss(fake, real)
    assert value.ndim == 0, f"expected a scalar, not shape {tuple(value.shape)}"
    value.backward()
    assert fake.grad is not None, "no gradient reaches the fake"
    assert fake.grad.isfinite().all(), "the gradient is not finite"
    assert loss(real, real) < value.detach(), "the truth does not score better than a guess"


def adversarial_pulls_both_ways(part: Part) -> None:
    """The generator gains by higher fake logits, the discriminator by lower ones and by higher real ones."""
    objective = part()
    low, high = [torch.full((2, 1, 4, 4), -1.0)], [torch.full((2, 1, 4, 4), 1.0)]
    assert objective.generator(high) < objective.generator(low), "the generator does not gain by fooling"
    right, wrong = objective.discriminator(high, low), objective.discriminator(low, high)
    assert right < wrong, "the discriminator does not gain by being right"
    assert right.ndim == 0 and right.isfinite(), "expected a finite scalar"


# ---- tasks


def task_keeps_its_promises(part: Part) -> None:
    """Shapes, ranges and names agree with what the task declares."""
    task: Task = part()
    torch.manual_seed(0)
    given = pictures(task)
    batch = task.batch(given)
    assert batch.a.shape == (2, task.in_channels, SIZE, SIZE), f"batch.a is {tuple(batch.a.shape)}"
    assert batch.b.shape == (2, task.out_channels, SIZE, SIZE), f"batch.b is {tuple(batch.b.shape)}"
    assert batch.a.dtype == batch.b.dtype == torch.float32, "network space is float32"
    for name, values in (("a", batch.a), ("b", batch.b)):
        assert values.abs().max() <= 1 + 1e-4, f"batch.{name} leaves [-1, 1]"
    if batch.mask is not None:
        given = {**given, "mask": batch.mask}
        assert batch.mask.shape == (2, 1, SIZE, SIZE), f"batch.mask is {tuple(batch.mask.shape)}"
    assert task.encode(given).shape == batch.a.shape, "encode and batch disagree in shape"
    output = task.activate(torch.randn(2, task.out_channels, SIZE, SIZE))
    assert output.dtype == torch.float32 and output.abs().max() <= 1, "activate leaves network space"
    decoded = task.decode(output, given)
    truth = given[task.target] if task.target in given else task.decode(batch.b, given)
    assert decoded.shape == truth.shape, f"decode gives {tuple(decoded.shape)}, and the truth is {tuple(truth.shape)}"
    if truth.is_floating_point():
        assert decoded.is_floating_point() and decoded.min() >= 0 and decoded.max() <= 1, "decode leaves [0, 1]"
    else:
        assert decoded.dtype == torch.int64, "class indices are int64"


def task_decodes_the_truth(part: Part) -> None:
    """decode(batch.b) is the target picture, to one level in 255; a target that only the task makes has none to be."""
    task: Task = part()
    if task.target not in task.images:
        return
    torch.manual_seed(0)
    given = pictures(task)
    batch = task.batch(given)
    mask = {} if batch.mask is None else {"mask": batch.mask}
    back = task.decode(batch.b, {**given, **mask})
    wrong = (back.float() - given[task.target].float()).abs().max().item()
    assert wrong <= 1 / 255, f"the truth comes back {wrong:.3f} off"


# ---- methods


def _method(part: Part) -> tuple[nn.Module, Batch]:
    torch.manual_seed(0)
    task = Toy()
    method: nn.Module = part(task)
    multiple = int(getattr(method, "multiple", getattr(getattr(method, "g", None), "multiple", 1)))
    return method, task.batch(pictures(task, size=max(SIZE, multiple)))  # type: ignore[arg-type]


def method_moves_one_player_a_turn(part: Part) -> None:
    """Turns are named after child modules, give finite scalars, and reach every weight of their player."""
    method, batch = _method(part)
    assert hasattr(method, "g"), "a method's child `g` is what translates; there is none"
    for player, terms in method.step(batch):  # type: ignore[operator]
        children = dict(method.named_children())
        assert player in children, f"turn {player!r} is no child module of {sorted(children)}"
        assert terms, f"turn {player!r} has no terms"
        for name, value in terms.items():
            assert value.ndim == 0 and value.isfinite(), f"{player}/{name} is not a finite scalar"
        parameters = [p for p in children[player].parameters() if p.requires_grad]
        torch.autograd.backward(torch.stack(list(terms.values())).sum(), inputs=parameters)
        _all_have_gradients(children[player])
        others = [n for n, p in method.named_parameters() if p.grad is not None and not n.startswith(f"{player}.")]
        assert not others, f"{player}'s turn leaves a gradient in {others[0]}"
        method.zero_grad(set_to_none=True)


def method_translates(part: Part) -> None:
    """translate maps N x in x H x W to N x out x H x W in [-1, 1]."""
    method, batch = _method(part)
    with torch.no_grad():
        y = method.eval().translate(batch.a)  # type: ignore[operator]
    assert y.shape == batch.b.shape, f"translate gives {tuple(y.shape)}, expected {tuple(batch.b.shape)}"
    assert y.abs().max() <= 1, "translate leaves network space"


# ---- sources, metrics, trackers


def source_is_stable(part: Part) -> None:
    """The same index gives the same sample, of the declared names and channels, also from a pickled copy."""
    images = {"a": ImageSpec(), "b": ImageSpec()}
    try:
        source = part(images)
    except UsageError:  # of tasks of one picture alone
        images = {"photo": ImageSpec()}
        source = part(images)
    assert len(source) > 0, "the source is empty"
    samples = Samples(source, images)
    last = len(source) - 1
    first = samples[last, 0]
    assert not isinstance(first, I2IError), str(first)
    again = Samples(pickle.loads(pickle.dumps(source)), images)[last, 1]
    assert not isinstance(again, I2IError), str(again)
    for name in images:
        assert first[name].dtype in (np.uint8, np.uint16, np.float32), f"{name!r} is {first[name].dtype}"
        assert np.array_equal(first[name], again[name]), (
            f"{name!r} of sample {last} differs from one reading to the next"
        )


def metric_ignores_the_batch_split(part: Part) -> None:
    """All at once and one by one give the same, finite number."""
    draw = torch.Generator().manual_seed(0)
    fake, real = torch.rand(4, 3, 32, 32, generator=draw), torch.rand(4, 3, 32, 32, generator=draw)
    if not _takes_pictures(part):
        fake, real = (fake[:, :1] * 5).long(), (real[:, :1] * 5).long()
    whole, split, mask = part(), part(), torch.ones(4, 1, 32, 32)
    assert isinstance(whole.higher_is_better, bool), "higher_is_better is a bool"
    pictures = {"a": fake, "b": real, "label": (real[:, :1] * 5).long()}
    whole.update(fake, real, mask=mask, images=pictures)
    for i in range(4):
        one = {name: picture[i : i + 1] for name, picture in pictures.items()}
        split.update(one["a"], one["b"], mask=mask[i : i + 1], images=one)
    for ours, theirs in zip(_scalars(whole), _scalars(split), strict=True):
        assert ours.isfinite(), "the value is not finite"
        assert torch.allclose(ours.double(), theirs.double(), rtol=1e-6), "it depends on the batch split"


def _takes_pictures(part: Part) -> bool:
    try:
        label = torch.zeros(1, 1, 32, 32, dtype=torch.int64)
        part().update(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32), images={"label": label})
    except I2IError:
        return False
    return True


def _scalars(metric: Any) -> list[Tensor]:
    value = metric.compute()
    return list(value.values()) if isinstance(value, dict) else [value]


def tracker_takes_everything(part: Part) -> None:
    """log, image and close work in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        tracker = part(Path(folder))
        tracker.log(1, {"g/l1": 0.5})
        tracker.image(1, "samples", np.zeros((8, 8, 3), dtype=np.uint8))
        tracker.log(2, {"g/l1": 0.25, "d/adversarial": 0.7})
        tracker.close()


_CHECKS: dict[str, list[Check]] = {
    "generators": [generator_keeps_the_size, generator_is_trainable, generator_is_steady, network_survives_saving],
    "discriminators": [discriminator_gives_maps, network_survives_saving],
    "losses": [loss_is_least_at_the_truth],
    "adversarial": [adversarial_pulls_both_ways],
    "tasks": [task_keeps_its_promises, task_decodes_the_truth],
    "methods": [method_moves_one_player_a_turn, method_translates],
    "sources": [source_is_stable],
    "metrics": [metric_ignores_the_batch_split],
    "trackers": [tracker_takes_everything],
}
