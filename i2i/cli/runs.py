"""The verbs that begin with a finished run or a model: translate, import, evaluate, study."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from i2i.cli.app import AsJson, Device, Runs, Settings, app, print_json, terminal
from i2i.errors import Interrupted, SomeFailed, Terminated, UsageError

if TYPE_CHECKING:
    from i2i.folder import Item, Result
    from i2i.translate import Translator


@app.command()
def translate(
    input_dir: Annotated[
        Path,
        typer.Argument(
            help="A folder of pictures (sub-folders are mirrored), a pattern in quotes, or a .txt or .parquet of paths."
        ),
    ],
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
    format: Annotated[
        str, typer.Option(help="png, jpg, webp, tif, npy, or auto: png, and tif or npy for what it cannot hold.")
    ] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on: translate what has no output yet, or one that is damaged or older than its input. Which model "
            "made an output is not known: after another one, --overwrite.",
        ),
    ] = False,
    runs: Runs = Path("runs"),
    device: Device = "auto",
    precision: Annotated[
        str,
        typer.Option(
            help="float32, bf16, or auto: bf16 where the device has it and pictures have no more than 8 bits."
        ),
    ] = "auto",
    batch: Annotated[
        int | None,
        typer.Option(help="Pictures at most that are translated at once. Default: what suits the device.", min=1),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(help="Translate pictures of more pixels a side tile by tile: memory does not grow with them."),
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(help="Pixels that tiles share at least, and are blended in. Default: 64.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Of N jobs that share the pictures, be the K-th: each picture is one's."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Translate every picture of a folder with a trained model."""
    if overwrite and resume:
        raise UsageError("--overwrite or --resume, not both.")
    from i2i import folder, manifest
    from i2i.tiles import raised
    from i2i.translate import checked

    cut = checked(tile, overlap)
    part = manifest.Shard.read(shard) if shard else None
    given = manifest.given(input_dir)
    again, translator = overwrite or resume, None
    if format == "auto":  # which depends on what the model makes
        exact = folder.any_deep(given.paths, device)
        translator = _translator(model, runs, device, precision, stochastic=stochastic, reverse=reverse, exact=exact)
    items = folder.plan(
        given, output_dir, extension=translator.extension if translator else format, overwrite=again, shard=part
    )
    items = _wanted(items, input_dir, resume)
    results: list[Result] = []
    if items:
        masks = folder.finder(given.root, mask, "mask") if mask else None
        guides = folder.finder(given.root, guide, "guide") if guide else None
        if translator is None:
            exact = folder.any_deep(given.paths, device)
            translator = _translator(
                model, runs, device, precision, stochastic=stochastic, reverse=reverse, exact=exact
            )
        _check_model(translator, format, mask, guide)

        def say(text: str) -> None:
            terminal(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)

        if cut and (words := raised(translator, cut)):
            say(words)
        work = folder.translate_folder(
            translator, items, masks=masks, guides=guides, seed=seed, batch=batch, cut=cut, say=say
        )
        results = _followed(work, items)
    _report(results, output_dir, as_json)


def _wanted(items: list[Item], input_dir: Path, resume: bool) -> list[Item]:
    """Return the items that are to be translated; say what is left out."""
    from i2i import folder, images

    console = terminal(stderr=True)
    if resume:
        count, items = len(items), [item for item in items if not folder.whole(item)]
        console.print(f"{count - len(items)} of {count} were there already")
    if items and input_dir.is_dir() and (others := images.list_others(input_dir)):
        kinds = ", ".join(sorted({path.suffix or path.name for path in others}))
        console.print(
            f"left out: {len(others)} file(s) of kinds that are not read ({kinds})", markup=False, highlight=False
        )
    return items


def _translator(
    model: Path | None, runs: Path, device: str, precision: str, *, stochastic: bool, reverse: bool, exact: bool
) -> Translator:
    """Load the model that was named, or that of the newest run, which is said."""
    from i2i.checkpoint import newest_run
    from i2i.translate import load

    if model is None:
        model = newest_run(runs).path
        text = f"model: {model} (the newest finished run)"
        terminal(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
    return load(model, device, precision, stochastic=stochastic, reverse=reverse, exact=exact)


def _check_model(translator: Translator, format: str, mask: Path | None, guide: Path | None) -> None:
    """Raise UsageError for what this model does not take, or cannot do without."""
    translator.check_format(format)
    if mask and not translator.wants_mask:
        raise UsageError(f"--mask {mask}: this model fills no holes.")
    if guide and not translator.guide:
        raise UsageError(f"--guide {guide}: this model takes no guide.")
    if translator.needs_guide and not guide:
        raise UsageError(f"this model is {translator.guided}: give a picture of one, or a folder, as --guide.")


def _followed(work: Generator[Result, None, None], items: list[Item]) -> list[Result]:
    """Do the work under a bar; return the results in the order of the items, or raise Interrupted with what is done."""
    from i2i.display import each

    results: list[Result] = []
    try:
        with contextlib.closing(work):  # which ends its threads
            for result in each(terminal(stderr=True), work, len(items)):
                results.append(result)
    except KeyboardInterrupt as stop:
        done = f"stopped after {len(results)} of {len(items)}; what is written is whole."
        code = 75 if isinstance(stop, Terminated) else 130
        raise Interrupted(f"{done} Go on: the same command with --resume.", code) from None
    order = {item: place for place, item in enumerate(items)}
    return sorted(results, key=lambda result: order[result[0]])


def _report(results: list[Result], output_dir: Path, as_json: bool) -> None:
    """Print what was done; raise SomeFailed with the reasons where something was not."""
    failed = [(item, error) for item, error in results if error is not None]
    if as_json:
        good = [{"input": str(i.source), "output": str(i.target)} for i, error in results if error is None]
        print_json({"translated": good, "failed": [{"input": str(i.source), "reason": str(e)} for i, e in failed]})
    elif results:
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
        print_json(vars(found))
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
        print_json(metrics)
        return
    width = max(map(len, ["metric", *metrics]))
    columns = [c for c in ("translated", "input", "truth") if any(c in values for values in metrics.values())]
    typer.echo("metric".ljust(width) + "".join(f"{column:>12}" for column in columns))
    for name, values in metrics.items():
        cells = [f"{values[column]:12.4f}" if column in values else f"{'-':>12}" for column in columns]
        typer.echo(name.ljust(width) + "".join(cells))


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
        print_json(table)
        return
    typer.echo(f"{'participants':>12}{'answers':>9}{'fooled':>9}{'95 % interval':>19}  run")
    for run, row in table.items():
        share, interval = "-", "-"
        if row["answers"]:
            share, interval = f"{row['fooled']:.1f}%", f"{row['low']:.1f} - {row['high']:.1f}%"
        typer.echo(f"{row['participants']:12}{row['answers']:9}{share:>9}{interval:>19}  {run}")
