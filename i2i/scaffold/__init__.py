"""New packages with one part of a kind, from templates: installed, tested and trained with at once."""

from __future__ import annotations

import builtins
import keyword
import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from string import Template

from i2i import plugins
from i2i.errors import UsageError, nearest
from i2i.files import disk_errors

TEMPLATES = Path(__file__).parent / "templates"
KINDS = {
    "generator": "generators",
    "discriminator": "discriminators",
    "loss": "losses",
    "adversarial": "adversarial",
    "task": "tasks",
    "method": "methods",
    "source": "sources",
    "metric": "metrics",
    "tracker": "trackers",
}
LONGEST = 30
"""Letters of a name: with more, lines of the templates would grow too long."""
PARTS = ("generator", "discriminator", "reconstruction", "adversarial")
SMALL = {
    "generator": '{ name = "unet", depth = 4, width = 16 }',
    "discriminator": '{ name = "patch", field = 16, width = 16 }',
}


@dataclass(frozen=True)
class Package:
    """A package that was written: its files, and the commands to go on with."""

    name: str
    kind: str
    package: str
    folder: Path
    files: list[Path]
    next_steps: list[str]


def write(name: str, kind: str, into: Path) -> Package:
    """Write the package of a part into a folder of its own, i2i-NAME, whole or not at all.

    kind: in the singular or as the group is called. UsageError for a kind that there is not, a name that cannot be or
    is taken, and a folder that is there; ResourceError where nothing can be written.
    """
    word, group = _kind(kind)
    name = _name(name, group)
    package = f"i2i-{name.replace('_', '-')}"
    folder = into / package
    if any(part.package == package for part in plugins.scan().parts()):
        raise UsageError(
            f"a package {package} is installed already: `i2i plugins {package}` lists it. {_other(name, group)}"
        )
    if os.path.lexists(folder):
        raise UsageError(f"{folder}: is there already, and is left as it is. {_other(name, group)}")
    files = _files(name, word, group, package)
    unfinished = into / f".{package}.{os.getpid()}.part"
    try:
        with disk_errors(folder):
            for path, text in files.items():
                (unfinished / path).parent.mkdir(parents=True, exist_ok=True)
                (unfinished / path).write_text(text, encoding="utf-8")
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    there, recipe = shlex.quote(str(folder)), shlex.quote(str(folder / "recipes" / f"{name}.toml"))
    steps = [f"i2i plugins install -e {there}", f"pytest {there}", f"i2i train {recipe}"]
    return Package(name, word, package, folder, [folder / path for path in files], steps)


def _kind(kind: str) -> tuple[str, str]:
    for word, group in KINDS.items():
        if kind in (word, group):
            return word, group
    raise UsageError(f"there is no template for the kind {kind!r}.{nearest(kind, KINDS)} Known: {', '.join(KINDS)}.")


def _name(name: str, group: str) -> str:
    """Return the part's name, in Python's form."""
    made = name.replace("-", "_").removeprefix("i2i_")
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", made) or len(made) > LONGEST:
        raise UsageError(
            f"{name!r} cannot be a part's name: it begins with a small letter, goes on with small letters, digits and "
            f"single _, and has at most {LONGEST} characters, as in soft_edges."
        )
    if _title(made) in {*_imported(group), *vars(builtins)} or keyword.iskeyword(_title(made)):
        raise UsageError(
            f"{name!r} would make a class {_title(made)}, which means something else. {_other(made, group)}"
        )
    if made in plugins.names(group):
        claims = plugins.scan().claims[group][made]
        taken = f"the {plugins.singular(group)} {made!r} is there already, in {claims[0].package} {claims[0].version}."
        raise UsageError(f"{taken} {_other(made, group)}")
    return made


def _other(name: str, group: str) -> str:
    free = next(other for other in (f"my_{name}", f"{name}_2", f"my_{name}_2") if other not in plugins.names(group))
    return f"Choose another name, such as {free}."


def _title(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _imported(group: str) -> set[str]:
    """Return the names that the template of a kind imports."""
    return set(
        re.findall(r"\b[A-Z]\w*", " ".join(re.findall(r"(?m)^\s*from .* import (.*)$", _template(f"{group}.py"))))
    )


def _template(file: str) -> str:
    return (TEMPLATES / file).read_text(encoding="utf-8")


def _files(name: str, word: str, group: str, package: str) -> dict[Path, str]:
    module = package.replace("-", "_")
    words = {"name": name, "word": plugins.singular(group), "kind": group, "package": package, "module": module}

    def filled(file: str, **more: str) -> str:
        return Template(_template(file)).substitute(words, title=_title(name), **more)

    return {
        Path("pyproject.toml"): filled("package.toml"),
        Path("README.md"): filled("README.md"),
        Path("src", module, "__init__.py"): _template(f"{group}.py")
        .replace("Placeholder", _title(name))
        .replace("placeholder", name),
        Path("src", module, "py.typed"): "",
        Path("tests", f"test_{module}.py"): filled("test.py.txt", decorator=_decorator(name, group, package)),
        Path("recipes", f"{name}.toml"): filled("recipe.toml", **_recipe(name, word, group)),
    }


def _decorator(name: str, group: str, package: str) -> str:
    if group != "methods":
        return f'@parametrize("{package}")'
    lines = [
        "@parametrize(",
        f'    "{package}",',
        "    # The generator's defaults are for pictures of 256 pixels.",
        f'    settings={{"{group}.{name}": {{"generator": {{"name": "unet", "depth": 3, "width": 8}}}}}},',
        ")",
    ]
    return "\n".join(lines)


def _recipe(name: str, word: str, group: str) -> dict[str, str]:
    """Return the lines of a recipe that differ from kind to kind."""
    head = [f'task = "{name if word == "task" else "paired"}"']
    head += ['metrics = ["l1", ' + (f'"{name}"]' if word == "metric" else '"psnr"]')]
    head += [f'trackers = ["{name}"]'] if word == "tracker" else []
    players = dict(SMALL) if word != "method" else {"generator": SMALL["generator"]}
    slot = {"loss": "reconstruction"}.get(word, word)
    if slot in PARTS:
        players[slot] = f'"{name}"'
    method = [
        f'name = "{name if word == "method" else "pix2pix"}"',
        *(f"{key} = {value}" for key, value in players.items()),
    ]
    source = name if word == "source" else "scenes"
    return {"head": "\n".join(head), "method": "\n".join(method), "source": source}
