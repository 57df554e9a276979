"""What importing a package's modules does beside defining things, seen in one fresh process a package."""

from __future__ import annotations

import functools
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import IO, Any

from i2i import plugins
from i2i.plugins import Plugin

PATIENCE = 300
"""Seconds for the module of one part, when torch and numpy are there already."""
START = 900
"""Seconds for these two."""
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
    """Import each `module` or `module:object` in a fresh process, one after the other: {target: problems}.

    Where one of them ends the process, those behind it have another.
    """
    found: dict[str, list[str]] = {}
    while rest := [target for target in targets if target not in found]:
        lines, end = _answers(rest)
        found |= dict(json.loads(line) for line in lines)
        if len(lines) < len(rest):
            found[rest[len(lines)]] = [f"{rest[len(lines)]} {end}"]
    return found


def _answers(targets: list[str]) -> tuple[list[bytes], str]:
    """Return a line for each target that was come to the end of, and how the process ended."""
    command = [sys.executable, "-P", "-W", "ignore", "-c", SCRIPT]
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", "I2I_PROBE_PATH": json.dumps(sys.path)}
    with tempfile.TemporaryFile() as asked:
        asked.write(json.dumps(targets).encode())
        asked.seek(0)
        process = subprocess.Popen(
            command, stdin=asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
    try:
        return _heard(process, len(targets))
    finally:
        process.kill()
        process.wait()


def _heard(process: subprocess.Popen[bytes], count: int) -> tuple[list[bytes], str]:
    heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(process.stdout, heard), daemon=True).start()
    lines: list[bytes] = []
    try:
        # The first line says that it is ready: until then it loads torch and no part, on a cold disk for minutes.
        for patience in (START, *[PATIENCE] * count):
            line = heard.get(timeout=patience)
            if not line:
                return lines[1:], f"ends the process (code {process.wait(PATIENCE)})"
            lines.append(line)
    except (queue.Empty, subprocess.TimeoutExpired):
        return lines[1:], f"takes more than {PATIENCE} s"
    return lines[1:], ""


def _listen(stdout: IO[bytes], heard: queue.SimpleQueue[bytes]) -> None:
    """Pass on each line, and an empty one in the end."""
    with stdout:
        for line in stdout:
            heard.put(line)
    heard.put(b"")
