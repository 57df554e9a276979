"""Cold start is a feature: what must not be loaded for the light verbs, read in a fresh interpreter."""

import subprocess
import sys

import pytest

HEAVY = ["torch", "kornia", "numpy", "pydantic", "timm", "albumentations", "cv2", "PIL"]


VERBS = [
    ["--help"], ["plugins"], ["plugins", "tasks", "--json"], ["plugins", "--help"], ["train", "--help"],
    ["data", "list"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", VERBS)
def test_light_verbs_load_nothing_heavy(arguments: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['i2i', *{arguments!r}]\n"
        "from i2i.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []", done.stdout[-500:]


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, i2i; assert 'torch' not in sys.modules; i2i.load; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
