"""Discovery: kind and name to entry point to object; the only module that knows the library `entrypoints`.

Only metadata are read to list parts; a part is imported when it is asked for and not before.
"""

from __future__ import annotations

import configparser
import contextlib
import functools
import io
import os
import re
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import entrypoints

from i2i.errors import PluginError, UsageError, nearest

PREFIX = "i2i."
OWN_PACKAGE = "i2i"

_used: dict[str, str] = {}


class PluginWarning(UserWarning):
    """A package does something that hurts nobody, and that its author should know."""


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
class Fault:
    """What is wrong with an installed package, in a sentence, and what mends it, in another."""

    package: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.package}: {self.problem} {self.remedy}"


@dataclass(frozen=True)
class Scan:
    """All that the installed packages register, claims by kind and name, and what is wrong with their metadata.

    misspelt: claims in a group that no recipe reads, which count for nothing; each has its problem.
    """

    claims: dict[str, dict[str, list[Plugin]]] = field(default_factory=dict)
    misspelt: list[Plugin] = field(default_factory=list)
    problems: list[Fault] = field(default_factory=list)

    def parts(self) -> list[Plugin]:
        """Return every claim, in the order of kinds and names."""
        return [p for _, names in sorted(self.claims.items()) for _, claims in sorted(names.items()) for p in claims]


@functools.cache
def scan() -> Scan:
    """Read the metadata of every installed distribution, once a process. `I2I_PLUGINS=off`: of this project alone."""
    found = Scan()
    own_only = os.environ.get("I2I_PLUGINS", "").casefold() == "off"
    seen: set[str] = set()
    for folder in sys.path:
        for package, names in distributions(folder or ".").items():
            # A distribution earlier on the path shadows one of the same name behind it, as for imports.
            if package in seen or (own_only and package != OWN_PACKAGE):
                continue
            seen.add(package)
            try:
                ours = {name: data for name in names if (data := registrations(folder or ".", name))}
            except OSError as error:
                found.problems.append(_unreadable(package, Path(str(error.filename)), error.strerror or "unreadable"))
                continue
            if ours:
                _add(Path(folder or "."), package, names, ours, found)
    _set_aside_misspelt(found)
    return found


def distributions(folder: str) -> dict[str, list[str]]:
    """Return the folders of metadata in a folder of sys.path, by package."""
    found: dict[str, list[str]] = {}
    try:
        names = os.listdir(folder)
    except OSError:
        return found  # sys.path may name zip files and folders that do not exist
    for name in sorted(names):
        if name.endswith((".dist-info", ".egg-info")):
            found.setdefault(_name_and_version(name)[0], []).append(name)
    return found


def _name_and_version(metadata: str) -> tuple[str, str]:
    distribution = entrypoints.Distribution.from_name_version(metadata.rpartition(".")[0])
    return normalised(str(distribution.name)), str(distribution.version or "?")


def normalised(package: str) -> str:
    """Return a package's name as indices compare it: `Acme.Tools` and `acme_tools` are `acme-tools` (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package).casefold()


def registrations(folder: str, name: str) -> bytes | None:
    """Return the entry points of a distribution, unparsed; None where nothing in them is for us. Raises OSError."""
    try:
        # Text paths and a bare read: of 2,000 distributions all but a few end here.
        with open(f"{folder}/{name}/entry_points.txt", "rb", buffering=0) as file:
            data = file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    # Parsing costs 100 times the read. A file in UTF-16, which is none of ours either, is named and not passed over.
    return data if PREFIX.encode() in data or PREFIX.encode("utf-16-le") in data else None


def _add(folder: Path, package: str, names: list[str], ours: dict[str, bytes], found: Scan) -> None:
    """Add the parts of one package, or what hinders it; names: all its metadata, of which `ours` register parts."""
    if package.startswith("~"):
        left = ", ".join(str(folder / name) for name in names)
        found.problems.append(Fault(package, f"pip was interrupted and left {left} behind.", "Delete it."))
        return
    newest = max(names, key=lambda name: (_written(folder / name), name)) if len(names) > 1 else names[0]
    if old := [str(folder / name) for name in names if name != newest]:
        problem = f"there are metadata of several versions of it, of which those in {newest}, the newest, count."
        found.problems.append(Fault(package, problem, f"Delete {', '.join(old)}."))
    if newest in ours:
        _read(folder / newest, ours[newest], package, _name_and_version(newest)[1], found)


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _read(location: Path, data: bytes, package: str, version: str, found: Scan) -> None:
    parser = entrypoints.CaseSensitiveConfigParser(delimiters=("=",), interpolation=None)
    try:
        parser.read_string(data.decode("utf-8"), source=str(location / "entry_points.txt"))
        parts = [
            (group.removeprefix(PREFIX), entrypoints.EntryPoint.from_string(target, name))
            for group in parser.sections()
            if group.startswith(PREFIX)
            for name, target in parser[group].items()
        ]
    except (ValueError, configparser.Error, entrypoints.BadEntryPoint) as error:
        reason = " ".join(str(error).split())
        found.problems.append(_unreadable(package, location / "entry_points.txt", reason))
        return
    for kind, part in parts:
        target = f"{part.module_name}:{part.object_name or ''}"
        plugin = Plugin(kind, part.name, target, package, version, location)
        found.claims.setdefault(kind, {}).setdefault(part.name, []).append(plugin)


def _set_aside_misspelt(found: Scan) -> None:
    """Turn the claims of groups in the singular, where no recipe finds them, into problems."""
    own = {part.kind for part in found.parts() if part.package == OWN_PACKAGE}
    for kind in sorted(own):
        wrong = singular(kind)
        for claim in (
            [] if wrong in own else [claim for claims in found.claims.pop(wrong, {}).values() for claim in claims]
        ):
            problem = f"it registers {claim.name!r} in the group i2i.{wrong}, where no recipe finds it."
            again = reinstalling(claim.package, claim.location)
            remedy = f"Write i2i.{kind} in its pyproject.toml, and install it again: {again}"
            found.problems.append(Fault(claim.package, problem, remedy))
            found.misspelt.append(claim)


def _unreadable(package: str, path: Path, reason: str) -> Fault:
    problem = f"its metadata cannot be read ({path}: {reason}), so its parts are left out."
    return Fault(package, problem, f"Install it again: {reinstalling(package, path.parent)}")


def origin(location: Path) -> tuple[str, Path | None, bool]:
    """Return where a package was installed from, as pip notes it: the URL, the folder where it is one, and if editable.

    `location` holds the metadata (PEP 610); the URL of a package from an index is empty.
    """
    import json
    from urllib.parse import urlsplit
    from urllib.request import url2pathname  # loads what speaks HTTP, which a listing has no need of

    try:
        told: dict[str, Any] = json.loads((location / "direct_url.json").read_bytes())
        url, folder = str(told["url"]), told.get("dir_info", {})
        path = Path(url2pathname(urlsplit(url).path)) if "dir_info" in told and url.startswith("file:") else None
        version = told.get("vcs_info", {})
        if tool := version.get("vcs"):
            url = f"{tool}+{url}@{version.get('requested_revision') or version['commit_id']}"
        if inner := told.get("subdirectory"):
            url += f"#subdirectory={inner}"
        return url, path, bool(path and folder.get("editable"))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return "", None, False


def reinstalling(package: str, location: Path) -> str:
    """Return the command that installs a package again from where it came.

    Only one that came from an index is asked of it by name: of another, anybody may have put up a namesake there.
    """
    url, folder, _ = origin(location)
    if folder and not folder.is_dir():
        return f"i2i plugins install -e FOLDER, from where it is now: {folder} is gone"
    if folder:
        return f"i2i plugins install -e {shlex.quote(str(folder))}"
    return f"pip install --force-reinstall --no-deps {shlex.quote(url or package)}"


def absent(part: Plugin) -> str:
    """Return the remedy for a part whose target is not there: its files are gone, or it has another name by now."""
    _, folder, _ = origin(part.location)
    check = f"See that {folder / 'pyproject.toml'} says where it is, and install" if folder else "Install"
    return f"{check} it again: {reinstalling(part.package, part.location)}"


def failure(error: BaseException, module: str) -> tuple[str, str]:
    """Return what an import of `module` raised, in words, and the last file:line of the package's own on the way there.

    The place is empty where nothing of the package had run: then it is not there, or cannot be read.
    """
    name = type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{name}: {error.msg}", f"{error.filename}:{error.lineno}"
    top = module.partition(".")[0]
    trace = error.__traceback__.tb_next if error.__traceback__ else None  # behind the frame that caught it
    own = [
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in traceback.walk_tb(trace)
        if str(frame.f_globals.get("__name__")).partition(".")[0] == top
    ]
    return f"{name}: {' '.join(str(error).split())}", own[-1] if own else ""


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
    return f"unknown {singular(kind)} {name!r}.{nearest(name, known)} Known: {', '.join(known) or 'none'}.{_broken()}"


def _broken() -> str:
    """Return what may hide a part, for the end of a sentence that there is none of its name."""
    problems = "; ".join(map(str, scan().problems))
    return f" Some packages are broken: {problems}" if problems else ""


def load(kind: str, name: str) -> Callable[..., Any]:
    """Import the part and return it; PluginError names its package when that fails."""
    plugin = find(kind, name)
    module, _, attribute = plugin.target.partition(":")
    if module == "albumentations":
        # It calls out to the network when imported, for minutes where there is none.
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        with _undisturbed(module) as deeds, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            part = entrypoints.EntryPoint(name, module, attribute).load()
    except (Exception, SystemExit) as error:
        what, place = failure(error, module)
        raise PluginError(
            f"{singular(kind)} {name!r} of package {plugin.package} {plugin.version} cannot be imported "
            f"({plugin.target}): {what}. {f'The fault is there: {place}' if place else absent(plugin)}"
        ) from error
    if not callable(part):
        raise PluginError(f"{singular(kind)} {name!r} of package {plugin.package}: {plugin.target} is not callable.")
    if deeds:
        what = f"package {plugin.package} {plugin.version}: importing {module} {' and '.join(deeds)}."
        warnings.warn(
            f"{what} Its author should know; `i2i plugins doctor` looks for more.", PluginWarning, stacklevel=2
        )
    _used[plugin.package] = plugin.version
    return part  # type: ignore[no-any-return]


@contextlib.contextmanager
def _undisturbed(module: str) -> Iterator[list[str]]:
    """Keep what an import prints from stdout, which may be read as JSON, and put random generators back.

    Gives a list that in the end says, in words, which of it was needed. What goes to stderr stays: nobody parses it.
    A generator of a library that this import is the first to load was nobody's before.
    """
    deeds: list[str] = []
    if module in sys.modules:
        yield deeds
        return
    before, said = random_states(), io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            yield deeds
    finally:
        for library, (state, _) in random_states().items():
            if library in before and before[library][0] != state:
                before[library][1]()
                deeds.append(f"draws from the random generator of {library} (it was put back)")
        if said.getvalue():
            deeds.append(f"prints {said.getvalue()[:60]!r} (it was left out)")


def random_states() -> dict[str, tuple[object, Callable[[], None]]]:
    """Return where the random generators of the libraries loaded so far stand, and what puts each back there."""
    found: dict[str, tuple[object, Callable[[], None]]] = {}
    python: Any = sys.modules.get("random")
    if python:
        state = python.getstate()
        found["Python"] = (state, lambda: python.setstate(state))
    numpy: Any = sys.modules.get("numpy.random")
    if numpy:
        drawn = numpy.get_state()
        found["numpy"] = ((drawn[1].tobytes(), drawn[2:]), lambda: numpy.set_state(drawn))
    torch: Any = sys.modules.get("torch")
    if torch:
        at = torch.get_rng_state()
        found["torch"] = (at.numpy().tobytes(), lambda: torch.set_rng_state(at))
        if torch.cuda.is_initialized():
            all_at = torch.cuda.get_rng_state_all()
            shown = [one.numpy().tobytes() for one in all_at]
            found["torch on the GPU"] = (shown, lambda: torch.cuda.set_rng_state_all(all_at))
    return found


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


def collisions() -> list[list[Plugin]]:
    """Return the claims of every name that more than one package claims."""
    return [claims for names in scan().claims.values() for claims in names.values() if len(claims) > 1]


def singular(kind: str) -> str:
    """Return a kind's name for a sentence: `losses` gives `loss`."""
    return {"losses": "loss", "adversarial": "adversarial objective"}.get(kind, kind.removesuffix("s"))


def matching(pattern: str | None, verbs: Iterable[str] = ()) -> list[Plugin]:
    """Return the claims whose kind, name, package or kind/name matches a pattern with * and ?; all for None.

    The kind may be in the singular. UsageError when there are none; verbs: what else may have been meant.
    """
    parts = scan().parts()
    if pattern is None:
        return parts
    found = [part for part in parts if any(fnmatchcase(word, pattern.casefold()) for word in _words(part))]
    if not found:
        known = dict.fromkeys([*kinds(), *(word for part in parts for word in (part.package, part.name)), *verbs])
        raise UsageError(
            f"no kind, name or package of a part matches {pattern!r}.{nearest(pattern, known)} "
            f"Kinds: {', '.join(kinds())}; '*' stands for anything.{_broken()}"
        )
    return found


def _words(part: Plugin) -> list[str]:
    kinds = (part.kind, singular(part.kind))
    return [word.casefold() for word in (*kinds, part.name, part.package, *(f"{kind}/{part.name}" for kind in kinds))]


def named(text: str) -> Plugin:
    """Return the part that is meant by NAME or KIND/NAME, the kind also in the singular.

    UsageError when there is none, or when several kinds have the name; PluginError when two packages claim it.
    """
    if set(text) & set("*?["):
        raise UsageError(
            f"{text!r} may be several parts, and one is shown at a time. `i2i plugins {text!r}` lists them."
        )
    kind, slash, name = text.rpartition("/")
    known = {word: k for k in kinds() for word in (k, singular(k))}
    if slash and kind not in known:
        raise UsageError(f"there is no kind {kind!r}.{nearest(kind, known)} Known: {', '.join(kinds())}.")
    having = [known[kind]] if slash else [k for k in kinds() if name in names(k)]
    if len(having) > 1:
        ways = " or ".join(f"{k}/{name}" for k in having)
        raise UsageError(f"{name!r} is the name of parts of {len(having)} kinds. Say which: {ways}.")
    if not having:
        every = [name for k in kinds() for name in names(k)]
        raise UsageError(f"there is no part {name!r}.{nearest(name, every)} `i2i plugins` lists all.{_broken()}")
    if name not in names(having[0]):
        raise UsageError(unknown(having[0], name))
    return find(having[0], name)
