"""The verbs of plugins: what is installed, what is wrong with it, a new one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from i2i.cli.app import GROUPS, AsJson, print_json, print_table
from i2i.errors import PluginError, UsageError, nearest

if TYPE_CHECKING:
    from i2i.plugins import Fault
    from i2i.testing import Case


class Listing(TyperGroup):
    """A group that lists where no verb of its own is called: `i2i plugins`, `i2i plugins '*unet*'`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the verb `list` before what begins with no verb."""
        known = {*self.commands, *ctx.help_option_names}
        if args and args[0] in known:
            return super().parse_args(ctx, args)
        words = [word for word in args if not word.startswith("-")]
        if len(words) > 1:
            if words[0] in self.commands:
                raise UsageError(f"options come after the verb: i2i plugins {words[0]} ...")
            raise UsageError(
                f"i2i plugins has no verb {words[0]!r}.{nearest(words[0], self.commands)} Verbs: "
                f"{', '.join(sorted(self.commands))}. To list parts takes one pattern, in quotes where it has a *."
            )
        return super().parse_args(ctx, ["list", *args])


group = typer.Typer(cls=Listing, help=GROUPS["plugins"], rich_markup_mode=None)


@group.command("list")
def plugins_list(
    filter: Annotated[
        str | None,
        typer.Argument(help="A kind, name or package; * stands for anything, as in '*unet*'.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the parts: kind, name, package, version and where it lives. This is what `i2i plugins` does by itself."""
    from i2i import plugins as registry

    verbs = [verb.name or getattr(verb.callback, "__name__", "") for verb in group.registered_commands]
    rows = registry.matching(filter, verbs)
    problems = registry.scan().problems
    if as_json:
        print_json({"parts": [vars(row) for row in rows], "problems": [str(problem) for problem in problems]})
        return
    print_table([(p.kind, p.name, f"{p.package} {p.version}", p.target) for p in rows])
    _tell(problems)


@group.command()
def show(
    name: Annotated[str, typer.Argument(help="A name, or KIND/NAME where two kinds have it: losses/l1.")],
    as_json: AsJson = False,
) -> None:
    """Say everything known of one part: docstring, parameters, package, file and line, paper."""
    from i2i import plugins as registry

    plugin = registry.named(name)
    from i2i.describe import describe, text

    description = describe(plugin)
    if as_json:
        from dataclasses import asdict

        print_json(asdict(description))
    else:
        typer.echo(text(description))


@group.command()
def new(
    name: Annotated[str, typer.Argument(help="What recipes will call the part: soft_edges.")],
    kind: Annotated[str, typer.Option(help="loss, generator, discriminator, adversarial, task, method, source, ...")],
    into: Annotated[Path, typer.Option(help="The folder in which the package's folder is made.")] = Path("."),
    as_json: AsJson = False,
) -> None:
    """Write a package with one part of a kind: it can be installed, tested and trained with at once."""
    from i2i import scaffold

    package = scaffold.write(name, kind, into)
    if as_json:
        print_json({**vars(package), "files": [str(path) for path in package.files]})
        return
    typer.echo(f"written: {package.folder} ({len(package.files)} files), with the {package.kind} {package.name!r}")
    for command in package.next_steps:
        typer.echo(f"  {command}")


@group.command()
def check(
    package: Annotated[str, typer.Argument(help="An installed package that registers parts.")],
    settings: Annotated[
        list[str],
        typer.Option("--set", metavar="KIND.NAME.KEY=VALUE", help="What to make a part with; repeatable."),
    ] = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Put every part of an installed package through the checks of its kind."""
    from i2i import doctor as metadata
    from i2i import testing

    cases = testing.cases(package, settings=_made_with(settings))
    problems, _ = metadata.read([package])
    if not as_json:
        _tell(problems)
    outcomes = []
    for outcome in _outcomes(cases):
        outcomes.append(outcome)
        if not as_json:
            reason = f": {outcome.reason}" if outcome.word == FAILED else ""
            typer.echo(f"{outcome.word:7} {outcome.case.id}{reason}")
    if as_json:
        told = [str(problem) for problem in problems]
        print_json({"package": package, "cases": [outcome.as_json() for outcome in outcomes], "problems": told})
    if slow := _slowest(outcomes):
        typer.echo(slow, err=True)
    if failed := _failed(outcomes):
        raise PluginError(f"{package}: {failed}.")
    if not as_json:
        typer.echo(f"{package}: all {len(outcomes)} checks passed")


PASSED, FAILED, NOT_RUN = "passed", "FAILED", "not run"
LONG = 60
"""Seconds for the checks of a package, after which it is told what took them."""


class Outcome(NamedTuple):
    """What came of a check, in how many seconds; reason: why it did not pass."""

    case: Case
    word: str
    reason: str | None
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return what scripts read."""
        case = self.case
        told = {"id": case.id, "kind": case.kind, "name": case.name, "reason": self.reason}
        return {**told, "passed": self.word == PASSED}


def _outcomes(cases: Iterable[Case]) -> Iterator[Outcome]:
    """Run the checks; those of a part that cannot be made would all fail for that one cause, and are left out."""
    not_made = set()
    for case in cases:
        part = (case.kind, case.name)
        if part in not_made:
            yield Outcome(case, NOT_RUN, "not run: the part cannot be made", 0.0)
            continue
        began = perf_counter()
        with redirect_stdout(sys.stderr):  # whatever a part prints is none of our output
            reason = _failure(case)
        if reason and case.check.__name__ == "can_be_made":
            not_made.add(part)
        yield Outcome(case, FAILED if reason else PASSED, reason, perf_counter() - began)


def _failed(outcomes: Iterable[Outcome]) -> str | None:
    words = [outcome.word for outcome in outcomes]
    if FAILED not in words:
        return None
    rest = f", {words.count(NOT_RUN)} were not run" if NOT_RUN in words else ""
    return f"{words.count(FAILED)} of {len(words)} checks failed{rest}"


def _slowest(outcomes: Iterable[Outcome]) -> str | None:
    """Return a sentence that names the part that took longest, where all took long."""
    seconds: dict[str, float] = {}
    for outcome in outcomes:
        name = f"{outcome.case.kind}.{outcome.case.name}"
        if outcome.case.check.__name__ != "importing_is_quiet":  # which imports all of the package, at its first part
            seconds[name] = seconds.get(name, 0.0) + outcome.seconds
    total = sum(seconds.values())
    if total <= LONG:
        return None
    name = max(seconds, key=seconds.__getitem__)
    return (
        f"the checks took {total:.0f} s, of which {name} {seconds[name]:.0f} s: "
        f"--set {name}.KEY=VALUE makes it smaller, and `i2i plugins show {name.replace('.', '/', 1)}` has its keys."
    )


def _made_with(settings: list[str]) -> dict[str, dict[str, Any]]:
    """Turn KIND.NAME.KEY=VALUE into what the checks take: a table by KIND.NAME."""
    from i2i import recipe

    tables: dict[str, Any] = {}
    for setting in settings:
        if setting.partition("=")[0].count(".") < 2:
            raise UsageError(f"--set {setting}: expected KIND.NAME.KEY=VALUE, such as --set generators.unet.depth=3")
        recipe.override(tables, setting)
    return {f"{kind}.{name}": table for kind, names in tables.items() for name, table in names.items()}


def _failure(case: Callable[[], None]) -> str | None:
    try:
        case()
    except AssertionError as error:
        return str(error) or "an assertion failed without a word"
    return None


@group.command()
def doctor(
    packages: Annotated[list[str] | None, typer.Argument(help="Only these.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Look for what is wrong with the installed packages, and say what mends it."""
    from i2i import doctor as verb
    from i2i import plugins as registry

    faults = verb.examine(packages or [])
    parts = registry.scan().parts()
    names = packages or sorted({part.package for part in parts})
    if as_json:
        print_json({"packages": names, "problems": [vars(fault) for fault in faults]})
    elif not faults:
        typer.echo(f"all is well with {', '.join(names)}")
        if packages:
            verbs = ", ".join(f"`i2i plugins check {name}`" for name in packages)
            typer.echo(f"its parts themselves are put to the test by {verbs}")
    for fault in [] if as_json else faults:
        typer.echo(f"{fault.package}: {fault.problem}\n    {fault.remedy}")
    if faults:
        raise PluginError(f"{len(faults)} thing(s) to mend in the installed packages.")


@group.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def install(
    arguments: Annotated[
        list[str], typer.Argument(metavar="ARGUMENTS...", help="What pip install takes: -e FOLDER, NAME, a URL.")
    ],
    as_json: AsJson = False,
) -> None:
    """Install packages with pip into the environment that i2i itself runs in, and say which parts are new."""
    from i2i import install as verb
    from i2i import plugins as registry

    new_parts = verb.install(arguments, quiet_stdout=as_json)
    problems = registry.scan().problems
    if as_json:
        print_json({"new": [vars(part) for part in new_parts], "problems": [str(problem) for problem in problems]})
        return
    if new_parts:
        print_table([("new:", p.kind, p.name, f"{p.package} {p.version}", p.target) for p in new_parts])
    else:
        typer.echo("no new parts.")
    _tell(problems)


def _tell(problems: Iterable[Fault]) -> None:
    for problem in problems:
        typer.echo(f"problem: {problem}", err=True)
