"""Training from a recipe, or going on with a run: the loop's body, which logs, samples, saves and stops."""

from __future__ import annotations

import contextlib
import gc
import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.profiler import record_function

from i2i import cache, images, recipe, sharding
from i2i.backbones import blank
from i2i.checkpoint import Run, save_model, slug, versions
from i2i.compose import Pipeline, check_sides, compose, make, rehearse, takes_channels_last
from i2i.contracts import Batch, Tracker
from i2i.data import auto_workers, identity
from i2i.engine import (
    GENERATOR,
    Training,
    deterministic,
    enough_memory,
    fit,
    keep_freed_memory,
    pick_device,
    pick_precision,
    players,
)
from i2i.errors import (
    DataError,
    DivergedError,
    Elsewhere,
    I2IError,
    Interrupted,
    PluginError,
    ResourceError,
    StepTooLarge,
    UsageError,
    told,
)
from i2i.evaluate import HeldOut, measured, parts_shown, values_of
from i2i.files import write_json
from i2i.plugins import used
from i2i.products import lay_out, use_products
from i2i.profile import Profiler
from i2i.ranks import ALONE, World
from i2i.recipe import Recipe
from i2i.recompute import recompute
from i2i.report import write_report
from i2i.watch import Averages, Watch, expected


class Display(Protocol):
    """Who shows the progress: a bar in a terminal, plain lines elsewhere."""

    def note(self, text: str) -> None:
        """Say one thing."""

    def warn(self, text: str) -> None:
        """Say what goes wrong, and keep what stands before its first colon in sight."""

    def progress(self, step: int, steps: int, entry: Mapping[str, float]) -> None:
        """Show the position and the newest log entry."""


@dataclass
class Session:
    """One process's work on a run."""

    run: Run
    pipeline: Pipeline
    training: Training
    resolved: Mapping[str, Any]
    display: Display
    trackers: list[Tracker]
    world: World = ALONE
    profiler: Profiler | None = None
    stop: signal.Signals | None = None
    averages: Averages = field(default_factory=Averages)
    watch: Watch = field(default_factory=Watch)
    began: float = field(default_factory=time.perf_counter)
    first_step: int = 0

    @property
    def settings(self) -> recipe.TrainSettings:
        """The recipe's `[train]` table."""
        return self.pipeline.recipe.train


def start(
    plan: Recipe,
    *,
    runs: Path,
    device: str,
    display: Display,
    name: str | None = None,
    profile: bool = False,
    world: World = ALONE,
) -> Run:
    """Train a recipe from its beginning in a new directory below `runs`; return the finished run.

    name: of the directory, which may be there, but hold no run; the recipe's and the time by default. profile: write
    where the time of some steps goes. world: the processes that train together, each of which calls this.
    """
    with world.as_one():
        where = pick_device(device)
        _check_world(plan, world)
        pipeline = compose(plan)
        rehearse(pipeline, where)
    if plan.train.deterministic:
        with world.as_one():
            _try_one_step(pipeline, where)
        pipeline = compose(plan)
    resolved = _resolved(pipeline)
    with contextlib.ExitStack() as held:
        made = ""
        with world.as_one():
            if world.leads:
                first = Run.at(runs / name) if name else Run.create(runs, slug(plan.name))
                held.enter_context(first.held())
                first.start(plan.text, resolved)
                made = str(first.path)
        run = Run(Path(world.told(made)))
        handed = [pipeline]
        del pipeline  # of which nobody else then holds the weights
        return _to_the_end(run, handed, where, resolved, display, world, profile=profile)


def resume(path: Path, *, device: str, display: Display, profile: bool = False, world: World = ALONE) -> Run:
    """Go on with a run from its last saved state; return the finished run."""
    with contextlib.ExitStack() as held:
        with world.as_one():
            where = pick_device(device)
            run = Run.open(path)
            if run.finished:
                raise UsageError(f"{path}: has finished; there is nothing to go on with.")
            if world.leads:
                held.enter_context(run.held())
            plan = run.plan()
            _check_world(plan, world)
            with blank() if run.has_state() else contextlib.nullcontext():  # a state holds every weight, frozen too
                handed = [compose(plan)]
            resolved = _resolved(handed[0])
        return _to_the_end(run, handed, where, resolved, display, world, resumed=True, profile=profile)


def _check_world(plan: Recipe, world: World) -> None:
    """Raise UsageError for a batch that has no picture for some process."""
    if plan.train.batch < world.size:
        raise UsageError(
            f"train.batch = {plan.train.batch} is the batch of all processes, and there are {world.size}: raise it "
            f"(--set train.batch={world.size}), or start no more than {plan.train.batch}."
        )


def _resolved(pipeline: Pipeline) -> dict[str, Any]:
    """Return all that a run's outcome follows from: every setting, the versions, and by what its data are known."""
    plan, splits = pipeline.recipe, {"source": pipeline.samples, "validation": pipeline.held_out}
    origin = {"name": plan.name, "overrides": plan.overrides, "versions": versions(), "packages": used()}
    data = {name: identity(samples) for name, samples in splits.items() if samples is not None}
    found: dict[str, Any] = json.loads(json.dumps({**origin, **plan.resolved(), "data": data}, default=str))
    return found


def _changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words what a run would not have gone on with, had nobody stopped it."""
    before, after = _flat(was), _flat(now)
    words = []
    for split, data in now["data"].items():
        old = was.get("data", {}).get(split, data)
        if old["samples"] != data["samples"]:
            words.append(f"[{split}] had {old['samples']:,} samples and has {data['samples']:,}")
        elif old != data:
            words.append(f"[{split}] has files of other names or sizes")
    for key in dict.fromkeys([*after, *before]):
        if key.split(".")[0] not in ("data", "name", "overrides") and before.get(key) != after.get(key):
            words.append(f"{key} was {before.get(key, 'not there')} and is {after.get(key, 'not there')}")
    return words


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """Return the leaves of a table by their dotted keys."""
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        return {key: value}
    return {name: leaf for part, item in inner for name, leaf in _flat(item, f"{key}.{part}".lstrip(".")).items()}


def _try_one_step(pipeline: Pipeline, device: torch.device) -> None:
    """Take a step with deterministic kernels; UsageError, before a run is begun, where an operation has none."""
    training = training_of(pipeline, device, lambda text: None)
    with deterministic(True):
        next(fit(training, batches(pipeline, device, 0)))


def _to_the_end(
    run: Run,
    handed: list[Pipeline],
    device: torch.device,
    resolved: Mapping[str, Any],
    display: Display,
    world: World,
    *,
    resumed: bool = False,
    profile: bool = False,
) -> Run:
    """Work on a run to its end; where memory runs out in a step, go on from the last state with batches in more parts.

    Nothing of the broken step is left behind: what a state does not hold follows from seed and step. One of several
    processes cannot go on by itself: the next start does.
    """
    parts = max((int(entry.get("parts", 1)) for entry in run.read_log()), default=1) if resumed else 1
    parts = world.told(parts)
    while True:
        pipeline = handed.pop()
        batch, same = min(world.share(pipeline.recipe.train.batch)), _in_parts(pipeline)
        try:
            return _work(run, pipeline, device, resolved, display, world, parts=parts, resumed=resumed, profile=profile)
        except StepTooLarge as error:
            reason = str(error)
        if parts >= batch:
            raise StepTooLarge(
                f"memory ran out in a step with one picture: {reason}. Try smaller pictures or networks, or "
                "--set train.activation_checkpointing=true."
            )
        del pipeline
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        parts, resumed = min(2 * parts, batch), True
        text = f"memory ran out at batch {batch}: it goes in {parts} parts from step {run.last_saved() + 1} on; {same}"
        run.append_log({"step": run.last_saved(), "of": "memory", "parts": parts, "warning": text})
        if world.size > 1:
            raise ResourceError(f"process {world.rank}: {text}. Go on: --resume {run.path}")
        display.note(text)
        handed.append(compose(run.plan()))


def _in_parts(pipeline: Pipeline) -> str:
    """Return what becomes of a batch's gradients when it goes in parts."""
    if _over_batches(pipeline):
        return "batch normalisation sees each part by itself"
    if any(spec.void is not None for spec in pipeline.task.images.values()):
        return "a mean over labelled pixels (cross_entropy) is taken of each part by itself"
    return "the gradients add up to the same"


def _over_batches(pipeline: Pipeline) -> bool:
    """Whether a network normalises over the batch."""
    norms = torch.nn.modules.batchnorm._BatchNorm
    return any(isinstance(one, norms) or getattr(one, "over_batch", False) for one in pipeline.method.modules())


def length(plan: Recipe, samples: int) -> int:
    """Return the number of steps of a run over that many samples."""
    settings = plan.train
    lengths = [] if settings.steps is None else [settings.steps]
    if settings.epochs is not None:
        lengths.append(max(1, -(-settings.epochs * samples // settings.batch)))
    return min(lengths)


def training_of(
    pipeline: Pipeline,
    device: torch.device,
    say: Callable[[str], None] = print,
    *,
    parts: int = 1,
    world: World = ALONE,
) -> Training:
    """Bring a pipeline's method to the device, ready for its first step, with what makes its steps quick there."""
    last = takes_channels_last(pipeline, device) and not pipeline.recipe.engine.shard
    layout = torch.channels_last if last else torch.contiguous_format
    lay_out(pipeline.method.to(device), layout)
    return readied(pipeline, device, layout, say, parts=parts, world=world)


def readied(
    pipeline: Pipeline,
    device: torch.device,
    layout: torch.memory_format,
    say: Callable[[str], None] = print,
    *,
    parts: int = 1,
    world: World = ALONE,
) -> Training:
    """Do what `training_of` does with a method that is on the device already, laid out."""
    plan = pipeline.recipe
    if device.type == "cpu":
        keep_freed_memory()
        if not plan.engine.shard:  # whose blocks may give no views
            use_products(pipeline.method)
    if plan.train.activation_checkpointing:
        for player in players(pipeline.method):
            recompute(pipeline.method.get_submodule(player))
    graph = plan.train.cuda_graph is True and device.type == "cuda"
    if graph and world.size > 1:
        say("train.cuda_graph: steps are run without a graph, for there are several processes.")
    training = Training(
        pipeline.method,
        plan.optimizer_of,
        steps=length(plan, len(pipeline.samples)),
        decay=plan.train.decay,
        ema=plan.train.ema,
        seed=plan.train.seed,
        precision=pick_precision(plan.train.precision, device, deep=pipeline.samples.deep),
        layout=layout,
        parts=parts,
        graph=graph and world.size == 1,
        say=say,
        world=world,
        counts=world.share(plan.train.batch) if world.size > 1 else (),
        shard=plan.engine.shard and world.size > 1,
    )
    world.normalise_over_all(pipeline.method)
    if plan.train.compile is True:
        for player in training.players:
            getattr(pipeline.method, player).compile()
    return training


def _work(
    run: Run,
    pipeline: Pipeline,
    device: torch.device,
    resolved: Mapping[str, Any],
    display: Display,
    world: World,
    *,
    parts: int,
    resumed: bool,
    profile: bool,
) -> Run:
    plan, training = pipeline.recipe, training_of(pipeline, device, display.note, parts=parts, world=world)
    with world.as_one():
        trackers = [make(part, run.path, contract=Tracker) for part in plan.trackers if world.leads]
    session = Session(run, pipeline, training, resolved, display, trackers, world, averages=Averages(world))
    if resumed:
        with world.as_one():
            if world.leads:
                run.sweep()
            if run.has_state():
                _restore(session)
    session.first_step = training.step
    if len(set(world.texts(str(training.step)))) > 1:
        raise DataError(f"{run.path}: not every process reads the same state. Give all machines the same folder.")
    with world.as_one():
        if world.leads:
            lost = run.cut_log(training.step)
            if resumed:
                _tell_changes(session, lost)
            session.watch = Watch(run.read_log())
    verb = f"going on at step {training.step}" if resumed else "training"
    precision = str(training.precision).removeprefix("torch.")
    if pipeline.held_out is None:
        display.note(f"{run.recipe}: has no [validation]: nothing is held out, and nothing measured.")
    together = f", {world.size} processes" if world.size > 1 else ""
    display.note(f"{run.path}: {verb}, {training.steps} steps on {device.type}{together} in {precision}")
    if world.size > 1 and min(training.counts) == 1 and _over_batches(pipeline):
        display.note("batch normalisation over one picture a process: each waits for all others at each of its layers")
    session.profiler = _profiler(session) if profile and world.leads else None
    try:
        with enough_memory(f"at batch {plan.train.batch}", f"--set train.batch={max(1, plan.train.batch // 2)}"):
            sure, watched = deterministic(plan.train.deterministic), session.profiler or contextlib.nullcontext()
            with _stopping(session), watched, sure:
                _loop(session)
            if world.leads or training.shard:
                _finish(session)
    except (Interrupted, DivergedError) as error:
        if not world.leads:  # who says the same
            raise Elsewhere("", error.exit_code) from error
        if isinstance(error, DivergedError):  # to go on would come to the same again
            saved = run.last_saved()
            kept = f"the model and the state of step {saved} are kept" if saved else "none was saved"
            display.note(f"{run.path}: {kept}")
        raise
    except (StepTooLarge, Elsewhere):  # the one has said how to go on, and with the other it goes on
        raise
    except KeyboardInterrupt:  # before the first step, or a second time
        display.note(f"Go on: i2i train --resume {run.path}")
        raise
    except Exception as error:
        if saved := run.last_saved():
            display.note(f"{run.path}: saved up to step {saved}. Go on: i2i train --resume {run.path}")
        if isinstance(error, I2IError):
            raise
        method = type(training.method).__name__
        raise PluginError(f"training by the method {method} fails after step {training.step}: {told(error)}") from error
    finally:
        _tell(session, "close")
    return run


def _restore(session: Session) -> None:
    """Take up the last state that is whole."""
    step, tensors, warnings = session.run.load_state()
    for warning in warnings:
        session.display.note(warning)
    try:
        session.training.restore(tensors, step)
        session.averages.restore(tensors, step, session.training.device)
    except (RuntimeError, KeyError, ValueError, IndexError) as error:
        raise DataError(
            f"{session.run.path}: its state is not one of this recipe's networks, as the versions installed make them: "
            f"{' '.join(str(error).split())[:300]}. Go on with the versions in its resolved.json."
        ) from error


def _tell_changes(session: Session, lost: int) -> None:
    """Say in what a resumed run is not the one that was begun; it goes on, as that may be wanted."""
    run, step = session.run, session.training.step
    was, texts = run.resolved(), []
    if was and (changes := _changes(was, session.resolved)):
        texts.append(f"from step {step + 1} on this is not the run that was begun: {'; '.join(changes)}")
    if lost or (step >= session.settings.log_every and not run.read_log()):
        texts.append(f"{run.log}: {f'{lost} damaged line(s) of it are' if lost else 'what was logged is'} lost")
    if was != session.resolved:
        write_json(run.path / "resolved.json", session.resolved)
    for text in texts:
        run.append_log({"step": step, "of": "resume", "warning": text})
        session.display.note(text)


def _profiler(session: Session) -> Profiler:
    training, settings = session.training, session.settings
    facts = {
        "recipe": session.pipeline.recipe.name,
        "batch": str(settings.batch),
        "device": training.device.type,
        "precision": str(training.precision).removeprefix("torch."),
        "threads": str(torch.get_num_threads()),
        "worker processes": str(_workers(settings, training.device)),
        "cache": str(cache_of(session.pipeline, training.device)),
    }
    left = training.steps - training.step
    return Profiler(session.run.path, training.device, left, facts, session.display.note)


def _tell(session: Session, what: str, *news: Any) -> None:
    """Call a method of every tracker; one that fails (its server is gone) is left out: it is not worth the run."""
    for tracker in [*session.trackers]:
        try:
            getattr(tracker, what)(*news)
        except Exception as error:
            session.trackers.remove(tracker)
            name = type(tracker).__name__
            session.display.note(f"the tracker {name} is left out from here on: its {what!r} fails: {told(error)}")


def _loop(session: Session) -> None:
    settings, training = session.settings, session.training
    averages, clock, pictures = session.averages, time.perf_counter(), 0
    if session.first_step and _sample_due(session) and not _sample_path(session).exists():
        _sample(session)  # killed behind the state, before the picture
    made = batches(session.pipeline, training.device, training.step, session.world, lambda: int(session.stop or 0))
    for report in fit(training, _saving(session, made)):
        with record_function("log"):
            averages.add(report)
            pictures += settings.batch
            step, last = report.step, report.step == training.steps
            stopping = session.world.stop if session.world.size > 1 else int(session.stop or 0)
            logs = step % settings.log_every == 0 or last
            entry: dict[str, float] = {}
            if logs:
                terms, now = averages.read(), time.perf_counter()
                entry = {"step": step, "lr": report.lr, "images_per_second": pictures / max(now - clock, 1e-9), **terms}
                if session.world.leads:
                    session.run.append_log(entry)
                    _warn(session, session.watch.logged(entry))
            if step % settings.save_every == 0 or last or stopping:
                _save(session)
            if _sample_due(session):
                _sample(session)
            if logs:  # after what must not be lost: a display may fail, and a stranger's tracker too
                session.display.progress(step, training.steps, entry)
                _tell(session, "log", step, {key: value for key, value in entry.items() if key != "step"})
                clock, pictures = time.perf_counter(), 0
            if stopping and not last:
                code = 130 if stopping == signal.SIGINT else 75
                raise Interrupted(
                    f"stopped and saved at step {step}. Go on: i2i train --resume {session.run.path}", code
                )
        if session.profiler:
            session.profiler.step()


def batches(
    pipeline: Pipeline,
    device: torch.device,
    start: int,
    world: World = ALONE,
    stop: Callable[[], int] = lambda: 0,
) -> Iterator[Batch]:
    """Yield the training batches for ever, from step `start`: read, prepared, on the device, augmented and encoded.

    world: the processes of which each has its rows of them; stop: as of `World.in_step`.
    """
    settings = pipeline.recipe.train
    pictures = cache.batches(
        pipeline.samples,
        cache_of(pipeline, device, world),
        batch=settings.batch,
        seed=settings.seed,
        start=start,
        workers=_workers(settings, device),
        device=device,
        rows=world.rows(settings.batch),
    )
    for batch in world.in_step(pictures, stop):
        with record_function("augment"), world.at_work(world.share(settings.batch)):
            rows = (world.offset, settings.batch) if world.size > 1 else None
            made = pipeline.task.batch(pipeline.augment(batch, rows))
            check_sides(pipeline, made)
        yield made


def cache_of(pipeline: Pipeline, device: torch.device, world: World = ALONE) -> cache.Choice:
    """Choose where a pipeline's samples are kept after their first reading; in words: str() of it."""
    settings = pipeline.recipe.train
    return cache.choose(pipeline.samples, settings.cache, device, _workers(settings, device), world.local_size)


def _workers(settings: recipe.TrainSettings, device: torch.device) -> int:
    return auto_workers(device) if settings.workers == "auto" else settings.workers


def _saving(session: Session, made: Iterator[Batch]) -> Iterator[Batch]:
    """Pass batches on; where one cannot be made, save what was trained before the error goes its way."""
    try:
        yield from made
    except Exception:
        # Of several processes all or none save, for what they log is added up.
        if session.training.step > session.first_step and (session.world.size == 1 or session.world.agreed):
            try:
                _save(session)
            except I2IError as lost:  # the picture is to be named all the same
                session.display.note(f"not saved: {lost}")
        raise


@contextlib.contextmanager
def _stopping(session: Session) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the current step and save, instead of breaking it off."""

    def handle(number: int, _: object) -> None:
        # Nothing but the flag: whatever a handler prints may fail, in the middle of a step.
        session.stop = session.stop or signal.Signals(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C breaks it off

    try:
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: the caller has its own way to stop
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _save(session: Session) -> None:
    """Write the model, then the state: where that stands, nothing of its step is missing but a sample."""
    training, window = session.training, session.averages.tensors()
    with session.world.as_one():
        training.check_finite()
    description = {
        "name": session.pipeline.recipe.name,
        "task": session.resolved["task"],
        "method": session.resolved["method"],
        "packages": used(),
        "versions": versions(),
        "step": training.step,
    }
    with training.averaged() as method:
        generator = {key: sharding.whole(value) for key, value in getattr(method, GENERATOR).state_dict().items()}
    tensors = training.tensors() if session.world.leads or training.shard else {}
    if session.world.leads:
        save_model(session.run.model, description, generator)
        session.run.save_state(training.step, tensors | window)


def _warn(session: Session, warnings: Sequence[Mapping[str, Any]]) -> None:
    for entry in warnings:
        session.run.append_log(entry)
        session.display.warn(entry["warning"])


def _sample_due(session: Session) -> bool:
    training, due = session.training, session.settings.sample_every
    translates = session.world.leads or training.shard  # as all have a part of the network
    return translates and (training.step % due == 0 or training.step == training.steps)


def _sample_path(session: Session) -> Path:
    return session.run.samples / f"{session.training.step:09d}.png"


def _sample(session: Session) -> None:
    """Write a grid, one row a held-out picture: input, output, truth."""
    pipeline, training = session.pipeline, session.training
    samples = pipeline.held_out or pipeline.samples
    with training.averaged() as method:
        held_out = HeldOut(pipeline.task, method, samples, training.device, training.precision)
        rows = [*held_out.rows(session.settings.samples)]
    if not session.world.leads:
        return
    _warn(session, session.watch.sampled(training.step, rows))
    first, *others = held_out.titles
    grid = images.contact_sheet(rows, titles=[first if pipeline.held_out else "trained on", *others])
    images.write(_sample_path(session), grid, overwrite=True)
    _tell(session, "image", training.step, "samples", grid)


def _finish(session: Session) -> None:
    run, steps = session.run, session.training.steps
    metrics = _held_out(session)
    if not session.world.leads:
        return
    log = run.read_log()
    seconds = time.perf_counter() - session.began
    unseen = f" ({text})" if (text := parts_shown(session.pipeline.task.images)) else ""
    samples = [(f"step {int(path.stem)}{unseen}", path) for path in sorted(run.samples.glob("*.png"))]
    write_report(
        run.path / "report.html",
        title=session.pipeline.recipe.name,
        summary=_summary(session, seconds),
        log=[entry for entry in log if "warning" not in entry],
        warnings=[entry["warning"] for entry in log if "warning" in entry],
        metrics=metrics,
        samples=samples,
        notes=expected(session.training.method, log),
        recipe=json.dumps(session.resolved, indent=2),
    )
    result = {"step": steps, "seconds": seconds, "first_step": session.first_step, "metrics": metrics}
    if session.profiler and session.profiler.found:
        result["profile"] = session.profiler.found.shares()
    write_json(run.path / "result.json", result)
    measures = {f"held out/{name}": values["translated"] for name, values in metrics.items()}
    _tell(session, "log", steps, measures)
    for name, values in metrics.items():
        beside = f" (untranslated input: {values['input']:#.4g})" if "input" in values else ""
        session.display.note(f"held out: {name} {values['translated']:#.4g}{beside}")
    session.display.note(f"finished in {seconds:.0f} s: {run.path / 'report.html'}")


def _held_out(session: Session) -> dict[str, dict[str, float]]:
    """Measure the averaged generator on the held-out pictures; what cannot be measured is noted, and costs no run."""
    pipeline, training = session.pipeline, session.training
    samples = pipeline.held_out
    if not samples:
        return {}
    metrics: dict[str, dict[str, float]] = {}
    problems: list[str] = []
    try:
        with training.averaged() as method:
            held_out = HeldOut(pipeline.task, method, samples, training.device, training.precision)
            fed = measured(held_out, pipeline.recipe.metrics, problems)
        metrics = values_of(fed, problems)
    except DataError as error:
        problems.append(str(error))
    for problem in dict.fromkeys(problems):
        session.display.note(f"not measured: {problem}")
    return metrics


def _summary(session: Session, seconds: float) -> dict[str, str]:
    """Return the first lines of the report."""
    training = session.training
    return {
        "recipe": session.pipeline.recipe.name,
        "steps": str(training.steps),
        "batch": str(session.settings.batch),
        "device": training.device.type,
        "precision": str(training.precision).removeprefix("torch."),
        "time of this session": f"{seconds / 60:.1f} min",
        "finished": datetime.now().isoformat(timespec="seconds"),
        **{f"{name} version": version for name, version in versions().items()},
    }
