"""Pictures of every depth and number of channels keep their values, and wrong ones are found before training."""

import functools
import importlib.util
import io
import json
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from torch import Tensor, nn

from i2i import engine, images, stored
from i2i.checkpoint import save_model
from i2i.contracts import ImageSpec
from i2i.data import Samples, to_device
from i2i.errors import DataError, PluginError
from i2i.sources.folder import Folder
from i2i.sources.pairs import Pairs
from i2i.tasks.paired import Paired
from i2i.translate import Translator, load

Cli = Callable[..., tuple[int, str, str]]
TYPES = (np.uint8, np.uint16, np.float32)


class Same(nn.Module):
    """A generator whose picture, after tanh, is its input."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.way = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        nn.init.dirac_(self.way.weight)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.way(x)
        return torch.atanh(y.float().clamp(-1, 1))


def ramp(dtype: type, channels: int) -> np.ndarray:
    """All values of 16 bits, or as many floats, other ones in each channel: 256 × 256 × C."""
    values = np.arange(65536, dtype=np.uint32).reshape(256, 256)
    planes = [np.roll(values, 977 * channel) for channel in range(channels)]
    pixels = np.stack(planes, axis=-1)
    if dtype is np.float32:
        return (pixels / 65535).astype(np.float32)
    return (pixels // (257 if dtype is np.uint8 else 1)).astype(dtype)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Make a model folder of the identity, for a task of these parameters, by the registered parts alone."""

    def make(**task: object) -> Path:
        from i2i.methods.pix2pix import Pix2Pix

        method = {"name": "pix2pix", "generator": {"name": "unet", "depth": 2, "width": 4}, "gan_weight": 0.0}
        monkeypatch.setattr("i2i.translate.rebuild", functools.partial(rebuilt, task))
        torch.manual_seed(0)
        folder = tmp_path / "model"
        made = Pix2Pix(Paired(**task), generator=Same, gan_weight=0.0)
        save_model(folder, {"task": {"name": "paired", **task}, "method": method, "packages": {}}, made.g.state_dict())
        return folder

    def rebuilt(task: dict[str, object], *_: object) -> tuple[Paired, nn.Module]:
        made = Paired(**task)
        return made, Pix2PixOf(made).eval()

    return make


class Pix2PixOf(nn.Module):
    """The method of the fixture `model`: its generator is the identity."""

    def __init__(self, task: Paired) -> None:
        super().__init__()
        self.task, self.g = task, Same(task.in_channels, task.out_channels)

    def translate(self, x: Tensor) -> Tensor:
        return self.task.activate(self.g(x))


def translated(run: Cli, folder: Path, given: Path, *extra: object) -> list[Path]:
    out = given.parent / "out"
    code, _, err = run("translate", given, out, "--model", folder, "--device", "cpu", *extra)
    assert code == 0, err
    return sorted(path for path in out.rglob("*") if path.is_file())


FILES = [
    *(("png", dtype, channels) for dtype in TYPES[:2] for channels in (1, 3, 4)),
    *((end, dtype, channels) for end in ("tif", "npy") for dtype in TYPES for channels in (1, 2, 3, 4, 5)),
]


@pytest.mark.parametrize(("end", "dtype", "channels"), FILES)
def test_every_depth_and_number_of_channels_comes_back_equal(
    run: Cli, model: Callable[..., Path], tmp_path: Path, end: str, dtype: type, channels: int
) -> None:
    """By the real command line, with no flag that speaks of depth."""
    pixels = ramp(dtype, channels)
    path = tmp_path / "in" / f"ramp.{end}"
    if end == "png" and channels == 4:
        images.write(path, pixels[..., :3], alpha=pixels[..., 3])
    else:
        images.write(path, pixels)
    (written,) = translated(run, model(channels=channels), tmp_path / "in")
    again = images.read(written, spec=ImageSpec(channels)).pixels
    as_png = end == "tif" and dtype is not np.float32 and channels in (1, 3)
    assert written.name == f"ramp.{'png' if as_png else end}"
    assert again.dtype == dtype
    if dtype is np.float32:
        assert np.abs(again - pixels).max() < 1e-6
    else:
        assert np.array_equal(again, pixels)


@pytest.mark.parametrize(
    ("dtype", "limits"),
    [(np.uint16, (0, 4095)), (np.int16, (-1024, 3071)), (np.float32, (-1000.0, 3000.0)), (np.uint8, (0, 100))],
)
def test_a_range_is_kept_as_it_is_stored(
    run: Cli, model: Callable[..., Path], tmp_path: Path, dtype: type, limits: tuple[float, float]
) -> None:
    values = np.linspace(*limits, 64 * 64).reshape(64, 64)
    values = values.astype(dtype) if dtype is np.float32 else np.rint(values).astype(dtype)
    for name in ("a.npy", "b.tif"):
        images.write(tmp_path / "in" / name, values)
    out = translated(run, model(channels=1, range=limits), tmp_path / "in")
    assert [path.suffix for path in out] == [".npy", ".tif" if dtype in (np.int16, np.float32) else ".png"]
    for path in out:
        found = np.load(path)[..., None] if path.suffix == ".npy" else None
        again = found if found is not None and found.ndim == 3 else images.read(path, spec=ImageSpec(1, range=limits))
        if isinstance(again, images.Picture):
            assert again.dtype == dtype
            again = again.pixels * (limits[1] - limits[0]) + limits[0]
        assert np.abs(again[..., 0] - values).max() < (2e-3 if dtype is np.float32 else 1e-3)


def test_the_target_has_the_depth_that_the_task_says(run: Cli, model: Callable[..., Path], tmp_path: Path) -> None:
    """8-bit grey becomes float, and heights in metres."""
    images.write(tmp_path / "in" / "a.png", ramp(np.uint8, 1))
    (written,) = translated(run, model(channels=1, in_bits=8, out_bits=32, out_range=(-50, 205)), tmp_path / "in")
    assert written.name == "a.tif"
    assert np.abs(tifffile.imread(written) - (ramp(np.uint8, 1)[..., 0] - 50.0)).max() < 1e-4


def test_alpha_is_carried_over_or_translated(run: Cli, model: Callable[..., Path], tmp_path: Path) -> None:
    pixels = ramp(np.uint16, 4)
    images.write(tmp_path / "in" / "a.tif", pixels[..., :3], alpha=pixels[..., 3])
    for channels, end in ((3, "auto"), (4, "auto"), (3, "tif"), (4, "tif"), (4, "npy")):
        (written,) = translated(run, model(channels=channels), tmp_path / "in", "--overwrite", "--format", end)
        assert np.array_equal(images.read(written, channels=4).pixels, pixels)
        assert images.head(written).alpha == (end != "npy")
        written.unlink()


def test_a_fourth_channel_that_is_no_alpha_becomes_none(run: Cli, model: Callable[..., Path], tmp_path: Path) -> None:
    """Near infrared beside red, green and blue would otherwise be shown as transparency."""
    for extra in ({"photometric": "minisblack"}, {"photometric": "rgb", "extrasamples": ["unspecified"]}):
        (tmp_path / "in").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "in" / "a.tif", ramp(np.uint8, 4), planarconfig="contig", **extra)
        (written,) = translated(run, model(channels=4), tmp_path / "in", "--overwrite")
        assert written.name == "a.tif"
        assert not images.head(written).alpha
        assert np.array_equal(tifffile.imread(written), ramp(np.uint8, 4))


@pytest.mark.parametrize(
    ("task", "end", "told"),
    [
        ({"channels": 5}, "png", "holds no 5 channels"),
        ({"channels": 4}, "jpg", "holds no transparency"),
        ({"channels": 1, "bits": 16}, "webp", "holds 8 bits a sample, and this model makes 16: png, tif and npy do"),
        ({"channels": 1, "bits": 32}, "png", "holds no float nor signed values"),
    ],
)
def test_what_a_format_cannot_hold_is_said_before_the_first_picture(
    run: Cli, model: Callable[..., Path], tmp_path: Path, task: dict[str, int], end: str, told: str
) -> None:
    images.write(tmp_path / "in" / "a.tif", ramp(np.uint16, task["channels"]))
    code, _, err = run("translate", tmp_path / "in", tmp_path / "out", "--model", model(**task), "--format", end)
    assert code == 2
    assert f"--format {end}: {told}" in " ".join(err.split())
    assert not (tmp_path / "out").exists()


def test_eight_bits_asked_of_a_deep_picture_are_refused_by_name(
    run: Cli, model: Callable[..., Path], tmp_path: Path
) -> None:
    """Where the task does not state the bits, and so only the file shows them."""
    images.write(tmp_path / "in" / "deep.png", ramp(np.uint16, 1))
    images.write(tmp_path / "in" / "plain.png", ramp(np.uint8, 1))
    code, _, err = run("translate", tmp_path / "in", tmp_path / "out", "--model", model(channels=1), "--format", "jpg")
    assert code == 1
    assert "deep.jpg: .jpg holds 8 bits a sample. Use .png" in " ".join(err.split())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["plain.jpg"]


def test_arrays_in_python_are_as_files(model: Callable[..., Path]) -> None:
    for dtype, channels in ((np.uint16, 5), (np.uint8, 4), (np.uint16, 1)):
        pixels = ramp(dtype, channels)
        assert np.array_equal(load(model(channels=channels), "cpu")(pixels), pixels)
    counts = (ramp(np.uint16, 1) // 16).astype(np.uint16)
    assert np.array_equal(load(model(channels=1, range=(0, 4095)), "cpu")(counts), counts)


# ---- precision


def test_auto_keeps_more_than_8_bits(
    run: Cli, model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a processor with bfloat16: where the task states the bits, and where only the files show them."""
    monkeypatch.setattr(engine, "has_bf16", lambda device: True)
    assert load(model(channels=1), "cpu", "auto").precision == torch.bfloat16
    assert load(model(channels=1, bits=16), "cpu", "auto").precision == torch.float32
    assert load(model(channels=1, range=(0.0, 9.0)), "cpu", "auto").precision == torch.float32
    assert engine.pick_precision("auto", torch.device("cpu"), deep=True) == torch.float32
    images.write(tmp_path / "in" / "a.png", ramp(np.uint16, 1))
    (written,) = translated(run, model(channels=1), tmp_path / "in")
    assert np.array_equal(images.read(written).pixels, ramp(np.uint16, 1))
    with pytest.warns(UserWarning, match="bf16 keeps 8 bits of uint16 samples"):
        rounded = load(model(channels=1), "cpu", "bf16")(ramp(np.uint16, 1))
    assert not np.array_equal(rounded, ramp(np.uint16, 1))


# ---- training


RECIPE = """
metrics = ["l1"]
[task]
name = "paired"
{task}
[source]
name = "pairs"
root = "{root}"
[validation]
name = "pairs"
root = "{root}"
{augment}
[method]
name = "pix2pix"
generator = {{ name = "unet", depth = 3, width = 4 }}
discriminator = {{ name = "patch", field = 16, width = 4 }}
[train]
steps = 3
batch = 2
sample_every = 3
samples = 1
cache = "ram"
"""


def pairs(root: Path, end: str, one: np.ndarray, two: np.ndarray | None = None) -> None:
    for folder, pixels in (("A", one), ("B", one if two is None else two)):
        for i in range(3):
            images.write(root / folder / f"{i}.{end}", np.ascontiguousarray(np.roll(pixels, i)), overwrite=True)


def recipe(tmp_path: Path, task: str, augment: str = "") -> Path:
    path = tmp_path / "deep.toml"
    path.write_text(RECIPE.format(task=task, root=tmp_path / "data", augment=augment))
    return path


@pytest.mark.parametrize(
    ("end", "dtype", "task"),
    [("tif", np.uint16, "channels = 4\nbits = 16"), ("npy", np.float32, "channels = 2\nbits = 32\nrange = [0, 1]")],
)
def test_a_recipe_trains_on_deep_files(run: Cli, tmp_path: Path, end: str, dtype: type, task: str) -> None:
    channels = 4 if end == "tif" else 2
    pixels = ramp(dtype, channels)[:32, :32]
    pairs(tmp_path / "data", end, pixels)
    path = recipe(tmp_path, task, '[[augment]]\nname = "RandomHorizontalFlip"')
    code, out, err = run("check", path, "--device", "cpu")
    assert code == 0, err
    assert f"{channels} x 32 x 32" in out.replace("×", "x"), out
    code, _, err = run("train", path, "--device", "cpu", "--runs", tmp_path / "runs")
    assert code == 0, err
    assert "not measured" not in err
    (made_run,) = (tmp_path / "runs").iterdir()
    grid = images.read(made_run / "samples" / "000000003.png")
    assert (grid.channels, grid.bits) == (3, 8)
    told = f"a and b: channel{'s 1 to 3' if channels == 4 else ' 1'} of {channels}"
    assert told in (made_run / "report.html").read_text()
    assert json.loads((made_run / "result.json").read_text())["metrics"]["l1"]["translated"] < 1
    source = tmp_path / "data" / "A"
    code, _, err = run("translate", source, tmp_path / "out", "--model", made_run, "--device", "cpu")
    assert code == 0, err
    made = images.read(next((tmp_path / "out").iterdir()), channels=channels)
    assert made.dtype == dtype
    assert made.pixels.shape == pixels.shape


def test_what_is_kept_in_memory_keeps_16_bits(tmp_path: Path) -> None:
    from i2i.cache import SharedShelf

    images.write(tmp_path / "a.npy", ramp(np.uint16, 5))
    specs = {"photo": ImageSpec(5, bits=16)}
    samples = Samples(Folder(specs, root=tmp_path), specs)
    samples.shelf = SharedShelf(1, 10_000_000)
    first = samples[0, 0]
    (tmp_path / "a.npy").unlink()
    again = samples[0, 0]
    for sample in (first, again):
        assert isinstance(sample, dict), sample
        assert np.array_equal(sample["photo"].transpose(1, 2, 0), ramp(np.uint16, 5))
        there = to_device({"photo": torch.from_numpy(sample["photo"][None])}, specs, torch.device("cpu"))["photo"]
        back = images.to_samples(there, specs["photo"], np.dtype(np.uint16))
        assert np.array_equal(back, ramp(np.uint16, 5))


MISTAKES = [
    (
        "channels = 4",
        ramp(np.uint16, 3),
        "tif",
        3,
        "has 3 channels, and the task says 4. Give pictures of 4, or",
    ),
    (
        "channels = 3",
        ramp(np.uint16, 5),
        "tif",
        3,
        "says 3. Give pictures of 3, or train with channels = 5",
    ),
    (
        "bits = 16",
        ramp(np.uint8, 3),
        "png",
        3,
        "has 8 bits a sample (uint8), and the task says bits = 16. Save it with 16, or train with bits = 8",
    ),
    ("bits = 8", ramp(np.uint16, 3), "png", 3, "has 16 bits a sample (uint16), and the task says bits = 8"),
    (
        "channels = 1\nrange = [0, 4095]",
        ramp(np.uint16, 1),
        "png",
        3,
        "0.png, 1.png, 2.png: have values from 0 to 7967, and the task says range = [0, 4095]. Mend the files, or "
        "train with a range that holds them, such as [0, 8191].",
    ),
    (
        "channels = 1\nrange = [0, 4095]",
        ramp(np.uint8, 1),
        "png",
        3,
        "each has 8 bits a sample (uint8: 0 to 255), which do not hold the task's range = [0, 4095]. Save it as the "
        "others are, or train with the range",
    ),
    ("channels = 1", ramp(np.float32, 1) * 9, "npy", 3, "has float values outside 0 ... 1"),
    ("channels = 1", ramp(np.float32, 1) * np.nan, "tif", 3, "holds 1,024 values that are NaN or infinite, of 1,024"),
    ("channels = 5\nrange = [0, 9]", ramp(np.float32, 5) + np.inf, "tif", 3, "NaN or infinite, of 5,120. Replace them"),
    ("channels = 1", ramp(np.uint16, 1).astype(np.int16), "npy", 3, "State it: range = [LOW, HIGH] of the task"),
    (
        "channels = 1\nrange = [9, 3]",
        ramp(np.uint8, 1),
        "png",
        2,
        "deep.toml:3: task: range = [9, 3]: give",
    ),
    ("bits = 8\nrange = [0, 4095]", ramp(np.uint8, 3), "png", 2, "8 bits do not hold it"),
    ("bits = 12", ramp(np.uint8, 3), "png", 2, "bits"),
    ("channels = 2", np.moveaxis(ramp(np.uint16, 2), -1, 0), "npy", 3, "save numpy.moveaxis(array, 0, -1)"),
]


@pytest.mark.parametrize(("task", "pixels", "end", "code", "told"), MISTAKES, ids=[case[0] for case in MISTAKES])
def test_a_mistake_is_found_before_training(
    run: Cli, tmp_path: Path, task: str, pixels: np.ndarray, end: str, code: int, told: str
) -> None:
    pairs(tmp_path / "data", end, pixels[:32, :32] if pixels.shape[0] > 8 else pixels)
    path = recipe(tmp_path, task)
    for verb in (("check", path), ("train", path, "--runs", tmp_path / "runs")):
        found, _, err = run(*verb, "--device", "cpu")
        assert found == code, err
        assert told in " ".join(err.split()), err
        if code == 3:
            assert str(tmp_path / "data" / "A") in err
    assert not (tmp_path / "runs").exists()


def test_a_value_out_of_range_is_found_in_any_of_few_files(tmp_path: Path) -> None:
    for i in range(20):
        images.write(tmp_path / f"{i}.npy", np.full((4, 4), 4095 + (i == 13), np.uint16))
    with pytest.raises(DataError, match=r"13\.npy: has values from 4096 to 4096, and the task says range"):
        Folder({"photo": ImageSpec(1, range=(0, 4095))}, root=tmp_path)


def test_a_copy_of_8_bits_among_pictures_of_12_is_found(run: Cli, tmp_path: Path) -> None:
    pairs(tmp_path / "data", "tif", ramp(np.uint16, 1)[:32, :32] // 2)
    path = recipe(tmp_path, "channels = 1\nrange = [0, 4095]")
    copy = tmp_path / "data" / "B" / "1.tif"
    copy.unlink()
    images.write(copy, ramp(np.uint8, 1)[:32, :32])
    told = "has 8 bits a sample (uint8: 0 to 255), which do not hold the task's range = [0, 4095]"
    for verb in ("check", "train"):
        code, _, err = run(verb, path, "--device", "cpu")
        assert code == 3
        assert f"{copy}: {told}" in err
    code, out, _ = run("data", "check", path, "--json")
    assert code == 1
    finding = json.loads(out)["findings"][0]
    assert finding["kind"] == "values"
    assert finding["files"] == [str(copy)]
    assert told in finding["text"]


def test_deep_files_are_trained_on_in_float32_though_the_task_does_not_say_so(
    run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "has_bf16", lambda device: True)
    for dtype, precision in ((np.uint8, "bfloat16"), (np.uint16, "float32")):
        data = tmp_path / dtype.__name__
        pairs(data / "data", "png", ramp(dtype, 3)[:32, :32])
        code, out, err = run("check", recipe(data, "channels = 3"), "--device", "cpu")
        assert code == 0, err
        assert f"{precision} (auto" in out


@pytest.mark.parametrize("name", ["RandomSaturation", "RandomPlanckianJitter", "RandomRGBShift"])
def test_colours_of_five_channels_cannot_be_changed(run: Cli, tmp_path: Path, name: str) -> None:
    pairs(tmp_path / "data", "npy", ramp(np.uint16, 5)[:32, :32])
    path = recipe(tmp_path, "channels = 5", f'[[augment]]\nname = "{name}"\np = 0.01')  # which a rehearsal rarely meets
    code, _, err = run("check", path, "--device", "cpu")
    assert code == 2, err
    assert f"augment.0 ({name}): acts on RGB alone, and 'a' has 5 channels. Leave it out" in " ".join(err.split())


def test_a_source_that_does_not_heed_the_task_is_named(run: Cli, tmp_path: Path) -> None:
    class Deaf:
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> dict[str, np.ndarray]:
            return {"a": np.zeros((1, 4, 4), np.uint16)}

    for spec in (ImageSpec(1, bits=8), ImageSpec(1, range=(0, 4095))):
        item = Samples(Deaf(), {"a": spec})[0, 0]
        assert isinstance(item, PluginError)
        assert "gives 'a' as uint16, and the task says" in str(item)
    path = tmp_path / "scenes.toml"
    path.write_text('task = { name = "paired", bits = 16 }\n[source]\nname = "scenes"\n[train]\nsteps = 1\n')
    code, _, err = run("check", path)
    assert code == 2
    assert "are drawn with 8 bits" in err


def test_halves_of_one_file_may_be_of_different_ranges(tmp_path: Path) -> None:
    images.write(tmp_path / "x.npy", np.hstack([np.full((4, 4), 50, np.uint16), np.full((4, 4), 900, np.uint16)]))
    images.write(tmp_path / "cover.png", np.zeros((4, 8), np.uint16))
    specs = {"a": ImageSpec(1, range=(0, 1000)), "b": ImageSpec(1, range=(0, 2000))}
    sample = Pairs(specs, root=tmp_path)[1]
    assert sample["a"].max() == np.float32(0.05)
    assert sample["b"].max() == np.float32(0.45)


# ---- files


def test_tiffs_as_others_write_them(tmp_path: Path) -> None:
    """Channel by channel, in tiles, deflated, in either byte order; RGB with a fourth channel that is no alpha."""
    five, four = ramp(np.uint16, 5)[:100, :70], ramp(np.uint16, 4)[:100, :70]
    ways = {
        "planar": {"photometric": "minisblack", "planarconfig": "separate"},
        "tiles": {"photometric": "minisblack", "planarconfig": "contig", "tile": (32, 32), "compression": "zlib"},
        "strips": {"photometric": "minisblack", "planarconfig": "contig", "rowsperstrip": 7, "compression": "zlib"},
        "big": {"photometric": "minisblack", "planarconfig": "contig", "bigtiff": True},
        "motorola": {"photometric": "minisblack", "planarconfig": "contig", "byteorder": ">"},
        "predicted": {"photometric": "minisblack", "planarconfig": "contig", "compression": "zlib", "predictor": 2},
    }
    for name, way in ways.items():
        data = np.moveaxis(five, -1, 0) if name == "planar" else five
        tifffile.imwrite(tmp_path / f"{name}.tif", data, **way)
        assert images.size(tmp_path / f"{name}.tif") == (100, 70)
        assert np.array_equal(images.read(tmp_path / f"{name}.tif").pixels, five), name
    tifffile.imwrite(tmp_path / "x.tif", four, photometric="rgb", extrasamples=["unspecified"])
    assert np.array_equal(images.read(tmp_path / "x.tif", channels=4).pixels, four)
    assert np.array_equal(images.read(tmp_path / "x.tif").pixels, four[..., :3])
    pages = np.moveaxis(five, -1, 0)
    tifffile.imwrite(tmp_path / "pages.tif", pages, photometric="minisblack")
    with pytest.raises(DataError, match=r"several pictures .*one page of so many samples"):
        images.read(tmp_path / "pages.tif")


def recompressed(path: Path, compression: int) -> None:
    """Have a TIFF's directory say another compression than there is."""
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        struct.pack_into("<H", data, tiff.pages.first.tags[259].valueoffset, compression)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("compression", "channels", "named"),
    [(5, 5, "LZW"), (50000, 5, "Zstandard"), (50000, 1, "Zstandard"), (34712, 5, "JPEG 2000"), (50001, 3, "WebP")],
)
def test_a_compression_is_read_or_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: int, channels: int, named: str
) -> None:
    """From the header alone, so before training; with imagecodecs the first two are read."""
    path, pixels = tmp_path / "a.tif", ramp(np.uint16, channels)
    way = {"photometric": "rgb" if channels == 3 else "minisblack", "planarconfig": "contig" if channels > 1 else None}
    tifffile.imwrite(path, pixels if channels > 1 else pixels[..., 0], **way)
    recompressed(path, compression)
    read_by_codecs = compression in (5, 50000)
    remedy = "pip install imagecodecs" if read_by_codecs else "which is not read here. Save it uncompressed"
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        for attempt in (images.head, images.read):
            with pytest.raises(DataError, match=rf"a\.tif: is compressed by {named}, .*{remedy}"):
                attempt(path)
    if read_by_codecs and importlib.util.find_spec("imagecodecs"):
        tifffile.imwrite(path, pixels if channels > 1 else pixels[..., 0], compression=compression, **way)
        assert np.array_equal(images.read(path).pixels, pixels)


@pytest.mark.parametrize("compression", ["none", "zlib"])
def test_a_short_strip_is_no_black_one(tmp_path: Path, compression: str) -> None:
    way = {"photometric": "minisblack", "planarconfig": "contig", "rowsperstrip": 99}
    tifffile.imwrite(tmp_path / "a.tif", ramp(np.uint16, 5)[:99, :50], compression=compression, **way)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        for tag in (257, 278):  # height, and rows a strip
            found = tiff.pages.first.tags[tag]
            struct.pack_into(f"<{'H' if found.dtype == 3 else 'I'}", data, found.valueoffset, 140)
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(DataError, match="is truncated"):
        images.read(tmp_path / "a.tif")


def test_bombs_and_damage_in_deep_files_are_refused(tmp_path: Path) -> None:
    def refused(name: str, data: bytes, reason: str) -> None:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=reason):
            images.read(tmp_path / name)

    def npy(shape: tuple[int, ...], dtype: str, body: bytes = b"") -> bytes:
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
        return buffer.getvalue() + body

    began = time.perf_counter()
    refused("bomb.npy", npy((100_000, 100_000, 5), "<u2"), "truncated")
    assert time.perf_counter() - began < 1
    refused("object.npy", npy((2, 2), "|O", b"cos\nsystem\n"), "are no pixels")
    refused("flat.npy", npy((4,), "|u1", bytes(4)), "is no picture")
    refused("long.npy", npy((2, 2), "|u1", bytes(5)), "longer than its header says")
    refused("complex.npy", npy((2, 2), "<c8", bytes(32)), "are no pixels")
    refused("three.npy", b"\x93NUMPY\x03\x00" + struct.pack("<I", 8) + bytes(8), "version 3.0")
    good = io.BytesIO()
    tifffile.imwrite(good, ramp(np.uint16, 5), photometric="minisblack", planarconfig="contig", compression="zlib")
    refused("cut.tif", good.getvalue()[:-1000], "truncated|cannot be read")
    tags = images.ImageFileDirectory_v2(prefix=b"II")
    strip = zlib.compress(bytes(50_000_000))
    values = {256: 4, 257: 4, 258: (8,) * 5, 259: 8, 262: 1, 273: 0, 277: 5, 278: 4, 279: len(strip), 338: (0,) * 4}
    for tag, value in values.items():
        tags[tag] = value
    refused("inflated.tif", b"II*\0" + struct.pack("<I", 8) + tags.tobytes(8) + strip, "more than its header says")
    with pytest.raises(DataError, match="takes 3,200,000,000 bytes"):
        stored.check_size(stored.Head(10_000, 10_000, 16, False, np.dtype(np.uint16)), images.MAX_PIXELS)


def test_a_turned_deep_tiff_is_upright(tmp_path: Path) -> None:
    pixels = ramp(np.uint16, 5)[:20, :30]
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig", extratags=[(274, 3, 1, 6, True)]
    )
    assert images.size(tmp_path / "a.tif") == (30, 20)
    assert np.array_equal(images.read(tmp_path / "a.tif").pixels, np.rot90(pixels, -1))


def test_a_translator_says_what_it_wants(model: Callable[..., Path]) -> None:
    translator = load(model(channels=5), "cpu")
    assert isinstance(translator, Translator)
    with pytest.raises(DataError, match="of 5 channels"):
        translator(np.zeros((4, 4, 7), np.uint8))


def test_what_cannot_be_read_is_named_with_the_remedy(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "big.tif", ramp(np.uint16, 1), bigtiff=True, byteorder=">")
    with pytest.raises(DataError, match=r"is a BigTIFF of big-endian order.*Save it as plain TIFF"):
        images.read(tmp_path / "big.tif")
    np.save(tmp_path / "first.npy", np.zeros((1, 50, 70), np.float32))
    lines = images.sizes([tmp_path / "first.npy"], ImageSpec(1))[1]
    assert "It seems to lie C x H x W: save numpy.moveaxis(array, 0, -1)" in lines[0]


def test_five_channels_are_measured_beside_the_untranslated_input(run: Cli, tmp_path: Path) -> None:
    pairs(tmp_path / "data", "npy", ramp(np.uint8, 5)[:32, :32])
    path = recipe(tmp_path, "channels = 5")
    code, out, err = run("train", path, "--runs", tmp_path / "runs", "--device", "cpu", "--json")
    assert code == 0, err
    assert json.loads(out)["metrics"]["l1"]["input"] < 1e-6
