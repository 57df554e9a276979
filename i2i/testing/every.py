"""The checks of every part, of whatever kind: of its constructor, and of the module that it comes from."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError, PydanticUndefinedAnnotation

from i2i import build, quiet
from i2i.build import Part, Problem, base, filled, name_of
from i2i.contracts import SUPPLIED
from i2i.errors import I2IError
from i2i.testing.supply import asked_for, given, made_for

FOREIGN = ("augmentations", "preparations")
"""Kinds whose parts are classes of a library: their authors' habits with parameters are not ours to judge."""


def checks(kind: str) -> list[Callable[[str, Part], None]]:
    """Return the checks of every part; they are given its kind as well."""
    if kind in FOREIGN:
        return [importing_is_quiet, takes_no_kwargs, is_documented, can_be_made]
    own = [takes_no_kwargs, parameters_are_keywords, parameters_are_typed]
    return [importing_is_quiet, *own, is_documented, can_be_made]


def importing_is_quiet(kind: str, part: Part) -> None:
    """Importing a part's module prints nothing, draws no random number and starts no thread."""
    problems = quiet.problems(base(part))
    assert not problems, f"importing {'; '.join(problems)}: a run imports every part that it names"


def takes_no_kwargs(kind: str, part: Part) -> None:
    """Every parameter that a user may set has a name of its own: a recipe can be checked against it."""
    parameters = _signature(part).values()
    swallowing = [p.name for p in parameters if p.kind is p.VAR_KEYWORD]
    assert not swallowing, f"{name_of(part)} takes **{swallowing[0]}: a misspelt key would be swallowed in silence"
    listing = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
    assert not listing, f"{name_of(part)} takes *{listing[0]}, which no recipe can name: write a bare * in its place"


def parameters_are_keywords(kind: str, part: Part) -> None:
    """What the run supplies comes first, by position; what the user chooses is keyword-only."""
    parameters = list(_signature(part).values())
    count = build.supplied_to(kind)
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    assert len(positional) >= count, (
        f"{name_of(part)} takes {len(positional)} positional parameters, and {count} are supplied to one of {kind}"
    )
    surplus = [p.name for p in positional[count:]]
    assert not surplus, (
        f"{name_of(part)} takes {surplus[0]!r} by position, where a later supplied one might land: "
        "put a bare * before it"
    )


def parameters_are_typed(kind: str, part: Part) -> None:
    """Each parameter has a type that a recipe's value can be checked against, and that its own default fits."""
    written = _signature(part)
    for name, parameter in build.choices(base(part), build.supplied_to(kind)).items():
        told, annotation = written[name].annotation, parameter.annotation
        assert told is not parameter.empty, f"{name!r} of {name_of(part)} has no type: a value could not be checked"
        assert annotation is not Any, (
            f"the type of {name!r} is {told!r}, which cannot be evaluated, or says nothing: "
            "import its name outside of TYPE_CHECKING"
        )
        if build.slot_of(annotation):
            continue
        assert _fits_in_a_recipe(annotation), f"the type of {name!r} is {told!r}, and no recipe can hold such a value"
        if parameter.default is not parameter.empty:
            problems: list[Problem] = []
            build.check(base(part), {name: parameter.default}, (), problems, supplied=build.supplied_to(kind))
            wrong = [problem.message for problem in problems if problem.path]
            assert not wrong, f"the default of {name!r} is not of its own type: {wrong[0]}"


def _fits_in_a_recipe(annotation: Any) -> bool:
    try:
        TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True)).json_schema()
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticInvalidForJsonSchema):
        return False
    return True


def is_documented(kind: str, part: Part) -> None:
    """The class or function has a docstring of its own: it is what `i2i plugins show` shows."""
    text = base(part).__doc__ or ""
    generated = text.startswith(f"{name_of(part)}(")  # as dataclasses do
    assert text.strip() and not generated, (
        f"{name_of(part)} has no docstring: say what it makes of what, and its source"
    )


def can_be_made(kind: str, part: Part) -> None:
    """The defaults make one; a parameter that must be set is in the settings."""
    key = getattr(part, "key", f"{kind}.{name_of(part)}")
    required = [
        name
        for name, p in build.choices(base(part), build.supplied_to(kind)).items()
        if p.default is p.empty and name not in filled(part)
    ]
    assert not required, (
        f"{name_of(part)} cannot be made without {', '.join(map(repr, required))}: give a default, or tell the checks: "
        f'settings={{"{key}": {{"{required[0]}": ...}}}}, or --set {key}.{required[0]}=...'
    )
    try:
        _make(kind, part)
    except I2IError as error:
        hint = f'The checks may be told what suits it: settings={{"{key}": {{...}}}}'
        raise AssertionError(f"{str(error).rstrip('.')}. {hint}") from error


def _make(kind: str, part: Part) -> None:
    if kind == "methods":
        made_for(part)
    elif kind == "sources":
        asked_for(part)
    elif kind == "trackers":
        with tempfile.TemporaryDirectory() as folder:
            part(Path(folder)).close()  # it may hold a file open
    else:
        usual = {"in_channels": 6 if kind == "discriminators" else 3, "out_channels": 3}
        supplied = [given(part, name, usual.get(name)) for name in SUPPLIED.get(kind, ())]
        if None not in supplied:  # a kind of the package's own may be supplied what only its settings can name
            part(*supplied)


def _signature(part: Part) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(base(part)).parameters)
    except (TypeError, ValueError, NameError) as error:
        raise AssertionError(f"the signature of {name_of(part)} cannot be read: {error}") from error
