"""Recipes: TOML to checked constructors, every problem located by file, line and key and all reported at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval, Lt

from i2i import build, plugins
from i2i.build import Part, Problem
from i2i.contracts import Count, Natural, Positive, Probability, Weight
from i2i.errors import I2IError, PluginError, UsageError, nearest


@dataclass(frozen=True)
class TrainSettings:
    """The `[train]` table.

    steps, epochs: the length of the run; where both are set, what ends first. batch: pictures a step. decay: the share
    of the run, at its end, over which the learning rate falls linearly (never quite to zero). ema: the decay of the
    moving average of the generator that is saved, 0 for none. precision: auto is bf16 where the device multiplies it in
    hardware, else float32. activation_checkpointing: the networks' blocks make their activations again in the backward
    pass in the place of keeping them: less memory, more time, the same results. workers: processes that read and
    prepare pictures, auto by device. cache: where samples are kept after their first reading, auto: where there is
    room. compile: have torch.compile make the players' networks; cuda_graph: on CUDA, capture a step and replay it;
    auto is neither. deterministic: kernels that give the same bits every time, on CUDA as well. log_every,
    sample_every, save_every: in steps. samples: pictures in a sample grid.
    """

    steps: Count | None = None
    epochs: Count | None = None
    batch: Count = 1
    decay: Probability = 0.5
    ema: Annotated[float, Ge(0), Lt(1)] = 0.999
    seed: Annotated[int, Interval(ge=0, lt=2**63)] = 0
    precision: Literal["auto", "float32", "bf16"] = "auto"
    activation_checkpointing: bool = False
    workers: Natural | Literal["auto"] = "auto"
    cache: Literal["auto", "device", "ram", "none"] = "auto"
    compile: bool | Literal["auto"] = "auto"
    cuda_graph: bool | Literal["auto"] = "auto"
    deterministic: bool = False
    log_every: Count = 10
    sample_every: Count = 500
    save_every: Count = 1000
    samples: Count = 4


@dataclass(frozen=True)
class EngineSettings:
    """The `[engine]` table: how the processes of a training share the work.

    shard: each keeps a part of the weights, gradients, averages and moments, and not all (FSDP2): for networks that do
    not fit one device; a step takes longer, and its result is the same.
    """

    shard: bool = False


@dataclass(frozen=True)
class OptimizerSettings:
    """The `[optimizer]` table and its children `[optimizer.PLAYER]`: Adam (Kingma and Ba 2015) as the paper sets it."""

    lr: Positive = 2e-4
    betas: tuple[Annotated[float, Interval(ge=0, lt=1)], Annotated[float, Interval(ge=0, lt=1)]] = (0.5, 0.999)
    eps: Positive = 1e-8
    weight_decay: Weight = 0.0


@dataclass(frozen=True)
class Step:
    """One augmentation or preparation: its constructor and the pictures it acts on (None: its kind's default)."""

    make: Part
    on: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """What a sentence calls it."""
        return build.name_of(self.make)

    @property
    def chosen(self) -> dict[str, Any]:
        """The parameters that the user set, as against those left at their defaults."""
        return build.filled(self.make)


@dataclass(frozen=True)
class Data:
    """A source and what albumentations does to each of its samples on the host."""

    make: Part
    prepare: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """A checked recipe: constructors with their parameters filled in, nothing built yet."""

    path: Path
    text: bytes
    overrides: tuple[str, ...]
    name: str
    """After which runs are named: the file's stem."""
    task: Part
    source: Data
    method: Part
    validation: Data | None = None
    augment: tuple[Step, ...] = ()
    metrics: tuple[Part, ...] = ()
    trackers: tuple[Part, ...] = ()
    train: TrainSettings = field(default_factory=TrainSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    optimizer: Mapping[str, OptimizerSettings] = field(default_factory=dict)
    """By player; the key "" holds what a player without a table of its own gets."""

    def optimizer_of(self, player: str) -> OptimizerSettings:
        """Return the settings for one player."""
        return self.optimizer.get(player, self.optimizer[""])

    def error(self, problems: Sequence[Problem]) -> I2IError:
        """Make the error that reports problems found later, in the same form as those of reading."""
        return _error(self.path, Lines(self.text.decode()), self.overrides, problems)

    def resolved(self) -> dict[str, Any]:
        """Return the recipe as one table with every default filled in."""
        return {
            "task": build.describe("tasks", self.task),
            "source": _describe_data(self.source),
            "validation": _describe_data(self.validation) if self.validation else None,
            "augment": [_describe_step("augmentations", step) for step in self.augment],
            "method": build.describe("methods", self.method),
            "optimizer": {key or "default": build.describe_value(Any, vars(s)) for key, s in self.optimizer.items()},
            "train": vars(self.train),
            "engine": vars(self.engine),
            "metrics": [build.describe("metrics", part) for part in self.metrics],
            "trackers": [build.describe("trackers", part) for part in self.trackers],
        }


def _describe_step(kind: str, step: Step) -> dict[str, Any]:
    return build.describe(kind, step.make) | ({"on": list(step.on)} if step.on else {})


def _describe_data(data: Data) -> dict[str, Any]:
    return build.describe("sources", data.make) | {
        "prepare": [_describe_step("preparations", step) for step in data.prepare]
    }


def read(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, apply `key=value` overrides, check it all; UsageError lists every problem."""
    return parse(path, _bytes(path), overrides)


def read_toml(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Read any TOML file: (its text, its table); UsageError when it cannot be read."""
    text = _bytes(path)
    return text, _table(path, text)


def located(path: Path, text: bytes, problems: Sequence[Problem]) -> I2IError:
    """Make the error that reports problems by file, line and key."""
    return _error(path, Lines(text.decode()), (), problems)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        folder = path.parent
        files = [file.name for file in folder.glob("*.toml")] if folder.is_dir() else []
        hint = nearest(path.name, files) or (f" There is: {', '.join(sorted(files))}." if files else "")
        raise UsageError(f"{path}: cannot be read: {error.strerror}.{hint}") from error


def parse(path: Path, text: bytes, overrides: Sequence[str] = (), *, name: str | None = None) -> Recipe:
    """Check the text of a recipe; `path` names it in messages. name: the recipe's, where it is not the file's stem."""
    table = _table(path, text)
    if "variants" in table:
        raise UsageError(f"{path}: is an ablation, and no recipe: i2i ablate {path}.")
    for setting in overrides:
        override(table, setting)
    problems: list[Problem] = []
    settings = _settings_of(table, problems)
    _look_up(table, problems)
    parts = {} if problems else _sections(table, problems)  # which imports torch: seconds, for a slip of the pen
    if problems:
        raise _error(path, Lines(text.decode()), overrides, problems)
    parts |= settings
    return Recipe(path=path, text=text, overrides=tuple(overrides), name=name or path.stem, **parts)


def _table(path: Path, text: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text (byte {error.start}); a recipe is a TOML file.") from error
    except tomllib.TOMLDecodeError as error:
        reason = str(error)
        line = re.search(r"at line (\d+)", reason)
        place = f"{path}:{line[1]}" if line else str(path)
        raise UsageError(f"{place}: is not valid TOML: {reason}") from error


def _settings_of(table: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """Check the tables of the recipe itself, and what else is known without importing a part."""
    known = [f.name for f in fields(Recipe) if f.name not in ("path", "text", "overrides", "name")]
    for key in table:
        if key not in known:
            problems.append(Problem((key,), f"no such table.{nearest(key, known)} Known: {', '.join(known)}."))
    for key in ("task", "source"):
        if key not in table:
            problems.append(Problem((), f"{key!r} is missing: every recipe says which {key} it is about."))
    train = _settings(TrainSettings, table.get("train", {}), ("train",), problems)
    if train is not None and train.steps is None and train.epochs is None:
        problems.append(Problem(("train",), "set 'steps' or 'epochs': the length of the run."))
    engine = _settings(EngineSettings, table.get("engine", {}), ("engine",), problems)
    return {"train": train, "engine": engine, "optimizer": _optimizers(table.get("optimizer", {}), problems)}


def _look_up(table: dict[str, Any], problems: list[Problem]) -> None:
    """Find the names that no package registers."""
    places: list[tuple[str, build.Path, object]] = [
        (kind, (key,), table[key])
        for key, kind in (("task", "tasks"), ("source", "sources"), ("method", "methods"), ("validation", "sources"))
        if key in table
    ]
    for key, kind in (("augment", "augmentations"), ("metrics", "metrics"), ("trackers", "trackers")):
        places += [(kind, (key, i), item) for i, item in enumerate(_items(table.get(key)))]
    for key in ("source", "validation"):
        data = table.get(key)
        steps = _items(data.get("prepare")) if isinstance(data, Mapping) else []
        places += [("preparations", (key, "prepare", i), item) for i, item in enumerate(steps)]
    for kind, path, value in places:
        name = value.get("name") if isinstance(value, Mapping) else value
        if isinstance(name, str) and name not in plugins.names(kind):
            at = (*path, "name") if isinstance(value, Mapping) else path
            problems.append(Problem(at, plugins.unknown(kind, name)))


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _sections(table: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    return {
        "task": build.build("tasks", table["task"], ("task",), problems),
        "source": _data(table["source"], ("source",), problems),
        "method": build.build("methods", _method(table.get("method", {})), ("method",), problems),
        "validation": _data(table["validation"], ("validation",), problems) if "validation" in table else None,
        "augment": _steps("augmentations", table.get("augment", []), ("augment",), problems),
        "metrics": _parts("metrics", table.get("metrics", []), ("metrics",), problems),
        "trackers": _parts("trackers", table.get("trackers", []), ("trackers",), problems),
    }


def _method(value: object) -> object:
    return {"name": "pix2pix", **value} if isinstance(value, Mapping) else value


def _data(value: object, path: build.Path, problems: list[Problem]) -> Data | None:
    prepare: tuple[Step, ...] = ()
    if isinstance(value, Mapping) and "prepare" in value:
        prepare = _steps("preparations", value["prepare"], (*path, "prepare"), problems)
        value = {key: item for key, item in value.items() if key != "prepare"}
    make = build.build("sources", value, path, problems)
    return Data(make, prepare) if make else None


def _steps(kind: str, value: object, path: build.Path, problems: list[Problem]) -> tuple[Step, ...]:
    steps = []
    for i, item in enumerate(_list(value, path, problems)):
        on = None
        if isinstance(item, Mapping) and "on" in item:
            on = item["on"]
            if not (isinstance(on, list) and on and all(isinstance(name, str) for name in on)):
                problems.append(Problem((*path, i, "on"), f"expected a list of picture names, not {on!r}."))
                continue
            item = {key: inner for key, inner in item.items() if key != "on"}
        make = build.build(kind, item, (*path, i), problems)
        if make:
            steps.append(Step(make, tuple(on) if on else None))
    return tuple(steps)


def _parts(kind: str, value: object, path: build.Path, problems: list[Problem]) -> tuple[Part, ...]:
    made = [build.build(kind, item, (*path, i), problems) for i, item in enumerate(_list(value, path, problems))]
    return tuple(part for part in made if part)


def _list(value: object, path: build.Path, problems: list[Problem]) -> list[Any]:
    if isinstance(value, list):
        return value
    key = build.dotted(path)
    remedy = f"{key} = [...]" if path[-1] in ("metrics", "trackers") else f"[[{key}]] above each table"
    problems.append(Problem(path, f"expected a list, not {value!r}. Write {remedy}."))
    return []


def _settings(kind: type, value: object, path: build.Path, problems: list[Problem]) -> Any:
    if not isinstance(value, Mapping):
        problems.append(Problem(path, f"expected a table, not {value!r}."))
        return None
    before = len(problems)
    own = {f.name for f in fields(kind)}
    for home, other in (("train", TrainSettings), ("optimizer", OptimizerSettings)):
        misplaced = {f.name for f in fields(other)} - own
        problems += [Problem((*path, key), f"belongs under [{home}].") for key in value if key in misplaced]
        value = {key: item for key, item in value.items() if key not in misplaced}
    arguments = build.check(kind, value, path, problems)
    return kind(**arguments) if len(problems) == before else None


def _optimizers(value: object, problems: list[Problem]) -> dict[str, OptimizerSettings]:
    if not isinstance(value, Mapping):
        problems.append(Problem(("optimizer",), f"expected a table, not {value!r}."))
        return {}
    common = {key: item for key, item in value.items() if not isinstance(item, Mapping)}
    tables = {"": common} | {key: common | dict(item) for key, item in value.items() if isinstance(item, Mapping)}
    made = {}
    for player, table in tables.items():
        found: list[Problem] = []
        made[player] = _settings(OptimizerSettings, table, ("optimizer", player) if player else ("optimizer",), found)
        # What is wrong in the common keys is said once, for them.
        problems.extend(p for p in found if not player or len(p.path) < 3 or p.path[2] in value[player])
    return made


def override(table: dict[str, Any], text: str) -> None:
    """Set one key of a table from the text of a `--set KEY=VALUE`; UsageError when that cannot be."""
    key, equals, value = text.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise UsageError(f"--set {text}: expected KEY=VALUE, such as --set method.weight=10")
    at: Any = table
    for step, following in zip(path, [*path[1:], None], strict=True):
        last = following is None
        if isinstance(at, list):
            if not step.isdecimal() or int(step) >= len(at):
                raise UsageError(f"--set {text}: {step!r} is not the number of an item: there are {len(at)}, from 0.")
            index: Any = int(step)
        else:
            index = step
        if last:
            at[index] = _override_value(value.strip())
            return
        inner = at[index] if isinstance(at, list) else at.setdefault(index, {})
        if isinstance(inner, str):  # a bare name grows into a table: method = "pix2pix", --set method.weight=10
            inner = at[index] = {"name": inner}
        if not isinstance(inner, dict | list):
            raise UsageError(f"--set {text}: {step!r} is a value, not a table.")
        at = inner


def _override_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        if text[:1] in ("[", "{", '"', "'"):
            raise UsageError(f"--set: {text} is not valid TOML: {error}") from error
        return text  # a bare word is a string: --set task=maps


class Lines:
    """Where each key of a TOML text stands: key path to line number, from 1."""

    def __init__(self, text: str) -> None:
        self.at: dict[build.Path, int] = {}
        self._counts: dict[build.Path, int] = {}
        table: build.Path = ()
        depth, quote = 0, ""
        for number, line in enumerate(text.splitlines(), start=1):
            if depth == 0 and not quote:
                if header := re.match(r"\s*(\[\[?)([^\]]+)\]", line):
                    table = self._header(header[2], array=header[1] == "[[", number=number)
                elif key := re.match(r"\s*([\w\-.\"' ]+?)\s*=", line):
                    self.at.setdefault((*table, *_split(key[1])), number)
            depth, quote = _nesting(line, depth, quote)

    def _header(self, name: str, *, array: bool, number: int) -> build.Path:
        path: build.Path = ()
        keys = _split(name)
        for i, key in enumerate(keys):
            path = (*path, key)
            if array and i == len(keys) - 1:
                self._counts[path] = self._counts.get(path, -1) + 1
            if path in self._counts:
                path = (*path, self._counts[path])
        self.at[path] = number
        return path

    def of(self, path: build.Path) -> int | None:
        """Return the line of a key, or of the nearest table around it."""
        while path:
            if path in self.at:
                return self.at[path]
            path = path[:-1]
        return None


def _split(dotted: str) -> build.Path:
    return tuple(key.strip().strip("\"'") for key in dotted.split("."))


def _nesting(line: str, depth: int, quote: str) -> tuple[int, str]:
    """Follow brackets and triple quotes to the end of a line, so that their insides are not taken for keys."""
    if not quote and re.match(r"\s*\[\[?[^\]=]+\]\]?\s*(#.*)?$", line) and depth == 0:
        return 0, ""
    tokens = re.findall(r"\"\"\"|'''|\"(?:\\.|[^\"\\])*\"|'[^']*'|#.*|[\[\]{}]", line)
    for token in tokens:
        if quote:
            quote = "" if token == quote else quote
        elif token in ('"""', "'''"):
            quote = token
        elif token in "[{":
            depth += 1
        elif token in "]}":
            depth -= 1
    return max(depth, 0), quote


def _error(path: Path, lines: Lines, overrides: Sequence[str], problems: Sequence[Problem]) -> I2IError:
    messages = [(lines.of(problem.path) or 0, _located(path, lines, overrides, problem)) for problem in problems]
    kind = PluginError if all(problem.broken for problem in problems) else UsageError
    return kind("\n".join(text for _, text in sorted(messages, key=lambda m: m[0])))


def _located(path: Path, lines: Lines, overrides: Sequence[str], problem: Problem) -> str:
    key = build.dotted(problem.path)
    for override in overrides:
        name = override.partition("=")[0].strip()
        if key == name or key.startswith(f"{name}."):
            return f"--set {override}: {problem}"
    line = lines.of(problem.path)
    return f"{path}:{line}: {problem}" if line else f"{path}: {problem}"
