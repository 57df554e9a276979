"""Registered means tested: every part in the registry runs the checks of its kind, and every check can fail."""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from broken_parts import BROKEN, Mean, Right, Tiny
from broken_sources import Drawn
from test_augment import AUGMENTATIONS, PREPARATIONS

from i2i import images, plugins
from i2i.adversarial.wgan_gp import WassersteinGP
from i2i.discriminators.patch import PatchGAN
from i2i.errors import UsageError
from i2i.generators.unet import UNet
from i2i.methods.pix2pix import Pix2Pix
from i2i.metrics.classes import Classes
from i2i.metrics.l1 import L1
from i2i.tasks.colorization import Colorization
from i2i.tasks.maps import Maps
from i2i.tasks.paired import Paired
from i2i.tasks.segmentation import Labels, Segmentation
from i2i.testing import Case, cases, checks, parametrize

FILES = Path(tempfile.gettempdir(), f"i2i-conformance-{os.getpid()}")
"""Where the parts that read files find some; filled by a fixture."""
KINDS = (
    *("generators", "discriminators", "losses", "adversarial", "tasks", "methods", "sources", "metrics", "trackers"),
    *("augmentations", "preparations"),
)
FEATURES = {"features": "test_resnet", "weights": "random"}
BACKBONE = {"backbone": "test_resnet", "weights": "random"}

# Smaller than the defaults where those are heavy; required parameters where there are some.
SMALL = {
    "discriminators.diff_augment": {"discriminator": {"name": "patch", "width": 8}},
    "discriminators.patch": {"width": 8},
    "discriminators.timm_projected": {**BACKBONE, "width": 4},
    "generators.encoder_decoder": {"depth": 3, "width": 8},
    "generators.resnet": {"blocks": 2, "width": 8},
    "generators.timm_unet": {**BACKBONE, "width": 4, "max_width": 16},
    "generators.unet": {"depth": 3, "width": 8},
    "losses.perceptual": {**BACKBONE, "layers": [0, 1], "distance": "l1"},
    "methods.pix2pix": {
        "generator": {"name": "unet", "depth": 2, "width": 4},
        "discriminator": {"name": "patch", "field": 16, "width": 4},
    },
    "metrics.fcn_score": {"scorer": FILES / "scorer"},
    "metrics.fid": {**FEATURES, "minimum": 2},
    "metrics.kid": {**FEATURES, "minimum": 2},
    "metrics.lpips": FEATURES,
    "metrics.ms_ssim": {"scales": 2},
    "sources.figures": {"size": 32, "count": 3},
    "sources.folder": {"root": FILES},
    "sources.pairs": {"root": FILES},
    "sources.scenes": {"size": 32, "count": 3},
    **{f"augmentations.{name}": parameters for name, parameters in AUGMENTATIONS.items()},
    **{f"preparations.{name}": parameters for name, parameters in PREPARATIONS.items()},
}
TINY, PATCH = partial(UNet, depth=2, width=4), partial(PatchGAN, field=16, width=4)
VARIANTS = {
    "tasks": [
        partial(Colorization, palette=3),
        partial(Labels, classes=4, void=255),
        partial(Maps, to="aerial"),
        partial(Paired, in_channels=1),
        partial(Segmentation, classes=["sky", "road", "other"], void=2),
        partial(Segmentation, classes=4, void=255),
    ],
    "methods": [
        partial(Pix2Pix, generator=TINY, discriminator=PATCH, adversarial=WassersteinGP, conditional=False),
        partial(Pix2Pix, generator=TINY, gan_weight=0.0),
    ],
    "metrics": [partial(L1, region="mask"), partial(Classes, names=["sky", "road"])],
}
EXPECTED = {
    f"losses-{loss}-{check}": "a class of torch's own, whose historical parameters are positional and untyped"
    for loss in ("l1", "mse")
    for check in ("parameters_are_keywords", "parameters_are_typed")
}


@pytest.fixture(scope="module", autouse=True)
def files(scorer: Path) -> Iterator[None]:
    """Pictures for the sources that read files, a model for the metric that asks one."""
    for name in ("A/1.png", "B/1.png", "A/2.png", "B/2.png"):
        path = FILES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        images.write(path, np.random.default_rng(len(name)).integers(0, 255, (24, 32, 3), dtype=np.uint8))
    shutil.copytree(scorer, FILES / "scorer")
    yield
    shutil.rmtree(FILES)


@parametrize("i2i", settings=SMALL, expected=EXPECTED)
def test_own_part(case: Case) -> None:
    if case.name in ("fid", "kid"):
        pytest.importorskip("torchmetrics")
    case()


@parametrize(VARIANTS)
def test_own_part_with_other_parameters(case: Case) -> None:
    case()


@pytest.mark.parametrize(
    ("kind", "part", "check", "sentence"), [pytest.param(*row, id=f"{row[1].__name__}-{row[2]}") for row in BROKEN]
)
def test_a_broken_part_is_told_what_is_wrong(kind: str, part: Any, check: str, sentence: str) -> None:
    case = Case(kind, part.__name__, {c.__name__: c for c in checks(kind)}[check], part)
    with pytest.raises(AssertionError, match=sentence) as caught:
        case()
    assert "\n" not in str(caught.value)


def test_every_check_can_fail() -> None:
    shown = {check for *_, check, _ in BROKEN} | {"importing_is_quiet"}
    assert shown == {check.__name__ for kind in KINDS for check in checks(kind)}


SOUND = cases({"methods": [Tiny], "tasks": [Right], "sources": [Drawn], "metrics": [Mean]})


@pytest.mark.parametrize(
    "case", [case for case in SOUND if case.check.__name__ != "importing_is_quiet"], ids=lambda c: c.id
)
def test_a_sound_part_passes(case: Case) -> None:
    case()


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A stranger's package: a part whose module is loud, and one whose module is not there."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    metadata = tmp_path / "Acme_Parts-1.0.dist-info" / "entry_points.txt"
    metadata.parent.mkdir()
    metadata.write_text("[i2i.losses]\nloud = acme_loud:Loud\nlost = acme_lost:Lost\n")
    (tmp_path / "acme_loud.py").write_text(
        "import random, threading, time\n"
        "class Loud:\n    'A loss.'\n"
        "print('hello')\n"
        "random.random()\n"
        "threading.Thread(target=time.sleep, args=(5,), name='watcher', daemon=True).start()\n"
    )
    plugins.scan.cache_clear()
    yield
    plugins.scan.cache_clear()
    sys.modules.pop("acme_loud", None)


@pytest.mark.usefixtures("acme")
def test_an_installed_package_is_found_by_its_name() -> None:
    found = {case.id: case for case in cases("acme-parts")}
    assert {(case.kind, case.name) for case in found.values()} == {("losses", "loud"), ("losses", "lost")}
    assert [id for id in found if "lost" in id] == ["losses-lost-part_is_imported"]
    with pytest.raises(AssertionError, match=r"of package acme-parts 1\.0 cannot be imported"):
        found["losses-lost-part_is_imported"]()
    with pytest.raises(AssertionError) as caught:
        found["losses-loud-importing_is_quiet"]()
    for problem in ("draws from Python's random generator", "starts the thread 'watcher'", "prints 'hello\\n'"):
        assert f"acme_loud {problem}" in str(caught.value)


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda: cases("i2j"), "no installed package 'i2j' registers a part. Did you mean 'i2i'?"),
        (
            lambda: cases({"tasks": [Right]}, settings={"tasks.Left": {}}),
            "no part 'tasks.Left'. Did you mean 'tasks.Ri",
        ),
        (
            lambda: cases({"generators": [UNet]}, settings={"generators.UNet": {"dept": 3}}),
            "settings: generators.UNet.dept: no such parameter. Did you mean 'depth'?",
        ),
        (
            lambda: cases({"methods": [Pix2Pix]}, settings={"methods.Pix2Pix": {"generater": UNet}}),
            "settings: methods.Pix2Pix.generater: no such parameter. Did you mean 'generator'?",
        ),
        (
            lambda: cases({"methods": [Pix2Pix]}, settings={"methods.Pix2Pix": {"generator": {"name": "unett"}}}),
            "settings: methods.Pix2Pix.generator.name: unknown generator 'unett'. Did you mean 'unet'?",
        ),
        (
            lambda: parametrize({"tasks": [Right]}, expected={"tasks-Right-task_reverse": "no way back"}),
            "expected: there is no check 'tasks-Right-task_reverse'. Did you mean 'tasks-Right-task_reverses'?",
        ),
    ],
)
def test_what_is_misspelt_is_told(ask: Callable[[], object], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        ask()
    assert sentence in str(caught.value)


def test_parts_need_not_be_installed() -> None:
    found = cases({"generators": [UNet, partial(UNet, depth=2)]}, settings={"generators.UNet": {"depth": 3}})
    assert found[0].id == "generators-UNet-importing_is_quiet"
    parts = {case.name: case.part(3, 3) for case in found}
    assert {name: part.multiple for name, part in parts.items()} == {"UNet": 8, "UNet(depth=2)": 4}


def test_a_slot_is_filled_as_in_a_recipe_or_with_a_constructor() -> None:
    for generator in ({"name": "unet", "depth": 3}, partial(UNet, depth=3)):
        (case, *_) = cases({"methods": [Pix2Pix]}, settings={"methods.Pix2Pix": {"generator": generator}})
        assert case.part(Right()).g.multiple == 8


def test_settings_may_name_what_the_run_supplies() -> None:
    class Picky(Tiny):
        def __init__(self, task: Any) -> None:
            if not isinstance(task, Right):
                raise UsageError("picky: translates a into b alone.")
            super().__init__(task)

    found = {case.check.__name__: case for case in cases({"methods": [Picky]})}
    with pytest.raises(
        AssertionError, match=r"picky: translates a into b alone. The checks may be told .*\"methods.Picky"
    ):
        found["can_be_made"]()
    for case in cases({"methods": [Picky]}, settings={"methods.Picky": {"task": Right()}}):
        if case.check.__name__ in ("can_be_made", "method_translates", "method_fits_other_channels"):
            case()


def test_an_expected_failure_is_strict_and_has_its_reason() -> None:
    mark = parametrize({"tasks": [Right]}, expected={"tasks-Right-task_reverses": "no way back"}).mark
    marks = {case.id: case.marks for case in mark.args[1]}
    (expected,) = marks.pop("tasks-Right-task_reverses")
    assert (expected.name, expected.kwargs["reason"]) == ("xfail", "no way back")
    assert expected.kwargs["strict"] and expected.kwargs["raises"] is AssertionError
    assert not any(marks.values())


def test_a_check_leaves_random_generators_as_they_were() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), np.random.rand(), torch.rand(()).item()

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    before = draw()
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    for case in cases({"sources": [Drawn]}):
        if case.check.__name__ == "source_is_stable":
            case()
    assert draw() == before


def test_a_part_that_ends_the_process_fails_its_check() -> None:
    class Exits:
        """A loss that is not there."""

        def __init__(self) -> None:
            raise SystemExit(0)

    (case,) = [case for case in cases({"losses": [Exits]}) if case.check.__name__ == "can_be_made"]
    with pytest.raises(AssertionError, match="SystemExit"):
        case()
