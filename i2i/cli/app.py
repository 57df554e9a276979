"""The application that every verb joins, and what verbs share: options, tables and JSON on the terminal."""

from __future__ import annotations

import importlib
import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

GROUPS = {
    "plugins": "Parts: list those installed, show one, write, check and mend packages.",
    "data": "Data sets: list the public ones, get one, check the pictures of a recipe.",
}
"""The verbs that have verbs of their own, in a module of the same name, which is imported when one is called."""


class Verbs(TyperGroup):
    """The verbs; a group is made when it is called, for making all of them is a tenth of a start."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # typer has a click of its own, or not
        """Put what a group's module holds in the place of its name."""
        name, command, rest = super().resolve_command(ctx, args)
        if name == "train":
            rest = _with_latest(rest)
        if name in GROUPS:
            command = get_group(importlib.import_module(f"i2i.cli.{name}").group)
        return name, command, rest


def _with_latest(words: Sequence[str]) -> list[str]:
    """Let `--resume` without a run mean the latest: typer has no option whose value may be left out."""
    found: list[str] = []
    for word, following in itertools.pairwise([*words, "-"]):
        found += ["--resume", "latest"] if word == "--resume" and following.startswith("-") else [word]
    return found


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    rich_markup_mode=None,
)

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Runs = Annotated[Path, typer.Option(help="The folder that holds the runs.")]
Settings = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe's key; repeatable.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def terminal(*, stderr: bool = False, quiet: bool = False):  # type: ignore[no-untyped-def]
    """Return a console that prints what it is given, without pictures for names."""
    from rich.console import Console

    return Console(stderr=stderr, emoji=False, quiet=quiet)  # line 100 would print as a picture of 100 points


def _version(wanted: bool) -> None:
    if wanted:
        from i2i import __version__

        typer.echo(f"i2i {__version__}")
        raise typer.Exit


for _name, _help in GROUPS.items():
    app.add_typer(typer.Typer(help=_help), name=_name)


@app.callback()
def i2i(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Image-to-image translation: train a recipe, translate a folder."""
    warnings.formatwarning = _in_words


_as_python_does = warnings.formatwarning


def _in_words(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Write a warning about a package as a sentence; any other as Python does, with its place and line of code."""
    from i2i.plugins import PluginWarning

    if issubclass(category, PluginWarning):
        return f"warning: {message}\n"
    return _as_python_does(message, category, filename, lineno, line)


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns that line up."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_json(value: object) -> None:
    """Print a value as JSON, which is then all of stdout."""
    import json

    typer.echo(json.dumps(value, indent=2, default=str))
