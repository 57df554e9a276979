"""What each task writes for a folder of real files: palettes, kept lightness, untouched pixels, transparency, depth."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

import i2i
from i2i import images, recipe, train
from i2i.contracts import ImageSpec
from i2i.display import TrainDisplay
from i2i.errors import DataError
from i2i.folder import finder, plan, translate_folder
from i2i.tasks.paired import Paired
from i2i.translate import Translator, load

Cli = Callable[..., tuple[int, str, str]]
MODELS: dict[str, Path] = {}


@pytest.fixture
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the task that the test names, trained for a step, once a task."""
    task = request.param
    if task not in MODELS:
        name = task.partition('"')[2].partition('"')[0] or task
        loss = ["method.reconstruction=cross_entropy", 'metrics=["accuracy"]'] if task == "segmentation" else []
        if name == "matting":
            loss = [f'{table}={{name="figures", size=32, count=3}}' for table in ("source", "validation")]
        plan = recipe.parse(Path(f"{name}.toml"), TINY.encode(), [f"task={task}", "train.steps=1", *loss])
        with TrainDisplay(Console(quiet=True)) as display:
            run = train.start(plan, runs=tmp_path_factory.mktemp(name), device="cpu", display=display)
        MODELS[task] = run.model
    return MODELS[task]


def noise(height: int = 21, width: int = 37, channels: int = 3, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (height, width, channels), dtype=dtype, endpoint=True)


def translate(run: Cli, model: Path, tmp_path: Path, *extra: object) -> None:
    exact = ("--device", "cpu", "--precision", "float32")
    code, _, err = run("translate", tmp_path / "in", tmp_path / "out", "--model", model, *exact, *extra)
    assert code == 0, err


@pytest.mark.parametrize("model", ["segmentation"], indirect=True)
def test_classes_are_written_with_their_palette(run: Cli, model: Path, tmp_path: Path) -> None:
    images.write(tmp_path / "in" / "street.png", noise())
    translate(run, model, tmp_path)
    with Image.open(tmp_path / "out" / "street.png") as picture:
        assert picture.mode == "P"
        assert picture.size == (37, 21)
        classes = np.asarray(picture)
        assert classes.max() < 12
        colours = np.asarray(picture.convert("RGB"))
        assert len(np.unique(colours.reshape(-1, 3), axis=0)) == len(np.unique(classes))


@pytest.mark.parametrize("model", ["colorization"], indirect=True)
def test_lightness_is_kept_at_full_resolution(run: Cli, model: Path, tmp_path: Path) -> None:
    grey = noise(channels=1) // 2 + 64  # a colour may leave sRGB at the ends of the range, and would be clipped
    images.write(tmp_path / "in" / "old.png", grey)
    translate(run, model, tmp_path)
    out = images.read(tmp_path / "out" / "old.png")
    assert out.pixels.shape == (21, 37, 3)
    import cv2

    def lightness(pixels: np.ndarray) -> np.ndarray:
        return cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 0]

    assert np.abs(lightness(out.pixels) - lightness(np.repeat(grey, 3, axis=2))).mean() < 1


@pytest.mark.parametrize("model", ["inpainting"], indirect=True)
@pytest.mark.parametrize("hole", ["transparency", "mask folder"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_known_pixels_come_out_untouched(run: Cli, model: Path, tmp_path: Path, hole: str, dtype: type) -> None:
    pixels, known = noise(dtype=dtype), np.ones((21, 37), dtype=bool)
    known[5:12, 8:30] = False
    top = np.iinfo(dtype).max
    if hole == "transparency":
        images.write(tmp_path / "in" / "a" / "torn.png", pixels, alpha=known.astype(dtype) * top)
        translate(run, model, tmp_path)
    else:
        images.write(tmp_path / "in" / "a" / "torn.png", pixels)
        images.write(tmp_path / "masks" / "a" / "torn.png", (~known[:, :, None]).astype(np.uint8) * 255)
        translate(run, model, tmp_path, "--mask", tmp_path / "masks")
    out = images.read(tmp_path / "out" / "a" / "torn.png")
    assert out.pixels.dtype == dtype
    assert out.alpha is None
    assert np.array_equal(out.pixels[known], pixels[known])
    assert not np.array_equal(out.pixels[~known], pixels[~known])


@pytest.mark.parametrize("model", ["inpainting"], indirect=True)
def test_a_picture_without_a_hole_or_a_mask_is_named(run: Cli, model: Path, tmp_path: Path) -> None:
    images.write(tmp_path / "in" / "whole.png", noise())
    images.write(tmp_path / "masks" / "other.png", noise(channels=1))
    for extra, message in (((), "has no hole to fill"), (("--mask", tmp_path / "masks"), "has no mask")):
        code, _, err = run("translate", tmp_path / "in", tmp_path / "out", "--model", model, "--device", "cpu", *extra)
        assert code == 1
        assert "whole.png: " in err
        assert message in err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("model", ["paired"], indirect=True)
def test_depth_transparency_and_profile_are_kept(run: Cli, model: Path, tmp_path: Path) -> None:
    from PIL import ImageCms

    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    alpha = noise(channels=1)[:, :, 0]
    images.write(tmp_path / "in" / "deep.png", noise(dtype=np.uint16))
    images.write(tmp_path / "in" / "clear.png", noise(), alpha=alpha, icc=icc)
    translate(run, model, tmp_path)
    assert images.read(tmp_path / "out" / "deep.png").pixels.dtype == np.uint16
    clear = images.read(tmp_path / "out" / "clear.png")
    assert clear.alpha is not None
    assert np.array_equal(clear.alpha, alpha)
    assert clear.icc == icc


@pytest.mark.parametrize("model", ["paired"], indirect=True)
def test_the_network_sees_what_it_was_trained_on(model: Path) -> None:
    """One pass over a padded picture equals the network on that picture, reflected by hand."""
    import torch

    import i2i

    translator = i2i.load(model, device="cpu")
    picture = torch.rand(3, 24, 37, generator=torch.Generator().manual_seed(0))
    padded = torch.cat([picture, picture[:, :, 34:36].flip(2), picture[:, :, 33:34]], 2)[None] * 2 - 1
    with torch.no_grad():
        expected = (translator.method.translate(padded)[0, :, :, :37] + 1) / 2  # type: ignore[operator]
    assert torch.allclose(translator(picture), expected, atol=1e-5)


@pytest.mark.parametrize("model", ["labels"], indirect=True)
def test_class_maps_become_photos(run: Cli, model: Path, tmp_path: Path) -> None:
    import torch

    import i2i

    index = np.random.default_rng(0).integers(0, 12, (21, 37), dtype=np.uint8)
    images.write(tmp_path / "in" / "street.png", index, palette=np.zeros((12, 3), np.uint8))
    translate(run, model, tmp_path)
    written = images.read(tmp_path / "out" / "street.png").pixels
    assert written.shape == (21, 37, 3)
    assert written.dtype == np.uint8
    translator = i2i.load(model, device="cpu")
    assert np.array_equal(translator(index), written)
    with Image.open(tmp_path / "in" / "street.png") as picture:
        assert np.array_equal(np.asarray(translator(picture)), written)
    tensor = translator(torch.from_numpy(index)[None].long())
    assert np.array_equal(images.to_pixels(tensor), written)
    images.write(tmp_path / "in2" / "street.png", index + 1)
    code, _, err = run("translate", tmp_path / "in2", tmp_path / "out2", "--model", model, "--device", "cpu")
    assert code == 1
    assert "street.png" in err
    assert "class index 12" in err


@pytest.mark.parametrize("model", ["edges"], indirect=True)
def test_a_drawing_is_taken_as_it_is(run: Cli, model: Path, tmp_path: Path) -> None:
    import torch

    import i2i

    drawing = noise(channels=1)
    images.write(tmp_path / "in" / "drawn.png", drawing)
    translate(run, model, tmp_path)
    translator = i2i.load(model, device="cpu")
    direct = translator(torch.from_numpy(drawing.transpose(2, 0, 1).copy()).float() / 255)
    assert np.array_equal(images.read(tmp_path / "out" / "drawn.png").pixels, images.to_pixels(direct))


@pytest.mark.parametrize("model", ['{name="colorization", palette=2}'], indirect=True)
def test_a_palette_guides(run: Cli, model: Path, tmp_path: Path) -> None:
    images.write(tmp_path / "in" / "old.png", noise(channels=1))
    colours = {"warm": [255, 80, 0], "cold": [0, 80, 255]}
    for name, colour in colours.items():
        images.write(tmp_path / f"{name}.png", np.tile(np.array(colour, np.uint8), (4, 8, 1)))
        code, _, err = run(
            "translate", tmp_path / "in", tmp_path / name, "--model", model, "--guide", tmp_path / f"{name}.png"
        )
        assert code == 0, err
    warm, cold = (images.read(tmp_path / name / "old.png").pixels for name in colours)
    assert not np.array_equal(warm, cold)
    code, _, err = run("translate", tmp_path / "in", tmp_path / "none", "--model", model)
    assert code == 2
    assert "guided by a palette" in err
    images.write(tmp_path / "narrow.png", np.zeros((4, 1, 3), np.uint8))
    code, _, err = run(
        "translate", tmp_path / "in", tmp_path / "none", "--model", model, "--guide", tmp_path / "narrow.png"
    )
    assert code == 1
    assert "narrow.png" in err


@pytest.mark.parametrize("model", ['{name="colorization", palette=2}'], indirect=True)
def test_a_guide_may_be_of_any_type_and_must_be_a_picture(model: Path) -> None:
    import i2i

    translator = i2i.load(model, device="cpu")
    photo, swatches = noise(), noise(4, 8)
    array = translator(photo, guide=swatches)
    assert np.array_equal(np.asarray(translator(Image.fromarray(photo), guide=Image.fromarray(swatches))), array)
    x = torch.from_numpy(photo).permute(2, 0, 1) / 255
    guide = torch.from_numpy(swatches).permute(2, 0, 1) / 255
    assert np.array_equal(images.to_pixels(translator(x, guide=guide)), array)
    assert np.array_equal(images.to_pixels(translator(x, guide=swatches)), array)
    assert translator(x, guide=guide[:1]).shape == x.shape
    batch = x.expand(3, -1, -1, -1)
    assert translator(batch, guide=guide).shape == batch.shape
    for bad in (guide.expand(2, -1, -1, -1), (guide * 255).byte(), torch.rand(2, 4, 4), None):
        with pytest.raises(DataError, match="guide"):
            translator(batch, guide=bad)


class Borders(Paired):
    """Draw what a map of indices says beside a picture: b is a where the map is 300, and black elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.images = {"a": ImageSpec(3), "instance": ImageSpec(1, 65536), "b": ImageSpec(3)}
        self.inputs = ("a", "instance")

    def encode(self, images: dict[str, Tensor]) -> Tensor:
        assert images["instance"].dtype == torch.int64
        return (images["a"] * 2 - 1) * (images["instance"] == 300)


class Itself(nn.Module):
    """A method that gives what it is given, and noise to whom wants it."""

    def __init__(self, stochastic: bool = False) -> None:
        super().__init__()
        self.g = nn.Identity()
        self.stochastic = stochastic

    def translate(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) if self.stochastic else x


def test_a_guide_of_indices_keeps_its_indices(tmp_path: Path) -> None:
    translator = Translator(Borders(), Itself(), torch.device("cpu"))
    photo, index = noise(), np.full((21, 37), 300, np.uint16)
    index[:5] = 44  # 300 in 8 bits
    images.write(tmp_path / "in" / "a.png", photo)
    images.write(tmp_path / "guides" / "a.png", index)
    guides = finder(tmp_path / "in", tmp_path / "guides", "guide")
    ((_, error),) = translate_folder(translator, plan(tmp_path / "in", tmp_path / "out"), guides=guides)
    assert error is None
    array = translator(photo, guide=index)
    assert np.array_equal(images.read(tmp_path / "out" / "a.png").pixels, array)
    assert np.array_equal(array[5:], photo[5:])
    assert (array[:5] == 128).all()
    assert np.array_equal(np.asarray(translator(Image.fromarray(photo), guide=Image.fromarray(index))), array)
    x = images.to_tensor(photo)
    for guide in (torch.from_numpy(index.astype(np.int64))[None], index[:, :, None]):
        assert np.array_equal(images.to_pixels(translator(x, guide=guide)), array)
    for bad in (photo, x, index / 65535, torch.zeros(3, 21, 37, dtype=torch.int64), None):
        with pytest.raises(DataError, match=r"guide|indices"):
            translator(photo, guide=bad)


def test_an_optional_guide_may_be_left_out() -> None:
    task = Borders()
    task.optional = ("instance",)
    task.encode = lambda given: given.get("instance", given["a"]) * 2 - 1
    translator = Translator(task, Itself(), torch.device("cpu"))
    photo = noise()
    assert not translator.needs_guide
    assert np.array_equal(translator(photo), photo)


@pytest.mark.parametrize("model", ["paired"], indirect=True)
def test_python_refuses_what_a_model_does_not_take(model: Path) -> None:
    import i2i

    translator = i2i.load(model, device="cpu")
    with pytest.raises(DataError, match="takes no guide"):
        translator(noise(), guide=noise())
    with pytest.raises(DataError, match="fills no holes"):
        translator(noise(), mask=np.ones((21, 37)))


@pytest.mark.parametrize("model", ["paired"], indirect=True)
def test_stochastic_is_another_picture_for_another_seed(run: Cli, model: Path, tmp_path: Path) -> None:
    images.write(tmp_path / "in" / "street.png", noise(64, 64))
    images.write(tmp_path / "more" / "street.png", noise(64, 64))
    images.write(tmp_path / "more" / "a.png", noise(64, 64, seed=1))

    def translated(folder: str, out: str, *extra: object) -> np.ndarray:
        code, _, err = run("translate", tmp_path / folder, tmp_path / out, "--model", model, "--device", "cpu", *extra)
        assert code == 0, err
        return images.read(tmp_path / out / "street.png").pixels

    plain, again = translated("in", "1"), translated("in", "2")
    first, same = translated("in", "3", "--stochastic"), translated("more", "4", "--stochastic")
    other = translated("in", "5", "--stochastic", "--seed", 1)
    assert np.array_equal(plain, again)
    assert np.array_equal(first, same)
    assert not np.array_equal(plain, first)
    assert not np.array_equal(first, other)


def test_a_method_draws_when_it_is_told_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("i2i.translate.find_model", lambda path: path)
    monkeypatch.setattr("i2i.translate.load_model", lambda path: ({}, {}))
    monkeypatch.setattr("i2i.translate.rebuild", lambda *_: (Paired(), Itself()))
    plain, drawn = (load(tmp_path, "cpu", stochastic=stochastic) for stochastic in (False, True))
    assert np.array_equal(plain(noise()), noise())
    assert not np.array_equal(drawn(noise()), noise())


@pytest.mark.parametrize("model", ["paired"], indirect=True)
def test_what_a_model_does_not_take_is_refused(run: Cli, model: Path, tmp_path: Path) -> None:
    images.write(tmp_path / "in" / "street.png", noise())
    code, _, err = run(
        "translate", tmp_path / "in", tmp_path / "out", "--model", model, "--guide", tmp_path / "in" / "street.png"
    )
    assert code == 2
    assert "takes no guide" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("model", ['{name="matting"}'], indirect=True)
def test_a_subject_is_cut_out(run: Cli, model: Path, tmp_path: Path) -> None:
    photo = noise()
    images.write(tmp_path / "in" / "person.png", photo)
    translate(run, model, tmp_path)
    cut = images.read(tmp_path / "out" / "person.png")
    assert np.array_equal(cut.pixels, photo)
    assert cut.alpha is not None
    assert len(np.unique(cut.alpha)) > 1


@pytest.mark.parametrize("model", ["segmentation", '{name="matting"}'], indirect=True)
def test_a_format_that_cannot_hold_the_result_is_refused_at_once(run: Cli, model: Path, tmp_path: Path) -> None:
    images.write(tmp_path / "in" / "street.png", noise())
    code, _, err = run("translate", tmp_path / "in", tmp_path / "out", "--model", model, "--format", "jpg")
    assert code == 2
    assert "--format jpg" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("model", ["paired"], indirect=True)
def test_a_model_of_both_directions_translates_back(
    run: Cli, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from i2i.methods.pix2pix import Pix2Pix
    from i2i.tasks.paired import Paired

    images.write(tmp_path / "in" / "1.png", noise())
    code, _, err = run("translate", tmp_path / "in", tmp_path / "out", "--model", model, "--reverse")
    assert code == 2
    assert "one direction only" in err
    monkeypatch.setattr(Pix2Pix, "back", lambda self, x: -x, raising=False)
    monkeypatch.setattr(Paired, "reverse", lambda self: self, raising=False)
    monkeypatch.setattr(Pix2Pix, "stochastic", False, raising=False)
    both = i2i.load(model, device="cpu", stochastic=True, reverse=True)
    assert both.method.method.stochastic  # type: ignore[union-attr]
    translate(run, model, tmp_path, "--reverse")
    assert np.abs(images.read(tmp_path / "out" / "1.png").pixels.astype(int) + noise() - 255).max() <= 1
