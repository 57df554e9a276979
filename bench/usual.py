"""Pix2pix as it is usually written, to be compared with: eager, NCHW, float32, PIL, one picture after the other.

Written for this comparison from the paper (Isola et al. 2017, section 6) and from habits that are common: nested U-Net
with `BatchNorm2d`, D asked about real and fake in two passes, its weights frozen for G's turn, torch's default Adam,
the losses read at every step, PIL for reading, resizing and writing, four loader processes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


class Level(nn.Module):
    """One level of the U-Net around the next: halve, go deeper, double, and join what came in."""

    def __init__(self, outer: int, inner: int, deeper: Level | None, *, into: int | None = None, drop: bool = False):
        super().__init__()
        self.outermost, innermost = into is not None, deeper is None
        down = nn.Conv2d(into or outer, inner, 4, 2, 1, bias=self.outermost)
        up = nn.ConvTranspose2d(inner if innermost else 2 * inner, outer, 4, 2, 1, bias=self.outermost)
        layers: list[nn.Module] = [] if self.outermost else [nn.LeakyReLU(0.2)]
        layers += [down, *([] if self.outermost or innermost else [nn.BatchNorm2d(inner)])]
        layers += [*([deeper] if deeper else []), nn.ReLU(), up, nn.Tanh() if self.outermost else nn.BatchNorm2d(outer)]
        self.layers = nn.Sequential(*layers, *([nn.Dropout(0.5)] if drop else []))

    def forward(self, x: Tensor) -> Tensor:
        """Map N × C × H × W to the same H × W."""
        y: Tensor = self.layers(x)
        return y if self.outermost else torch.cat([x, y], 1)


def unet() -> nn.Module:
    """Return the U-Net of eight levels, 54.4 million weights."""
    level = Level(512, 512, None)
    for _ in range(3):
        level = Level(512, 512, level, drop=True)
    for outer, inner in ((256, 512), (128, 256), (64, 128)):
        level = Level(outer, inner, level)
    return Level(3, 64, level, into=3)


def patchgan(channels: int = 6) -> nn.Module:
    """Return the 70 × 70 PatchGAN, 2.8 million weights."""
    layers: list[nn.Module] = [nn.Conv2d(channels, 64, 4, 2, 1), nn.LeakyReLU(0.2)]
    for before, after, stride in ((64, 128, 2), (128, 256, 2), (256, 512, 1)):
        layers += [nn.Conv2d(before, after, 4, stride, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(512, 1, 4, 1, 1))


class Halves(Dataset[tuple[Tensor, Tensor]]):
    """Side-by-side files, the photo at the left and the input at the right, jittered: to 286, a random 256, a flip."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*.jpg"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return input and target, 3 × 256 × 256 in [-1, 1]."""
        picture = Image.open(self.paths[index]).convert("RGB")
        w, h = picture.size
        top, left, flip = random.randint(0, 30), random.randint(0, 30), random.random() < 0.5

        def half(x: int) -> Tensor:
            one = picture.crop((x, 0, x + w // 2, h)).resize((286, 286), Image.Resampling.BICUBIC)
            one = one.crop((left, top, left + 256, top + 256))
            one = one.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else one
            return torch.from_numpy(np.array(one)).permute(2, 0, 1).float().div(255).sub(0.5).div(0.5)

        return half(w // 2), half(0)


def training(folder: Path, batch: int, device: torch.device) -> Iterator[None]:
    """Train for ever, one step at each `next`."""
    g, d = unet().to(device), patchgan().to(device)
    bce, l1 = nn.BCEWithLogitsLoss(), nn.L1Loss()
    of_g = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(0.5, 0.999))
    of_d = torch.optim.Adam(d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    loader = DataLoader(Halves(folder), batch, shuffle=True, num_workers=4, drop_last=True, persistent_workers=True)

    def judged(a: Tensor, b: Tensor, real: bool) -> Tensor:
        scores = d(torch.cat([a, b], 1))
        return bce(scores, torch.full_like(scores, float(real)))

    while True:
        for a, b in loader:
            a, b = a.to(device), b.to(device)
            fake = g(a)
            d.requires_grad_(True)
            of_d.zero_grad()
            loss_d = (judged(a, fake.detach(), False) + judged(a, b, True)) / 2
            loss_d.backward()
            of_d.step()
            d.requires_grad_(False)
            of_g.zero_grad()
            loss_g = judged(a, fake, True) + 100 * l1(fake, b)
            loss_g.backward()
            of_g.step()
            _ = loss_d.item(), loss_g.item()
            yield


@torch.no_grad()
def translate(g: nn.Module, inputs: list[Path], out: Path, device: torch.device, size: int = 256) -> Iterator[None]:
    """Translate one picture after the other and save each as PNG, one at each `next`."""
    for path in inputs:
        pixels = np.array(Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BICUBIC))
        x = torch.from_numpy(pixels).permute(2, 0, 1).float().div(255).sub(0.5).div(0.5)[None].to(device)
        y = (g(x)[0].float().permute(1, 2, 0) + 1) / 2 * 255
        Image.fromarray(y.cpu().numpy().astype(np.uint8)).save(out / f"{path.stem}.png")
        yield
