"""From a checked recipe, or a model's description, to the objects that work together: task, method, data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from i2i import build, images
from i2i.augment import DeviceAugment, HostPrepare
from i2i.backbones import Undrawn, blank
from i2i.build import Part, Problem, base, filled, name_of
from i2i.contracts import Batch, Images, Method, Metric, Source, Task, lacking
from i2i.data import Samples, fixed
from i2i.engine import GENERATOR, autocast, enough_memory, out_of_memory, players, turns
from i2i.errors import DataError, I2IError, PluginError, UnsafeFileError, UsageError, nearest, sizes, told
from i2i.products import lay_out
from i2i.recipe import Data, Recipe

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Pipeline:
    """A composed recipe. `held_out` is None when the recipe has no `[validation]`."""

    recipe: Recipe
    task: Task
    method: nn.Module
    samples: Samples
    held_out: Samples | None
    augment: DeviceAugment


def compose(recipe: Recipe) -> Pipeline:
    """Build what a recipe names, data first: a missing folder is known before a network is made."""
    task = make_task(recipe)
    _check_names(recipe, task)
    samples = make_samples(recipe.source, task)
    held_out = make_samples(recipe.validation, task) if recipe.validation else None
    check_pairs(recipe, task, samples, held_out)
    augment = DeviceAugment(recipe.augment, task.images)
    torch.manual_seed(recipe.train.seed)
    method: nn.Module = make(recipe.method, task, contract=Method)
    if not isinstance(method, nn.Module) or not isinstance(getattr(method, GENERATOR, None), nn.Module):
        raise PluginError(
            f"method {name_of(recipe.method)} is no torch module with a network {GENERATOR!r}, its generator, as "
            "every method is."
        )
    known = players(method)
    if unknown := [name for name in recipe.optimizer if name and name not in known]:
        text = "no such player.{} Players of this method: {}."
        raise recipe.error(
            [Problem(("optimizer", n), text.format(nearest(n, known), ", ".join(known))) for n in unknown]
        )
    return Pipeline(recipe, task, method, samples, held_out, augment)


def make_task(recipe: Recipe) -> Task:
    """Make a recipe's task; what it refuses is told with the line."""
    try:
        return cast(Task, make(recipe.task, contract=Task))
    except UsageError as error:
        raise recipe.error([Problem(("task",), str(error))]) from error


def _check_names(recipe: Recipe, task: Task) -> None:
    """Find every name in an `on` that is none of the task's pictures; all are reported together."""
    steps = {("augment",): recipe.augment, ("source", "prepare"): recipe.source.prepare}
    if recipe.validation:
        steps["validation", "prepare"] = recipe.validation.prepare
    problems = [
        Problem(
            (*path, i, "on"),
            f"the task has no picture {name!r}.{nearest(name, task.images)} It has: {', '.join(task.images)}.",
        )
        for path, chain in steps.items()
        for i, step in enumerate(chain)
        for name in step.on or ()
        if name not in task.images
    ]
    if problems:
        raise recipe.error(problems)


def check_pairs(recipe: Recipe, task: Task, samples: Samples | None, held_out: Samples | None) -> None:
    """Find what needs pairs and is given none: all is reported together.

    samples: those to train on; None for a model that has been trained.
    """
    problems = []
    if samples and task.paired and not samples.paired:
        text = "its pictures are no pairs of one scene, and the task learns from pairs: give another source, or a task"
        problems.append(Problem(("source",), f"{text} that needs none."))
    if held_out and not held_out.paired:
        text = (
            "compares each translation with its truth, and the pictures of [validation] are no pairs of one scene: "
            "leave it out, take one that compares sets of pictures (fid, kid, lab_histogram), or hold out pairs."
        )
        for place, part in enumerate(recipe.metrics):
            if getattr(base(part), "paired", True):
                problems.append(Problem(("metrics", place), text))
    if problems:
        raise recipe.error(problems)


def rehearse(pipeline: Pipeline, device: torch.device = CPU) -> tuple[Images, Batch]:
    """Go through a step and a measurement as training on `device` will: (the source's pictures, the first batch).

    What would fail hours later fails here, before a run is begun: sizes that do not suit the networks, a metric that
    cannot be made, a broken held-out picture.
    """
    pictures, batch = first_batch(pipeline)
    with torch.random.fork_rng(devices=[]):
        if pipeline.held_out:
            held_out = fixed(pipeline.held_out, [0], CPU)
            truth = pipeline.task.batch(held_out)
            held_out = with_mask(held_out, truth)
            decoded = pipeline.task.decode(truth.b, held_out)
            real = held_out.get(pipeline.task.target, decoded)
            for part in pipeline.recipe.metrics:
                metric = make(part, contract=Metric)
                with blamed(f"metric {name_of(part)}"):
                    metric.update(decoded, real, mask=truth.mask, images=held_out)
        _rehearse_step(pipeline, batch, device)
    return pictures, batch


def first_batch(pipeline: Pipeline) -> tuple[Images, Batch]:
    """Return (the source's pictures, what is made of them) of one or two samples, on the CPU."""
    count = min(pipeline.recipe.train.batch, 2, len(pipeline.samples))
    pictures = fixed(pipeline.samples, list(range(count)), CPU)
    with torch.random.fork_rng(devices=[]):
        batch = pipeline.task.batch(pipeline.augment(pictures))
    check_sides(pipeline, batch)
    return pictures, batch


def _rehearse_step(pipeline: Pipeline, batch: Batch, device: torch.device) -> None:
    """Run one `step` without numbers; where that fails, for a method need not run so, with them, as training will."""
    try:
        for _ in on_meta(pipeline, batch, len(batch.a)):
            pass
    except I2IError:
        raise
    except Exception:
        method = make(pipeline.recipe.method, pipeline.task).to(device)
        batch = batch.map(lambda x: x.to(device))
        with (
            enough_memory("in a step of the rehearsal", "smaller pictures or networks"),
            blamed(f"a step of the method {name_of(pipeline.recipe.method)}"),
        ):
            _check_output(pipeline.task, method, batch.a)
            for _ in turns(method, players(method), batch):
                pass


def takes_channels_last(pipeline: Pipeline, device: torch.device = CPU) -> bool:
    """Whether a step goes through with the channels last in memory; a network that asks for views may not have it so.

    Tried without numbers, on tensors that lie as real ones would; False for a method that cannot run so.
    """
    if device.type == "mps":  # where many an operation does not know them
        return False
    from i2i.memory import Count, without_numbers  # which import for half a second: translation is spared it

    layout = torch.channels_last
    _, like = first_batch(pipeline)
    try:
        with without_numbers(), Count(), blank():  # the few numbers that a method decides by keep their values
            method: nn.Module = make(pipeline.recipe.method, pipeline.task)
            lay_out(method, layout)
            batch = like.map(lambda x: torch.empty(x.shape, dtype=x.dtype, memory_format=layout))
            for _ in turns(method, players(method), batch):
                pass
    except Exception:  # whatever it was, it is told where the step is rehearsed
        return False
    return True


def on_meta(pipeline: Pipeline, like: Batch, size: int) -> Iterator[nn.Module]:
    """Run one `step` on torch's meta device, where tensors have shapes but no numbers: yield the method each turn."""

    def meta(x: Tensor) -> Tensor:
        return torch.empty((size, *x.shape[1:]), dtype=x.dtype, device="meta")

    with torch.device("meta"), blank():
        method: nn.Module = make(pipeline.recipe.method, pipeline.task)
    batch = like.map(meta)
    _check_output(pipeline.task, method, batch.a)
    yield method
    for _ in turns(method, players(method), batch):
        yield method


@torch.no_grad()
def _check_output(task: Task, method: nn.Module, x: Tensor) -> None:
    """Raise PluginError when a method does not translate x into as many pixels, of the task's channels."""
    y: object = method.eval().translate(x)  # type: ignore[operator]
    method.train()
    wanted = (len(x), task.out_channels, *x.shape[2:])
    if not isinstance(y, Tensor):
        raise PluginError(
            f"method {type(method).__name__} translates into a {type(y).__name__}, and not into a tensor."
        )
    if tuple(y.shape) != wanted:
        raise PluginError(
            f"method {type(method).__name__} with the generator {type(getattr(method, GENERATOR)).__name__} translates "
            f"{sizes(x.shape)} into {sizes(y.shape)}, where {sizes(wanted)} is wanted (N x C x H x W)."
        )


def check_sides(pipeline: Pipeline, batch: Batch) -> None:
    """Raise DataError when a batch's sides do not divide by the generator's `multiple`."""
    multiple, (height, width) = multiple_of(pipeline.method), batch.a.shape[2:]
    if height % multiple or width % multiple:
        near = [max(multiple, round(side / multiple) * multiple) for side in (height, width)]
        raise DataError(
            f"training pictures are {width}x{height} pixels, but this generator needs sides that divide by {multiple}: "
            f'choose one of less depth, or bring them to {near[1]}x{near[0]}: [[source.prepare]] name = "RandomCrop" '
            f"(or Resize), height = {near[0]}, width = {near[1]}."
        )


def make(part: Part, *supplied: Any, contract: type | None = None) -> Any:
    """Call a part's constructor; what it raises becomes an error that names the part and its parameters.

    contract: the protocol of its kind; PluginError names what the part has not.
    """
    try:
        made = part(*supplied)
    except I2IError:
        raise
    except Exception as error:
        settings = ", ".join(f"{key} = {_shown(value)}" for key, value in filled(part).items()) or "its defaults"
        # These refuse a value or a path, which are the recipe's; all else is a fault of the part.
        kind = UsageError if isinstance(error, ValueError | OSError) else PluginError
        raise kind(f"{name_of(part)} cannot be made with {settings}: {told(error)}") from error
    if contract:
        _check_contract(made, contract, name_of(part))
    return made


def _check_contract(thing: object, contract: type, name: str) -> None:
    """Raise PluginError when a part lacks what its kind is asked for."""
    kind = contract.__name__.lower()
    with blamed(f"{kind} {name}"):
        missing = lacking(thing, contract)
    if missing:
        raise PluginError(f"{kind} {name} has no {' and no '.join(missing)}, which every {kind} needs.")


def _shown(value: Any) -> str:
    return name_of(value) if callable(value) else repr(value)


@contextlib.contextmanager
def blamed(what: str) -> Iterator[None]:
    """Make what a part raises a PluginError that says what failed, and where."""
    try:
        yield
    except I2IError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise PluginError(f"{what} fails: {told(error)}") from error


def make_samples(data: Data, task: Task) -> Samples:
    """Build a source with its preparation; DataError for one without a sample."""
    source = make(data.make, task.images, contract=Source)
    with blamed(f"the length of source {name_of(data.make)}"):
        if not len(source):
            raise DataError(f"source {name_of(data.make)} is empty: it gives no sample.")
    paired = bool(getattr(source, "paired", True))
    prepare = HostPrepare(data.prepare, task.images, paired=paired) if data.prepare else None
    return Samples(source, task.images, prepare)


def rebuild(folder: Path, description: Mapping[str, Any], weights: Mapping[str, Tensor]) -> tuple[Task, nn.Module]:
    """Build a model again from its description and the generator's weights: (task, method in eval mode).

    folder: where they come from, for errors.
    """
    problems: list[Problem] = []
    parts = [
        build.build(kind, description.get(key), (key,), problems)
        for kind, key in (("tasks", "task"), ("methods", "method"))
    ]
    if problems:
        lines = "\n".join(f"{folder / 'model.json'}: {problem}" for problem in problems)
        packages = [f"{name} {version}" for name, version in description.get("packages", {}).items()]
        made = ", ".join(packages) or "no package"
        raise PluginError(f"{lines}\nThe model was made with {made}: install what differs.")
    assert parts[0] is not None
    assert parts[1] is not None
    task: Task = make(parts[0])
    with blank(), Undrawn():  # g's weights are given, and what judged it while it was trained is not asked again
        method: nn.Module = make(parts[1], task)
    try:
        getattr(method, GENERATOR).load_state_dict(weights)
    except RuntimeError as error:
        raise UnsafeFileError(f"{folder / 'model.safetensors'}: does not fit its model.json: {error}") from error
    return task, method.eval()


@torch.no_grad()
def predict(
    task: Task, method: nn.Module, pictures: Sequence[Images], precision: torch.dtype = torch.float32
) -> list[Tensor]:
    """Translate pictures N × C × H × W in picture space to their target pictures, each of its own H × W.

    The inputs are padded to the generator's multiple by reflection, and the outputs cropped back; padded they must be
    of equal size, for the method translates all at once.
    """
    padded = [images.pad_to_multiple(task.encode(one), multiple_of(method)) for one in pictures]
    inputs = [x for x, _ in padded]
    outputs = _translated(method, torch.cat(inputs) if len(inputs) > 1 else inputs[0], precision)
    parts = torch.split(outputs, [len(x) for x in inputs])
    return [
        task.decode(images.crop(part, size).float(), one)
        for part, (_, size), one in zip(parts, padded, pictures, strict=True)
    ]


@torch.no_grad()
def forward(method: nn.Module, x: Tensor, precision: torch.dtype = torch.float32) -> Tensor:
    """Run `Method.translate` on encoded input of any size, padded and cropped; float32."""
    padded, size = images.pad_to_multiple(x, multiple_of(method))
    return images.crop(_translated(method, padded, precision), size).float()


def _translated(method: nn.Module, x: Tensor, precision: torch.dtype) -> Tensor:
    """Run `Method.translate`; a network that asks for views, which maps with their channels last have not, gets them.

    Its weights are then stored as they were, for this picture and all that follow.
    """
    with autocast(x.device, precision):
        try:
            return cast(Tensor, method.translate(x))  # type: ignore[operator]
        except RuntimeError as error:
            if "view size is not compatible" not in str(error):
                raise
            lay_out(method, torch.contiguous_format)
            return cast(Tensor, method.translate(x))  # type: ignore[operator]


def multiple_of(method: nn.Module) -> int:
    """Return what both sides of an input must divide by."""
    own = getattr(method, "multiple", None)
    return int(getattr(getattr(method, GENERATOR), "multiple", 1) if own is None else own)


def with_mask(pictures: Images, batch: Batch) -> Images:
    """Add the hole that a task drew for a batch, so that `decode` can tell what was known."""
    return pictures if batch.mask is None or "mask" in pictures else {**pictures, "mask": batch.mask}


def shown(task: Task, pictures: Images, x: Tensor, channels: int = 3) -> Tensor:
    """Return a network's input x as a picture to look at, N × channels × H × W in [0, 1].

    It is the whole of x where that has so many channels, else its first 3, or 1.
    Where the task has a `preview` of the pictures that x was made from, it is that.
    """
    if preview := getattr(task, "preview", None):
        picture: Tensor = preview(pictures)
    else:
        seen = channels if x.shape[1] == channels else 3 if x.shape[1] >= 3 else 1
        picture = ((x[:, :seen].float() + 1) / 2).clamp(0, 1)
    return picture.expand(-1, channels, -1, -1) if picture.shape[1] == 1 else picture[:, :channels]
