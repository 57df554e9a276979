"""A registered part in words: its docstring, its parameters as a recipe takes them, where it lives, its papers."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
import sys
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import annotated_types as bounds

from i2i import build, plugins
from i2i.build import Part
from i2i.contracts import SUPPLIED
from i2i.errors import PluginError
from i2i.plugins import Plugin

WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path", Any: "anything"}
# "(Isola et al. 2017, section 3.1)", or the same in running text, where only several authors are sure to be some.
PAPER = re.compile(
    r"\(([A-Z][a-z][^()]*(?<![\d.])(?:19|20)\d\d\b[^()]*)\)"
    r"|([A-Z][\w'-]+ (?:et al\.|and [A-Z][\w'-]+),? \(?(?:19|20)\d\d\)?(?:, section[s]? [\d., and]*\d)?)"
)


@dataclass(frozen=True)
class Parameter:
    """One parameter as a recipe takes it, in words; default: None where there is none, and it must be set."""

    name: str
    type: str
    default: str | None


@dataclass(frozen=True)
class Description:
    """What is to be said of a part. supplied: what the run gives it; line: None where the source is not Python."""

    kind: str
    name: str
    package: str
    version: str
    target: str
    file: str | None
    line: int | None
    papers: list[str]
    supplied: tuple[str, ...]
    parameters: list[Parameter]
    doc: str


def describe(plugin: Plugin) -> Description:
    """Import a part and describe it; PluginError when it cannot be imported, or its signature cannot be read."""
    part = plugins.load(plugin.kind, plugin.name)
    if plugin.kind not in SUPPLIED:
        _learn(plugin.kind)
    file, line = _place(part)
    doc = inspect.cleandoc(part.__doc__ or "")
    parameters = [_parameter(p) for p in build.choices(part, build.supplied_to(plugin.kind)).values()]
    return Description(
        kind=plugin.kind,
        name=plugin.name,
        package=plugin.package,
        version=plugin.version,
        target=plugin.target,
        file=file,
        line=line,
        papers=papers(f"{doc}\n{sys.modules[part.__module__].__doc__ or ''}"),
        supplied=SUPPLIED.get(plugin.kind, ()),
        parameters=parameters,
        doc=doc,
    )


def _learn(kind: str) -> None:
    """Import what may hold the slot of a package's own kind, which says what the run supplies."""
    packages = {claim.package for claim in plugins.scan().parts() if claim.kind == kind}
    for claim in plugins.scan().parts():
        if claim.package in packages and kind not in SUPPLIED:
            with contextlib.suppress(PluginError):  # another part's fault
                plugins.load(claim.kind, claim.name)


def _place(part: Part) -> tuple[str | None, int | None]:
    try:
        return inspect.getsourcefile(part), inspect.getsourcelines(part)[1]
    except (TypeError, OSError):
        return None, None


def papers(doc: str) -> list[str]:
    """Return the papers that a docstring names in brackets, with their sections, each once."""
    return list(dict.fromkeys(one or other for one, other in PAPER.findall(" ".join(doc.split()))))


def _parameter(parameter: inspect.Parameter) -> Parameter:
    default = None if parameter.default is parameter.empty else value(parameter.annotation, parameter.default)
    return Parameter(parameter.name, type_(parameter.annotation), default)


def type_(annotation: Any) -> str:
    """Say what values an annotation takes: Annotated[int, Ge(1)] is a "whole number, at least 1"."""
    if found := build.slot_of(annotation):
        shape, slot = found
        kind = plugins.singular(slot.kind)
        article = "an" if kind[0] in "aeiou" else "a"
        return {"one": f"{article} {kind}", "list": f"list, each {article} {kind}"}.get(
            shape, f"table, each {article} {kind}"
        )
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        limits = [words for item in arguments[1:] for words in _limits(item)]
        return ", ".join([type_(arguments[0]), *([" and ".join(limits)] if limits else [])])
    if origin is Literal:
        return _either([_toml(item) for item in arguments])
    if origin in (Union, types.UnionType):
        return _either([type_(item) for item in arguments if item is not types.NoneType])
    if origin is tuple and Ellipsis not in arguments:
        return f"list of {len(arguments)}: {'; '.join(map(type_, arguments))}"
    if origin is not None and arguments:
        return f"{'table' if len(arguments) == 2 and origin is not tuple else 'list'}, each a {_bare(arguments)}"
    return WORDS.get(annotation) or str(getattr(annotation, "__name__", annotation))


def _bare(arguments: tuple[Any, ...]) -> str:
    return type_(next(item for item in reversed(arguments) if item is not Ellipsis))


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _limits(item: object) -> list[str]:
    """Say what a bound of an annotation demands; pydantic's Field holds several."""
    if isinstance(item, bounds.Interval) and item.ge is not None and item.le is not None:
        return [f"from {item.ge} to {item.le}"]
    if isinstance(item, bounds.GroupedMetadata):
        return [words for inner in item for words in _limits(inner)]
    for kind, key, words in (
        (bounds.Ge, "ge", "at least {}"),
        (bounds.Gt, "gt", "more than {}"),
        (bounds.Le, "le", "at most {}"),
        (bounds.Lt, "lt", "less than {}"),
        (bounds.MultipleOf, "multiple_of", "a multiple of {}"),
        (bounds.MinLen, "min_length", "of at least {} items"),
        (bounds.MaxLen, "max_length", "of at most {} items"),
    ):
        if isinstance(item, kind):
            return [words.format(getattr(item, key))]
    return [words for inner in getattr(item, "metadata", ()) for words in _limits(inner)]


def value(annotation: Any, default: Any) -> str:
    """Write a default as a recipe would; a part by its name, with what is filled in."""
    found = build.slot_of(annotation)
    if found and callable(default):
        name = plugins.name_of(found[1].kind, build.base(default)) or build.name_of(default)
        filled = ", ".join(f"{key} = {_toml(item)}" for key, item in build.filled(default).items())
        return f"{name} with {filled}" if filled else name
    return _toml(default)


def _toml(item: Any) -> str:
    if item is None:
        return "none"
    if isinstance(item, list | tuple):
        return f"[{', '.join(map(_toml, item))}]"
    if isinstance(item, dict):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in item.items()) + "}"
    if isinstance(item, bool | int | float):
        return str(item).lower()
    return json.dumps(str(getattr(item, "__name__", item)), ensure_ascii=False)


def text(shown: Description) -> str:
    """Lay a description out for a terminal."""
    place = f"{shown.file}:{shown.line}" if shown.file else "not written in Python"
    lines = [f"{plugins.singular(shown.kind)} {shown.name}", f"  {shown.package} {shown.version}, {shown.target}"]
    lines += [
        f"  {place}",
        *(f"  paper: {paper}" for paper in shown.papers),
        "",
        shown.doc or "It has no docstring.",
        "",
    ]
    if shown.supplied:
        lines.append(f"given by the run: {', '.join(shown.supplied)}")
    if not shown.parameters:
        return "\n".join([*lines, "It takes no parameters."])
    width = max(len(parameter.name) for parameter in shown.parameters)
    for parameter in shown.parameters:
        known = "must be set" if parameter.default is None else f"default {parameter.default}"
        lines.append(f"{parameter.name:{width}}  {parameter.type} ({known})")
    return "\n".join(lines)
