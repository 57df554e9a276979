"""The built-in world: the same scene everywhere, layers that lie on each other, a night that is no darkened day."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from conftest import drawn_afresh, same

from i2i.contracts import ImageSpec, Source
from i2i.errors import UsageError
from i2i.sources.scenes import CLASSES, LAYERS, PALETTE, Scenes

RGB, GREY, LABELS = ImageSpec(3), ImageSpec(1), ImageSpec(1, classes=len(CLASSES))
ALL = {"day": RGB, "night": RGB, "thermal": GREY, "labels": LABELS, "edges": GREY, "aerial": RGB, "map": RGB}


@pytest.fixture(scope="module")
def sample() -> dict[str, np.ndarray]:
    return Scenes(ALL, size=128, seed=5)[0]


@pytest.fixture(scope="module")
def streets() -> list[dict[str, np.ndarray]]:
    scenes = Scenes({"day": RGB, "night": RGB, "labels": LABELS}, size=96, count=12)
    return [scenes[index] for index in range(12)]


def test_a_scene_is_the_same_in_a_fresh_process_whatever_was_drawn_before() -> None:
    scenes = Scenes(dict.fromkeys(LAYERS, RGB), size=48, count=9, seed=3)
    first = scenes[4]
    assert same(drawn_afresh(scenes, 4), first)
    assert same(scenes[4], first)


def test_index_and_seed_each_make_another_scene() -> None:
    scenes, others = (Scenes(ALL, size=32, count=3, seed=seed) for seed in (0, 1))
    for layer in ALL:
        pictures = [scenes[0][layer], scenes[1][layer], others[0][layer]]
        assert len({picture.tobytes() for picture in pictures}) == 3, layer


@pytest.mark.parametrize("size", [1, 32, 100, 128, 256])
def test_shapes_and_types(size: int) -> None:
    sample = Scenes(ALL, size=size, count=1)[0]
    for name, spec in ALL.items():
        assert sample[name].shape == (spec.channels, size, size)
        assert sample[name].dtype == np.uint8
        assert sample[name].flags.c_contiguous


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_does_not_depend_on_which_others_are_drawn(layer: str, sample: dict[str, np.ndarray]) -> None:
    alone = Scenes({layer: ALL[layer]}, size=128, seed=5)[0][layer]
    assert np.array_equal(alone, sample[layer])


def test_a_scene_keeps_its_composition_at_every_size() -> None:
    small, large = (Scenes({"photo": RGB, "aerial": RGB}, size=size, count=1)[0] for size in (64, 256))
    for name in small:
        shrunk = large[name].reshape(3, 64, 4, 64, 4).mean(axis=(2, 4))
        assert np.corrcoef(shrunk.ravel(), small[name].ravel())[0, 1] > 0.8


def test_labels_are_classes_and_a_street_has_most_of_them(streets: list[dict[str, np.ndarray]]) -> None:
    assert len(PALETTE) == len(CLASSES) == len(set(PALETTE))
    found = np.unique(np.stack([street["labels"] for street in streets]))
    assert found.max() < len(CLASSES)
    assert {CLASSES[index] for index in found} == set(CLASSES)
    for street in streets:
        assert {"sky", "building", "window", "road", "pavement"} <= {
            CLASSES[index] for index in np.unique(street["labels"])
        }


def test_labels_lie_on_the_photo(streets: list[dict[str, np.ndarray]]) -> None:
    """What is labelled sky is brighter and bluer than the road, and lies above it."""
    for street in streets:
        labels, day = street["labels"][0], street["day"].astype(float)
        sky, road = labels == CLASSES.index("sky"), labels == CLASSES.index("road")
        assert day[2][sky].mean() > day[2][road].mean() + 30
        assert np.nonzero(sky)[0].mean() < np.nonzero(road)[0].mean()


def test_night_is_not_a_darkened_day(streets: list[dict[str, np.ndarray]]) -> None:
    window = CLASSES.index("window")
    for street in streets:
        day, night = (street[name].astype(float).mean(axis=0) for name in ("day", "night"))
        assert night.mean() < 0.75 * day.mean()
        slope, offset = np.polyfit(day.ravel(), night.ravel(), 1)
        beyond = night - (slope * day + offset)
        shining = beyond > 80
        assert 0.01 < shining.mean() < 0.4
        assert (street["labels"][0][shining] == window).mean() > 0.3
        lit = night[street["labels"][0] == window] > 140
        assert 0.2 < lit.mean() < 0.98


def test_what_shines_at_night_can_be_told_by_day(streets: list[dict[str, np.ndarray]]) -> None:
    """Windows that are bright by day, their blinds down, are those that are lit; dark glass stays dark."""
    windows = [street["labels"][0] == CLASSES.index("window") for street in streets]
    day, night = (
        np.concatenate([street[name].mean(axis=0)[window] for street, window in zip(streets, windows, strict=True)])
        for name in ("day", "night")
    )
    assert np.corrcoef(day, night)[0, 1] > 0.45
    assert night[day < 80].mean() < 0.5 * night[day > 160].mean()


def test_the_map_draws_what_the_aerial_photo_shows() -> None:
    scenes = Scenes({"aerial": RGB, "map": RGB}, size=96, count=20)
    water, road, park = (163, 204, 255), (255, 255, 255), (200, 230, 178)
    seen: dict[tuple[int, int, int], list[np.ndarray]] = {water: [], road: [], park: []}
    for index in range(20):
        sample = scenes[index]
        for colour, pixels in seen.items():
            there = (sample["map"] == np.array(colour, np.uint8)[:, None, None]).all(axis=0)
            pixels.append(sample["aerial"][:, there])
    means = {colour: np.concatenate(pixels, axis=1).mean(axis=1) for colour, pixels in seen.items()}
    assert means[water][2] > means[water][0] + 25
    assert means[park][1] > means[park][2] + 25
    assert np.ptp(means[road]) < 15


def test_edges_are_dark_lines_on_white(sample: dict[str, np.ndarray]) -> None:
    edges = sample["edges"][0]
    assert 0.5 < (edges == 255).mean() < 0.95
    assert edges.min() < 60
    borders = np.diff(sample["labels"][0].astype(int), axis=1) != 0
    assert edges[:, 1:][borders].mean() < edges[:, 1:][~borders].mean() - 60


def test_default_layers_and_channels(sample: dict[str, np.ndarray]) -> None:
    spec = {"a": RGB, "b": RGB, "photo": GREY, "label": LABELS, "edges": RGB, "labels": RGB}
    scenes = Scenes(spec, size=128, seed=5)
    found = scenes[0]
    assert np.array_equal(found["a"], sample["day"])
    assert np.array_equal(found["b"], sample["night"])
    assert np.array_equal(found["label"], sample["labels"])
    assert np.array_equal(found["edges"], np.repeat(sample["edges"], 3, axis=0))
    assert np.array_equal(found["labels"], np.array(PALETTE, np.uint8)[sample["labels"][0]].transpose(2, 0, 1))
    luma = np.tensordot([0.299, 0.587, 0.114], sample["day"].astype(float), axes=1)
    assert np.abs(found["photo"][0] - luma).max() <= 1


def test_layers_are_chosen_by_name(sample: dict[str, np.ndarray]) -> None:
    found = Scenes({"a": RGB, "b": RGB}, size=128, seed=5, layers={"a": "map", "b": "labels"})[0]
    assert np.array_equal(found["a"], sample["map"])
    assert found["b"].shape == (3, 128, 128)


def test_it_is_a_source_and_pickles() -> None:
    scenes = Scenes({"a": RGB, "b": RGB}, size=32, count=4, seed=9)
    assert isinstance(scenes, Source)
    assert len(scenes) == 4
    assert same(pickle.loads(pickle.dumps(scenes))[3], scenes[3])
    assert scenes.describe(3) == "scene 3 of seed 9"
    with pytest.raises(IndexError):
        scenes[4]


@pytest.mark.parametrize(
    ("images", "layers", "text"),
    [
        (
            {"a": RGB},
            {"a": "nigth"},
            "layers.a: unknown layer 'nigth'. Did you mean 'night'? Layers: day, night, thermal, labels",
        ),
        ({"a": RGB}, {"A": "day"}, "names a picture 'A' that the task does not have. Did you mean 'a'? It has: a."),
        ({"phota": RGB}, None, "no layer is known to serve the picture 'phota'. Did you mean 'photo'?"),
        ({"label": ImageSpec(1, classes=5)}, None, "'labels' has 10 classes, and the task's picture 'label' only 5."),
        ({"photo": LABELS}, None, "'photo' is a map of classes, which the layer 'day' is not."),
        ({"a": ImageSpec(4)}, None, "'a' has 4 channels; scenes are made with 1 or 3."),
    ],
)
def test_what_cannot_be_is_said(images: dict[str, ImageSpec], layers: dict[str, str] | None, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Scenes(images, layers=layers)
    assert text in str(caught.value)


def test_a_camera_of_heat_sees_people_and_no_colours():
    """People are the brightest thing and the sky the darkest, whatever they wear and whatever the weather."""
    images = {"thermal": GREY, "label": LABELS}
    scenes = Scenes(images, size=96, count=20, seed=5)
    found: dict[str, list[float]] = {"person": [], "sky": [], "road": []}
    for index in range(20):
        sample = scenes[index]
        assert sample["thermal"].shape == (1, 96, 96)
        for name, values in found.items():
            values += sample["thermal"][sample["label"] == CLASSES.index(name)].tolist()
    assert np.median(found["person"]) > np.median(found["road"]) + 40
    assert np.median(found["sky"]) < np.median(found["road"]) - 40
