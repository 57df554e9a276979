"""The built-in tasks: what goes into network space comes out again, and nothing is lost or made up on the way."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from i2i.contracts import Batch, ImageSpec, Task
from i2i.errors import DataError, UsageError
from i2i.losses.cross_entropy import CrossEntropy
from i2i.tasks.colorization import Colorization
from i2i.tasks.edges import Edges
from i2i.tasks.inpainting import Inpainting
from i2i.tasks.maps import Maps
from i2i.tasks.matting import Matting
from i2i.tasks.paired import Paired
from i2i.tasks.palette import Palette, dominant_colours, paint, swatches
from i2i.tasks.segmentation import Labels, Segmentation

TASKS = [
    Paired(),
    Paired(in_channels=1, out_channels=3),
    Colorization(),
    Maps(),
    Maps(to="aerial"),
    Segmentation(),
    Segmentation(classes=5, void=5),
    Inpainting(),
    Labels(),
    Labels(classes=5, void=5),
    Edges(),
    Edges(sigma=1, width=3),
    Matting(),
    Palette(),
    Palette(colours=3),
    Colorization(palette=3),
]


def pictures(task: Task, n: int = 2, size: tuple[int, int] = (12, 20)) -> dict[str, torch.Tensor]:
    """Draw pictures in 8-bit steps for a task, and a mask where it reads one."""

    def draw(spec: ImageSpec) -> torch.Tensor:
        if spec.classes:
            return torch.randint(spec.classes, (n, 1, *size))
        return torch.randint(256, (n, spec.channels, *size)) / 255

    images = {name: draw(spec) for name, spec in task.images.items()}
    if "mask" in task.inputs:
        images["mask"] = (torch.rand(n, 1, *size) < 0.3).float()
    if "edges" in task.inputs:
        images["edges"] = task.draw(images["photo"])
    if "palette" in task.inputs:
        images["palette"] = paint(dominant_colours(images["photo"], 3), (4, 9))
    if task.target not in images:
        images[task.target] = task.decode(task.batch(images).b, images)
    return images


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_a_task_is_what_the_contract_says(task):
    torch.manual_seed(0)
    images = pictures(task)
    assert isinstance(task, Task)
    assert set(task.inputs) <= set(images)
    assert task.target in images
    batch = task.batch(images)
    assert batch.a.shape == (2, task.in_channels, 12, 20)
    assert batch.b.shape == (2, task.out_channels, 12, 20)
    assert batch.a.dtype == batch.b.dtype == torch.float32
    assert batch.a.abs().max() <= 1
    assert batch.b.abs().max() <= 1
    assert torch.allclose(batch.a, task.encode(images), atol=1e-3)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_the_truth_decodes_to_the_picture(task):
    torch.manual_seed(0)
    images = pictures(task)
    decoded = task.decode(task.batch(images).b, images)
    torch.testing.assert_close(decoded, images[task.target], rtol=0, atol=0.1 / 255)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_scores_become_bounded_float32_even_in_bfloat16(task):
    torch.manual_seed(0)
    scores = (50 * torch.randn(2, task.out_channels, 12, 20)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        output = task.activate(scores)
        decoded = task.decode(output, pictures(task))
    assert output.dtype == torch.float32
    assert output.abs().max() <= 1
    assert decoded.min() >= 0
    if decoded.dtype == torch.float32:
        assert decoded.max() <= 1
    else:
        assert decoded.dtype == torch.int64
        assert decoded.max() < task.out_channels


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_a_task_runs_on_the_meta_device(task):
    images = {name: picture.to("meta") for name, picture in pictures(task).items()}
    batch = task.batch(images)
    assert batch.composite(task.activate(batch.b)).device.type == "meta"
    assert task.decode(batch.b, images).shape == images[task.target].shape


def test_maps_go_either_way():
    assert (Maps().inputs, Maps().target) == (("aerial",), "map")
    assert (Maps(to="aerial").inputs, Maps(to="aerial").target) == (("map",), "aerial")
    images = pictures(Maps())
    assert torch.equal(Maps(to="aerial").batch(images).b, Maps().batch(images).a)


# CIE Lab (D65) of the sRGB primaries, from the standard's own matrix.
PRIMARIES = {
    (1, 0, 0): (53.24, 80.09, 67.20),
    (0, 1, 0): (87.73, -86.18, 83.18),
    (0, 0, 1): (32.30, 79.19, -107.86),
    (1, 1, 1): (100, 0, 0),
    (0, 0, 0): (0, 0, 0),
}


@pytest.mark.parametrize(("rgb", "lab"), PRIMARIES.items())
def test_the_lab_of_the_primaries(rgb, lab):
    with torch.autocast("cpu", torch.bfloat16):
        batch = Colorization().batch({"photo": torch.tensor(rgb, dtype=torch.float32).view(1, 3, 1, 1)})
    found = [(batch.a.item() + 1) * 50, *(batch.b.flatten() * 110).tolist()]
    assert found == pytest.approx(lab, abs=0.03)


def test_lab_agrees_with_opencv():
    photo = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    expected = cv2.cvtColor(np.ascontiguousarray(photo[0].permute(1, 2, 0).numpy()), cv2.COLOR_RGB2Lab)
    batch = Colorization().batch({"photo": photo})
    found = torch.cat([(batch.a + 1) * 50, batch.b * 110], 1)[0].permute(1, 2, 0).numpy()
    assert np.abs(found - expected).max() < 0.6  # OpenCV reads the curves off a coarse table


def test_colours_of_another_size_are_laid_on_the_whole_lightness():
    torch.manual_seed(0)
    task = Colorization()
    grey = torch.rand(1, 1, 32, 48).expand(1, 3, 32, 48)
    decoded = task.decode(torch.zeros(1, 2, 8, 12), {"photo": grey})
    torch.testing.assert_close(decoded, grey, rtol=0, atol=0.2 / 255)
    warm = task.decode(torch.full((1, 2, 8, 12), 0.1), {"photo": grey * 0.5 + 0.25})
    assert (warm[:, 0] > warm[:, 2]).all()
    torch.testing.assert_close(task.encode({"photo": warm}), task.encode({"photo": grey * 0.5 + 0.25}))


def test_labels_become_one_hot_and_void_counts_for_nothing():
    task = Segmentation(classes=3, void=255)
    label = torch.tensor([[0, 2], [255, 1]]).view(1, 1, 2, 2)
    batch = task.batch({"photo": torch.rand(1, 3, 2, 2), "label": label})
    assert batch.b.flatten(2)[0].T.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert batch.mask.flatten().tolist() == [1, 1, 0, 1]
    assert batch.composite(torch.full((1, 3, 2, 2), 0.25))[0, :, 1, 0].tolist() == [0, 0, 0]
    assert Segmentation(classes=3).batch({"photo": torch.rand(1, 3, 2, 2), "label": label % 3}).mask is None


def test_a_void_class_within_the_classes_is_never_predicted():
    task = Segmentation(classes=3, void=0)
    scores = torch.tensor([9.0, 1.0, 2.0]).view(1, 3, 1, 1)
    assert task.decode(task.activate(scores), {}).item() == 2
    assert Segmentation(classes=3).decode(scores, {}).item() == 0


@pytest.mark.parametrize(("void", "index"), [(None, 4), (None, 255), (255, 254), (255, -1), (0, 4)])
def test_an_index_that_is_no_class_is_an_error(void, index):
    label = torch.ones(1, 1, 2, 2, dtype=torch.int64)
    label[0, 0, 1, 0] = index
    with pytest.raises(DataError, match=rf"class index {index}, but .* 0 \.\.\. 3: set 'classes', or 'void'"):
        Segmentation(classes=4, void=void).batch({"photo": torch.rand(1, 3, 2, 2), "label": label})


def test_every_class_has_its_own_colour():
    for classes in (1, 12, 300):
        palette = Segmentation(classes=classes).palette
        assert len(set(palette)) == len(palette) == classes
        assert (0, 0, 0) not in palette
        assert all(0 <= level <= 255 for colour in palette for level in colour)
    colours = np.array(Segmentation(classes=12).palette)
    distance = np.abs(colours[:, None] - colours).max(-1)
    assert distance[~np.eye(12, dtype=bool)].min() >= 64
    assert Segmentation(classes=3, void=1).palette[1] == (0, 0, 0)
    own = [(1, 2, 3), (4, 5, 6)]
    assert Segmentation(classes=2, void=1, palette=own).palette == own
    with pytest.raises(UsageError, match="2 colours for 3 classes"):
        Segmentation(classes=3, palette=own)


def test_classes_may_be_named():
    task = Segmentation(classes=["sky", "road"])
    assert (task.out_channels, task.images["label"].classes, task.classes) == (2, 2, ["sky", "road"])
    with pytest.raises(UsageError, match="'classes' is empty"):
        Segmentation(classes=[])


def test_cross_entropy_is_that_of_the_logits():
    torch.manual_seed(0)
    task = Segmentation(classes=5, void=255)
    logits = torch.randn(2, 5, 6, 7, requires_grad=True)
    label = torch.randint(5, (2, 1, 6, 7))
    label[:, :, :2] = 255
    batch = task.batch({"photo": torch.rand(2, 3, 6, 7), "label": label})
    loss = CrossEntropy()(batch.composite(task.activate(logits)), batch.b)
    expected = F.cross_entropy(logits, label[:, 0], ignore_index=255)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, logits)[0] for value in (loss, expected)))
    assert CrossEntropy()(batch.b, batch.b) == 0


@pytest.mark.parametrize("gap", [10.0, 60.0, 86.0, 200.0, 1e4])
def test_the_pixels_most_in_error_keep_their_gradient(gap):
    task = Segmentation(classes=2)
    logits = torch.tensor([0.0, gap]).view(1, 2, 1, 1).repeat(1, 1, 1, 4).requires_grad_()
    batch = task.batch({"photo": torch.rand(1, 3, 1, 4), "label": torch.zeros(1, 1, 1, 4, dtype=torch.int64)})
    loss = CrossEntropy()(task.activate(logits), batch.b)
    loss.backward()
    assert loss.item() == pytest.approx(min(gap, 80), abs=0.01)
    assert logits.grad[0, :, 0, 0].tolist() == pytest.approx([-0.25, 0.25], rel=1e-3)


def test_cross_entropy_of_nothing_but_void_is_nothing():
    probabilities = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).requires_grad_()
    loss = CrossEntropy()(probabilities, torch.zeros(1, 2, 1, 1))
    loss.backward()
    assert loss == 0
    assert not probabilities.grad.any()


def test_known_pixels_come_out_untouched():
    torch.manual_seed(0)
    task = Inpainting()
    images = pictures(task, n=4)
    images["photo"] = torch.randint(65536, images["photo"].shape) / 65535
    decoded = task.decode(task.activate(10 * torch.randn(4, 3, 12, 20)), images)
    known = (images["mask"] == 0).expand_as(decoded)
    assert torch.equal(decoded[known], images["photo"][known])
    assert not torch.equal(decoded[~known], images["photo"][~known])


def test_the_network_does_not_see_into_the_hole():
    task = Inpainting()
    images = {"photo": torch.rand(1, 3, 8, 8), "mask": torch.zeros(1, 1, 8, 8)}
    images["mask"][..., 2:5, 3:6] = 0.7  # a soft edge counts from one half
    batch = task.batch(images)
    assert not batch.a[:, :3, 2:5, 3:6].any()
    assert torch.equal(batch.a[:, 3:], batch.mask)
    assert batch.mask.sum() == 9
    assert torch.equal(batch.b, images["photo"] * 2 - 1)
    with pytest.raises(DataError, match="no 'mask' to say where the hole is"):
        task.encode({"photo": images["photo"]})


def connected(hole: torch.Tensor) -> int:
    return cv2.connectedComponents(hole.numpy().astype(np.uint8))[0] - 1


@pytest.mark.parametrize("brush", [0.0, 1.0])
def test_holes_are_drawn_anew_from_the_global_generator(brush):
    task = Inpainting(brush=brush, rectangles=2, strokes=2)
    images = {"photo": torch.rand(200, 3, 48, 64)}
    torch.manual_seed(7)
    holes = task.batch(images).mask
    assert not torch.equal(holes, task.batch(images).mask)
    torch.manual_seed(7)
    assert torch.equal(holes, task.batch(images).mask)
    assert holes.unique().tolist() == [0, 1]
    shares = holes.mean((1, 2, 3))
    assert shares.min() > 0
    assert shares.max() < 0.8
    assert 0.05 < shares.mean() < 0.4
    assert (holes.mean(0)[:, 4:-4, 4:-4] > 0).all(), "some pixel within is never in a hole"
    boxes = [hole[0].nonzero().aminmax(dim=0) for hole in holes]
    filled = [hole.sum() == (box.max - box.min + 1).prod() for hole, box in zip(holes, boxes, strict=True)]
    assert (sum(filled) > 50) == (brush == 0), "one rectangle fills its bounding box, a stroke does not"
    assert {connected(hole[0]) for hole in holes} <= {1, 2, 3, 4}


def test_the_brush_has_its_share_and_its_width():
    torch.manual_seed(0)
    holes = Inpainting(brush=1, strokes=1, stroke_width=(0.2, 0.2)).batch({"photo": torch.rand(50, 3, 100, 100)}).mask
    widest = [cv2.distanceTransform(hole[0].numpy().astype(np.uint8), cv2.DIST_L2, 5).max() for hole in holes]
    assert np.median(widest) == pytest.approx(10, abs=2)  # half the width, a fifth of 100 pixels
    side = Inpainting(brush=0, rectangles=1, rectangle_size=(0.3, 0.3)).batch({"photo": torch.rand(50, 3, 20, 40)}).mask
    assert side.sum((1, 2, 3)).unique().tolist() == [6 * 12]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 2)])
def test_even_the_smallest_photo_gets_a_hole(size):
    torch.manual_seed(0)
    holes = Inpainting().batch({"photo": torch.rand(300, 3, *size)}).mask
    assert holes.amax((1, 2, 3)).min() == 1


def test_sizes_the_wrong_way_round_are_an_error():
    with pytest.raises(UsageError, match=r"'stroke_width' is \[0.5, 0.1\]: give the least first"):
        Inpainting(stroke_width=(0.5, 0.1))


def test_labels_are_the_way_back_from_segmentation():
    label = torch.tensor([[[[0, 1], [4, 5]]]])
    images = {"label": label, "photo": torch.rand(1, 3, 2, 2)}
    task = Labels(classes=5, void=5, palette=[(255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9), (0, 51, 255)])
    one_hot = Segmentation(classes=5, void=5).batch(images).b
    assert torch.equal(task.batch(images).a, one_hot)
    assert one_hot[0, :, 1, 1].sum() == 0
    painted = (task.preview(images) * 255).round().long()
    assert painted[0, :, 0, 0].tolist() == [255, 0, 0]
    assert painted[0, :, 1, 0].tolist() == [0, 51, 255]
    assert painted[0, :, 1, 1].tolist() == [0, 0, 0]
    own = Labels(classes=5, void=4, palette=[(9, 9, 9)] * 5).preview({"label": torch.tensor([[[[4, 3]]]])})
    assert (own[0, :, 0, 0] == 0).all()
    assert (own[0, :, 0, 1] > 0).all()
    with pytest.raises(DataError, match="labels: a label holds the class index 5"):
        Labels(classes=5).encode(images)


def test_edges_are_where_the_photo_changes():
    photo = torch.zeros(1, 3, 24, 24)
    photo[..., 12:] = 1
    edges = Edges().draw(photo)
    assert edges.shape == (1, 1, 24, 24)
    dark = (edges < 1)[0, 0].any(0).nonzero().flatten().tolist()
    assert dark
    assert set(dark) <= {11, 12}
    assert len((Edges(width=3).draw(photo) < 1)[0, 0].any(0).nonzero()) == len(dark) + 2
    assert (Edges().draw(torch.full((1, 3, 24, 24), 0.5)) == 1).all()
    with pytest.raises(UsageError, match="give the lower threshold first"):
        Edges(low=0.5, high=0.2)
    with pytest.raises(DataError, match="'sigma' 20 blurs over 40 pixels, and the photo has 24 x 24"):
        Edges(sigma=20).draw(photo)


def test_a_cut_out_photo_keeps_its_colours():
    task = Matting()
    images = pictures(task)
    cut = task.present(task.decode(task.batch(images).b, images), images)
    assert cut.shape == (2, 4, 12, 20)
    assert torch.equal(cut[:, :3], images["photo"])
    assert torch.allclose(cut[:, 3:], images["alpha"], atol=1e-6)


def test_dominant_colours_are_found_from_dark_to_light():
    colours = torch.tensor([[0.1, 0.1, 0.3], [0.8, 0.1, 0.1], [0.2, 0.7, 0.2], [0.9, 0.9, 0.6]])
    index = torch.tensor([0] * 60 + [1] * 4 + [2] * 20 + [3] * 16)  # the red is a small accent
    photo = colours[index[torch.randperm(100, generator=torch.Generator().manual_seed(0))]].T.reshape(1, 3, 10, 10)
    found = dominant_colours(photo, 4)[0].T
    assert torch.allclose(found, colours, atol=0.01)
    assert torch.allclose(swatches(paint(found.T[None], (7, 41)), 4)[0].T, found, atol=1e-5)
    plain = dominant_colours(torch.full((1, 3, 6, 6), 0.5), 3)
    assert torch.allclose(plain, torch.full((1, 3, 3), 0.5), atol=0.01)
    with pytest.raises(DataError, match="at least 3 pixels"):
        Palette(colours=3).decode(torch.zeros(1, 3, 4, 2), {})


def test_a_palette_guides_a_colorization_at_every_pixel():
    task = Colorization(palette=2)
    photo = torch.rand(1, 3, 6, 6)
    red_blue = torch.tensor([[[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]])
    a = task.encode({"photo": photo, "palette": paint(red_blue, (3, 8))})
    assert a.shape == (1, 5, 6, 6)
    # a of red, a of blue, b of red, b of blue
    for channel, expected in enumerate([80.09, 79.19, 67.20, -107.86], start=1):
        assert (a[0, channel] * 110 - expected).abs().max() < 0.1
    with pytest.raises(DataError, match="picture of swatches"):
        task.encode({"photo": photo})


def test_a_change_to_a_batch_reaches_each_of_its_tensors():
    batch = Batch(torch.zeros(1, 3, 4, 4), torch.ones(1, 1, 4, 4), torch.full((1, 1, 4, 4), 2.0)).map(lambda x: x + 1)
    assert batch.mask is not None
    assert [x.unique().item() for x in (batch.a, batch.b, batch.mask)] == [1, 2, 3]
    assert Batch(batch.a, batch.b).map(torch.neg).mask is None
