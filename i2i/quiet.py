"""What importing a package's modules does beside defining things, seen in one fresh process a package."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from i2i import plugins
from i2i.plugins import Plugin

PATIENCE = 300
"""Seconds for all the modules of a package."""
# The path comes before `i2i` is imported; without the script's own folder on it (-P), whose files have common names.
SCRIPT = """
import json, os, sys
sys.path[:] = json.loads(os.environ.pop("I2I_PROBE_PATH"))
from i2i.probe import main
main()
"""


def problems(part: Callable[..., Any]) -> list[str]:
    """Return, in words, what importing the module that a part is registered from does besides."""
    own = [claim for claim in plugins.scan().parts() if _is(claim, part)]
    module = _module(own[0]) if own else part.__module__
    together = {_module(claim) for claim in plugins.scan().parts() if own and claim.package == own[0].package} | {
        module
    }
    return importing(tuple(sorted(together)))[module]


def _is(claim: Plugin, part: Callable[..., Any]) -> bool:
    value: object = sys.modules.get(_module(claim))
    for step in claim.target.partition(":")[2].split("."):
        value = getattr(value, step, None)
    return value is part


def _module(claim: Plugin) -> str:
    return claim.target.partition(":")[0]


@functools.cache
def importing(targets: tuple[str, ...]) -> dict[str, list[str]]:
    """Import each `module` or `module:object` in one fresh process, one after the other: {target: problems}.

    Where one of them ends the process, each half of them has another, until it is known which it was.
    """
    try:
        found: dict[str, list[str]] = json.loads(_answer(targets))
    except subprocess.TimeoutExpired:
        return {target: [f"{', '.join(targets)} takes more than {PATIENCE} s"] for target in targets}
    except subprocess.CalledProcessError as error:
        if len(targets) == 1:
            return {targets[0]: [f"{targets[0]} ends the process (code {error.returncode})"]}
        half = len(targets) // 2
        return importing(targets[:half]) | importing(targets[half:])
    return found


def _answer(targets: tuple[str, ...]) -> str:
    command = [sys.executable, "-P", "-W", "ignore", "-c", SCRIPT]
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", "I2I_PROBE_PATH": json.dumps(sys.path)}
    asked = json.dumps({"targets": targets})
    return subprocess.run(
        command, input=asked, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=True
    ).stdout
