"""The registry: metadata only, collisions named, one broken package hides no other."""

import json
import os
import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from i2i import plugins
from i2i.errors import PluginError

Install = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put distributions into a folder on sys.path; the scan is made anew, and forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    plugins.scan.cache_clear()

    def add(name: str, entry_points: str | bytes, version: str = "1.0", **modules: str) -> Path:
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        data = entry_points.encode() if isinstance(entry_points, str) else entry_points
        (folder / "entry_points.txt").write_bytes(data)
        for module, code in modules.items():
            (tmp_path / f"{module}.py").write_text(code)
            sys.modules.pop(module, None)
        return folder

    yield add
    plugins.scan.cache_clear()


def test_own_parts_are_found() -> None:
    assert plugins.find("generators", "unet").package == "i2i"
    assert plugins.find("losses", "l1").target == "torch.nn:L1Loss"
    assert "i2i" not in {fault.package for fault in plugins.scan().problems}


def test_a_strangers_part_is_found_and_loaded_late(install: Install) -> None:
    install("acme-tools", "[i2i.losses]\nhuber = acme_losses:Huber\n", acme_losses="class Huber: pass\n")
    plugin = plugins.find("losses", "huber")
    assert (plugin.package, plugin.version) == ("acme-tools", "1.0")
    assert "acme_losses" not in sys.modules
    assert plugins.load("losses", "huber").__name__ == "Huber"
    assert plugins.used()["acme-tools"] == "1.0"


def test_a_package_may_bring_its_own_kind(install: Install) -> None:
    install("acme", "[i2i.encoders]\nsmall = acme_encoders:Small\n")
    assert "encoders" in plugins.kinds()


def test_a_kind_of_a_packages_own_is_supplied_what_its_slot_says(install: Install) -> None:
    from typing import Annotated, Any

    from i2i import build
    from i2i.contracts import Slot

    class Small:
        def __init__(self, in_channels: int, *, width: int = 4) -> None: ...

    install("acme", "[i2i.shrinkers]\nsmall = acme_shrinkers:Small\n", acme_shrinkers="")
    import acme_shrinkers  # type: ignore[import-not-found]

    acme_shrinkers.Small = Small
    slot = Annotated[Callable[[int], Any], Slot("shrinkers", ("in_channels",))]

    def method(*, encoder: slot = Small) -> None: ...  # type: ignore[valid-type]

    found: list[build.Problem] = []
    checked = build.check(method, {"encoder": {"name": "small", "width": 9}}, ("method",), found)
    assert not found
    assert checked["encoder"].keywords == {"width": 9}
    with pytest.raises(ValueError, match="is supplied"):
        Slot("shrinkers", ("task",))


def test_two_packages_with_one_name_are_both_named(install: Install) -> None:
    install("acme", "[i2i.generators]\nunet = acme_net:UNet\n")
    with pytest.raises(PluginError, match=r"'unet' is claimed by acme 1.0 and i2i .*pip uninstall"):
        plugins.load("generators", "unet")
    assert plugins.find("tasks", "paired")  # the rest works


def test_unknown_name_gives_the_nearest_and_all() -> None:
    with pytest.raises(PluginError, match=r"unknown discriminator 'pach'. Did you mean 'patch'\? Known: .*patch"):
        plugins.find("discriminators", "pach")


@pytest.mark.parametrize(
    "content",
    [
        b"[i2i.losses]\nx = \xff\xfe:Y\n",
        b"x = i2i.y:Z\n",
        b"[i2i.losses]\nx = a:B\nx = c:D\n",
        b"[i2i.losses]\nx = 50%:B\n",
        b"[i2i.losses]\nx = not a target\n",
        b"\xef\xbb\xbf[i2i.losses]\nx = a:B\n",
        "[i2i.losses]\nx = a:B\n".encode("utf-16"),
        b"[i2i.losses\nx = a:B\n",
        b"[i2i.losses]\nx = a:B\n[i2i.losses]\ny = a:C\n",
    ],
    ids=[
        "not UTF-8",
        "no header",
        "twice the same key",
        "percent",
        "no target",
        "BOM",
        "UTF-16",
        "half a header",
        "twice the same group",
    ],
)
def test_a_malformed_package_is_named_and_hides_no_other(install: Install, content: bytes) -> None:
    install("broken", content)
    install("sound", "[i2i.losses]\nsound = sound_losses:Loss\n")
    assert plugins.find("losses", "sound").package == "sound"
    assert plugins.find("losses", "l1").package == "i2i"
    (problem,) = plugins.scan().problems
    assert problem.package == "broken"
    assert "entry_points.txt" in problem.problem
    assert problem.remedy == "Install it again: pip install --force-reinstall --no-deps broken"
    with pytest.raises(PluginError, match="broken"):
        plugins.find("losses", "nothing-of-the-kind")


PLACES = ["index", "folder", "editable", "archive", "git"]
ARCHIVE, GIT = "https://acme.example/acme.whl", "https://acme.example/acme.git"


def note_origin(metadata: Path, place: str, folder: Path) -> str:
    """Write where a package came from as pip does, and return the command that brings it from there again."""
    folder.mkdir()
    noted: dict[str, tuple[dict[str, object], str]] = {
        "folder": ({"url": folder.as_uri(), "dir_info": {}}, f"i2i plugins install -e '{folder}'"),
        "editable": ({"url": folder.as_uri(), "dir_info": {"editable": True}}, f"i2i plugins install -e '{folder}'"),
        "archive": ({"url": ARCHIVE, "archive_info": {}}, f"pip install --force-reinstall --no-deps {ARCHIVE}"),
        "git": (
            {
                "url": GIT,
                "subdirectory": "pkgs/acme",
                "vcs_info": {"vcs": "git", "commit_id": "abc", "requested_revision": "v1"},
            },
            f"pip install --force-reinstall --no-deps 'git+{GIT}@v1#subdirectory=pkgs/acme'",
        ),
    }
    if place == "index":
        return "pip install --force-reinstall --no-deps acme"
    told, command = noted[place]
    (metadata / "direct_url.json").write_text(json.dumps(told))
    return command


@pytest.mark.parametrize("place", ["index", "editable"])
@pytest.mark.parametrize(
    ("code", "line", "reason"),
    [
        ("import nothing_there", 1, "ModuleNotFoundError: No module named 'nothing_there'"),
        ("\nraise SystemExit(3)", 2, "SystemExit: 3"),
        ("import os; print('half')\ndef f():\n    1 / 0\nf()", 3, "ZeroDivisionError: division by zero"),
        ("import json\njson.loads('{')", 2, "JSONDecodeError: Expecting property name"),
        ("x = 1\ny = = 2", 2, "SyntaxError: invalid syntax"),
    ],
)
def test_an_import_that_fails_names_its_line_and_advises_no_reinstallation(
    install: Install, tmp_path: Path, place: str, code: str, line: int, reason: str
) -> None:
    metadata = install("acme", "[i2i.losses]\nbad = acme_bad:Loss\n", acme_bad=code)
    note_origin(metadata, place, tmp_path / "the sources")
    with pytest.raises(PluginError) as caught:
        plugins.load("losses", "bad")
    text = str(caught.value)
    assert f"loss 'bad' of package acme 1.0 cannot be imported (acme_bad:Loss): {reason}" in text
    assert text.endswith(f". The fault is there: {tmp_path / 'acme_bad.py'}:{line}")
    assert "install" not in text


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("target", ["acme_bad:Loss", "acme_bad.inner:Loss", "acme_gone:Loss"])
def test_a_part_that_is_not_there_is_installed_again_from_where_it_came(
    install: Install, tmp_path: Path, place: str, target: str
) -> None:
    metadata = install("acme", f"[i2i.losses]\nbad = {target}\n", acme_bad="x = 1")
    command = note_origin(metadata, place, tmp_path / "the sources")
    with pytest.raises(PluginError) as caught:
        plugins.load("losses", "bad")
    text = str(caught.value)
    assert text.endswith(f"nstall it again: {command}")
    assert "The fault is there" not in text
    assert (str(tmp_path / "the sources" / "pyproject.toml") in text) == (place in ("folder", "editable"))


@pytest.mark.parametrize(
    ("code", "deed"),
    [
        ("import random; random.seed(0)", "random generator of Python"),
        ("import numpy; numpy.random.seed(0)", "random generator of numpy"),
        ("import torch; torch.manual_seed(0)", "random generator of torch"),
        ("import torch; torch.rand(3)", "random generator of torch"),
        ("print('hello')", "prints 'hello"),
    ],
)
@pytest.mark.parametrize("end", ["", "1 / 0"])
def test_an_import_that_prints_or_reseeds_disturbs_nobody(
    install: Install, capsys: pytest.CaptureFixture[str], code: str, deed: str, end: str
) -> None:
    install("acme", "[i2i.losses]\nloud = acme_loud:Loss\n", acme_loud=f"{code}\n{end}\nclass Loss: pass\n")
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    if end:
        with pytest.raises(PluginError, match="ZeroDivisionError"):
            plugins.load("losses", "loud")
    else:
        with pytest.warns(plugins.PluginWarning, match=rf"package acme 1\.0: importing acme_loud .*{deed}"):
            assert plugins.load("losses", "loud").__name__ == "Loss"
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    assert capsys.readouterr().out == ""


def test_something_that_cannot_be_called_is_no_part(install: Install) -> None:
    install("acme", "[i2i.losses]\nnumber = acme_number:Loss\n", acme_number="Loss = 3")
    with pytest.raises(PluginError, match="not callable"):
        plugins.load("losses", "number")


def test_a_shadowed_distribution_does_not_claim(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "behind" / "acme-3.0.dist-info").mkdir(parents=True)
    (tmp_path / "behind" / "acme-3.0.dist-info" / "entry_points.txt").write_text("[i2i.losses]\ntwo = acme_two:Two\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "behind")])
    install("acme", "[i2i.losses]\none = acme_one:One\n")
    assert "one" in plugins.names("losses")
    assert "two" not in plugins.names("losses")
    assert not plugins.scan().problems


@pytest.mark.parametrize("newest", ["1.0", "2.0"])
def test_of_two_metadata_of_one_package_the_newest_count(install: Install, newest: str) -> None:
    for version in ("1.0", "2.0"):
        name = f"from_{version[0]}"
        folder = install("acme", f"[i2i.losses]\n{name} = acme:Loss\n", version=version)
        os.utime(folder, ns=(0, 2 * 10**18 if version == newest else 10**18))
    assert [name for name in plugins.names("losses") if name.startswith("from_")] == [f"from_{newest[0]}"]
    (problem,) = plugins.scan().problems
    old = {"1.0": "2.0", "2.0": "1.0"}[newest]
    assert f"acme-{newest}.dist-info, the newest" in problem.problem
    assert problem.remedy.endswith(f"acme-{old}.dist-info.")
    assert plugins.find("losses", "l1").package == "i2i"


def test_a_group_in_the_singular_registers_nothing_and_is_told(install: Install, run: Run) -> None:
    for i, ours in enumerate(("losses", "trackers", "adversarial")):
        install(f"acme-{i}", f"[i2i.{plugins.singular(ours)}]\nmine_{i} = acme_mine:Loss\n")
    install("own", "[i2i.encoder]\nmine = acme_mine:Loss\n[i2i.adversarial]\nmine = acme_mine:Loss\n")
    assert not {"loss", "tracker"} & set(plugins.kinds())
    assert {"encoder", "adversarial"} <= set(plugins.kinds())  # which have no other name that we know of
    with pytest.raises(PluginError, match=r"group i2i\.loss, where no recipe finds it\. Write i2i\.losses"):
        plugins.load("losses", "mine_0")
    code, out, err = run("plugins", "*mine*")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()] == [["adversarial", "mine"], ["encoder", "mine"]]
    assert "problem: acme-0: it registers 'mine_0' in the group i2i.loss, where" in err
    assert "problem: acme-1: it registers 'mine_1' in the group i2i.tracker, where" in err
    code, _, err = run("plugins", "check", "acme-0")
    assert code == 2
    assert "Write i2i.losses in its pyproject.toml" in err
    for arguments in (("show", "mine_0"), ("mine_0",)):
        code, _, err = run("plugins", *arguments)
        assert code == 2
        assert "acme-0: it registers 'mine_0' in the group i2i.loss" in err.partition("Some packages are broken: ")[2]


def test_metadata_that_cannot_be_opened_are_named(install: Install) -> None:
    path = install("acme", "") / "entry_points.txt"
    path.unlink()
    path.symlink_to(path)
    install("sound", "[i2i.losses]\nsound = sound_losses:Loss\n")
    assert plugins.find("losses", "sound")
    (problem,) = plugins.scan().problems
    assert problem.package == "acme"
    assert f"({path}: Too many levels of symbolic links)" in problem.problem


def test_what_an_interrupted_pip_left_claims_nothing(install: Install) -> None:
    install("acme", "[i2i.losses]\nhuber = acme_losses:Huber\n", acme_losses="class Huber: pass\n")
    install("~cme", "[i2i.losses]\nhuber = acme_losses:Huber\n")
    assert plugins.load("losses", "huber").__name__ == "Huber"
    (problem,) = plugins.scan().problems
    assert "pip was interrupted" in problem.problem
    assert "~cme-1.0.dist-info" in problem.problem


def test_metadata_without_our_groups_are_not_parsed(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """What keeps a scan of thousands of packages short; bench/plugins.py has the figures."""
    for i in range(30):
        install(f"stranger-{i}", "[console_scripts]\nstranger = stranger.cli:main\n")
    install("strange", b"\xff no header, and nothing for us")
    install("acme", "[i2i.losses]\nhuber = acme_losses:Huber\n")
    parsed: list[str] = []
    whole = plugins.entrypoints.CaseSensitiveConfigParser.read_string

    def spy(self: object, string: str, source: str) -> None:
        parsed.append(Path(source).parent.name)
        whole(self, string, source)

    monkeypatch.setattr(plugins.entrypoints.CaseSensitiveConfigParser, "read_string", spy)
    assert "huber" in plugins.names("losses")
    assert "acme-1.0.dist-info" in parsed
    assert not [name for name in parsed if name.startswith("stran")]
    assert not plugins.scan().problems


def test_plugins_off_leaves_only_our_own(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("acme", "[i2i.losses]\nhuber = acme_losses:Huber\n")
    monkeypatch.setenv("I2I_PLUGINS", "off")
    plugins.scan.cache_clear()
    assert "huber" not in plugins.names("losses")
    assert "l1" in plugins.names("losses")


def test_metadata_are_read_once(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins.scan()
    monkeypatch.setattr(plugins, "distributions", lambda folder: pytest.fail("scanned again"))
    assert plugins.names("tasks")


# ---- i2i plugins, i2i plugins show


def test_listing_shows_kind_package_version_and_place(run: Run) -> None:
    code, out, _ = run("plugins", "generators")
    assert code == 0
    assert "i2i.generators.unet:UNet" in out
    assert "i2i 0." in out
    assert "losses" not in out
    assert run("plugins", "generator")[1] == out
    assert run("plugins", "generator/unet")[1] == run("plugins", "generators/unet")[1] != ""


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*UNET*", {"generators/unet", "generators/timm_unet"}),
        ("l1", {"losses/l1", "metrics/l1"}),
        ("loss*/*E*", {"losses/huber", "losses/mse", "losses/cross_entropy", "losses/perceptual"}),
        ("acme*", {"losses/huber", "sources/shelf"}),
    ],
)
def test_a_listing_is_filtered_by_kind_name_and_package(
    run: Run, install: Install, pattern: str, expected: set[str]
) -> None:
    install("acme-tools", "[i2i.losses]\nhuber = acme:Huber\n[i2i.sources]\nshelf = acme:Shelf\n")
    code, out, _ = run("plugins", pattern, "--json")
    assert code == 0
    parts = [part for part in json.loads(out)["parts"] if part["package"] in ("i2i", "acme-tools")]
    found = {f"{part['kind']}/{part['name']}" for part in parts}
    assert found == expected


def test_a_filter_that_nothing_matches_names_the_nearest(run: Run) -> None:
    for typed, meant in (("pix2pixx", "pix2pix"), ("losess", "losses"), ("doktor", "doctor")):
        code, _, err = run("plugins", typed)
        assert code == 2
        assert f"Did you mean '{meant}'?" in err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("shw", "unet"), "show"),
        (("--json", "shwo", "unet"), "show"),
        (("chek", "i2i", "--json"), "check"),
        (("a", "b"), None),
    ],
)
def test_a_misspelt_verb_is_named(run: Run, arguments: tuple[str, ...], meant: str | None) -> None:
    code, out, err = run("plugins", *arguments)
    assert (code, out) == (2, "")
    assert (f"Did you mean {meant!r}?" in err) == bool(meant)
    assert "Verbs: check, doctor, install, list, new, show." in err


def test_a_listing_tells_of_what_is_broken(run: Run, install: Install) -> None:
    install("broken", b"[i2i.losses]\nx = \xff:Y\n")
    code, out, err = run("plugins", "unet")
    assert code == 0
    assert "unet" in out
    assert "problem: broken: its metadata cannot be read" in err


SHOWN = '''
from pathlib import Path
from typing import Annotated, Literal
from annotated_types import Ge, Interval, Lt
from i2i.contracts import Count, MakeGenerator, MakeLoss, Probability
from i2i.generators.unet import UNet
from functools import partial
from torch.nn import L1Loss

class Net:
    """Nothing much (Nobody and Other 1999, section 4).

    More of it.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, depth: Count = 4, share: Probability = 0.5,
        half: Annotated[float, Ge(0), Lt(0.5)] = 0.25, mode: Literal["a", "b", "c"] = "b",
        size: tuple[int, int] = (3, 4), root: Path | None = None, exact: bool = False,
        widths: list[Count] = [1, 2], needed: str, generator: MakeGenerator = partial(UNet, depth=3),
        losses: list[MakeLoss] = [],
    ) -> None: ...
'''
WORDS = {
    "depth": ("whole number, at least 1", "4"),
    "share": ("number, from 0 to 1", "0.5"),
    "half": ("number, at least 0 and less than 0.5", "0.25"),
    "mode": ('"a", "b" or "c"', '"b"'),
    "size": ("list of 2: whole number; whole number", "[3, 4]"),
    "root": ("path", "none"),
    "exact": ("true or false", "false"),
    "widths": ("list, each a whole number, at least 1", "[1, 2]"),
    "needed": ("text", None),
    "generator": ("a generator", "unet with depth = 3"),
    "losses": ("list, each a loss", "[]"),
}


def test_a_part_is_shown_in_words(run: Run, install: Install, tmp_path: Path) -> None:
    install("acme", "[i2i.generators]\nnet = acme_net:Net\n", acme_net=SHOWN)
    code, out, _ = run("plugins", "show", "net", "--json")
    assert code == 0
    shown = json.loads(out)
    assert {p["name"]: (p["type"], p["default"]) for p in shown["parameters"]} == WORDS
    assert (shown["package"], shown["version"], shown["target"]) == ("acme", "1.0", "acme_net:Net")
    assert shown["supplied"] == ["in_channels", "out_channels"]
    assert Path(shown["file"]) == tmp_path / "acme_net.py"
    assert SHOWN.splitlines()[shown["line"] - 1] == "class Net:"
    assert shown["papers"] == ["Nobody and Other 1999, section 4"]
    assert shown["doc"].endswith("More of it.")
    out = run("plugins", "show", "generator/net")[1]
    assert f"{tmp_path / 'acme_net.py'}:{shown['line']}" in out
    assert "paper: Nobody and Other 1999, section 4" in out
    assert "depth      whole number, at least 1 (default 4)" in out
    assert "needed     text (must be set)" in out
    assert "given by the run: in_channels, out_channels\n" in out
    assert "given by the run" not in run("plugins", "show", "losses/mse")[1]


def test_a_part_of_a_packages_own_kind_is_shown(run: Run, install: Install) -> None:
    code = """
from collections.abc import Callable
from typing import Annotated, Any
from i2i.contracts import Slot
MakeDigger = Annotated[Callable[[int], Any], Slot("diggers", ("in_channels",))]
"""
    install("acme", "[i2i.losses]\nmine = acme_mine:Mine\n[i2i.diggers]\nspade_ = acme_digger:Digger\n")
    install("acme-mine", "", acme_mine=f"{code}class Mine: pass\n", acme_digger=DIGGER)
    shown = json.loads(run("plugins", "show", "diggers/spade_", "--json")[1])
    assert shown["supplied"] == ["in_channels"]
    assert [parameter["name"] for parameter in shown["parameters"]] == ["width"]


DIGGER = "class Digger:\n    def __init__(self, in_channels: int, *, width: int = 4) -> None: ...\n"


@pytest.mark.parametrize("part", ["unet", "pix2pix", "metrics/fid", "tasks/paired", "sources/pairs", "loss/mse", "csv"])
def test_our_own_parts_are_shown(run: Run, part: str) -> None:
    code, out, err = run("plugins", "show", part)
    assert code == 0, err
    assert part.rpartition("/")[2] in out


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("l1", 2, "Say which: losses/l1 or metrics/l1"),
        ("unett", 2, "Did you mean 'unet'?"),
        ("generatr/unet", 2, "Did you mean 'generator'?"),
        ("losses/l11", 2, "Did you mean 'l1'?"),
        ("twice", 4, "is claimed by acme 1.0 and other 1.0"),
        ("lost", 4, "cannot be imported"),
        ("l*", 2, "`i2i plugins 'l*'` lists them"),
    ],
)
def test_what_cannot_be_shown_is_a_sentence(run: Run, install: Install, name: str, code: int, message: str) -> None:
    install("acme", "[i2i.losses]\ntwice = acme:One\nlost = acme_is_lost:One\n")
    install("other", "[i2i.losses]\ntwice = other:Two\n")
    got, _, err = run("plugins", "show", name)
    assert got == code
    assert message in err
    assert "Traceback" not in err


def test_a_loud_import_is_one_line_on_stderr(install: Install, tmp_path: Path) -> None:
    code = "print('hello')\nclass Loss: pass\n"
    install("acme", "[i2i.losses]\nloud = acme_loud:Loss\n", acme_loud=code)
    asked = [sys.executable, "-m", "i2i", "plugins", "show", "losses/loud"]
    done = subprocess.run(asked, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 0
    assert "hello" not in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: package acme 1.0: importing acme_loud prints 'hello")


def test_other_warnings_look_as_in_python(run: Run) -> None:
    run("plugins")
    assert warnings.formatwarning("m", UserWarning, "f.py", 3, "x = 1") == "f.py:3: UserWarning: m\n  x = 1\n"
