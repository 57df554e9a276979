"""The verbs of data sets: list the public ones, get one, check the pictures of a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from i2i.cli.app import GROUPS, AsJson, Settings, print_json, terminal
from i2i.errors import SomeFailed, UsageError

if TYPE_CHECKING:
    from i2i.audit import Audit

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


@group.command("check")
def data_check(
    recipe: Annotated[Path, typer.Argument(help="A TOML recipe.")],
    settings: Settings = [],  # noqa: B006
    sheet: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Write a contact sheet of the worst.")] = None,
    rows: Annotated[int, typer.Option(help="Findings in the sheet, and lines a kind in the table.", min=1)] = 12,
    as_json: AsJson = False,
) -> None:
    """Find what is wrong with a recipe's pictures before training: exit code 1 where something is, 3 without any."""
    from i2i.recipe import read

    plan = read(recipe, settings)
    from i2i import audit, images
    from i2i.display import each

    if sheet and sheet.suffix.lower() not in images.EXTENSIONS:
        raise UsageError(f"--sheet {sheet}: is no name of a picture. Give one that ends in .png.")

    def follow(split: str, seen: Iterator[Any], count: int) -> Iterable[Any]:
        return each(terminal(stderr=True), seen, count)

    found = audit.audit(plan, follow)
    if sheet:
        if (picture := audit.sheet(found, rows)) is None:
            found.notes.append(f"--sheet: {sheet} was not written: nothing was found that a picture could show.")
        else:
            images.write(sheet, picture, overwrite=True)
    counts = {split: len(samples) for split, samples in found.splits.items()}
    if as_json:
        findings = [vars(finding) for finding in found.findings]
        print_json({"samples": counts, "notes": found.notes, "findings": findings})
    else:
        _print_findings(found, rows)
        typer.echo("looked at: " + ", ".join(f"{count:,} samples of [{split}]" for split, count in counts.items()))
        for note in found.notes:
            typer.echo(note)
    if found.findings:
        kinds = ", ".join(f"{kind} {len(those)}" for kind, those in found.by_kind().items())
        raise SomeFailed(f"{recipe}: {len(found.findings)} findings ({kinds}).")


def _print_findings(found: Audit, rows: int) -> None:
    """Print a table of the worst of every kind."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from i2i.audit import KINDS

    for kind, those in found.by_kind().items():
        more = f" (the worst {rows}; --json names all)" if len(those) > rows else ""
        table = Table(title=f"{kind}: {len(those)}, {KINDS[kind]}{more}", box=box.SIMPLE, title_justify="left")
        for head in ("where", "what", "files"):
            table.add_column(head, overflow="fold")
        for finding in those[:rows]:
            place = finding.split if finding.sample is None else f"{finding.split} {finding.sample}"
            files = "\n".join(finding.files) or "all samples"
            table.add_row(*(Text(cell) for cell in (place, finding.text, files)))
        terminal().print(table)
