"""Packages into the environment that i2i itself runs in, by pip; and which parts that brings."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Sequence

from i2i import plugins
from i2i.errors import PluginError
from i2i.plugins import Plugin

STDERR = 2


def install(arguments: Sequence[str], *, quiet_stdout: bool = False) -> list[Plugin]:
    """Call `pip install` and return the parts that are new. quiet_stdout: what pip says goes to stderr.

    PluginError when the environment has no pip, and when pip fails.
    """
    if importlib.util.find_spec("pip") is None:
        raise PluginError(
            f"there is no pip in the environment of {sys.executable}. Run: {sys.executable} -m ensurepip. "
            f"Or, with uv: uv pip install --python {sys.executable} {' '.join(arguments)}"
        )
    before = {(part.kind, part.name, part.package) for part in plugins.scan().parts()}
    # Without the folder in which the user is (-P): a file pip.py there would be run in the place of pip.
    command = [sys.executable, "-P", "-m", "pip", "install", *arguments]
    code = subprocess.run(command, stdout=STDERR if quiet_stdout else None).returncode
    if code:
        raise PluginError(f"pip could not install it (its exit code is {code}); what it said stands above.")
    plugins.scan.cache_clear()
    importlib.invalidate_caches()
    return [part for part in plugins.scan().parts() if (part.kind, part.name, part.package) not in before]
