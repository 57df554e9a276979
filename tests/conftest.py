"""What several test files share: tiny recipes, and the command line called in this process."""

import functools
import os
import pickle
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from i2i.contracts import Source

# The pictures are tiny, and the machine may be shared: a second thread would only wait for the first.
torch.set_num_threads(1)
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

ROOT = Path(__file__).parent.parent
TINY = """
task = "paired"
metrics = ["l1"]
[source]
name = "scenes"
size = 32
count = 6
[validation]
name = "scenes"
size = 32
count = 2
seed = 1
[method]
name = "pix2pix"
generator = { name = "unet", depth = 3, width = 4 }
discriminator = { name = "patch", field = 16, width = 4 }
[train]
steps = 4
batch = 2
log_every = 1
sample_every = 2
save_every = 2
samples = 1
precision = "float32"
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A recipe that trains in a second."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def drawn_afresh(source: Source, index: int) -> dict[str, np.ndarray]:
    """Draw a sample in a fresh process, after another one."""
    code = (
        "import pickle, sys; source = pickle.load(sys.stdin.buffer); source[0]; "
        "pickle.dump(source[int(sys.argv[1])], sys.stdout.buffer)"
    )
    asked = [sys.executable, "-c", code, str(index)]
    drawn: dict[str, np.ndarray] = pickle.loads(
        subprocess.run(asked, input=pickle.dumps(source), stdout=subprocess.PIPE, check=True).stdout
    )
    return drawn


def same(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """Whether two samples hold the same pictures."""
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command line as `main` does: (exit code, stdout, stderr)."""
    from i2i import cli

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["i2i", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


class Clean:
    """A fresh environment that sees what is installed in this one, and keeps to itself what is installed in it."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=True, with_pip=False)
        self.scripts = folder / "bin"
        self.python = self.scripts / "python"
        (site,) = folder.glob("lib/python*/site-packages")
        ours = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        (site / "ours.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in ours))
        for name in ("pip", "pytest", "i2i"):
            script = self.scripts / name
            script.write_text(f'#!/bin/sh\nexec "{self.python}" -m {name} "$@"\n')
            script.chmod(0o755)

    def run(self, *command: object, cwd: Path | None = None) -> str:
        """Run a command, without a network; return what it prints."""
        environment = {
            **os.environ,
            "PATH": f"{self.scripts}{os.pathsep}{os.environ['PATH']}",
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # which is pip's way to say that there is none
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Clean:
    """An environment to install packages into, where there is what builds them."""
    for needed in ("pip", "hatchling", "editables"):
        pytest.importorskip(needed)
    return Clean(tmp_path_factory.mktemp("environment"))


@pytest.fixture(scope="session")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of a segmentation into five classes, of which the fifth is void, with random weights."""
    from i2i.checkpoint import save_model
    from i2i.compose import make
    from i2i.generators.unet import UNet
    from i2i.methods.pix2pix import Pix2Pix
    from i2i.tasks.segmentation import Segmentation

    folder = tmp_path_factory.mktemp("scorer")
    generator = {"name": "unet", "depth": 2, "width": 4}
    torch.manual_seed(0)
    task = Segmentation(classes=5, void=4)
    method = make(functools.partial(Pix2Pix, generator=functools.partial(UNet, depth=2, width=4), gan_weight=0.0), task)
    description = {
        "task": {"name": "segmentation", "classes": 5, "void": 4},
        "method": {"name": "pix2pix", "generator": generator, "gan_weight": 0.0},
        "packages": {},
    }
    save_model(folder, description, method.g.state_dict())
    return folder
