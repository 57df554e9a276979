"""Recipes: every problem at once, each with its place, its value and the remedy; the texts are the product."""

from functools import partial
from pathlib import Path

import pytest
from torch import nn

from i2i import build, recipe
from i2i.contracts import MakeLoss
from i2i.discriminators.patch import PatchGAN
from i2i.errors import UsageError

BAD = """task = "paird"
[source]
name = "scenes"
siz = 64
[[augment]]
name = "RandomCrop"
size = [
  32,
  32,
]
[[augment]]
name = "RandomHorizontalFlip"
p = "often"
[method]
name = "pix2pix"
weight = "100"

[method.generator]
name = "unet"
dept = 4
depth = 0
[method.discriminator]
name = "pach"
[optimizer]
lr = -1
[optimizer.d]
betas = [0.5, 2]
[trian]
[train]
steps = 3
precision = "bf61"
"""


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        recipe.parse(Path("bad.toml"), text.encode(), overrides)
    return str(caught.value).splitlines()


def test_all_problems_come_at_once_with_their_places() -> None:
    expected = [
        "bad.toml:1: task: unknown task 'paird'. Did you mean 'paired'? Known: ",
        "bad.toml:25: optimizer.lr: -1 does not fit: input should be greater than 0.",
        "bad.toml:27: optimizer.d.betas: [0.5, 2] does not fit (item 2): input should be less than 1.",
        "bad.toml:28: trian: no such table. Did you mean 'train'? Known: ",
        "bad.toml:31: train.precision: 'bf61' does not fit: input should be 'auto', 'float32' or 'bf16'. "
        "Did you mean 'bf16'?",
    ]
    _begin_alike(problems(BAD), expected)
    mended = BAD
    for wrong, right in (("paird", "paired"), ("lr = -1", "lr = 1"), ("[0.5, 2]", "[0.5, 0.9]"), ("bf61", "bf16")):
        assert wrong in mended
        mended = mended.replace(wrong, right)
    expected = [
        "bad.toml:4: source.siz: no such parameter. Did you mean 'size'? Known: ",
        "bad.toml:13: augment.1.p: 'often' does not fit: input should be a valid number.",
        "bad.toml:16: method.weight: '100' does not fit: input should be a valid number.",
        "bad.toml:20: method.generator.dept: no such parameter. Did you mean 'depth'? Known: ",
        "bad.toml:21: method.generator.depth: 0 does not fit: input should be greater than or equal to 1.",
        "bad.toml:23: method.discriminator.name: unknown discriminator 'pach'. Did you mean 'patch'? Known: ",
    ]
    _begin_alike(problems(mended.replace("[trian]\n", "")), expected)


def _begin_alike(found: list[str], expected: list[str]) -> None:
    assert len(found) == len(expected), "\n".join(found)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start), line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task = ", "bad.toml: is not valid TOML: Invalid value (at end of document)"),
        ('task = "paired"\nsource = x', "bad.toml:2: is not valid TOML"),
        ('source = "scenes"\n[train]\nsteps = 1', "bad.toml: 'task' is missing"),
        (
            'task = "paired"\nsource = 3\ntrain.steps = 1',
            "bad.toml:2: source: expected the name of a source, or a table",
        ),
        (
            'task = "paired"\nsource = "scenes"\n[train]\nsteps = 1\nlr = 1.0',
            "bad.toml:5: train.lr: belongs under [optimizer].",
        ),
        (
            'task = "paired"\nsource = "scenes"\ntrain.steps = 1\noptimizer.steps = 1',
            "bad.toml:4: optimizer.steps: belongs under [train].",
        ),
        ('task = "paired"\nsource = "folder"\ntrain.steps = 1', "bad.toml:2: source: 'root' is required and missing."),
        ('task = "paired"\nsource = "scenes"', "bad.toml: train: set 'steps' or 'epochs'"),
        (
            'task = "paired"\nsource = "scenes"\naugment = "flip"\ntrain.steps = 1',
            "bad.toml:3: augment: expected a list",
        ),
        (
            'task = { nam = "paired" }\nsource = "scenes"\ntrain.steps = 1',
            "bad.toml:1: task: 'name' must say which task",
        ),
    ],
)
def test_one_problem_one_sentence(text: str, message: str) -> None:
    found = problems(text)
    assert len(found) == 1, found
    assert found[0].startswith(message), found[0]


def test_a_path_to_python_is_no_part() -> None:
    text = 'task = "os:system"\nsource = "scenes"\ntrain.steps = 1'
    assert problems(text)[0].startswith("bad.toml:1: task: unknown task 'os:system'.")


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"task = '\xff'")
    with pytest.raises(UsageError, match="not UTF-8 text"):
        recipe.read(path)


def test_missing_file_names_the_nearest(tiny: Path) -> None:
    with pytest.raises(UsageError, match=r"tinny.toml: cannot be read: .* Did you mean 'tiny.toml'\?"):
        recipe.read(tiny.with_name("tinny.toml"))


def test_overrides_are_checked_alike_and_named(tiny: Path) -> None:
    with pytest.raises(UsageError) as caught:
        recipe.read(tiny, ["train.samples=0", "train.batch=none"])
    assert str(caught.value).splitlines() == [
        "--set train.batch=none: train.batch: 'none' does not fit: input should be a valid integer.",
        "--set train.samples=0: train.samples: 0 does not fit: input should be greater than or equal to 1.",
    ]
    with pytest.raises(UsageError) as caught:
        recipe.read(tiny, ["method.wieght=3"])
    assert str(caught.value).splitlines() == [
        "--set method.wieght=3: method.wieght: no such parameter. Did you mean 'weight'? Known: generator, "
        "discriminator, adversarial, reconstruction, weight, gan_weight, conditional.",
    ]


@pytest.mark.parametrize("override", ["method", "=3", "a..b=1", "metrics.7=1", "train.steps.x=1"])
def test_a_malformed_override_is_refused(tiny: Path, override: str) -> None:
    with pytest.raises(UsageError, match=r"^--set "):
        recipe.read(tiny, [override])


def test_overrides_reach_everywhere(tiny: Path) -> None:
    plan = recipe.read(
        tiny,
        [
            "task=maps",
            "task.to=aerial",
            "method.generator.depth=2",
            "method.adversarial=lsgan",
            'source={name="scenes", size=48}',
            'augment=[{name="RandomHorizontalFlip"}]',
            "augment.0.p=1.0",
            "optimizer.d.lr=1e-5",
        ],
    )
    resolved = plan.resolved()
    assert resolved["task"] == {"name": "maps", "to": "aerial"}
    assert resolved["method"]["generator"]["depth"] == 2
    assert resolved["method"]["adversarial"]["name"] == "lsgan"
    assert resolved["source"]["size"] == 48
    assert resolved["augment"][0]["p"] == 1.0
    assert plan.optimizer_of("d").lr == 1e-5
    assert plan.optimizer_of("g").lr == 2e-4
    assert plan.optimizer_of("d").betas == (0.5, 0.999)


def test_a_resolved_part_builds_itself_again(tiny: Path) -> None:
    method = recipe.read(tiny).resolved()["method"]
    found: list[build.Problem] = []
    again = build.build("methods", method, ("method",), found)
    assert not found
    assert again is not None
    assert build.describe("methods", again) == method
    assert method["generator"]["width"] == 4
    assert method["reconstruction"]["name"] == "l1"


def test_a_table_without_a_name_goes_on_from_the_default() -> None:
    default = partial(PatchGAN, field=16, norm="none")
    found: list[build.Problem] = []
    ours = build.build("discriminators", {"width": 4}, ("discriminator",), found, default)
    theirs = build.build("discriminators", {"name": "patch", "width": 4}, ("discriminator",), found, default)
    assert not found
    assert build.describe("discriminators", ours) == {"name": "patch", "field": 16, "width": 4, "norm": "none"}
    assert build.describe("discriminators", theirs) == {"name": "patch", "field": 70, "width": 4, "norm": "instance"}


def test_what_a_default_has_filled_in_is_not_missing() -> None:
    def judge(in_channels: int, *, field: int, width: int = 8) -> None: ...

    found: list[build.Problem] = []
    assert build.check(partial(judge, field=16), {"width": 4}, (), found, supplied=1) == {"width": 4}
    assert not found
    build.check(judge, {"width": 4}, (), found, supplied=1)
    assert [problem.message for problem in found] == ["'field' is required and missing."]


def test_a_slot_may_stay_empty() -> None:
    def optional(*, loss: MakeLoss | None = None) -> None: ...
    def required(*, loss: MakeLoss = nn.L1Loss) -> None: ...

    found: list[build.Problem] = []
    (parameter,) = build.choices(optional, 0).values()
    assert build.describe_value(parameter.annotation, None) is None
    assert build.check(optional, {"loss": None}, (), found) == {"loss": None}  # as model.json has it
    assert build.check(optional, {"loss": "l1"}, (), found)["loss"].func is nn.L1Loss
    assert not found
    build.check(required, {"loss": None}, (), found)
    assert "not None" in found[0].message


def test_what_ends_first_is_the_length(tiny: Path) -> None:
    from i2i.train import length

    assert length(recipe.read(tiny), 6) == 4
    assert length(recipe.read(tiny, ["train.epochs=1"]), 6) == 3
    assert length(recipe.read(tiny, ["train.epochs=2", "train.steps=50"]), 5) == 5


def test_lines_survive_multi_line_values() -> None:
    lines = recipe.Lines(
        'a = """\n[x]\nb = 1\n"""\nc = [\n  1, # ]\n  "]",\n]\n[[t]]\nk = 1\n[[t]]\nk = 2\n[t.u]\nv = 3\n'
    )
    assert lines.of(("c",)) == 5
    assert lines.of(("x",)) is None
    assert lines.of(("t", 0, "k")) == 10
    assert lines.of(("t", 1, "k")) == 12
    assert lines.of(("t", 1, "u", "v")) == 14
    assert lines.of(("t", 1, "u", "unknown")) == 13
