"""The registry: metadata only, collisions named, one broken package hides no other."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from i2i import plugins
from i2i.errors import PluginError

Install = Callable[..., Path]


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
    assert not plugins.scan().problems


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
    ],
    ids=["not UTF-8", "no header", "twice the same key", "percent", "no target"],
)
def test_a_malformed_package_is_named_and_hides_no_other(install: Install, content: bytes) -> None:
    install("broken", content)
    install("sound", "[i2i.losses]\nsound = sound_losses:Loss\n")
    assert plugins.find("losses", "sound").package == "sound"
    assert plugins.find("losses", "l1").package == "i2i"
    assert [problem.split(":")[0] for problem in plugins.scan().problems] == ["broken"]
    with pytest.raises(PluginError, match="broken"):
        plugins.find("losses", "nothing-of-the-kind")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nothing_there", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("x = 1", "AttributeError"),
    ],
)
def test_a_part_that_cannot_be_imported_names_its_package(install: Install, code: str, reason: str) -> None:
    install("acme", "[i2i.losses]\nbad = acme_bad:Loss\n", acme_bad=code)
    with pytest.raises(PluginError, match=rf"'bad' of package acme 1.0 cannot be imported .*{reason}.*pip install"):
        plugins.load("losses", "bad")


def test_something_that_cannot_be_called_is_no_part(install: Install) -> None:
    install("acme", "[i2i.losses]\nnumber = acme_number:Loss\n", acme_number="Loss = 3")
    with pytest.raises(PluginError, match="not callable"):
        plugins.load("losses", "number")


def test_a_shadowed_distribution_does_not_claim(install: Install) -> None:
    install("acme", "[i2i.losses]\none = acme_one:One\n", version="2.0")
    install("acme", "[i2i.losses]\ntwo = acme_two:Two\n", version="1.0")
    names = plugins.names("losses")
    assert ("one" in names) != ("two" in names)


def test_plugins_off_leaves_only_our_own(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("acme", "[i2i.losses]\nhuber = acme_losses:Huber\n")
    monkeypatch.setenv("I2I_PLUGINS", "off")
    plugins.scan.cache_clear()
    assert "huber" not in plugins.names("losses")
    assert "l1" in plugins.names("losses")


def test_metadata_are_read_once(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins.scan()
    monkeypatch.setattr(plugins, "_metadata_files", lambda folder: pytest.fail("scanned again"))
    assert plugins.names("tasks")


def test_listing_shows_kind_package_version_and_place(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = run("plugins", "generators")
    assert code == 0
    assert "i2i.generators.unet:UNet" in out
    assert "i2i 0." in out
    code, _, err = run("plugins", "generator")
    assert code == 2
    assert "Did you mean 'generators'?" in err
