"""The command line: one short function a verb; torch is imported inside the body of those that need it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from i2i.errors import I2IError, Interrupted, SomeFailed, UsageError

app = typer.Typer(
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


def main() -> None:
    """Run the command line; an expected error is one clear text and its exit code, never a traceback."""
    try:
        app(prog_name="i2i")
    except I2IError as error:
        _console(stderr=True).print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, SystemExit) and stop.code != 130:
            raise
        _console(stderr=True).print("stopped; what was finished is whole.")
        sys.exit(130)


def _console(*, stderr: bool = False):  # type: ignore[no-untyped-def]
    from rich.console import Console

    return Console(stderr=stderr, emoji=False)  # line 100 would print as a picture of 100 points


def _version(wanted: bool) -> None:
    if wanted:
        from i2i import __version__

        typer.echo(f"i2i {__version__}")
        raise typer.Exit


@app.callback()
def i2i(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Image-to-image translation: train a recipe, translate a folder."""


@app.command()
def train(
    recipe: Annotated[Path | None, typer.Argument(help="A TOML recipe.", show_default=False)] = None,
    settings: Settings = [],  # noqa: B006
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with this run.")] = None,
    runs: Runs = Path("runs"),
    device: Device = "auto",
) -> None:
    """Train a recipe, or go on with a run."""
    if recipe is not None and resume is not None:
        raise UsageError("give a recipe, or a run with --resume, not both: a run goes on with its own recipe.")
    if recipe is None and resume is None:
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

    held_out = f"{summary.held_out} held out" if summary.held_out else "none held out: no [validation], no measures"
    lines = {
        "recipe": summary.recipe,
        "samples": f"{summary.samples} to train, {held_out}",
        "length": f"{summary.steps} steps of batch {summary.batch}",
        "pictures": ", ".join(f"{name} {shape(sizes)}" for name, sizes in summary.pictures.items()),
        "network input": shape(summary.input),
        "network target": shape(summary.target),
        **{f"player {name}": f"{count:,} parameters" for name, count in summary.parameters.items()},
        "memory of a step": f"about {summary.memory / 2**20:,.0f} MiB"
        if summary.memory
        else f"unknown: without numbers, a step raises {summary.unknown}",
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
    mask: Annotated[Path | None, typer.Option(help="A folder of masks, or one, white where the hole is.")] = None,
    guide: Annotated[
        Path | None, typer.Option(help="A folder of what guides the model (palettes, instance maps), or one for all.")
    ] = None,
    stochastic: Annotated[
        bool, typer.Option("--stochastic", help="Keep dropout and noise on: another result a seed.")
    ] = False,
    seed: Annotated[int, typer.Option(help="What --stochastic draws from.", min=0)] = 0,
    reverse: Annotated[
        bool, typer.Option("--reverse", help="From the target to the input, by a model that learnt both ways.")
    ] = False,
    format: Annotated[str, typer.Option(help="png, jpg, webp or tif.")] = "png",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Translate only what has no output yet.")
    ] = False,
    runs: Runs = Path("runs"),
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Translate every picture of a folder with a trained model."""
    from i2i import images
    from i2i import translate as verb

    console = _console(stderr=True)
    if overwrite and skip_existing:
        raise UsageError("--overwrite or --skip-existing, not both.")
    items = verb.plan(input_dir, output_dir, extension=format, overwrite=overwrite or skip_existing)
    if skip_existing:
        count, items = len(items), [item for item in items if not item.target.exists()]
        console.print(f"{count - len(items)} of {count} were there already")
        if not items:
            if as_json:
                _print_json({"translated": [], "failed": []})
            return
    if others := images.list_others(input_dir):
        kinds = ", ".join(sorted({path.suffix or path.name for path in others}))
        console.print(
            f"left out: {len(others)} file(s) of kinds that are not read ({kinds})", markup=False, highlight=False
        )
    masks = verb.finder(input_dir, mask, "mask") if mask else None
    guides = verb.finder(input_dir, guide, "guide") if guide else None
    if model is not None:
        translator = verb.load(model, device, stochastic=stochastic, reverse=reverse)
    else:
        translator, run = verb.load_newest(runs, device, stochastic=stochastic, reverse=reverse)
        console.print(f"model: {run} (the newest finished run)", markup=False, highlight=False, soft_wrap=True)
    translator.check_format(format)
    if mask and not translator.wants_mask:
        raise UsageError(f"--mask {mask}: this model fills no holes.")
    if guide and not translator.guide:
        raise UsageError(f"--guide {guide}: this model takes no guide.")
    if translator.needs_guide and not guide:
        raise UsageError(f"this model is {translator.guided}: give a picture of one, or a folder, as --guide.")
    from i2i.display import each

    work = verb.translate_folder(translator, items, masks=masks, guides=guides, seed=seed)
    results = []
    try:
        for result in each(console, work, len(items)):
            results.append(result)
    except KeyboardInterrupt:
        done = f"stopped after {len(results)} of {len(items)}; what is written is whole."
        raise Interrupted(f"{done} Go on: the same command with --skip-existing.", 130) from None
    failed = [(item, error) for item, error in results if error is not None]
    if as_json:
        good = [{"input": str(i.source), "output": str(i.target)} for i, error in results if error is None]
        _print_json({"translated": good, "failed": [{"input": str(i.source), "reason": str(e)} for i, e in failed]})
    else:
        typer.echo(f"{len(results) - len(failed)} of {len(results)} translated into {output_dir}")
    if failed:
        raise SomeFailed("\n".join([f"{len(failed)} of {len(results)} failed:", *(str(error) for _, error in failed)]))


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.pth", help="A generator, such as latest_net_G.pth.")],
    out: Annotated[Path, typer.Argument(help="The model folder to be made.")],
    as_json: AsJson = False,
) -> None:
    """Make a model of a generator trained by pytorch-CycleGAN-and-pix2pix or CUT."""
    from i2i import foreign

    found = foreign.import_generator(file, out)
    if as_json:
        _print_json(vars(found))
        return
    for key, value in foreign.describe(found).items():
        typer.echo(f"{key + ':':12}{value}")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run.")],
    scorer: Annotated[Path | None, typer.Option(metavar="RUN", help="A segmentation run that judges too.")] = None,
    sheet: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Write inputs, outputs and truths.")] = None,
    rows: Annotated[int, typer.Option(help="Samples in the sheet.", min=1)] = 8,
    settings: Settings = [],  # noqa: B006
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure a run's model on its held-out pictures, beside the untranslated input and the truth."""
    from i2i import evaluate as verb

    metrics = verb.evaluate_run(run, settings, device, scorer=scorer, sheet=sheet, rows=rows)
    if as_json:
        _print_json(metrics)
        return
    width = max(map(len, ["metric", *metrics]))
    columns = [c for c in ("translated", "input", "truth") if any(c in values for values in metrics.values())]
    typer.echo("metric".ljust(width) + "".join(f"{column:>12}" for column in columns))
    for name, values in metrics.items():
        cells = [f"{values[column]:12.4f}" if column in values else f"{'-':>12}" for column in columns]
        typer.echo(name.ljust(width) + "".join(cells))


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

    with TrainDisplay(_console(stderr=as_json)) as display:
        done = verb.ablate(file, runs=runs, settings=settings, device=device, display=display)
    if as_json:
        rows = [{"variant": row.name, "values": row.values, "paper": row.paper} for row in done.rows]
        _print_json({"rows": rows, "failed": done.failed})
    else:
        head, lines = verb.table(done.rows)
        _print_table([head, *lines])
        typer.echo(f"written: {done.folder / 'table.md'}, table.csv, plot.svg, grid.png")
    if done.failed:
        raise SomeFailed("\n".join(f"{name}: {reason}" for name, reason in done.failed.items()))


@app.command()
def study(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN...", help="Runs; each participant sees one.")
    ] = None,
    answers: Annotated[Path, typer.Option(help="The file that answers are added to.")] = Path("study.jsonl"),
    only_results: Annotated[
        bool, typer.Option("--results", help="Print the results so far and serve nothing.")
    ] = False,
    trials: Annotated[int, typer.Option(help="Pairs that count.")] = 40,
    practice: Annotated[int, typer.Option(help="Pairs before them, with feedback.")] = 10,
    seconds: Annotated[float, typer.Option(help="How long pictures are seen.")] = 1.0,
    size: Annotated[int, typer.Option(help="Longer side in pixels at which pictures are shown.")] = 256,
    same_input: Annotated[bool, typer.Option("--same-input", help="Real and fake of one scene.")] = False,
    in_turn: Annotated[bool, typer.Option("--in-turn", help="One picture after the other, not both at once.")] = False,
    seed: Annotated[int, typer.Option(help="Of the pictures drawn and of the interval.")] = 0,
    settings: Settings = [],  # noqa: B006
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines take part.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes any free one.")] = 8000,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Let people tell a run's translations from real pictures, on a web page."""
    from i2i import study as verb

    if only_results:
        table = verb.results(verb.read_answers(answers), seed)
    else:
        design = verb.Design(practice, trials, seconds, size, same_input, in_turn, seed)

        def say(text: str) -> None:
            typer.echo(text, err=True)

        table = verb.study(runs or [], answers, design, settings=settings, host=host, port=port, device=device, say=say)
    if as_json:
        _print_json(table)
        return
    typer.echo(f"{'participants':>12}{'answers':>9}{'fooled':>9}{'95 % interval':>19}  run")
    for run, row in table.items():
        share, interval = "-", "-"
        if row["answers"]:
            share, interval = f"{row['fooled']:.1f}%", f"{row['low']:.1f} - {row['high']:.1f}%"
        typer.echo(f"{row['participants']:12}{row['answers']:9}{share:>9}{interval:>19}  {run}")


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
    _print_table([(p.kind, p.name, f"{p.package} {p.version}", p.target) for p in rows])
    for problem in found.problems:
        typer.echo(f"problem: {problem}", err=True)


data = typer.Typer(help="Public data sets: list them, get one.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data, name="data")


@data.command("list")
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
        _print_json({"datasets": [{**asdict(dataset), "settings": dataset.settings(into)} for dataset in sets]})
    else:
        typer.echo(datasets.describe(sets[0], into) if name else datasets.listing())


@data.command("get")
def data_get(
    name: Annotated[str, typer.Argument(help="A name of `i2i data list`.")],
    into: Annotated[Path, typer.Option(help="The folder that holds the data sets.")] = Path("data"),
    yes: Annotated[bool, typer.Option("--yes", help="Agree to the terms without being asked.")] = False,
) -> None:
    """Fetch a public data set: resumed, verified and unpacked; its size and terms are shown before."""
    from i2i import datasets

    with datasets.Display(_console()) as display:
        datasets.get(name, into, yes=yes, display=display)


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=2, default=str))
