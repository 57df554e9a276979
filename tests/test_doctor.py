"""The doctor: every fault of an installed package is named with its remedy, and a sound one beside it is not."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from i2i import doctor, plugins, quiet

Run = Callable[..., tuple[int, str, str]]
PART = "[i2i.losses]\n{0} = {1}:Loss\n"
SOUND = "class Loss: pass\n"
PLACES = ("index", "folder", "editable")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on sys.path that holds packages, a sound one among them."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    plugins.scan.cache_clear()
    add(folder, "sound", PART.format("sound", "sound_part"), sound_part=SOUND)
    yield folder
    plugins.scan.cache_clear()


def add(site: Path, package: str, entry_points: str, version: str = "1.0", **modules: str) -> Path:
    info = site / f"{package}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text(entry_points)
    (info / "RECORD").write_text("".join(f"{name}.py,sha256=x,1\n" for name in modules))
    for name, code in modules.items():
        (site / f"{name}.py").write_text(code)
    return info


def told(*packages: str) -> str:
    """Return what metadata tell of the packages, and of the sound one: nothing."""
    faults, _ = doctor.read([*packages, "sound"])
    assert {fault.package for fault in faults} <= set(packages)
    return "\n".join(f"{fault}" for fault in faults)


def test_all_is_well_and_what_looks_further(site: Path, run: Run) -> None:
    code, out, err = run("plugins", "doctor", "sound")
    lines = out.splitlines()
    assert (code, lines[0], len(lines), err) == (0, "all is well with sound", 2, "")
    assert lines[1].endswith("`i2i plugins check sound`")


def test_what_is_wrong_is_said_with_its_remedy_and_exit_4(site: Path, run: Run) -> None:
    add(site, "acme", PART.format("x", "acme_nowhere"))
    code, out, err = run("plugins", "doctor", "acme", "--json")  # nothing is left to import
    assert code == 4
    (problem,) = json.loads(out)["problems"]
    assert problem["package"] == "acme"
    assert "loss 'x' points to acme_nowhere, and there is no such module" in problem["problem"]
    assert "pip install --force-reinstall --no-deps acme" in problem["remedy"]
    assert "1 thing(s) to mend" in err
    out = run("plugins", "doctor", "acme")[1]
    assert "acme: loss 'x' points" in out
    assert run("plugins", "doctor", "acmee")[0] == 2


def test_modules_are_looked_for_without_importing_them(site: Path) -> None:
    package = site / "acme_package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "inner" / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "inner" / "part.py").write_text("")
    assert doctor._is_there("acme_package.inner.part")
    assert not doctor._is_there("acme_package.inner.other")
    assert not doctor._is_there("acme_package.inner.part.deeper")
    assert not doctor._is_there("json.nothing")


def test_a_distribution_whose_files_are_gone_is_stale(site: Path) -> None:
    add(site, "acme", PART.format("x", "acme_gone"), acme_gone=SOUND, acme_kept="")
    (site / "acme_gone.py").unlink()
    text = told("acme")
    assert "1 of the 2 modules that were installed are gone, such as acme_gone.py" in text
    assert "acme-1.0.dist-info" in text
    assert "points to" not in text  # one cause, one fault


def editable(site: Path, project: Path) -> None:
    info = add(site, "acme", PART.format("x", "acme_source"))
    (info / "direct_url.json").write_text(json.dumps({"url": project.as_uri(), "dir_info": {"editable": True}}))


def test_an_editable_install_whose_folder_has_moved(site: Path, tmp_path: Path) -> None:
    editable(site, tmp_path / "moved away")
    text = told("acme")
    assert f"installed from {tmp_path / 'moved away'} (editable), and that folder is gone" in text
    assert "i2i plugins install -e" in text


def test_an_editable_install_that_has_not_seen_new_entry_points(site: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    editable(site, project)
    (site / "acme_source.py").write_text(SOUND)
    written = '[project]\nname = "acme"\n[project.entry-points."i2i.losses"]\nx = "acme_source:Loss"\n'
    (project / "pyproject.toml").write_text(written)
    assert told("acme") == ""
    (project / "pyproject.toml").write_text(written + 'y = "acme_source:Loss"\n')
    text = told("acme")
    assert "has changed since it was installed (losses/y)" in text
    assert f"i2i plugins install -e {project}" in text
    (project / "pyproject.toml").write_text("[build-system]\n")  # it says elsewhere what it registers
    assert told("acme") == ""


def test_two_metadata_of_one_package(site: Path) -> None:
    os.utime(add(site, "acme", PART.format("x", "acme_part"), acme_part=SOUND), ns=(0, 0))
    add(site, "acme", PART.format("x", "acme_part"), version="2.0")
    text = told("acme")
    assert "several versions" in text
    assert f"Delete {site / 'acme-1.0.dist-info'}." in text


def test_metadata_that_cannot_be_read(site: Path) -> None:
    add(site, "acme", "[i2i.losses\n")
    assert "its metadata cannot be read" in told("acme")


def test_one_installation_behind_another(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    behind = tmp_path / "behind"
    monkeypatch.setattr(sys, "path", [*sys.path, str(site), str(behind)])
    add(site, "acme", PART.format("x", "acme_part"), acme_part=SOUND)
    add(behind, "acme", PART.format("x", "acme_part"), version="0.9")
    text = told("acme")
    assert f"the one in {behind} is hidden by the one in {site}" in text
    assert text.count("hidden") == 1  # a folder that is on the path twice hides nothing


def test_a_name_that_two_packages_claim(site: Path) -> None:
    add(site, "acme", PART.format("x", "acme_part"), acme_part=SOUND)
    add(site, "other", PART.format("x", "other_part"), other_part=SOUND)
    text = told("acme", "other")
    assert "acme 1.0 and other 1.0 both register the loss 'x'" in text
    assert "pip uninstall other" in text


def test_a_rival_of_albumentations(site: Path) -> None:
    (site / "albumentationsx-2.1.dist-info").mkdir()
    assert "pip uninstall albumentationsx && pip install --force-reinstall albumentations==2.0.8" in told(
        "albumentationsx"
    )


THREAD = """
import threading, time
threading.Thread(target=time.sleep, args=(9,), name="idle", daemon=True).start()
"""
DEEDS = {
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "breaks": ("import nothing_of_the_kind", "ModuleNotFoundError"),
    "lacks": ("del Loss", "has no attribute 'Loss'"),
    "prints": ("print('hello')", "prints 'hello"),
    "reseeds": ("import random; random.seed(0)", "draws from Python's random generator"),
    "numbers": ("import numpy; numpy.random.rand()", "draws from numpy's random generator"),
    "tensors": ("import torch; torch.manual_seed(0)", "draws from torch's random generator"),
    "threads": (THREAD, "starts the thread 'idle'"),
}


def test_what_importing_does_besides_is_told_of_each(site: Path) -> None:
    for name, (code, _) in DEEDS.items():
        add(site, name, PART.format(name, f"acme_{name}"), **{f"acme_{name}": f"{SOUND}{code}\n"})
    found = {fault.package: fault.problem for fault in doctor.examine([*DEEDS, "sound"])}
    assert set(found) == set(DEEDS)
    for name, (_, expected) in DEEDS.items():
        assert expected in found[name]
    assert not sys.modules.keys() & {f"acme_{name}" for name in DEEDS}


def test_what_to_do_follows_from_where_a_package_came(site: Path, tmp_path: Path) -> None:
    """Who has its folder is its author; and no index is asked for a name that was never taken from one."""
    code = {"breaks": "\n1 / 0", "garbles": "x = = 1", "lacks": "del Loss"}
    for place in PLACES:
        for name in code:
            module = f"acme_{place}_{name}"
            info = add(site, f"{place}_{name}", PART.format(module, module), **{module: f"{SOUND}{code[name]}\n"})
            if place != "index":
                came = {"url": tmp_path.as_uri(), "dir_info": {"editable": place == "editable"}}
                (info / "direct_url.json").write_text(json.dumps(came))
    faults = {fault.package: fault for fault in doctor.examine([f"{p}-{n}" for p in PLACES for n in code])}
    again = f"nstall it again: i2i plugins install -e {tmp_path}"
    for name, line in (("breaks", 3), ("garbles", 2)):
        assert str(faults[f"editable-{name}"].remedy) == f"Mend it in {tmp_path}."
        assert str(faults[f"folder-{name}"].remedy) == f"Mend it in {tmp_path}. Then i{again}"
        assert "Update it, or tell its author; 1.0 is installed." in faults[f"index-{name}"].remedy
        assert f"acme_index_{name}.py:{line})" in faults[f"index-{name}"].problem
    for place in ("folder", "editable"):
        assert (
            faults[f"{place}-lacks"].remedy == f"See that {tmp_path / 'pyproject.toml'} says where it is, and i{again}"
        )
    assert faults["index-lacks"].remedy == "Install it again: pip install --force-reinstall --no-deps index-lacks"


def test_a_part_that_ends_the_process_is_told_from_the_sound_one(site: Path) -> None:
    add(site, "dies", PART.format("dies", "acme_dies"), acme_dies="import os; os._exit(7)")
    (fault,) = doctor.examine(["dies", "sound"])
    assert fault.package == "dies"
    assert "acme_dies:Loss ends the process (code 7)" in fault.problem


def test_a_part_that_takes_for_ever_is_given_up_and_no_other(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long the process itself takes to start counts for none, and what one part takes for no other."""
    add(site, "slow", PART.format("slow", "z_slow"), z_slow="import time; time.sleep(99)")
    for name in ("leisurely", "unhurried"):
        add(site, name, PART.format(name, f"acme_{name}"), **{f"acme_{name}": f"import time; time.sleep(2.5)\n{SOUND}"})
    monkeypatch.setattr(quiet, "PATIENCE", 4)
    (fault,) = doctor.examine(["slow", "leisurely", "unhurried", "sound"])
    assert "z_slow:Loss takes more than 4 s" in fault.problem


def test_what_cannot_be_called_and_what_two_packages_break_alike_are_named(site: Path, run: Run) -> None:
    add(site, "acme", "[i2i.losses]\nnumber = acme_number:Loss\n", acme_number="Loss = 3\n")
    add(site, "bolt", PART.format("y", "acme_gone"), acme_gone="")
    add(site, "Cog.Works", PART.format("z", "acme_gone"))
    code, out, _ = run("plugins", "doctor", "acme", "bolt", "cog_works", "--json")
    assert code == 4
    told = {(problem["package"], "cannot be called" in problem["problem"]) for problem in json.loads(out)["problems"]}
    assert told == {("acme", True), ("bolt", False), ("cog-works", False)}


def test_a_project_file_of_another_shape_breaks_nothing(site: Path, tmp_path: Path) -> None:
    info = add(site, "acme", PART.format("x", "sound_part"))
    project = tmp_path / "acme"
    project.mkdir()
    (info / "direct_url.json").write_text(json.dumps({"url": project.as_uri(), "dir_info": {"editable": True}}))
    for text in ("project = 3", '[project.entry-points]\n"i2i.losses" = "x:Y"', "[project]\nentry-points = 3"):
        (project / "pyproject.toml").write_text(text)
        assert told("acme") == ""


def test_what_building_an_editable_package_left_is_no_second_one(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = add(site, "acme", PART.format("x", "sound_part"))
    source = tmp_path / "acme" / "src"
    (source / "acme.egg-info").mkdir(parents=True)
    (source / "acme.egg-info" / "entry_points.txt").write_text(PART.format("x", "sound_part"))
    monkeypatch.setattr(sys, "path", [*sys.path, str(source)])
    assert "is hidden by" in told("acme")
    place = {"url": source.parent.as_uri(), "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(place))
    assert told("acme") == ""


def test_a_group_in_the_singular_is_told(site: Path, tmp_path: Path) -> None:
    entry_points = "[i2i.loss]\nx = sound_part:Loss\n[i2i.encoders]\ny = sound_part:Loss\n"
    info = add(site, "acme", entry_points)
    sentence = "'x' in the group i2i.loss, where no recipe finds it. Write i2i.losses"
    assert told("acme").count(sentence) == 1
    assert "encoders" not in told("acme")
    (info / "direct_url.json").write_text(json.dumps({"url": tmp_path.as_uri(), "dir_info": {"editable": True}}))
    table = '[project.entry-points."i2i.{}"]\n{} = "sound_part:Loss"\n'
    written = table.format("encoders", "y") + table.format("loss", "x")
    (tmp_path / "pyproject.toml").write_text(written)
    plugins.scan.cache_clear()
    assert told("acme").endswith(f"install it again: i2i plugins install -e {tmp_path}")
    assert "has changed" not in told("acme")
    (tmp_path / "pyproject.toml").write_text(written.replace("i2i.loss", "i2i.losses"))
    assert "has changed since it was installed (loss/x, losses/x)" in told("acme")
