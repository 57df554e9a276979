"""Kills real training processes at random instants, resumes them, and compares what they end in with an unbroken run.

python tests/faults/kill.py --runs 200 [--method cyclegan] [--seed 1] [--workers 2] [--minutes 8]

A training is the command line in a process forked from this one, which has imported torch already. Half of the kills
come after a random time, half when the process is about to touch a random file of its run: between any two writings.
SIGKILL goes to the process alone, SIGTERM as well, SIGINT to its whole group, as from a keyboard.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process with threads could not be forked
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from i2i import plugins

PAIRED = 'task = "paired"\n[source]\nname = "scenes"\nsize = 40\ncount = 6\n'
LABELS = 'task = { name = "instances", classes = 12, maps = false }\n' + PAIRED.partition("\n")[2]
UNPAIRED = """
task = "unpaired"
[source]
name = "unpaired_of"
source = { name = "scenes", size = 40, count = 12 }
"""
REST = """
[[source.prepare]]
name = "RandomCrop"
height = 32
width = 32
[[source.prepare]]
name = "RandomRotate90"
[[augment]]
name = "RandomHorizontalFlip"
[[augment]]
name = "RandomAffine"
degrees = 5.0
[validation]
name = "scenes"
size = 32
count = 2
seed = 1
[train]
steps = {steps}
batch = 2
log_every = 4
sample_every = 6
save_every = 5
samples = 1
seed = 3
ema = 0.9
precision = "float32"
"""
SMALL = (
    'generator = { name = "unet", depth = 3, width = 4 }\ndiscriminator = { name = "patch", field = 16, width = 4 }\n'
)
METHODS = {
    "cyclegan": (UNPAIRED, SMALL + "pool = 3\n"),
    "cut": (UNPAIRED, SMALL + "dim = 8\npatches = 16\n"),
    "fastcut": (UNPAIRED, SMALL + "dim = 8\npatches = 16\n"),
    "pix2pixhd": (
        LABELS,
        "coarse_steps = 7\nfrozen_steps = 4\ndiscriminator = { width = 4 }\n"
        "generator = { width = 2, halvings = 1, blocks = 1, enhancer_blocks = 1 }\n",
    ),
    "spade": (
        LABELS,
        "generator = { width = 2, hidden = 4, doublings = 4 }\nencoder = { width = 4, latent = 6, halvings = 2 }\n"
        "discriminator = { width = 4 }\n",
    ),
}
"""For each method its task with a source, and what makes its networks small; PAIRED and SMALL for any other."""
STEPS = 24
PATIENCE = 300


def methods() -> list[str]:
    """Return every method that is registered."""
    return sorted({part.name for part in plugins.scan().parts() if part.kind == "methods"})


def recipe_of(method: str, steps: int = STEPS) -> str:
    """Return a small recipe for a method, with augmentation on the host and on the device."""
    data, small = METHODS.get(method, (PAIRED, SMALL))
    return 'metrics = ["l1"]\n' + data + REST.format(steps=steps) + f'[method]\nname = "{method}"\n{small}'


def warm() -> None:
    """Import what a training imports, so that its process need not."""
    import albumentations  # noqa: F401

    import i2i.cli
    import i2i.memory
    import i2i.train  # noqa: F401


def _run_command(words: list[str], said: Path, folder: Path, touch: int | None, number: signal.Signals) -> None:
    """Be the command line, in the process just forked, until its end, or its `touch`-th touch of a file in a folder."""
    code = 4
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        output = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if touch is not None:
            _kill_at(touch, folder, number)
        from i2i import cli

        sys.argv = ["i2i", *words]
        cli.main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except KeyboardInterrupt:
        code = 130
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _kill_at(touch: int, folder: Path, number: signal.Signals) -> None:
    left, me, place = touch, os.getpid(), str(folder)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and place in str(arguments[0]) and os.getpid() == me:
            left -= 1
            if left == 0:
                os.kill(me, number)

    sys.addaudithook(hook)


def begin(
    words: list[str], said: Path, folder: Path, touch: int | None = None, number: signal.Signals = signal.SIGKILL
) -> int:
    """Fork a process for a command line; return its id. touch: it sends itself a signal at that touch of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        _run_command(words, said, folder, touch, number)
    return pid


def end_of(pid: int) -> int:
    """Return the exit code of a process, minus the signal that ended it; one that hangs is killed and told."""
    deadline = time.monotonic() + PATIENCE
    while True:
        gone, status = os.waitpid(pid, os.WNOHANG)
        if gone:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError(f"a training hangs for {PATIENCE} s")
        time.sleep(0.005)


@dataclass
class Outcome:
    """What a finished run ends in."""

    model: bytes
    description: dict[str, object]
    state: tuple[str, bytes]
    log: list[str]
    samples: dict[str, bytes]
    metrics: object
    pictures: int
    litter: list[str]

    @classmethod
    def of(cls, run: Path) -> Outcome:
        """Read a run; times are left out."""
        entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        state = max((run / "state").glob("*.safetensors"))
        description = json.loads((run / "model" / "model.json").read_text())
        return cls(
            model=(run / "model" / "model.safetensors").read_bytes(),
            description={key: value for key, value in description.items() if key != "sha256_before"},
            state=(state.name, state.read_bytes()),
            log=[json.dumps({k: v for k, v in entry.items() if k != "images_per_second"}) for entry in entries],
            samples={path.name: path.read_bytes() for path in (run / "samples").iterdir()},
            metrics=json.loads((run / "result.json").read_text())["metrics"],
            pictures=(run / "report.html").read_text().count("<img"),
            litter=[str(path) for path in run.rglob("*.part")],
        )

    def unlike(self, other: Outcome) -> list[str]:
        """Return what differs."""
        return [name for name in vars(self) if getattr(self, name) != getattr(other, name)]


@dataclass
class Tally:
    """What was done to one method."""

    runs: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    anew: int = 0
    problems: list[str] = field(default_factory=list)


class Killer:
    """Trains one method unbroken, then breaks it as often as it is told."""

    def __init__(self, method: str, folder: Path, steps: int = STEPS) -> None:
        self.folder, self.method = folder / method, method
        self.folder.mkdir(parents=True)
        self.recipe = self.folder / "tiny.toml"
        self.recipe.write_text(recipe_of(method, steps))
        self.said = self.folder / "said.txt"
        self.tally = Tally()
        began = time.perf_counter()
        code = end_of(begin(self._words(self.folder / "whole", 0), self.said, self.folder))
        if code:
            raise SystemExit(f"{method}: the unbroken run ends with {code}: {self.said.read_text()[-2000:]}")
        self.seconds = time.perf_counter() - began
        self.whole = Outcome.of(_only_run(self.folder / "whole"))

    def _words(self, runs: Path, workers: int) -> list[str]:
        begun = [*runs.glob("*/recipe.toml")]
        first = ["--resume"] if begun else [str(self.recipe), "--set", f"train.workers={workers}"]
        return ["train", *first, "--runs", str(runs), "--device", "cpu"]

    def break_once(self, draw: random.Random, workers: int, most: int = 3) -> int:
        """Kill one training up to `most` times and resume it to its end; return how often it was killed."""
        runs, kills = self.folder / "broken", 0
        shutil.rmtree(runs, ignore_errors=True)
        self.said.unlink(missing_ok=True)
        told = []
        for _ in range(100):
            words = self._words(runs, workers)
            how = self._plan(draw) if kills < most else None
            code = self._attempt(words, runs, how)
            if not code:
                break
            if how is None or code not in (-9, -15, -2, 75, 130):
                self.tally.problems.append(f"{told} workers {workers}: exit {code}: {self.said.read_text()[-1500:]}")
                return kills
            number, delay, touch = how
            kills += 1
            told.append(f"{number.name} " + (f"after {delay:.2f} s" if touch is None else f"at touch {touch}"))
            self.tally.kills[number.name] += 1
            self.tally.anew += not [*runs.glob("*/state/*.safetensors")]
        unlike = Outcome.of(_only_run(runs)).unlike(self.whole)
        if unlike:
            self.tally.problems.append(f"{told} workers {workers}: another {', '.join(unlike)}")
            shutil.copytree(runs, self.folder / f"unlike-{len(self.tally.problems)}")
        self.tally.runs += 1
        return kills

    def _plan(self, draw: random.Random) -> tuple[signal.Signals, float, int | None]:
        number = draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        delay, touch = draw.uniform(0, self.seconds), draw.randrange(1, 150)
        return number, delay, draw.choice([None, touch])

    def _attempt(self, words: list[str], runs: Path, how: tuple[signal.Signals, float, int | None] | None) -> int:
        """Run a command line, killed as planned; return its exit code."""
        if how is None:
            return end_of(begin(words, self.said, runs))
        number, delay, touch = how
        pid = begin(words, self.said, runs, touch, number)
        if touch is None:
            time.sleep(delay)
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if number == signal.SIGINT else os.kill)(pid, number)
        return end_of(pid)


def _only_run(runs: Path) -> Path:
    (path,) = (path.parent for path in runs.glob("*/recipe.toml"))
    return path


def main() -> int:
    """Print a table; return 1 on any difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="kills, of each method")
    parser.add_argument("--method", action="append", choices=methods(), help="repeatable; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, action="append", help="repeatable; 0, 1, 2 and 4 in turn by default")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no more runs after that")
    given = parser.parse_args()
    warm()
    began, bad = time.monotonic(), 0
    print(
        f"{'method':12}{'kills':>7}{'KILL':>6}{'TERM':>6}{'INT':>6}{'runs':>6}{'anew':>6}{'unequal':>9}{'seconds':>9}"
    )
    folder = Path(tempfile.mkdtemp(prefix="i2i-kill-"))
    chosen = given.method or methods()
    for place, method in enumerate(chosen):
        started, killer = time.monotonic(), Killer(method, folder, given.steps)
        until = began + 60 * given.minutes * (place + 1) / len(chosen)
        draw, turn, kills = random.Random(f"{given.seed} {method}"), 0, 0
        workers = given.workers or [0, 1, 2, 4]
        while kills < given.runs and time.monotonic() < until:
            kills += killer.break_once(draw, workers[turn % len(workers)], min(3, given.runs - kills))
            turn += 1
        tally = killer.tally
        signals = "".join(f"{tally.kills[name]:6}" for name in ("SIGKILL", "SIGTERM", "SIGINT"))
        end = f"{tally.runs:6}{tally.anew:6}{len(tally.problems):9}{time.monotonic() - started:9.0f}"
        print(f"{method:12}{kills:7}{signals}{end}", flush=True)
        for problem in tally.problems:
            print(f"  {problem}", flush=True)
        bad += len(tally.problems)
    if bad:
        print(f"the runs that differ: {folder}")
    else:
        shutil.rmtree(folder)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
