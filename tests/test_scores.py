"""The measures of class maps and the FCN-score, against scikit-learn and against painted labels."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, jaccard_score

import i2i
from i2i.confusion import Confusion
from i2i.contracts import Metric
from i2i.errors import DataError, UsageError
from i2i.evaluate import HeldOut, measured, values_of
from i2i.metrics.accuracy import Accuracy
from i2i.metrics.classes import Classes
from i2i.score import FCNScore
from i2i.tasks.segmentation import Segmentation

VOID = 4


def class_maps(n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw predictions and truths of the classes 0, 1, 2, 5 with void pixels; class 5 is predicted and never true."""
    draw = torch.Generator().manual_seed(0)
    real = torch.randint(0, 3, (n, 1, 9, 7), generator=draw)
    fake = torch.where(
        torch.rand(real.shape, generator=draw) < 0.6, real, torch.randint(0, 3, real.shape, generator=draw)
    )
    fake[torch.rand(real.shape, generator=draw) < 0.1] = 5
    real[torch.rand(real.shape, generator=draw) < 0.2] = VOID
    return fake, real


def test_classes_are_measured_as_by_scikit_learn() -> None:
    fake, real = class_maps()
    metric = Classes(names=["sky", "road", "tree"])
    assert isinstance(metric, Metric)
    for part in (slice(0, 1), slice(1, 4), slice(4, 6)):
        metric.update(fake[part], real[part], mask=(real[part] != VOID).float())
    valid = real != VOID
    truth, guess = real[valid].numpy(), fake[valid].numpy()
    assert np.array_equal(metric.confusion.counts.numpy(), confusion_matrix(truth, guess, labels=range(6)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class is predicted which is never true
        balanced = balanced_accuracy_score(truth, guess)
    result = {name: value.item() for name, value in metric.compute().items()}
    assert result == pytest.approx(
        {
            "pixel accuracy": accuracy_score(truth, guess),
            "class accuracy": balanced,
            "class IoU": jaccard_score(truth, guess, average="macro"),
            **dict(
                zip(
                    ["IoU of sky", "IoU of road", "IoU of tree"],
                    jaccard_score(truth, guess, average=None),
                    strict=False,
                )
            ),
        }
    )
    accuracy = Accuracy()
    accuracy.update(fake, real, mask=valid.float())
    assert accuracy.compute().item() == pytest.approx(result["pixel accuracy"])


def test_classes_are_not_a_mean_of_batches() -> None:
    first, second = torch.zeros(1, 1, 4, 4, dtype=torch.int64), torch.ones(1, 1, 1, 1, dtype=torch.int64)
    metric = Classes()
    metric.update(first, first)
    metric.update(1 - second, second)
    scores = {name: value.item() for name, value in metric.compute().items()}
    assert scores == pytest.approx({"pixel accuracy": 16 / 17, "class accuracy": 0.5, "class IoU": 16 / 17 / 2})


def test_classes_refuse_what_is_no_class_map() -> None:
    with pytest.raises(UsageError, match="these are pictures: use 'l1'"):
        Classes().update(torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4))
    for wrong in (-1, 65535):
        label = torch.full((1, 1, 2, 2), wrong)
        with pytest.raises(DataError, match=f"holds the index {wrong}, which is no class"):
            Classes().update(label, label)
    nothing = Classes()
    nothing.update(label, label, mask=torch.zeros(1, 1, 2, 2))
    with pytest.raises(DataError, match="no pixels to measure: all are void"):
        nothing.compute()


# ---- the FCN-score, of a scorer with random weights


def labelled(n: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw translations, photos and labels of the scorer's four classes and void."""
    draw = torch.Generator().manual_seed(0)
    fake, real = torch.rand(2, n, 3, 16, 20, generator=draw)
    return fake, real, torch.randint(0, 5, (n, 1, 16, 20), generator=draw)


def scores(metric: FCNScore) -> dict[str, float]:
    return {name: value.item() for name, value in metric.compute().items()}


def expected(scorer: Path, fake: torch.Tensor, label: torch.Tensor) -> dict[str, float]:
    """Measure with scikit-learn what the scorer says."""
    guess, valid = i2i.load(scorer, "cpu")(fake), label != VOID
    pair = label[valid].numpy(), guess[valid].numpy()
    assert len(np.unique(pair[1])) > 1
    return {
        "pixel accuracy": accuracy_score(*pair),
        "class accuracy": balanced_accuracy_score(*pair),
        "class IoU": jaccard_score(*pair, average="macro"),
    }


def test_fcn_score_is_the_accuracy_of_the_scorer(scorer: Path) -> None:
    fake, real, label = labelled()
    metric = FCNScore(scorer=scorer)
    assert isinstance(metric, Metric)
    for part in (slice(0, 1), slice(1, 3)):
        photo = real[part]
        metric.update(fake[part], photo, images={"label": label[part], "photo": photo, "depth": fake[part]})
    assert scores(metric) == pytest.approx(expected(scorer, fake, label))


@pytest.mark.parametrize("noise", [0, 6])
def test_fcn_score_reads_the_colours_of_painted_labels(scorer: Path, noise: int) -> None:
    fake, real, label = labelled()
    palette = Segmentation(classes=5, void=VOID).palette
    assert palette[VOID] == (0, 0, 0)
    painted = torch.tensor(palette)[label[:, 0]].movedim(3, 1).float()
    painted += noise * torch.randn(painted.shape, generator=torch.Generator().manual_seed(0))
    metric = FCNScore(scorer=scorer)
    metric.update(fake, real, images={"a": (painted / 255).clamp(0, 1), "b": real})
    assert scores(metric) == pytest.approx(expected(scorer, fake, label))


def test_fcn_score_takes_another_palette_black_as_void_and_a_name(scorer: Path) -> None:
    fake, real, label = labelled()
    palette = [(255, 255, 255), (200, 0, 0), (0, 200, 0), (0, 0, 200), (90, 90, 90)]
    painted = torch.tensor([*palette[:VOID], (0, 0, 0)])[label[:, 0]].movedim(3, 1) / 255
    images = {"labels": painted, "other": fake, "photo": real}
    metric = FCNScore(scorer=scorer, palette=palette, labels="labels")
    metric.update(fake, real, images=images)
    assert scores(metric) == pytest.approx(expected(scorer, fake, label))
    with pytest.raises(UsageError, match="there are labels and other: name it as 'labels'"):
        FCNScore(scorer=scorer).update(fake, real, images=images)
    with pytest.raises(UsageError, match=r"no picture 'label'\. Did you mean 'labels'\?"):
        FCNScore(scorer=scorer, labels="label").update(fake, real, images=images)


def test_fcn_score_refuses_what_it_cannot_score(scorer: Path) -> None:
    fake, real, label = labelled()
    metric = FCNScore(scorer=scorer)
    with pytest.raises(DataError, match=r"9[0-9]% of the pixels of 'a' have none of the palette's colours"):
        metric.update(fake, real, images={"a": fake, "b": real})
    with pytest.raises(UsageError, match="there is none: name it as 'labels'"):
        metric.update(fake, real, images={"b": real})
    with pytest.raises(UsageError, match="by the colours of 'label': it is grey"):
        FCNScore(scorer=scorer, labels="label").update(fake, real, images={"label": fake[:, :1]})
    with pytest.raises(DataError, match=r"holds the class index 7, and the scorer .* knows 0 \.\.\. 4"):
        metric.update(fake, real, images={"label": label.clamp(max=3) + VOID})
    with pytest.raises(DataError, match="do not fit"):
        metric.update(fake, real, images={"label": label[:, :, 1:]})
    with pytest.raises(UsageError, match="use the metric 'classes'"):
        metric.update(label, label, images={"label": label})
    with pytest.raises(UsageError, match="neither a run nor a model folder"):
        FCNScore(scorer=scorer / "nothing").update(fake, real, images={"label": label})


def test_fcn_score_scores_grey_pictures(scorer: Path) -> None:
    fake, real, label = labelled()
    metric = FCNScore(scorer=scorer)
    metric.update(fake[:, :1], real[:, :1], images={"label": label})
    assert scores(metric) == pytest.approx(expected(scorer, fake[:, :1].expand(-1, 3, -1, -1), label))


def test_evaluate_puts_the_real_photos_beside_and_says_what_is_measured(scorer: Path) -> None:
    from i2i.data import Samples
    from i2i.generators.unet import UNet
    from i2i.methods.pix2pix import Pix2Pix
    from i2i.metrics.l1 import L1
    from i2i.tasks.inpainting import Inpainting
    from i2i.tasks.paired import Paired

    class Painted:
        """Four labels, painted, and their photos."""

        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> dict[str, np.ndarray]:
            fake, _, label = labelled(4)
            palette = np.array(Segmentation(classes=5, void=VOID).palette, dtype=np.uint8)
            photo = (fake[index].numpy() * 255).astype(np.uint8)
            return {"a": palette[label[index, 0]].transpose(2, 0, 1).copy(), "b": photo, "photo": photo}

    unet = functools.partial(UNet, depth=2, width=4)
    for task, metric in (
        (Paired(), functools.partial(FCNScore, scorer=scorer)),
        (Inpainting(), functools.partial(L1, region="mask")),
    ):
        method = Pix2Pix(task, generator=unet, gan_weight=0.0).eval()
        samples = Samples(Painted(), task.images)
        results = values_of(measured(HeldOut(task, method, samples, torch.device("cpu")), [metric]))
        if isinstance(task, Inpainting):
            assert list(results) == ["l1 (mask)"]
        else:
            assert list(results) == [f"fcn_score/{name}" for name in ("pixel accuracy", "class accuracy", "class IoU")]
            assert set(results["fcn_score/class IoU"]) == {"translated", "truth"}
            photos = torch.from_numpy(np.stack([Painted()[i]["b"] for i in range(4)])).float() / 255
            truth = {name.partition("/")[2]: value["truth"] for name, value in results.items()}
            assert truth == pytest.approx(expected(scorer, photos, labelled(4)[2]))


def test_confusion_grows_with_the_classes_that_are_seen() -> None:
    counts = Confusion()
    counts.add(torch.tensor([[[[1]]]]), torch.tensor([[[[0]]]]), torch.tensor([[[[True]]]]))
    counts.add(torch.tensor([[[[0]]]]), torch.tensor([[[[3]]]]), torch.tensor([[[[True]]]]))
    counts.add(torch.tensor([[[[0]]]]), torch.tensor([[[[9]]]]), torch.tensor([[[[False]]]]))
    assert counts.counts.nonzero().tolist() == [[0, 1], [3, 0]]
    assert {index: value.item() for index, value in counts.iou().items()} == {0: 0, 1: 0, 3: 0}
