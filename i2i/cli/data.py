"""The verbs of public data sets: list them, get one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from i2i.cli.app import GROUPS, AsJson, print_json, terminal

group = typer.Typer(help=GROUPS["data"], no_args_is_help=True, rich_markup_mode=None)


@group.command("list")
def data_list(
    name: Annotated[str | None, typer.Argument(help="Everything known of this one.", show_default=False)] = None,
    into: Annotated[Path, typer.Option(help="The folder that the lines for a recipe shall name.")] = Path("data"),
    as_json: AsJson = False,
) -> None:
    """List the public data sets, or say everything known of one."""
    from dataclasses import asdict

    from i2i import datasets

    sets = [datasets.find(name)] if name else list(datasets.catalogue().values())
    if as_json:
        print_json({"datasets": [{**asdict(dataset), "settings": dataset.settings(into)} for dataset in sets]})
    else:
        typer.echo(datasets.describe(sets[0], into) if name else datasets.listing())


@group.command("get")
def data_get(
    name: Annotated[str, typer.Argument(help="A name of `i2i data list`.")],
    into: Annotated[Path, typer.Option(help="The folder that holds the data sets.")] = Path("data"),
    yes: Annotated[bool, typer.Option("--yes", help="Agree to the terms without being asked.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a public data set: resumed, verified and unpacked; its size and terms are shown before."""
    from i2i import datasets

    with datasets.Display(terminal(stderr=as_json)) as display:
        folder = datasets.get(name, into, yes=yes, display=display)
    if as_json:
        print_json({"name": name, "folder": folder, "settings": datasets.find(name).settings(into)})
