"""What importing a package's modules does beside defining things, seen in one fresh process a package."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

from i2i import plugins
from i2i.build import Part
from i2i.plugins import Plugin

PATIENCE = 300
"""Seconds for all the modules of a package."""


def problems(part: Part) -> list[str]:
    """Return, in words, what importing the module that a part is registered from does besides."""
    own = [claim for claim in _claims() if _is(claim, part)]
    module = _module(own[0]) if own else part.__module__
    together = {_module(claim) for claim in _claims() if own and claim.package == own[0].package} | {module}
    return _found(tuple(sorted(together)))[module]


def _claims() -> list[Plugin]:
    return [claim for names in plugins.scan().claims.values() for found in names.values() for claim in found]


def _is(claim: Plugin, part: Part) -> bool:
    value: object = sys.modules.get(_module(claim))
    for step in claim.target.partition(":")[2].split("."):
        value = getattr(value, step, None)
    return value is part


def _module(claim: Plugin) -> str:
    return claim.target.partition(":")[0]


@functools.cache
def _found(modules: tuple[str, ...]) -> dict[str, list[str]]:
    """Import the modules in a fresh process, one after the other: {module: problems}."""
    asked = json.dumps({"path": sys.path, "modules": modules})
    # Without the script's own folder on the path, whose files are called like many another module.
    command = [sys.executable, "-P", "-W", "ignore", str(Path(__file__).with_name("probe.py"))]
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"}
    try:
        done = subprocess.run(
            command, input=asked, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=True
        )
    except subprocess.TimeoutExpired:
        problem = f"{', '.join(modules)} takes more than {PATIENCE} s"
    except subprocess.CalledProcessError as error:
        problem = f"one of {', '.join(modules)} ends the process (code {error.returncode})"
    else:
        found: dict[str, list[str]] = json.loads(done.stdout.rpartition("\n")[2])
        return found
    return {module: [problem] for module in modules}
