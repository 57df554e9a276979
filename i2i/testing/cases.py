"""Which checks there are for a package: every part that it registers with every check of its kind, each by its name."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from i2i import build, plugins
from i2i.build import Part, Problem, base, filled, name_of
from i2i.contracts import SUPPLIED
from i2i.errors import I2IError, PluginError, UsageError, nearest, told
from i2i.testing import augmentation, every, methods, metrics, networks, objectives, sources, tasks, trackers
from i2i.testing.supply import Check

Settings = Mapping[str, Mapping[str, Any]]
Parts = Mapping[str, Sequence[Part]]

_CHECKS: dict[str, list[Check]] = {
    "generators": networks.GENERATORS,
    "discriminators": networks.DISCRIMINATORS,
    "losses": objectives.LOSSES,
    "adversarial": objectives.ADVERSARIAL,
    "tasks": tasks.CHECKS,
    "methods": methods.CHECKS,
    "sources": sources.CHECKS,
    "metrics": metrics.CHECKS,
    "trackers": trackers.CHECKS,
    "augmentations": augmentation.AUGMENTATIONS,
    "preparations": augmentation.PREPARATIONS,
}


def checks(kind: str) -> list[Check]:
    """Return the checks of a kind, each a function of a part's constructor; those of every kind come first."""
    return [*(_of_kind(kind, check) for check in every.checks(kind)), *_CHECKS.get(kind, [])]


def _of_kind(kind: str, check: Callable[[str, Part], None]) -> Check:
    @functools.wraps(check)
    def bound(part: Part) -> None:
        check(kind, part)

    return bound


@dataclass(frozen=True)
class Case:
    """One check of one part. part: its constructor, with the parameters that it is made with."""

    kind: str
    name: str
    check: Check
    part: Part

    @property
    def id(self) -> str:
        """The case's name in reports, and the key of `expected`: generators-dilated-generator_keeps_the_size."""
        return f"{self.kind}-{self.name}-{self.check.__name__}"

    def __call__(self) -> None:
        """Run the check; AssertionError says in a sentence what the part does wrong, or how it failed."""
        with _generators_kept():
            torch.manual_seed(0)
            try:
                self.check(self.part)
            except I2IError as error:
                raise AssertionError(str(error)) from error
            except AssertionError:
                raise
            except (Exception, SystemExit) as error:  # whatever a stranger's part may raise
                raise AssertionError(" ".join(f"{name_of(self.part)} fails: {told(error)}".split())) from error


@contextmanager
def _generators_kept() -> Iterator[None]:
    """Leave Python's, numpy's and torch's random generators as they were."""
    before = plugins.random_states()
    try:
        yield
    finally:
        for _, put_back in before.values():
            put_back()


def cases(package: str | Parts, *, settings: Settings | None = None) -> list[Case]:
    """Return the checks of every part that an installed distribution registers, or of the parts themselves by kind.

    settings: what to make a part with, by "kind.name": {"generators.unet": {"depth": 3}}, as a recipe has it (a part in
    a slot is a name, a table, or a constructor). What the run supplies may be named as well, where the usual does not
    suit a part: {"methods.spade": {"task": Labels(classes=5)}}.

    UsageError where nothing of that name is installed, or `settings` name a part or a parameter that is not there.
    A part that cannot be imported is one case, which fails.
    """
    settings = settings or {}
    parts = _registered(package) if isinstance(package, str) else _given(package)
    known = [f"{kind}.{name}" for kind, name, _ in parts]
    for key in settings:
        if key not in known:
            raise UsageError(f"settings: there is no part {key!r}.{nearest(key, known)} Known: {', '.join(known)}.")
    found = []
    for kind, name, part in parts:
        if isinstance(part, PluginError):
            found.append(Case(kind, name, part_is_imported, _Broken(part)))
            continue
        made = _filled_in(kind, name, part, settings.get(f"{kind}.{name}", {}))
        found += [Case(kind, name, check, made) for check in checks(kind)]
    return found


def part_is_imported(part: Part) -> None:
    """What is registered is there."""
    part()


@dataclass(frozen=True)
class _Broken:
    """Stands where a part could not be imported."""

    error: PluginError

    def __call__(self) -> None:
        raise self.error


def _registered(package: str) -> list[tuple[str, str, Part | PluginError]]:
    wanted = plugins.normalised(package)
    claims = plugins.scan().parts()
    packages = sorted({claim.package for claim in claims})
    if wanted not in packages:
        unread = [str(fault) for fault in plugins.scan().problems if fault.package == wanted]
        raise UsageError(
            f"no installed package {package!r} registers a part.{nearest(wanted, packages)} "
            f"Those that do: {', '.join(packages)}. Install yours first: pip install -e FOLDER (again, when its entry "
            f"points have changed). {' '.join(unread)}".rstrip()
        )
    own = sorted((claim.kind, claim.name) for claim in claims if claim.package == wanted)
    return [(kind, name, _loaded(kind, name)) for kind, name in own]


def _loaded(kind: str, name: str) -> Part | PluginError:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a loud import, which is for `importing_is_quiet` to tell
            return plugins.load(kind, name)
    except PluginError as error:
        return error


def _given(parts: Parts) -> list[tuple[str, str, Part | PluginError]]:
    return [(kind, _described(part), part) for kind, several in parts.items() for part in several]


def _described(part: Part) -> str:
    shown = ", ".join(f"{key}={getattr(value, '__name__', value)}" for key, value in filled(part).items())
    return f"{name_of(part)}({shown})" if shown else name_of(part)


def _filled_in(kind: str, name: str, part: Part, settings: Mapping[str, Any]) -> Part:
    """Return the part with its settings filled in; beside it, what the run supplies and the key of its settings."""
    supplied = {key: settings[key] for key in SUPPLIED.get(kind, ()) if key in settings}
    chosen = {key: value for key, value in settings.items() if key not in supplied}
    known = build.choices(base(part), build.supplied_to(kind)) if chosen else {}
    # A constructor, for a slot, is checked already.
    ready = {key: value for key, value in chosen.items() if callable(value) and key in known}
    table = {key: value for key, value in chosen.items() if key not in ready}
    problems: list[Problem] = []
    arguments = build.check(base(part), table, (), problems, supplied=build.supplied_to(kind)) if table else {}
    # That a required parameter is missing is for a check to tell.
    if wrong := [problem for problem in problems if problem.path]:
        raise UsageError("\n".join(f"settings: {kind}.{name}.{problem}" for problem in wrong))
    made = functools.partial(part, **{**arguments, **ready})
    vars(made).update(supplied=supplied, key=f"{kind}.{name}")
    return made


def parametrize(
    package: str | Parts, *, settings: Settings | None = None, expected: Mapping[str, str] | None = None
) -> Callable[[Any], Any]:
    """Return the pytest decorator that gives `def test_conforms(case): case()` every check, each with its own id.

    package, settings: as of `cases`. expected: checks that fail, by `Case.id`, each with the reason; one that passes
    after all is a failure. UsageError for an id that there is not.
    """
    import pytest

    expected = expected or {}
    found = cases(package, settings=settings)
    ids = [case.id for case in found]
    for key in expected:
        if key not in ids:
            raise UsageError(
                f"expected: there is no check {key!r}.{nearest(key, ids)} pytest --collect-only lists all."
            )

    def marks(case: Case) -> Iterator[Any]:
        if case.id in expected:
            yield pytest.mark.xfail(reason=expected[case.id], strict=True, raises=AssertionError)

    return pytest.mark.parametrize("case", [pytest.param(c, id=c.id, marks=[*marks(c)]) for c in found])
