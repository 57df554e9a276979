"""The built-in people: the same everywhere, layers that lie on each other, a matte that is the photo's own."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from conftest import drawn_afresh, same

from i2i import plugins
from i2i.contracts import ImageSpec, Source
from i2i.errors import UsageError
from i2i.sources.figures import LAYERS, Figures
from i2i.sources.figures.pictures import COLOURS, Sitting

RGB, GREY = ImageSpec(3), ImageSpec(1)
ALL = {"photo": RGB, "alpha": GREY, "pose": RGB, "sketch": GREY}
SUBJECTS = ("figure", "portrait")


@pytest.fixture(scope="module", params=SUBJECTS)
def figures(request: pytest.FixtureRequest) -> Figures:
    return Figures(ALL, subject=request.param, size=128, seed=5, count=24)


@pytest.fixture(scope="module")
def samples(figures: Figures) -> list[dict[str, np.ndarray]]:
    return [figures[index] for index in range(12)]


def test_a_person_is_the_same_in_a_fresh_process_whatever_was_drawn_before() -> None:
    for subject in SUBJECTS:
        here = Figures(dict.fromkeys(LAYERS, RGB), subject=subject, size=48, count=9, seed=3)
        first = here[4]
        assert same(drawn_afresh(here, 4), first)
        assert same(here[4], first)


def test_index_and_seed_each_make_another_person() -> None:
    these, others = (Figures(ALL, size=32, count=3, seed=seed) for seed in (0, 1))
    for layer in ALL:
        pictures = [these[0][layer], these[1][layer], others[0][layer]]
        assert len({picture.tobytes() for picture in pictures}) == 3, layer


@pytest.mark.parametrize("size", [1, 64, 100, 128, 256])
@pytest.mark.parametrize("subject", SUBJECTS)
def test_shapes_and_types(size: int, subject: str) -> None:
    sample = Figures(ALL, subject=subject, size=size, count=1)[0]
    for name, spec in ALL.items():
        assert sample[name].shape == (spec.channels, size, size)
        assert sample[name].dtype == np.uint8
        assert sample[name].flags.c_contiguous


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_does_not_depend_on_which_others_are_drawn(layer: str, figures: Figures) -> None:
    alone = Figures({layer: ALL[layer]}, subject=figures.subject, size=128, seed=5)[0][layer]
    assert np.array_equal(alone, figures[0][layer])


def test_a_person_keeps_the_composition_at_every_size(figures: Figures) -> None:
    small, large = (Figures(ALL, subject=figures.subject, size=size, count=1)[0] for size in (64, 256))
    for name in ("photo", "alpha", "pose"):
        shrunk = large[name].reshape(-1, 64, 4, 64, 4).mean(axis=(2, 4))
        assert np.corrcoef(shrunk.ravel(), small[name].ravel())[0, 1] > 0.85, name


def test_there_is_one_person_in_the_picture(figures: Figures, samples: list[dict[str, np.ndarray]]) -> None:
    """The matte is mostly 0 and 255, soft at its border, and of a figure lies inside the picture."""
    for sample in samples:
        alpha = sample["alpha"][0]
        low, high = (0.03, 0.4) if figures.subject == "figure" else (0.3, 0.8)
        assert low < (alpha > 127).mean() < high
        soft = ((alpha > 8) & (alpha < 247)).mean()
        assert 0.005 < soft < 0.12
        assert len(np.unique(alpha)) > 20
        border = np.concatenate([alpha[0], alpha[:, 0], alpha[:, -1], alpha[-1]])
        assert border.any() == (figures.subject == "portrait")


def test_the_matte_is_that_of_the_photo(figures: Figures, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two places behind the same person: the photos differ as 1 - alpha says, but for rounding."""
    black = _photo_before(figures, monkeypatch, 0.0)
    white = _photo_before(figures, monkeypatch, 200.0)
    alpha = figures[0]["alpha"][0].astype(float) / 255
    unclipped = ((black > 0) & (white < 255)).all(axis=0)
    assert np.abs((white - black).mean(axis=0) - 200 * (1 - alpha))[unclipped].max() < 1.5
    assert (black[:, alpha == 1] == white[:, alpha == 1]).all()


def _photo_before(figures: Figures, monkeypatch: pytest.MonkeyPatch, grey: float) -> np.ndarray:
    def place(rng: np.random.Generator, size: int, *, near: bool) -> np.ndarray:
        return np.full((size, size, 3), grey, np.float32)

    monkeypatch.setattr("i2i.sources.figures.pictures.draw_place", place)
    monkeypatch.setattr(Sitting, "_shadow", lambda self, behind: None)
    return figures[0]["photo"].astype(float)


def test_joints_lie_within_the_person(figures: Figures) -> None:
    for index in range(24):
        alpha = figures[index]["alpha"][0]
        joints = np.floor(figures._sitting(index).joints() * 128).astype(int)
        shown = joints[((joints >= 0) & (joints < 128)).all(axis=1)]
        assert len(shown) == 18 or figures.subject == "portrait"
        assert (alpha[shown[:, 1], shown[:, 0]] > 127).all(), f"{figures.subject} {index}"


def test_the_stick_figure_has_every_joint_in_its_colour() -> None:
    figures = Figures({"pose": RGB}, size=256, seed=2)
    pose = figures[3]["pose"].astype(int)
    joints = np.floor(figures._sitting(3).joints() * 256).astype(int)
    for (x, y), colour in list(zip(joints.tolist(), COLOURS, strict=True))[2:14]:
        near = pose[:, max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        assert np.abs(near - np.array(colour)[:, None, None]).sum(axis=0).min() < 60
    assert (pose.sum(axis=0) == 0).mean() > 0.9


def test_the_pencil_follows_the_person(samples: list[dict[str, np.ndarray]]) -> None:
    """Paper is white where nobody is, and the lines lie at the matte's border."""
    for sample in samples:
        sketch, alpha = sample["sketch"][0], sample["alpha"][0]
        outside = ~_grown(alpha > 0, 5)
        assert (sketch[outside] > 245).all()
        border = _grown(alpha > 127, 1) & _grown(alpha <= 127, 1)
        assert _grown(sketch < 215, 1)[border].mean() > 0.85
        assert sketch.min() < 80


def _grown(mask: np.ndarray, steps: int) -> np.ndarray:
    for _ in range(steps):
        padded = np.pad(mask, 1)
        mask = padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return np.asarray(mask)


def test_photos_have_colour_and_texture(samples: list[dict[str, np.ndarray]]) -> None:
    for sample in samples:
        photo = sample["photo"].astype(float)
        assert photo.std() > 20
        fine = photo[:, 1:, 1:] - photo[:, :-1, :-1]
        assert np.abs(fine).mean() > 2


def test_few_people_keep_their_looks_and_place_for_every_seed() -> None:
    """With one person the corners, where only the place is, hardly differ between samples of two seeds."""
    few = [Figures({"b": RGB, "alpha": GREY}, people=1, size=64, seed=seed) for seed in (0, 1)]
    many = Figures({"b": RGB, "alpha": GREY}, size=64)

    def spread(samples: list[dict[str, np.ndarray]]) -> float:
        empty = np.stack([sample["alpha"][0] for sample in samples]).max(axis=0) == 0
        return float(np.stack([sample["b"] for sample in samples]).astype(float).std(axis=0)[:, empty].mean())

    assert spread([source[index] for source in few for index in range(4)]) < 6
    assert spread([many[index] for index in range(8)]) > 25
    assert len({few[0]._sitting(index).person for index in range(6)} | {few[1]._sitting(0).person}) == 1
    several = Figures({"b": RGB}, people=3, size=64)
    assert len({several._sitting(index).person for index in range(30)}) == 3


def test_default_layers_and_channels() -> None:
    for subject, first in (("figure", "pose"), ("portrait", "sketch")):
        everything = Figures(ALL, subject=subject, size=64)[0]
        found = Figures({"a": RGB, "b": RGB, "alpha": RGB, "photo": GREY}, subject=subject, size=64)[0]
        assert np.array_equal(found["a"], np.broadcast_to(everything[first], (3, 64, 64)))
        assert np.array_equal(found["b"], everything["photo"])
        assert np.array_equal(found["alpha"], np.repeat(everything["alpha"], 3, axis=0))
        luma = np.tensordot([0.299, 0.587, 0.114], everything["photo"].astype(float), axes=1)
        assert np.abs(found["photo"][0] - luma).max() <= 1


def test_layers_are_chosen_by_name() -> None:
    found = Figures({"a": RGB, "b": GREY}, size=64, layers={"a": "photo", "b": "alpha"})[0]
    everything = Figures(ALL, size=64)[0]
    assert np.array_equal(found["a"], everything["photo"])
    assert np.array_equal(found["b"], everything["alpha"])


def test_it_is_a_source_and_pickles() -> None:
    figures = Figures({"a": RGB, "b": RGB}, size=32, count=4, seed=9)
    assert isinstance(figures, Source)
    assert len(figures) == 4
    assert same(pickle.loads(pickle.dumps(figures))[3], figures[3])
    assert figures.describe(3) == "figure 3 of seed 9"
    assert Figures({"a": RGB}, subject="portrait").describe(0) == "portrait 0 of seed 0"
    for index in (4, -1):
        with pytest.raises(IndexError):
            figures[index]


def test_it_is_registered() -> None:
    assert plugins.load("sources", "figures") is Figures


@pytest.mark.parametrize(
    ("images", "layers", "text"),
    [
        (
            {"a": RGB},
            {"a": "poze"},
            "layers.a: unknown layer 'poze'. Did you mean 'pose'? Layers: photo, alpha, pose, sketch.",
        ),
        ({"a": RGB}, {"A": "photo"}, "names a picture 'A' that the task does not have. Did you mean 'a'? It has: a."),
        ({"phota": RGB}, None, "no layer is known to serve the picture 'phota'. Did you mean 'photo'?"),
        ({"photo": ImageSpec(1, classes=5)}, None, "'photo' is a map of classes, which no layer of figures is."),
        ({"a": ImageSpec(4)}, None, "'a' has 4 channels; figures are made with 1 or 3."),
    ],
)
def test_what_cannot_be_is_said(images: dict[str, ImageSpec], layers: dict[str, str] | None, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Figures(images, layers=layers)
    assert text in str(caught.value)
