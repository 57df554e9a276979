"""What is wrong with the installed packages that register parts, each with what mends it.

As little as possible is imported here, and parts only in processes of their own: the environment may be broken.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from i2i import plugins, quiet
from i2i.errors import UsageError, nearest
from i2i.plugins import Fault, Plugin
from i2i.probe import ABSENT


def examine(wanted: Sequence[str] = ()) -> list[Fault]:
    """Return what is wrong: first what metadata tell, then what importing the parts does, in a process of its own.

    wanted: packages to look at alone. UsageError for one that registers nothing and of which nothing is known.
    """
    faults, sound = read(wanted)
    return [*faults, *_imported(sound)]


def read(wanted: Sequence[str] = ()) -> tuple[list[Fault], list[Plugin]]:
    """Return what metadata tell to be wrong, without importing anything, and the parts that may yet be sound."""
    told = [*plugins.scan().problems, *_shadowed(), *_claimed_twice(), *_rival()]
    parts = plugins.scan().parts()
    packages: dict[str, list[Plugin]] = {}
    for part in [*parts, *plugins.scan().misspelt]:
        packages.setdefault(part.package, []).append(part)
    chosen = [plugins.normalised(name) for name in wanted]
    known = {*packages, *(fault.package for fault in told)}
    for name in chosen:
        if name not in known:
            raise UsageError(f"no installed package {name!r} registers a part.{nearest(name, known)}")
    chosen = chosen or sorted(known)
    stale = [fault for name in chosen for fault in _stale(packages.get(name, []))]
    gone = {fault.package for fault in stale}
    sound = [part for part in parts if part.package in chosen and part.package not in gone]
    missing = {part: fault for part in sound if (fault := _missing(part))}
    faults = [*(fault for fault in told if fault.package in chosen), *stale, *missing.values()]
    return faults, [part for part in sound if part not in missing]


# ---- what metadata tell


def _shadowed() -> Iterator[Fault]:
    """Find distributions with parts that another one of their name, earlier on the path, hides."""
    first: dict[str, str] = {}
    for folder in dict.fromkeys(os.path.realpath(folder or ".") for folder in sys.path):
        for package, names in plugins.distributions(folder).items():
            if package not in first:
                first[package] = folder
            elif any(_registers(folder, name) for name in names) and not _of_editable(package, folder):
                problem = f"the one in {folder} is hidden by the one in {first[package]}, earlier on the path."
                yield Fault(
                    package, problem, f"Uninstall one of them: pip uninstall {package}, or delete {folder}/{names[0]}."
                )


def _of_editable(package: str, folder: str) -> bool:
    """Return whether a folder holds what was left by building the editable installation that hides it."""
    location = next((part.location for part in plugins.scan().parts() if part.package == package), None)
    _, source, editable = plugins.origin(location) if location else ("", None, False)
    return source is not None and editable and Path(folder).is_relative_to(os.path.realpath(source))


def _registers(folder: str, name: str) -> bool:
    try:
        return plugins.registrations(folder, name) is not None
    except OSError:
        return False


def _claimed_twice() -> Iterator[Fault]:
    for claims in plugins.collisions():
        packages = " and ".join(f"{claim.package} {claim.version}" for claim in claims)
        what = f"{plugins.singular(claims[0].kind)} {claims[0].name!r}"
        problem = f"{packages} both register the {what}, which no recipe can name now."
        yield Fault(claims[-1].package, problem, f"Uninstall one of them: pip uninstall {claims[-1].package}")


def _rival() -> Iterator[Fault]:
    if any("albumentationsx" in plugins.distributions(folder or ".") for folder in sys.path):
        problem = (
            "it is installed (AGPL) and takes the import name of albumentations (MIT), whose place it cannot take."
        )
        remedy = "pip uninstall albumentationsx && pip install --force-reinstall albumentations==2.0.8"
        yield Fault("albumentationsx", problem, f"Run: {remedy}")


def _stale(parts: list[Plugin]) -> list[Fault]:
    """Return what a package's metadata say and its files do not bear out; parts: all of one package."""
    if not parts:
        return []
    package, location = parts[0].package, parts[0].location
    _, folder, editable = plugins.origin(location)
    if folder is None or not editable:
        return _files_gone(package, location)
    if not folder.is_dir():
        problem = f"it was installed from {folder} (editable), and that folder is gone."
        remedy = f"Install it from where it is now: i2i plugins install -e FOLDER. Or: pip uninstall {package}"
        return [Fault(package, problem, remedy)]
    written = _entry_points(folder / "pyproject.toml")
    known = {(part.kind, part.name): part.target for part in parts}
    if written is not None and written != known:
        changed = sorted(f"{kind}/{name}" for kind, name in {k for k, _ in set(written.items()) ^ set(known.items())})
        problem = f"{folder / 'pyproject.toml'} has changed since it was installed ({', '.join(changed)})."
        return [Fault(package, problem, f"Install it again: {plugins.reinstalling(package, location)}")]
    return []


def _entry_points(project: Path) -> dict[tuple[str, str], str] | None:
    """Return the parts that a pyproject.toml registers as an installation would; None where it says so elsewhere."""
    try:
        table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        if "entry-points" in table.get("dynamic", []):
            return None
        return {
            (group.removeprefix(plugins.PREFIX), name): target if ":" in target else f"{target}:"
            for group, names in table.get("entry-points", {}).items()
            if group.startswith(plugins.PREFIX)
            for name, target in names.items()
        }
    except (OSError, ValueError, KeyError, AttributeError, TypeError):  # who is writing it may have written anything
        return None


def _files_gone(package: str, location: Path) -> list[Fault]:
    try:
        lines = (location / "RECORD").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []  # not every installer writes one
    modules = [name for line in lines if (name := line.split(",")[0]).endswith(".py")]
    gone = [name for name in modules if not (location.parent / name).exists()]
    if not gone:
        return []
    problem = f"{len(gone)} of the {len(modules)} modules that were installed are gone, such as {gone[0]}."
    remedy = f"Install it again: {plugins.reinstalling(package, location)}. Or delete what is left: {location}"
    return [Fault(package, problem, remedy)]


def _missing(part: Plugin) -> Fault | None:
    """Return a fault where there is no module of a part's target; nothing is imported to find out."""
    module = part.target.partition(":")[0]
    if _is_there(module):
        return None
    problem = f"{plugins.singular(part.kind)} {part.name!r} points to {module}, and there is no such module."
    return Fault(part.package, problem, plugins.absent(part))


def _is_there(module: str) -> bool:
    name, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(name)
        for step in inner:  # as find_spec("a.b") would, which imports a
            if spec is None or spec.submodule_search_locations is None:
                return False
            name = f"{name}.{step}"
            spec = importlib.machinery.PathFinder.find_spec(name, list(spec.submodule_search_locations))
    except (ImportError, ValueError):
        return False
    return spec is not None


# ---- what importing does


def _imported(parts: list[Plugin]) -> Iterator[Fault]:
    targets = {part.target.removesuffix(":") for part in parts}
    found = quiet.importing(tuple(sorted(targets))) if targets else {}
    for part in parts:
        target = part.target.removesuffix(":")
        for told in found[target]:
            remedy = plugins.absent(part) if told.startswith(f"{target} {ABSENT}") else _remedy(part)
            yield Fault(part.package, f"importing {told}.", remedy)


def _remedy(part: Plugin) -> str:
    """Say who mends what a part's own code does."""
    _, folder, editable = plugins.origin(part.location)
    if folder is None:
        return f"Update it, or tell its author; {part.version} is installed. Or: pip uninstall {part.package}"
    again = "" if editable else f" Then install it again: {plugins.reinstalling(part.package, part.location)}"
    return f"Mend it in {folder}.{again}"
