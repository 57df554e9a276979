"""Cold start is a feature: what must not be loaded for the light verbs, read in a fresh interpreter."""

import subprocess
import sys
from pathlib import Path

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


def test_a_slip_in_a_recipe_is_told_before_torch_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "slip.toml").write_text('task = "pared"\nsource = "scenes"\nmetrics = ["l1"]\n[train]\nstep = 5\n')
    code = (
        f"import sys; sys.argv = ['i2i', 'check', {str(tmp_path / 'slip.toml')!r}]\n"
        "from i2i.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 2, end.code\n"
        "print('LOADED', [name for name in ('torch', 'kornia', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []", done.stdout[-500:]
    assert "Did you mean 'paired'?" in done.stderr
    assert "Did you mean 'steps'?" in done.stderr


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, i2i; assert 'torch' not in sys.modules; i2i.load; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_unet_translates_without_kornia_timm_and_albumentations(tmp_path: Path) -> None:
    """Nor does it ask for what they bring along: each takes a second to import."""
    import torch

    from i2i import images
    from i2i.checkpoint import save_model
    from i2i.generators.unet import UNet

    generator = {"name": "unet", "depth": 2, "width": 4}
    method = {"name": "pix2pix", "generator": generator}
    weights = UNet(3, 3, depth=2, width=4).state_dict()
    save_model(tmp_path / "model", {"task": {"name": "paired"}, "method": method, "packages": {}}, weights)
    images.write(tmp_path / "in" / "a.png", torch.zeros(8, 8, 3, dtype=torch.uint8).numpy())
    arguments = ["translate", str(tmp_path / "in"), str(tmp_path / "out"), "--model", str(tmp_path / "model")]
    heavy = ["kornia", "timm", "albumentations", "torchvision", "scipy", "sympy", "matplotlib"]
    code = (
        f"import sys; sys.argv = ['i2i', *{[*arguments, '--device', 'cpu']!r}]\n"
        "from i2i.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print('LOADED', [name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []", done.stdout[-500:]
