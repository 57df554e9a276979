"""The verbs that begin with a recipe: train, check, ablate."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from i2i.cli.app import AsJson, Device, Runs, Settings, app, print_json, print_table, terminal
from i2i.errors import Elsewhere, SomeFailed, UsageError, sizes

if TYPE_CHECKING:
    from i2i.check import Summary


@app.command()
def train(
    recipe: Annotated[Path | None, typer.Argument(help="A TOML recipe.", show_default=False)] = None,
    settings: Settings = [],  # noqa: B006
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Go on with this run; without RUN, or latest: with the last unfinished one."),
    ] = None,
    runs: Runs = Path("runs"),
    device: Device = "auto",
    profile: Annotated[
        bool, typer.Option("--profile", help="Also write where the time of some steps goes: profile.html.")
    ] = False,
    deterministic: Annotated[
        bool,
        typer.Option("--deterministic", help="The same bits every time, on CUDA too, or a refusal."),
    ] = False,
    devices: Annotated[
        int | None,
        typer.Option(help="So many processes on this machine, one a device, that share each batch.", min=1),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a recipe, or go on with a run."""
    if recipe is not None and resume is not None:
        raise UsageError("give a recipe, or a run with --resume, not both: a run goes on with its own recipe.")
    if recipe is None and resume is None:
        raise UsageError("give a recipe to train (i2i train RECIPE) or a run to go on with (i2i train --resume).")
    if resume is not None and (settings or deterministic):
        what = "--set" if settings else "--deterministic"
        raise UsageError(f"{what} does not go with --resume: a run goes on with the recipe that it was started with.")
    plan = None
    if recipe is not None:
        from i2i.recipe import read

        plan = read(recipe, [*settings, *["train.deterministic=true"] * deterministic])
    if devices and devices > 1 and "WORLD_SIZE" not in os.environ:
        from i2i.launch import launch

        if code := launch(sys.argv[1:], devices):
            raise Elsewhere("", code)
        return
    from i2i import train as verb
    from i2i.checkpoint import unfinished_run
    from i2i.display import TrainDisplay
    from i2i.ranks import joined

    with joined(device) as (world, own), TrainDisplay(terminal(stderr=as_json, quiet=not world.leads)) as display:
        if plan is not None:
            run = verb.start(plan, runs=runs, device=own, display=display, profile=profile, world=world)
        elif resume is not None:
            if str(resume) == "latest":
                with world.as_one():
                    resume = unfinished_run(runs).path if world.leads else resume
                resume = Path(world.told(str(resume)))
            run = verb.resume(resume, device=own, display=display, profile=profile, world=world)
    if as_json and world.leads:
        print_json({"run": run.path, **run.result()})


@app.command()
def check(
    recipe: Annotated[Path, typer.Argument(help="A TOML recipe.")],
    settings: Settings = [],  # noqa: B006
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Compose a recipe without training it and print what will be built."""
    from i2i.recipe import read

    plan = read(recipe, settings)
    from i2i.check import summarise
    from i2i.compose import compose

    summary = summarise(compose(plan), device)
    if as_json:
        print_json(vars(summary))
        return

    held_out = f"{summary.held_out} held out" if summary.held_out else "none held out: no [validation], no measures"
    lines = {
        "recipe": summary.recipe,
        "samples": f"{summary.samples} to train, {held_out}",
        "length": f"{summary.steps} steps of batch {summary.batch}",
        "pictures": ", ".join(f"{name} {sizes(shape)}" for name, shape in summary.pictures.items()),
        "network input": sizes(summary.input),
        "network target": sizes(summary.target),
        **{f"player {name}": f"{count:,} parameters" for name, count in summary.parameters.items()},
        "memory of a step": _memory(summary),
        "device": summary.device,
        **summary.chosen,
    }
    for key, value in lines.items():
        typer.echo(f"{key + ':':18}{value}")


def _memory(summary: Summary) -> str:
    """Say what a step takes, and what helps where it is more than there is."""
    if summary.memory is None:
        return f"unknown: without numbers, a step raises {summary.unknown}"
    text = f"about {summary.memory / 2**20:,.0f} MiB"
    if summary.free is not None:
        text += f", {summary.free / 2**20:,.0f} MiB are free"
    if summary.remedies:
        text += ": too little. It takes " + ", ".join(
            f"{size / 2**20:,.0f} MiB with {settings}" for settings, size in summary.remedies.items()
        )
    return text


@app.command()
def ablate(
    file: Annotated[Path, typer.Argument(help="A TOML file: a base recipe, named variants, seeds.")],
    settings: Settings = [],  # noqa: B006
    runs: Runs = Path("runs"),
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Train the variants of a recipe, or what is missing of them, and print their table."""
    from i2i import ablate as verb
    from i2i.display import TrainDisplay

    with TrainDisplay(terminal(stderr=as_json)) as display:
        done = verb.ablate(file, runs=runs, settings=settings, device=device, display=display)
    if as_json:
        rows = [{"variant": row.name, "values": row.values, "paper": row.paper} for row in done.rows]
        print_json({"rows": rows, "failed": done.failed})
    else:
        head, lines = verb.table(done.rows)
        print_table([head, *lines])
        typer.echo(f"written: {done.folder / 'table.md'}, table.csv, plot.svg, grid.png")
    if done.failed:
        raise SomeFailed("\n".join(f"{name}: {reason}" for name, reason in done.failed.items()))
