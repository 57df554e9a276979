"""The checks of tasks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from i2i.build import Part
from i2i.contracts import Batch, Images, ImageSpec, Task
from i2i.testing.supply import Check, pictures

SIDES = (57, 41)
"""Height and width: a translation is of any size, and `decode` sees it uncut."""
FAR = 1e4
"""A raw score whose exponential is infinite in float32."""


def _batch(part: Part) -> tuple[Task, Images, Batch]:
    """Make a task and a training batch; the pictures hold the mask, where the task drew one."""
    task: Task = part()
    given = pictures(task.images, sides=SIDES)
    torch.manual_seed(0)
    batch = task.batch(given)
    return task, given if batch.mask is None else {**given, "mask": batch.mask}, batch


def task_declares_itself(part: Part) -> None:
    """images, inputs, target, paired and the channels are there and of their types; no weight is to be trained."""
    task: Task = part()
    assert isinstance(task.images, Mapping) and task.images, "'images' names no picture"
    assert all(isinstance(spec, ImageSpec) for spec in task.images.values()), "'images' maps names to ImageSpec"
    assert isinstance(task.inputs, tuple) and task.inputs, "'inputs' is a tuple of names, not empty"
    assert isinstance(task.target, str), "'target' is the name of a picture"
    assert isinstance(task.paired, bool), "'paired' is true or false"
    assert task.in_channels > 0 and task.out_channels > 0, "'in_channels' and 'out_channels' are numbers of channels"
    trained = isinstance(task, nn.Module) and any(p.requires_grad for p in task.parameters())
    assert not trained, "a task holds no weights to train: they belong to a method"


def task_keeps_its_promises(part: Part) -> None:
    """A batch has the declared channels, float32 in [-1, 1], and follows from torch's seed."""
    task, _, batch = _batch(part)
    for name, values, channels in (("a", batch.a, task.in_channels), ("b", batch.b, task.out_channels)):
        wanted = (2, channels, *SIDES)
        assert values.shape == wanted, f"batch.{name} is {tuple(values.shape)}, and its channels say {wanted}"
        assert values.dtype == torch.float32, f"batch.{name} is {values.dtype}: network space is float32"
        assert values.abs().max() <= 1 + 1e-4, f"batch.{name} leaves [-1, 1]"
    if batch.mask is not None:
        assert batch.mask.shape == (2, 1, *SIDES), f"batch.mask is {tuple(batch.mask.shape)}"
        assert batch.mask.min() >= 0 and batch.mask.max() <= 1, "batch.mask leaves [0, 1]"
    again = _batch(part)[2]
    same = torch.equal(batch.a, again.a) and torch.equal(batch.b, again.b)
    assert same, "the same pictures and torch's same seed make another batch"


def task_translates_without_the_truth(part: Part) -> None:
    """`encode` and `decode` need the pictures of `inputs` and no others: a translation has no more."""
    task, given, batch = _batch(part)
    if not set(task.inputs) <= set(given):
        return  # `batch` makes an input, in a form that is the task's own
    given = {name: given[name] for name in task.inputs}
    try:
        x = task.encode(given)
        decoded = task.decode(task.activate(torch.zeros_like(batch.b)), given)
    except KeyError as error:
        raise AssertionError(f"translating reads the picture {error}, which 'inputs' does not name") from error
    assert x.shape == batch.a.shape, f"encode gives {tuple(x.shape)}, and batch.a is {tuple(batch.a.shape)}"
    assert decoded.shape[2:] == SIDES, f"decode gives {tuple(decoded.shape)} for pictures of {SIDES}"


def task_bounds_scores(part: Part) -> None:
    """`activate` makes float32 in [-1, 1] of any raw score, in float32 and bfloat16, and lets gradients through."""
    task, _, batch = _batch(part)
    raw = torch.randn_like(batch.b)
    for scores in (raw, raw.bfloat16(), raw.sign() * FAR):
        output = task.activate(scores)
        assert output.dtype == torch.float32, f"activate gives {output.dtype} for {scores.dtype}, expected float32"
        assert output.isfinite().all() and output.abs().max() <= 1, "activate leaves [-1, 1]"
    raw.requires_grad_()
    torch.autograd.backward((task.activate(raw) * batch.b).sum())
    assert raw.grad is not None and raw.grad.isfinite().all(), "no finite gradient passes through activate"


def task_decodes_into_pictures(part: Part) -> None:
    """`decode` gives the target's shape: in [0, 1], or int64 class indices that there are."""
    task, given, batch = _batch(part)
    output = task.activate(torch.randn_like(batch.b))
    kept = output.clone()
    decoded = task.decode(output, given)
    assert torch.equal(output, kept), "decode changes the output that it is given"
    truth = given[task.target] if task.target in given else task.decode(batch.b, given)
    assert decoded.shape == truth.shape, f"decode gives {tuple(decoded.shape)}, and the truth is {tuple(truth.shape)}"
    if truth.is_floating_point():
        assert decoded.is_floating_point() and decoded.min() >= 0 and decoded.max() <= 1, "decode leaves [0, 1]"
        return
    assert decoded.dtype == torch.int64, f"class indices are int64, not {decoded.dtype}"
    classes = task.images[task.target].classes or task.out_channels
    assert decoded.min() >= 0 and decoded.max() < classes, f"decode gives indices outside of 0 to {classes - 1}"
    palette = getattr(task, "palette", None)
    assert not palette or len(palette) >= classes, f"the palette has {len(palette or ())} colours for {classes} classes"


def task_decodes_the_truth(part: Part) -> None:
    """decode(batch.b) is the target picture, to one level in 255; a target that only the task makes has none to be."""
    task, given, batch = _batch(part)
    if task.target not in task.images:
        return
    back, truth = task.decode(batch.b, given), given[task.target]
    wrong = ((back.float() - truth.float()).abs() * (truth != task.images[task.target].void)).max().item()
    assert wrong <= 1 / 255, f"the truth comes back {wrong:.3f} off: decode does not undo what batch does"


def task_shows_pictures(part: Part) -> None:
    """Where there are `preview` and `present`: N × 1 or 3 (present: or 4) × H × W in [0, 1]."""
    task, given, batch = _batch(part)
    if preview := getattr(task, "preview", None):
        _is_shown("preview", preview(given), (1, 3))
    if present := getattr(task, "present", None):
        _is_shown("present", present(task.decode(batch.b, given), given), (1, 3, 4))


def _is_shown(name: str, picture: Tensor, channels: tuple[int, ...]) -> None:
    fits = picture.ndim == 4 and picture.shape[1] in channels and picture.shape[2:] == SIDES
    assert fits, f"{name} gives {tuple(picture.shape)}, expected N × {channels} × {SIDES[0]} × {SIDES[1]}"
    assert picture.min() >= 0 and picture.max() <= 1, f"{name} leaves [0, 1]"


def task_reverses(part: Part) -> None:
    """Where there is a `reverse`: a task from this one's target to its input, which keeps its promises too."""
    task, given, batch = _batch(part)
    if not hasattr(task, "reverse"):
        return
    other = task.reverse()
    assert other.target in task.inputs, f"the reverse makes {other.target!r}, and this task starts from {task.inputs}"
    assert task.target in other.inputs, f"the reverse starts from {other.inputs}, and this task makes {task.target!r}"
    channels = (other.in_channels, other.out_channels)
    assert channels == (task.out_channels, task.in_channels), f"the reverse has the channels {channels}"
    assert torch.equal(other.batch(given).a, batch.b), "the reverse starts from another picture than this task's truth"
    for check in (task_declares_itself, task_keeps_its_promises, task_decodes_into_pictures):
        try:
            check(task.reverse)
        except AssertionError as error:
            raise AssertionError(f"the reverse: {error}") from error


CHECKS: list[Check] = [
    task_declares_itself,
    task_keeps_its_promises,
    task_translates_without_the_truth,
    task_bounds_scores,
    task_decodes_into_pictures,
    task_decodes_the_truth,
    task_shows_pictures,
    task_reverses,
]
