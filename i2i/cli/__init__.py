"""The command line: one short function a verb; torch is imported inside the body of those that need it."""

from __future__ import annotations

import io
import sys

from i2i.cli import recipes, runs
from i2i.cli.app import app, terminal
from i2i.errors import I2IError

__all__ = ["main", "recipes", "runs"]


def main() -> None:
    """Run the command line; an expected error is one clear text and its exit code, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a code page without lambda is no reason to stop
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="i2i")
    except I2IError as error:
        terminal(stderr=True).print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, SystemExit) and stop.code != 130:
            raise
        terminal(stderr=True).print("stopped; what was finished is whole.")
        sys.exit(130)
