"""Discovery: kind and name to entry point to object; the only module that knows the library `entrypoints`.

Only metadata are read to list parts; a part is imported when it is asked for and not before.
"""

from __future__ import annotations

import configparser
import functools
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import entrypoints

from i2i.errors import PluginError, nearest

PREFIX = "i2i."
OWN_PACKAGE = "i2i"

_used: dict[str, str] = {}


@dataclass(frozen=True)
class Plugin:
    """One registered part: what `i2i plugins` lists. `target` is `module:object`; `location` holds the metadata."""

    kind: str
    name: str
    target: str
    package: str
    version: str
    location: Path


@dataclass(frozen=True)
class Scan:
    """All that the installed packages register, claims by kind and name, and the packages that could not be read."""

    claims: dict[str, dict[str, list[Plugin]]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@functools.cache
def scan() -> Scan:
    """Read the metadata of every installed distribution, once a process. `I2I_PLUGINS=off`: of this project alone."""
    found = Scan()
    own_only = os.environ.get("I2I_PLUGINS", "").casefold() == "off"
    seen: set[str] = set()
    for folder in sys.path:
        for path in _metadata_files(folder or "."):
            # A distribution earlier on the path shadows one of the same name behind it, as for imports.
            distro = entrypoints.Distribution.from_name_version(path.parent.stem)
            package = str(distro.name).replace("_", "-").casefold()
            if package in seen or (own_only and package != OWN_PACKAGE):
                continue
            seen.add(package)
            try:
                _read(path, package, str(distro.version or "?"), found)
            except (OSError, ValueError, configparser.Error, entrypoints.BadEntryPoint) as error:
                reason = " ".join(str(error).split())
                found.problems.append(
                    f"{package}: its metadata cannot be read ({path}: {reason}). "
                    f"Its parts are left out; reinstall it: pip install --force-reinstall {package}"
                )
    return found


def _metadata_files(folder: str) -> list[Path]:
    try:
        names = [e.name for e in os.scandir(folder) if e.name.endswith((".dist-info", ".egg-info"))]
    except OSError:
        return []  # sys.path may name zip files and folders that do not exist
    files = (Path(folder, name, "entry_points.txt") for name in sorted(names))
    return [path for path in files if path.is_file()]


def _read(path: Path, package: str, version: str, found: Scan) -> None:
    # Parsing costs 100 times the read: most distributions have nothing for us, malformed or not.
    if PREFIX.encode() not in path.read_bytes():
        return
    parser = entrypoints.CaseSensitiveConfigParser(delimiters=("=",))
    with path.open(encoding="utf-8") as file:
        parser.read_file(file, source=str(path))
    parts = [
        (group.removeprefix(PREFIX), entrypoints.EntryPoint.from_string(target, name))
        for group in parser.sections()
        if group.startswith(PREFIX)
        for name, target in parser[group].items()
    ]
    for kind, part in parts:
        target = f"{part.module_name}:{part.object_name or ''}"
        plugin = Plugin(kind, part.name, target, package, version, path.parent)
        found.claims.setdefault(kind, {}).setdefault(part.name, []).append(plugin)


def kinds() -> list[str]:
    """Return the kinds that have at least one part, in alphabetical order; a package may bring a kind of its own."""
    return sorted(scan().claims)


def names(kind: str) -> list[str]:
    """Return the names registered for a kind, in alphabetical order."""
    return sorted(scan().claims.get(kind, {}))


def find(kind: str, name: str) -> Plugin:
    """Return the one plugin of this kind and name; PluginError when there is none, or when two packages claim it."""
    claims = scan().claims.get(kind, {}).get(name, [])
    if not claims:
        raise PluginError(unknown(kind, name))
    if len(claims) > 1:
        packages = " and ".join(f"{c.package} {c.version}" for c in claims)
        raise PluginError(
            f"{singular(kind)} {name!r} is claimed by {packages}. "
            f"Uninstall one of them: pip uninstall {claims[-1].package}"
        )
    return claims[0]


def unknown(kind: str, name: str) -> str:
    """Return the sentence for a name that nobody registers: nearest name, known names, and what may hide it."""
    known = names(kind)
    if not known and not names("methods"):
        return "i2i finds none of its own parts: it is not installed. Run: pip install -e . (in its folder)"
    text = f"unknown {singular(kind)} {name!r}.{nearest(name, known)} Known: {', '.join(known) or 'none'}."
    if problems := scan().problems:
        text += f" Some packages could not be read: {'; '.join(problems)}."
    return text


def load(kind: str, name: str) -> Callable[..., Any]:
    """Import the part and return it; PluginError names its package when that fails."""
    plugin = find(kind, name)
    module, _, attribute = plugin.target.partition(":")
    if module == "albumentations":
        # It calls out to the network when imported, for minutes where there is none.
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            part = entrypoints.EntryPoint(name, module, attribute).load()
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{singular(kind)} {name!r} of package {plugin.package} {plugin.version} cannot be imported "
            f"({plugin.target}): {type(error).__name__}: {error}. If its code has just changed, reinstall it "
            f"(an editable install does not see new entry points): pip install --force-reinstall {plugin.package}"
        ) from error
    if not callable(part):
        raise PluginError(f"{singular(kind)} {name!r} of package {plugin.package}: {plugin.target} is not callable.")
    _used[plugin.package] = plugin.version
    return part  # type: ignore[no-any-return]


def used() -> dict[str, str]:
    """Return package to version for every package that a part was loaded from in this process."""
    return dict(sorted(_used.items()))


def name_of(kind: str, part: object) -> str | None:
    """Return the name under which an already imported object is registered; None when it is not."""
    for name, claims in scan().claims.get(kind, {}).items():
        for plugin in claims:
            module, _, attribute = plugin.target.partition(":")
            value: object = sys.modules.get(module)
            for step in attribute.split("."):
                value = getattr(value, step, None)
            if value is part:
                return name
    return None


def singular(kind: str) -> str:
    """Return a kind's name for a sentence: `losses` gives `loss`."""
    return {"losses": "loss", "adversarial": "adversarial objective"}.get(kind, kind.removesuffix("s"))
