"""Pretrained networks whose features compare pictures: where their weights come from, and what to do without."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import importlib
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.errors import DataError, UnsafeFileError, UsageError, nearest
from i2i.metrics.pictures import check

Weights = Path | Literal["random"] | None
"""A file; drawn at random with a fixed seed, for trials; or None for those that the network is known by."""

INCEPTION = "inception"
PATIENCE = 10
"""Seconds without an answer after which there is no network."""


class Gathered:
    """The features of the fake and of the real pictures of a whole set, on the host: what `fid` and `kid` compare.

    features: "inception", the Inception-v3 of 2015 with its resizing to 299 × 299, as published values have it (from
    torch-fidelity, 2048 numbers a picture); or a timm model, its pooled features. minimum: fewer pictures are refused.
    """

    def __init__(self, metric: str, features: str, weights: Weights, minimum: int) -> None:
        library(metric, "torchmetrics")
        self.metric, self.minimum = metric, minimum
        self.network = Inception(metric, weights) if features == INCEPTION else Backbone(metric, features, weights)
        self.variant = variant(features, weights, INCEPTION)
        self.features: tuple[list[Tensor], list[Tensor]] = ([], [])

    def add(self, fake: Tensor, real: Tensor) -> None:
        """Take in N pictures of 1 or 3 channels; UsageError for class indices."""
        check(self.metric, fake, real)
        self.network.to(real.device)
        for gathered, pictures in zip(self.features, (fake, real), strict=True):
            gathered.append(self.network(in_colour(self.metric, pictures)).cpu().double())

    def both(self) -> tuple[Tensor, Tensor]:
        """Return the features of fake and of real, float64 N × d; DataError when there are too few pictures."""
        count = sum(map(len, self.features[0]))
        if count < self.minimum:
            raise DataError(
                f"{self.metric}: {count} picture(s) are too few to tell a distribution by: hold out at least "
                f"{self.minimum}, or set its 'minimum'."
            )
        return torch.cat(self.features[0]), torch.cat(self.features[1])


class Inception(nn.Module):
    """The Inception-v3 whose features define the FID: N × 3 × H × W in [0, 1], taken in 8 bits, to N × 2048."""

    def __init__(self, metric: str, weights: Weights) -> None:
        super().__init__()
        if str(weights) == "random":
            raise UsageError(f"{metric}: random weights are for timm models: name one as 'features'.")
        module = library(metric, "torch_fidelity.feature_extractor_inceptionv3")
        path = Path(weights) if weights else fetched(metric, module.URL_INCEPTION_V3)
        with no_code_in_weights():
            self.network = module.FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(existing(path))
            )

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """Return the pooled features."""
        features: Tensor = self.network((pictures * 255).round().to(torch.uint8))[0]
        return features


class Backbone(nn.Module):
    """A timm model without its classifier, for pictures N × 3 × H × W in [0, 1].

    Its weights come from the Hugging Face hub, from a file (safetensors, or a state dictionary of tensors alone), or
    are drawn at random.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, metric: str, name: str, weights: Weights) -> None:
        super().__init__()
        timm = library(metric, "timm")
        if not timm.is_model(name):
            known = nearest(name, timm.list_models()) or " timm.list_models() names them."
            raise UsageError(f"{metric}: no timm model is called {name!r}.{known}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = timm.create_model(name, num_classes=0).eval().requires_grad_(False)
        if str(weights) != "random":
            path = Path(weights) if weights else _from_hub(metric, name, timm.get_pretrained_cfg(name))
            _load(self.network, name, existing(path))
        config = self.network.pretrained_cfg
        self.size = tuple(config["input_size"][1:])
        for buffer in ("mean", "std"):
            self.register_buffer(buffer, torch.tensor(config[buffer]).view(1, 3, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """Return the pooled features N × d of the pictures at the size that the model was trained at."""
        resized = F.interpolate(pictures.float(), self.size, mode="bilinear", antialias=True)
        features: Tensor = self.network((resized - self.mean) / self.std)
        return features.flatten(1)

    @torch.no_grad()
    def maps(self, pictures: Tensor) -> list[Tensor]:
        """Return the feature maps of the model's stages, N × C × h × w, of the pictures at their own size."""
        maps: list[Tensor] = self.network.forward_intermediates(
            (pictures.float() - self.mean) / self.std, intermediates_only=True
        )
        return maps


def _load(network: nn.Module, name: str, path: Path) -> None:
    """Load a file into a timm model; DataError unless it holds every weight."""
    from timm.models import load_checkpoint

    try:
        with no_code_in_weights():
            missing = load_checkpoint(network, str(path), strict=False).missing_keys
    except Exception as error:  # the loaders of several formats, each with errors of its own
        raise DataError(f"{path}: cannot be loaded into {name}: {type(error).__name__}: {error}") from error
    if missing:
        raise DataError(f"{path}: holds no weights for {name}: {len(missing)} are missing, the first {missing[0]!r}.")


def _from_hub(metric: str, name: str, config: Any) -> Path:
    """Return the file with a timm model's own weights."""
    repository = getattr(config, "hf_hub_id", None)
    if not repository:
        raise UsageError(f"{metric}: timm knows no weights for {name!r}: give a file as 'weights', or another model.")
    known = library(metric, "huggingface_hub").try_to_load_from_cache(repository, "model.safetensors")
    if isinstance(known, str):
        return Path(known)
    # Not by timm itself, which goes on asking for 48 s where there is no network, and then names no file.
    url = f"https://huggingface.co/{repository}/resolve/main/model.safetensors"
    return fetched(metric, url, f"{repository.rpartition('/')[2]}.safetensors")


def library(metric: str, module: str) -> Any:
    """Import a module of the optional packages; UsageError with the command that installs them."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("_", "-")
        raise UsageError(f"{metric} needs the package {package}: pip install 'i2i[metrics]'") from error


def fetched(metric: str, url: str, name: str = "") -> Path:
    """Return the file of a URL in the folder that torch keeps weights in, downloaded at the first call.

    A name that ends in -DIGITS, as torch's own do, says how the file's sha256 begins: another file is refused.
    """
    path = Path(torch.hub.get_dir(), "checkpoints", name or url.rpartition("/")[2])
    found = re.search(r"-([a-f0-9]{8,})\.\w+$", path.name)
    digest = found[1] if found else None
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _patience(PATIENCE):
                torch.hub.download_url_to_file(url, str(path), digest, progress=sys.stderr.isatty())
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            raise DataError(
                f"{metric} needs pretrained weights, and they cannot be downloaded ({error}). Get {url} where there is "
                f"a network, and place it here as {path}"
            ) from error
    elif digest is not None:
        with path.open("rb") as file:
            if not hashlib.file_digest(file, "sha256").hexdigest().startswith(digest):
                raise UnsafeFileError(f"{path}: is damaged, or not the file of {url}: replace it by that.")
    return path


def existing(path: Path) -> Path:
    """Return a path; DataError when there is no file."""
    if not path.is_file():
        raise DataError(f"{path}: there is no such file of weights.")
    return path


@contextlib.contextmanager
def no_code_in_weights() -> Iterator[None]:
    """Let torch read tensors alone from the files of weights: the libraries ask for pickles, which may run code."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Give up on a silent network: torch's downloads know no timeout of their own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def variant(features: str, weights: Weights, default: str) -> str:
    """Return what the name of a measure must say of its network: nothing where it is the measure's own."""
    if weights is None:
        return "" if features == default else features
    return f"{features}, {'random weights' if str(weights) == 'random' else Path(weights).name}"


def in_colour(metric: str, pictures: Tensor) -> Tensor:
    """Return pictures of 1 or 3 channels as N × 3 × H × W; DataError for others."""
    if pictures.shape[1] not in (1, 3):
        raise DataError(f"{metric} measures grey or RGB pictures, and these have {pictures.shape[1]} channels.")
    return pictures.expand(-1, 3, -1, -1)
