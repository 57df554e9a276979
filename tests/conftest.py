"""What several test files share: tiny recipes, and the command line called in this process."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

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
