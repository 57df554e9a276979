"""From a table and a signature to a checked `functools.partial`, or to problems that each say where they are.

The signature is the schema: names, types and defaults are written once, in the part's constructor.
"""

from __future__ import annotations

import functools
import inspect
import json
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation

from i2i import plugins
from i2i.contracts import SUPPLIED, Slot
from i2i.errors import PluginError, nearest

Path = tuple[str | int, ...]
Part = Callable[..., Any]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the key's path in the recipe, and a sentence with value and remedy.

    broken: the recipe is right, and the part that it names does not work.
    """

    path: Path
    message: str
    broken: bool = False

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {self.message}" if self.path else self.message


def dotted(path: Path) -> str:
    """Return a path as a recipe or --set writes it: method.generator.depth."""
    return ".".join(map(str, path))


def base(part: Part) -> Part:
    """Return the class or function below the parameters that are filled in."""
    return base(part.func) if isinstance(part, functools.partial) else part


def filled(part: Part) -> dict[str, Any]:
    """Return the parameters that are filled in."""
    return {**filled(part.func), **part.keywords} if isinstance(part, functools.partial) else {}


def name_of(part: Part) -> str:
    """Return what a sentence calls a part: the name of its class or function."""
    return str(getattr(base(part), "__name__", base(part)))


def supplied_to(kind: str) -> int:
    """Return how many positional arguments the run supplies to a part of this kind."""
    return len(SUPPLIED.get(kind, ()))


def build(kind: str, value: object, path: Path, problems: list[Problem], default: Part | None = None) -> Part | None:
    """Check a name or a table against the part it names; return the part's partial, or None and add to `problems`.

    default: the part that a table without `name` means, with what it has filled in where it is a partial itself.
    """
    at_name = path if isinstance(value, str) else (*path, "name")
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping):
        wanted = f"the name of a {plugins.singular(kind)}, or a table with one"
        problems.append(Problem(path, f"expected {wanted}, not {value!r}."))
        return None
    name = value.get("name", default and _name(kind, default))
    if not isinstance(name, str):
        message = f"'name' must say which {plugins.singular(kind)} it is. Known: {', '.join(plugins.names(kind))}."
        problems.append(Problem(at_name if "name" in value else path, message))
        return None
    try:
        part = plugins.load(kind, name)
    except PluginError as error:
        known = name in plugins.names(kind)
        problems.append(Problem(at_name if "name" in value else path, str(error), broken=known))
        return None
    table = {key: item for key, item in value.items() if key != "name"}
    before = len(problems)
    made = part if default is None or "name" in value else default
    arguments = check(made, table, path, problems, supplied=supplied_to(kind))
    return functools.partial(made, **arguments) if len(problems) == before else None


def check(
    part: Part, table: Mapping[str, Any], path: Path, problems: list[Problem], supplied: int = 0
) -> dict[str, Any]:
    """Check a table against a callable's parameters, the first `supplied` positional ones left out.

    What a partial has filled in is a default: the table may say otherwise, and need not say it.
    """
    parameters, defaults = choices(base(part), supplied), filled(part)
    arguments = {}
    for key, value in table.items():
        if key not in parameters:
            known = ", ".join(parameters) or "none"
            message = f"no such parameter.{nearest(key, parameters)} Known: {known}."
            problems.append(Problem((*path, key), message))
            continue
        parameter = parameters[key]
        default = defaults.get(key, None if parameter.default is parameter.empty else parameter.default)
        before = len(problems)
        checked = _check_value(parameter.annotation, value, (*path, key), problems, default)
        if len(problems) == before:
            arguments[key] = checked
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in table and key not in defaults:
            problems.append(Problem(path, f"{key!r} is required and missing."))
    return arguments


def choices(part: Part, supplied: int) -> dict[str, inspect.Parameter]:
    """Return the parameters that a user may set, their annotations resolved; PluginError when they cannot be read."""
    try:
        parameters = list(inspect.signature(part).parameters.values())
    except (TypeError, ValueError, NameError) as error:  # NameError: an annotation, from Python 3.14 on
        raise PluginError(f"{part!r}: its signature cannot be read: {error}") from error
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    chosen = [p for p in parameters[supplied:] if p.kind in named]
    return {p.name: p.replace(annotation=_annotation(part, p)) for p in chosen}


def _annotation(part: Part, parameter: inspect.Parameter) -> Any:
    """Return a parameter's annotation, evaluated where the part was defined; Any where there is none."""
    written = parameter.annotation
    if not isinstance(written, str):
        return Any if written is parameter.empty else written
    try:
        return eval(written, vars(sys.modules[part.__module__]))
    except (NameError, TypeError, AttributeError, SyntaxError, KeyError):
        # A foreign library's annotation may name what exists only for type checkers: it stays unchecked here, and the
        # constructor has the last word.
        return Any


def slot_of(annotation: Any) -> tuple[str, Slot] | None:
    """Return ('one' | 'list' | 'dict', slot) when an annotation takes parts: itself, a list or a dict of them."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        slots = [item for item in arguments[1:] if isinstance(item, Slot)]
        return ("one", slots[0]) if slots else slot_of(arguments[0])
    if origin in (Union, types.UnionType):
        return next((found for found in map(slot_of, arguments) if found), None)
    if origin in (list, tuple, dict) and arguments:
        inner = slot_of(arguments[-1] if origin is dict else arguments[0])
        return ("dict" if origin is dict else "list", inner[1]) if inner else None
    return None


def _check_value(annotation: Any, value: Any, path: Path, problems: list[Problem], default: Any) -> Any:
    found = slot_of(annotation)
    if found is None:
        return _check_plain(annotation, value, path, problems)
    shape, slot = found
    if value is None and type(None) in typing.get_args(annotation):
        return None  # TOML has no such value; the description of a slot that was left empty does
    if shape == "one":
        return build(slot.kind, value, path, problems, default)
    if shape == "list" and isinstance(value, list):
        return [build(slot.kind, item, (*path, i), problems) for i, item in enumerate(value)]
    if shape == "dict" and isinstance(value, Mapping):
        return {key: build(slot.kind, item, (*path, key), problems) for key, item in value.items()}
    wanted = "a list" if shape == "list" else "a table"
    problems.append(Problem(path, f"expected {wanted} of {slot.kind}, not {value!r}."))
    return None


def _check_plain(annotation: Any, value: Any, path: Path, problems: list[Problem]) -> Any:
    try:
        adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False))
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation):
        return value
    try:
        # Strict JSON rules are just what TOML means: lists may be tuples and strings paths, but "3" is no number.
        return adapter.validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        # A union reports every branch; the shortest location is the one nearest to what was written.
        # One that wants an object of Python's own (a Tensor, for Kornia) is nothing that a recipe could hold.
        errors = [item for item in error.errors() if item["type"] not in ("needs_python_object", "is_instance_of")]
        first = min(errors or error.errors(), key=lambda item: len(item["loc"]))
        inner = tuple(key for key in first["loc"] if isinstance(key, int))
        reason = first["msg"][0].lower() + first["msg"][1:]
        problems.append(
            Problem(path, f"{_shown(value)} does not fit{_at(inner)}: {reason}.{_nearest_literal(annotation, value)}")
        )
        return None


def _at(indices: tuple[int, ...]) -> str:
    return f" (item {indices[0] + 1})" if indices else ""


def _shown(value: object) -> str:
    return json.dumps(value, default=str) if not isinstance(value, str) else repr(value)


def _nearest_literal(annotation: Any, value: object) -> str:
    literals = [item for item in typing.get_args(annotation) if isinstance(item, str)]
    return (
        nearest(value, literals) if isinstance(value, str) and typing.get_origin(annotation) is typing.Literal else ""
    )


def describe(kind: str, part: Part) -> dict[str, Any]:
    """Return the table that makes this part again, every default filled in: what `resolved.json` records."""
    chosen = filled(part)
    table: dict[str, Any] = {"name": _name(kind, part)}
    for name, parameter in choices(base(part), supplied_to(kind)).items():
        value = chosen.get(name, parameter.default)
        table[name] = describe_value(parameter.annotation, value)
    return table


def describe_value(annotation: Any, value: Any) -> Any:
    """Return a parameter's value as JSON can hold it, parts described in their turn."""
    found = slot_of(annotation)
    if found and value is not None:
        shape, slot = found
        if shape == "one":
            return describe(slot.kind, value)
        if shape == "list":
            return [describe(slot.kind, item) for item in value]
        return {key: describe(slot.kind, item) for key, item in value.items()}
    if isinstance(value, Mapping):
        return {str(key): describe_value(Any, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [describe_value(Any, item) for item in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _name(kind: str, part: Part) -> str:
    name = plugins.name_of(kind, base(part))
    if name is None:
        raise PluginError(f"{base(part)!r} is used as a {plugins.singular(kind)} but no package registers it.")
    return name
