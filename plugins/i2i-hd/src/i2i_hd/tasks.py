"""The tasks from label maps to photos that see more than the classes: borders of instances, or a picture's style."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import Tensor

from i2i.contracts import Batch, Count, ImageSpec, Natural
from i2i.errors import DataError, sizes
from i2i.tasks.segmentation import Labels

if TYPE_CHECKING:
    from i2i.contracts import Images

Level = Annotated[int, Interval(ge=0, le=255)]
INSTANCES = 65536
"""As many as 16 bits tell apart."""


class Instances:
    """Translate a `label` and an `instance` map into a `photo` (Wang et al. 2018, section 3.3).

    label, photo, classes, void, palette: as of the task `labels`. instance: a number for each thing, int64
    N × 1 × H × W in 0 ... 65535, of which nothing is read but where it changes. In network space there is one channel
    behind the one-hot label, N × (classes + 1) × H × W: 1 where a pixel is of another instance than one of its 4
    neighbours. maps: false for a source without instance maps: the borders are then those of the label, which are
    those of its connected regions, and two cars side by side are one.
    """

    paired = True
    out_channels = 3

    def __init__(
        self,
        *,
        classes: Count | list[str] = 35,
        void: Natural | None = None,
        palette: list[tuple[Level, Level, Level]] | None = None,
        maps: bool = True,
    ) -> None:
        self.labels = Labels(classes=classes, void=void, palette=palette)
        self.in_channels = self.labels.in_channels + 1
        instance = {"instance": ImageSpec(1, INSTANCES)} if maps else {}
        label, photo = self.labels.images["label"], self.labels.images["photo"]
        self.images: Mapping[str, ImageSpec] = {"label": label, **instance, "photo": photo}
        self.inputs: tuple[str, ...] = ("label", *instance)
        self.borders = self.inputs[-1]
        self.target = "photo"

    def batch(self, images: Images) -> Batch:
        """Bring label and borders into network space, and the photo into [-1, 1]."""
        return Batch(self.encode(images), images["photo"] * 2 - 1)

    def encode(self, images: Images) -> Tensor:
        """Bring label and borders into network space, N × (classes + 1) × H × W; DataError where their sizes differ."""
        return torch.cat([self.labels.encode(images), self._borders(images).float()], 1)

    def preview(self, images: Images) -> Tensor:
        """Paint the label in its palette, the borders of its instances in white: N × 3 × H × W in [0, 1]."""
        return self.labels.preview(images).masked_fill(self._borders(images), 1.0)

    def activate(self, output: Tensor) -> Tensor:
        """Bound raw scores by tanh, in float32."""
        return self.labels.activate(output)

    def decode(self, output: Tensor, images: Images) -> Tensor:
        """Bring a translation back to [0, 1], N × 3 × H × W."""
        return self.labels.decode(output, images)

    def _borders(self, images: Images) -> Tensor:
        label, instance = images["label"], images[self.borders]
        if instance.shape[-2:] != label.shape[-2:]:
            own, its = sizes(instance.shape[-2:]), sizes(label.shape[-2:])
            raise DataError(f"the instance map is of {own} pixels (H x W), and its label map of {its}.")
        return borders(instance)


def borders(instance: Tensor) -> Tensor:
    """Return where a pixel of N × 1 × H × W differs from one of its 4 neighbours, bool of the same shape."""
    below, beside = instance[:, :, 1:] != instance[:, :, :-1], instance[..., 1:] != instance[..., :-1]
    rows = F.pad(below, (0, 0, 1, 0)) | F.pad(below, (0, 0, 0, 1))
    return rows | F.pad(beside, (1, 0)) | F.pad(beside, (0, 1))


class StyledLabels:
    """Translate a `label` into a `photo` in the `style` of a picture, RGB in [0, 1] (Park et al. 2019, section 3).

    label, photo, classes, void, palette: as of the task `labels`. While training the style is that of the photo itself,
    and so it is where held-out pictures are measured. In network space the picture is behind the one-hot label,
    N × (classes + 3) × H × W in [-1, 1], and zero everywhere where there is none. For methods that make a short code of
    it, such as `spade`: any other would learn to copy the photo.
    """

    paired = True
    out_channels = 3
    optional = ("style",)

    def __init__(
        self,
        *,
        classes: Count | list[str] = 12,
        void: Natural | None = None,
        palette: list[tuple[Level, Level, Level]] | None = None,
    ) -> None:
        self.labels = Labels(classes=classes, void=void, palette=palette)
        self.in_channels = self.labels.in_channels + 3
        self.images: Mapping[str, ImageSpec] = self.labels.images
        self.inputs: tuple[str, ...] = ("label", "style")
        self.target = "photo"

    def batch(self, images: Images) -> Batch:
        """Bring the label into network space, and the photo, which is its own style."""
        return Batch(self.encode({**images, "style": images["photo"]}), images["photo"] * 2 - 1)

    def encode(self, images: Images) -> Tensor:
        """Bring label and style into network space, N × (classes + 3) × H × W; the style may be of any size."""
        label = self.labels.encode(images)
        if "style" not in images:
            return F.pad(label, (0, 0, 0, 0, 0, 3))
        style = images["style"] * 2 - 1
        if style.shape[-2:] != label.shape[-2:]:
            style = F.interpolate(style, label.shape[-2:], mode="area")
        return torch.cat([label, style], 1)

    def preview(self, images: Images) -> Tensor:
        """Paint the label in its palette, void in black: N × 3 × H × W in [0, 1]."""
        return self.labels.preview(images)

    def activate(self, output: Tensor) -> Tensor:
        """Bound raw scores by tanh, in float32."""
        return self.labels.activate(output)

    def decode(self, output: Tensor, images: Images) -> Tensor:
        """Bring a translation back to [0, 1], N × 3 × H × W."""
        return self.labels.decode(output, images)
