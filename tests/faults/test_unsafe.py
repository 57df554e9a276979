"""No code in a file ever runs: which modules may read what, and exploit files at every door that takes a file."""

import ast
import io
import json
import os
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY
from torch import nn

from i2i import images

Cli = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]

# ---- What the code may call

UNSAFE_MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "yaml", "imp", "runpy", "code"}
UNSAFE_CALLS = {
    "eval", "exec", "compile", "__import__", "torch.load", "np.load", "numpy.load", "torch.jit.load",
    "torch.export.load", "torch.hub.load", "torch.package.PackageImporter", "pd.read_pickle", "os.system", "os.popen",
    "importlib.import_module", "read_array",
}  # fmt: skip
ALLOWED = {
    ("i2i/foreign.py", "torch.load"): "i2i import, tensors alone",
    ("i2i/build.py", "eval"): "the annotations of a part that is installed, as typing.get_type_hints does",
    ("i2i/cli/app.py", "importlib.import_module"): "the verbs, by their names in i2i/cli",
    ("i2i/backbones.py", "importlib.import_module"): "libraries that parts name",
    ("i2i/probe.py", "importlib.import_module"): "an installed package, in a process of its own",
    ("i2i/testing/sources.py", "pickle"): "a source to a process and back, as a loader's workers do; no file",
    ("i2i/stored.py", "np.lib.format.read_array"): "arrays, with allow_pickle=False",
}


def found(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Yield what a module imports or calls that may run what it reads."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from ((name.split(".")[0], node) for name in names if name.split(".")[0] in UNSAFE_MODULES)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in UNSAFE_CALLS or name.rpartition(".")[2] in ("read_array", "PackageImporter", "read_pickle"):
                yield name, node


def test_only_the_import_command_reads_pickles_and_only_as_tensors() -> None:
    modules = [*(ROOT / "i2i").rglob("*.py"), *(ROOT / "plugins").glob("*/src/**/*.py")]
    assert len(modules) > 100
    seen = set()
    for path in modules:
        place = path.relative_to(ROOT).as_posix()
        for name, node in found(path):
            assert (place, name) in ALLOWED, f"{place}:{node.lineno}: {name}"  # type: ignore[attr-defined]
            seen.add((place, name))
            keywords = {one.arg: ast.unparse(one.value) for one in getattr(node, "keywords", [])}
            if name == "torch.load":
                assert keywords["weights_only"] == "True"
            if name.endswith("read_array"):
                assert keywords["allow_pickle"] == "False"
    assert seen == set(ALLOWED), "what is allowed is still there"


def test_the_gate_sees_what_it_should(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("from pickle import load\nimport torch, joblib.numpy_pickle\nx = torch.load(f)\neval('1')\n")
    assert [name for name, _ in found(path)] == ["pickle", "joblib", "torch.load", "eval"]


# ---- What a recipe may name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('task = "paired"', 'task = "os.system"'),
        ('name = "scenes"', 'name = "os:system"'),
        ('name = "pix2pix"', 'name = "builtins.exec"'),
        ('name = "unet"', 'name = "torch.hub:load"'),
        ('metrics = ["l1"]', 'metrics = ["posix.system"]'),
        ('metrics = ["l1"]', 'metrics = ["l1"]\naugment = [{ name = "os.system" }]'),
        ('[validation]', '[[source.prepare]]\nname = "__import__"\n[validation]'),
        ('[validation]', '[[source.prepare]]\nname = "os.system"\n[validation]'),
        ('[train]', 'optimizer = { name = "os.system" }\n[train]'),
    ],
)  # fmt: skip
def test_a_recipe_names_registered_parts_only(old: str, new: str, run: Cli, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TINY.replace(old, new, 1))
    code, _, err = run("train", recipe, "--runs", tmp_path / "runs")
    assert code == 2, err
    assert str(recipe) in err and not (tmp_path / "runs").exists()


# ---- Exploit files


class Malice:
    """Makes a folder when a careless reader unpickles it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def zipped(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)


def tarred(path: Path, members: dict[str, bytes]) -> None:
    """As torch wrote files before its version 0.1.10."""
    with tarfile.open(path, "w") as bundle:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            bundle.addfile(info, io.BytesIO(content))


def script(path: Path, evil: Malice) -> None:
    """A TorchScript archive with one more pickle in it."""
    torch.jit.save(torch.jit.script(nn.Conv2d(1, 1, 1)), path)
    with zipfile.ZipFile(path, "a") as bundle:
        bundle.writestr("archive/extra.pkl", pickle.dumps(evil))


def program(path: Path, evil: Malice) -> None:
    """A .pt2 archive: an exported program, whose constants are a pickle."""
    members = {"archive_format": b"pt2", "version": b"1", "models/model.json": b"{}"}
    zipped(
        path,
        {f"model/{name}": text for name, text in members.items()} | {"model/data/weights/x.pt": pickle.dumps(evil)},
    )


def tensors(evil: Malice) -> dict[str, Any]:
    return {"model.model.0.weight": torch.zeros(4, 3, 4, 4), "model.model.1.model.1.weight": evil}


EXPLOITS: dict[str, Callable[[Path, Malice], object]] = {
    "latest_net_G.pth": lambda path, evil: torch.save(tensors(evil), path),
    "legacy.pt": lambda path, evil: torch.save(tensors(evil), path, _use_new_zipfile_serialization=False),
    "whole.bin": lambda path, evil: torch.save(evil, path),
    "last.ckpt": lambda path, evil: torch.save({"state_dict": tensors(evil), "epoch": 3}, path),
    "plain.pkl": lambda path, evil: path.write_bytes(pickle.dumps(evil)),
    "text.pickle": lambda path, evil: path.write_bytes(pickle.dumps(evil, protocol=0)),
    "newest.pkl": lambda path, evil: path.write_bytes(pickle.dumps({"x": [evil]}, protocol=5)),
    "old.tar": lambda path, evil: tarred(
        path, {name: pickle.dumps(evil) for name in ("pickle", "storages", "tensors")}
    ),
    "array.npy": lambda path, evil: np.save(path, np.array([[evil]], dtype=object)),
    "arrays.npz": lambda path, evil: np.savez(path, x=np.array([[evil]], dtype=object)),
    "traced.pt": script,
    "exported.pt2": program,
    "keras.zip": lambda path, evil: zipped(path, {"data.pkl": pickle.dumps(evil), "version": b"3"}),
    "named.safetensors": lambda path, evil: path.write_bytes(pickle.dumps(evil)),
}


@pytest.fixture(params=[False, True], ids=["", "no weights only"])
def forced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's own default, and the environment variable that takes it away."""
    if request.param:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    from rich.console import Console

    from i2i import recipe, train
    from i2i.display import TrainDisplay

    folder = tmp_path_factory.mktemp("unsafe")
    with TrainDisplay(Console(quiet=True)) as display:
        return train.start(
            recipe.parse(Path("tiny.toml"), TINY.encode()), runs=folder, device="cpu", display=display
        ).path


def described(model: Path) -> None:
    """Give a model's description the checksum of whatever its weights are now."""
    from i2i.checkpoint import _digest

    description = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps({**description, "sha256": _digest(model / "model.safetensors")}))


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("name", EXPLOITS)
def test_no_door_lets_an_exploit_in(name: str, trained: Path, run: Cli, tmp_path: Path) -> None:
    trace, file = tmp_path / "trace", tmp_path / name
    EXPLOITS[name](file, Malice(trace))
    evil = file.read_bytes()
    images.write(tmp_path / "in" / "good.png", np.zeros((32, 32, 3), np.uint8))
    swapped, sworn = (Path(shutil.copytree(trained, tmp_path / kind)) for kind in ("swapped", "sworn"))
    for copy in (swapped, sworn):
        (copy / "model" / "model.safetensors").write_bytes(evil)
        (copy / "result.json").unlink()
        for state in (copy / "state").iterdir():
            state.write_bytes(evil)
    described(sworn / "model")
    doors = {
        "import": ["import", file, tmp_path / "model"],
        "model": ["translate", tmp_path / "in", tmp_path / "out", "--model", file],
        "weights swapped": ["translate", tmp_path / "in", tmp_path / "out", "--model", swapped],
        "weights sworn": ["translate", tmp_path / "in", tmp_path / "out", "--model", sworn],
        "state": ["train", "--resume", swapped, "--device", "cpu"],
        "run": ["train", "--resume", file],
        "evaluate": ["evaluate", file],
        "scorer": ["evaluate", trained, "--scorer", file],
    }  # fmt: skip
    for door, words in doors.items():
        code, _, err = run(*words)
        assert (door, code, trace.exists()) == (door, 5, False), err
        assert err.startswith("error: ") and "Traceback" not in err
    assert not (tmp_path / "model").exists() and not (tmp_path / "out").exists()


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".jpg"])
def test_no_exploit_passes_for_a_picture(suffix: str, trained: Path, run: Cli, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    images.write(tmp_path / "in" / "good.png", np.zeros((32, 32, 3), np.uint8))
    for name, write in EXPLOITS.items():
        write(tmp_path / name, Malice(trace))
        (tmp_path / name).rename(tmp_path / "in" / f"{Path(name).stem}-{name[-3:]}{suffix}")
    code, _, err = run("translate", tmp_path / "in", tmp_path / "out", "--model", trained)
    assert code == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.png"]
    assert all(f"{Path(name).stem}-{name[-3:]}{suffix}" in err for name in EXPLOITS)
    assert not trace.exists()


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("name", EXPLOITS)
def test_no_exploit_passes_for_pretrained_weights(name: str, run: Cli, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    trace, file = tmp_path / "trace", tmp_path / name
    EXPLOITS[name](file, Malice(trace))
    unet = 'generator = { name = "unet", depth = 3, width = 4 }'
    assert unet in TINY
    made = f'generator = {{ name = "timm_unet", backbone = "resnet18", weights = "{file}" }}'
    (tmp_path / "tiny.toml").write_text(TINY.replace(unet, made))
    code, _, err = run("train", tmp_path / "tiny.toml", "--runs", tmp_path / "runs", "--device", "cpu")
    assert (code, trace.exists()) == (5, False), err
    assert "safetensors" in err and not (tmp_path / "runs").exists()


def test_the_exploits_are_real(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    for name in ("latest_net_G.pth", "legacy.pt", "last.ckpt"):
        EXPLOITS[name](tmp_path / name, Malice(trace))
        torch.load(tmp_path / name, weights_only=False)
        trace.rmdir()
    EXPLOITS["array.npy"](tmp_path / "array.npy", Malice(trace))
    np.load(tmp_path / "array.npy", allow_pickle=True)
    trace.rmdir()
    for name in ("plain.pkl", "text.pickle", "newest.pkl", "named.safetensors"):
        EXPLOITS[name](tmp_path / name, Malice(trace))
        pickle.loads((tmp_path / name).read_bytes())
        trace.rmdir()
