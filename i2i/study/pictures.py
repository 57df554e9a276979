"""What participants of a study are shown: real pictures and translations, as PNG files in memory."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from i2i.checkpoint import Run, read_description
from i2i.contracts import Images, Task
from i2i.errors import UsageError
from i2i.evaluate import HeldOut, in_colour
from i2i.study.design import Design


@dataclass(frozen=True)
class Pictures:
    """A run's held-out pictures as PNG files in memory, the longer side at most `Design.size` pixels.

    model: the sha256 of the model that made the fakes. settings: the `--set` values that they were made with. samples:
    which of the held-out split they are.
    """

    run: str
    model: str
    settings: list[str]
    samples: list[int]
    real: list[bytes]
    fake: list[bytes]


def render(path: Path, design: Design, settings: Sequence[str] = (), device: str = "auto") -> Pictures:
    """Translate as many of a run's held-out pictures as a study needs, drawn from the split by the study's seed.

    settings: `--set` values for the run's recipe, such as another `[validation]`.
    """
    run = Run.open(path)
    model = str(read_description(run.model)["sha256"])
    held_out = HeldOut.of(run, run.plan(settings), device)
    task, samples = held_out.task, held_out.samples
    least = 1 if design.same_input else 2
    if len(samples) < least:
        raise UsageError(f"{path}: {len(samples)} held-out picture(s), but a study needs {least} at least.")
    if design.same_input and not samples.paired:
        raise UsageError(f"{path}: its pictures are no pairs of one scene; leave --same-input out.")
    chosen = np.random.default_rng(design.seed).permutation(len(samples))[: design.pictures].tolist()
    real, fake = [], []
    for index in chosen:
        pictures, batch, translation = held_out.translated(index)
        truth = pictures[task.target]
        if batch.mask is not None:  # a void that only the real picture has would tell it from the fake
            translation = torch.where(batch.mask > 0, translation, truth)
        real.append(_png(task, truth, pictures, design.size))
        fake.append(_png(task, translation, pictures, design.size))
    return Pictures(path.resolve().name, model, list(settings), chosen, real, fake)


def _png(task: Task, picture: Tensor, pictures: Images, size: int) -> bytes:
    """Encode what a person would be shown of 1 × C × H × W, real and fake alike, without metadata."""
    if present := getattr(task, "present", None):
        picture = present(picture, pictures)
    if picture.shape[1] == 4:  # cut out: on mid-grey, whatever the colour of the page
        picture = picture[:, :3] * picture[:, 3:] + 0.5 * (1 - picture[:, 3:])
    pixels = in_colour(picture[0], getattr(task, "palette", None))
    scale = size / max(pixels.shape[:2])
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
