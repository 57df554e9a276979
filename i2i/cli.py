"""The command line: one short function a verb; torch is imported inside the body of those that need it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from i2i.errors import I2IError, SomeFailed, UsageError

app = typer.Typer(
    help="Image-to-image translation: train a recipe, translate a folder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Runs = Annotated[Path, typer.Option(help="The folder that holds the runs.")]
Settings = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe's key; repeatable.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def main() -> None:
    """Run the command line; an expected error is one clear text and its exit code, never a traceback."""
    try:
        app(prog_name="i2i")
    except I2IError as error:
        _console(stderr=True).print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _console(stderr=True).print("stopped; what was finished is whole.")
        sys.exit(130)


def _console(*, stderr: bool = False):  # type: ignore[no-untyped-def]
    from rich.console import Console

    return Console(stderr=stderr, emoji=False)  # line 100 would print as a picture of 100 points


@app.command()
def train(
    recipe: Annotated[Path | None, typer.Argument(help="A TOML recipe.", show_default=False)] = None,
    settings: Settings = [],  # noqa: B006
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with this run.")] = None,
    runs: Runs = Path("runs"),
    device: Device = "auto",
) -> None:
    """Train a recipe, or go on with a run."""
    if (recipe is None) == (resume is None):
        raise UsageError("give a recipe to train (i2i train RECIPE) or a run to go on with (i2i train --resume RUN).")
    if resume is not None and settings:
        raise UsageError("--set does not go with --resume: a run goes on with the recipe that it was started with.")
    from i2i.display import TrainDisplay

    plan = None
    if recipe is not None:
        from i2i.recipe import read

        plan = read(recipe, settings)
    from i2i import train as verb

    with TrainDisplay(_console()) as display:
        if plan is not None:
            verb.start(plan, runs=runs, device=device, display=display)
        elif resume is not None:
            verb.resume(resume, device=device, display=display)


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
        _print_json(vars(summary))
        return

    def shape(sizes: tuple[int, ...]) -> str:
        return " x ".join(map(str, sizes))

    lines = {
        "recipe": summary.recipe,
        "samples": f"{summary.samples} to train, {summary.held_out} held out",
        "length": f"{summary.steps} steps of batch {summary.batch}",
        "pictures": ", ".join(f"{name} {shape(sizes)}" for name, sizes in summary.pictures.items()),
        "network input": shape(summary.input),
        "network target": shape(summary.target),
        **{f"player {name}": f"{count:,} parameters" for name, count in summary.parameters.items()},
        "memory of a step": f"about {summary.memory / 2**20:,.0f} MiB" if summary.memory else "unknown",
        "device": f"{summary.device}, {summary.precision}",
    }
    for key, value in lines.items():
        typer.echo(f"{key + ':':18}{value}")


@app.command()
def translate(
    input_dir: Annotated[Path, typer.Argument(help="A folder of pictures; sub-folders are mirrored.")],
    output_dir: Annotated[Path, typer.Argument(help="Where the translations go.")],
    model: Annotated[
        Path | None, typer.Option(help="A run or a model folder. Default: the newest finished run.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="A folder of masks, white where the hole is.")] = None,
    format: Annotated[str, typer.Option(help="png, jpg, webp or tif.")] = "png",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
    runs: Runs = Path("runs"),
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Translate every picture of a folder with a trained model."""
    from i2i import translate as verb

    console = _console(stderr=True)
    items = verb.plan(input_dir, output_dir, extension=format, overwrite=overwrite)
    masks = verb.mask_finder(input_dir, mask) if mask else None
    if model is not None:
        translator = verb.load(model, device)
    else:
        translator, run = verb.load_newest(runs, device)
        console.print(f"model: {run} (the newest finished run)", markup=False, highlight=False, soft_wrap=True)
    if mask and not translator.wants_mask:
        raise UsageError(f"--mask {mask}: this model fills no holes.")
    from i2i.display import each

    results = list(each(console, verb.translate_folder(translator, items, masks=masks), len(items)))
    failed = [(item, error) for item, error in results if error is not None]
    if as_json:
        good = [{"input": str(i.source), "output": str(i.target)} for i, error in results if error is None]
        _print_json({"translated": good, "failed": [{"input": str(i.source), "reason": str(e)} for i, e in failed]})
    else:
        typer.echo(f"{len(results) - len(failed)} of {len(results)} translated into {output_dir}")
    if failed:
        raise SomeFailed("\n".join([f"{len(failed)} of {len(results)} failed:", *(str(error) for _, error in failed)]))


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run.")],
    settings: Settings = [],  # noqa: B006
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure a run's model on its held-out pictures, beside the untranslated input."""
    from i2i import evaluate as verb

    metrics = verb.evaluate_run(run, settings, device)
    if as_json:
        _print_json(metrics)
        return
    typer.echo(f"{'metric':<12}{'translated':>12}{'input':>12}")
    for name, values in metrics.items():
        before = f"{values['input']:12.4f}" if "input" in values else f"{'-':>12}"
        typer.echo(f"{name:<12}{values['translated']:12.4f}{before}")


@app.command()
def plugins(
    kind: Annotated[str | None, typer.Argument(help="Only this kind, such as generators.")] = None,
    as_json: AsJson = False,
) -> None:
    """List every part: kind, name, package, version and where it lives."""
    from i2i import plugins as registry
    from i2i.errors import nearest

    found = registry.scan()
    if kind is not None and kind not in found.claims:
        known = registry.kinds()
        raise UsageError(f"unknown kind {kind!r}.{nearest(kind, known)} Known: {', '.join(known)}.")
    rows = [
        p for k in ([kind] if kind else registry.kinds()) for name in registry.names(k) for p in found.claims[k][name]
    ]
    if as_json:
        _print_json({"parts": [vars(row) for row in rows], "problems": found.problems})
        return
    table = [(p.kind, p.name, f"{p.package} {p.version}", p.target) for p in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for problem in found.problems:
        typer.echo(f"problem: {problem}", err=True)


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=2, default=str))
