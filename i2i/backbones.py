"""Pretrained networks that parts build on: where their weights come from, their feature maps, what to do without."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import importlib
import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from i2i.errors import DataError, UnsafeFileError, UsageError, nearest

Weights = Path | Literal["random"] | None
"""A file; drawn at random; or None for those that the network is known by."""

PATIENCE = 10
"""Seconds without an answer after which there is no network."""

_BLANK: ContextVar[bool] = ContextVar("blank", default=False)


@contextlib.contextmanager
def blank() -> Iterator[None]:
    """Make networks without asking for their pretrained weights: saved ones will replace them, or they are not used."""
    token = _BLANK.set(True)
    try:
        yield
    finally:
        _BLANK.reset(token)


class Undrawn(TorchFunctionMode):
    """A context in which no weight is drawn at random when a network is made: saved ones will take their places.

    To draw those of the paper's U-Net takes a second.
    """

    DRAWN = frozenset(
        [getattr(nn.init, name) for name in ("uniform_", "normal_", "kaiming_uniform_", "kaiming_normal_")]
        + [Tensor.uniform_, Tensor.normal_]
    )

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Leave a parameter as it is where it should be filled with random numbers; do all else."""
        kwargs = kwargs or {}
        filled = args[0] if args else kwargs.get("tensor")
        drawn = isinstance(filled, nn.Parameter) and function in self.DRAWN
        return filled if drawn else function(*args, **kwargs)


# ---- timm models


def body(owner: str, name: str, weights: Weights) -> nn.Module:
    """Make a timm model without its classifier; the errors name the part `owner`.

    Its weights come from the Hugging Face hub, from a safetensors file, or
    are drawn from torch's global generator. UsageError for an unknown name, DataError for a file that does not fit.
    """
    timm = library(owner, "timm")
    _check_name(owner, name)
    path = _file(owner, name, weights)
    network: nn.Module = timm.create_model(name, num_classes=0)
    if path is not None:
        _load(network, name, path)
    return network


def features(
    owner: str, name: str, weights: Weights, *, in_channels: int = 3, layers: tuple[int, ...] | None = None
) -> nn.Module:
    """Make a timm model that maps N × in_channels × H × W to a list of feature maps N × C × h × w, fine to coarse.

    layers: which of its maps, counted from 0; all by default. Of weights made for another number of channels, those of
    the first convolution are repeated or summed. The result's `feature_info` tells `channels()` and `reduction()`.
    UsageError for a model that gives no such maps of pictures of any size. Weights as in `body`.
    """
    timm = library(owner, "timm")
    _check_name(owner, name)
    if layers is not None and (not layers or list(layers) != sorted(set(layers))):
        raise UsageError(f"{owner}: 'layers' are numbers of feature maps in rising order, and these are {[*layers]}.")
    options: dict[str, Any] = {} if layers is None else {"out_indices": layers}
    if (path := _file(owner, name, weights)) is not None:
        # timm passes over what a file lacks, so it is first loaded where that is noticed.
        _load(timm.create_model(name, num_classes=0), name, path)
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(path)}}
    try:
        with no_code_in_weights(), _without_rest():
            network: nn.Module = timm.create_model(name, features_only=True, in_chans=in_channels, **options)
        _try(network, in_channels)
    except Exception as error:  # every model refuses in its own way
        wanted = "feature maps" if layers is None else f"feature maps {[*layers]}"
        raise UsageError(
            f"{owner}: the timm model {name!r} gives no {wanted} N x C x H x W of pictures N x {in_channels} x H x W "
            f"of every size ({type(error).__name__}: {error}). Convolutional ones do, such as 'resnet18'."
        ) from error
    return network


def _try(network: nn.Module, in_channels: int) -> None:
    """Raise ValueError unless a model's maps are as large as it says."""
    info: Any = network.feature_info
    side, mode = max(info.reduction()), network.training
    height, width = 2 * side, 3 * side
    expected = [(1, c, height // r, width // r) for c, r in zip(info.channels(), info.reduction(), strict=True)]
    with torch.no_grad():
        shapes = [tuple(y.shape) for y in network.eval()(torch.zeros(1, in_channels, height, width))]
    network.train(mode)
    if shapes != expected:
        raise ValueError(f"of {width} x {height} pixels it makes {shapes}, not {expected}")


class Frozen(nn.Module):
    """The feature maps of a timm model that is never trained: N × 3 × H × W in [-1, 1] to a list of N × C × h × w.

    Grey pictures N × 1 × H × W are repeated. It stays in eval mode, its weights ask for no gradient, and gradients pass
    through it. Random weights are the same each time. channels, reductions: of each map.
    """

    def __init__(self, owner: str, name: str, weights: Weights, layers: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.owner, self.name = owner, name
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = features(owner, name, weights, layers=layers)
        self.standardise = Standardise(self.network)
        info: Any = self.network.feature_info
        self.channels: list[int] = info.channels()
        self.reductions: list[int] = info.reduction()
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Frozen:
        """Stay in eval mode."""
        return super().train(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps; UsageError for pictures that are neither grey nor RGB, or too small for the model."""
        if x.shape[1] not in (1, 3):
            raise UsageError(f"{self.owner} takes grey or RGB pictures, and these have {x.shape[1]} channels.")
        if min(x.shape[2:]) < max(self.reductions):
            raise UsageError(
                f"{self.owner}: {self.name!r} needs pictures of at least {max(self.reductions)} pixels a side, and "
                f"these are {x.shape[3]} x {x.shape[2]}: leave out its last feature maps with 'layers'."
            )
        maps: list[Tensor] = self.network(self.standardise(x.expand(-1, 3, -1, -1)))
        return maps


class Standardise(nn.Module):
    """Bring RGB N × 3 × H × W from [-1, 1] to the mean and standard deviation that a timm model was trained with."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        config: Any = network.pretrained_cfg
        # Saved with the weights: another version of timm may know the name by other weights.
        for buffer in ("mean", "std"):
            self.register_buffer(buffer, torch.tensor(config[buffer]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (x in [0, 1] - mean) / std."""
        return ((x + 1) / 2 - self.mean) / self.std


def _check_name(owner: str, name: str) -> None:
    timm = library(owner, "timm")
    if not timm.is_model(name):
        known = nearest(name, timm.list_models()) or " timm.list_models() names them."
        raise UsageError(f"{owner}: no timm model is called {name!r}.{known}")


def _file(owner: str, name: str, weights: Weights) -> Path | None:
    """Return the file of a timm model's weights; None where they are random, or need not be there."""
    if str(weights) == "random" or _BLANK.get():
        return None
    return existing(Path(weights) if weights else _from_hub(owner, name))


def _from_hub(owner: str, name: str) -> Path:
    """Return the file with a timm model's own weights."""
    repository = getattr(library(owner, "timm").get_pretrained_cfg(name), "hf_hub_id", None)
    if not repository:
        raise UsageError(f"{owner}: timm knows no weights for {name!r}: give a file as 'weights', or another model.")
    known = library(owner, "huggingface_hub").try_to_load_from_cache(repository, "model.safetensors")
    if isinstance(known, str):
        return Path(known)
    # Not by timm itself, which goes on asking for 48 s where there is no network, and then names no file.
    url = f"https://huggingface.co/{repository}/resolve/main/model.safetensors"
    return fetched(owner, url, f"{repository.rpartition('/')[2]}.safetensors")


def _load(network: nn.Module, name: str, path: Path) -> None:
    """Load a safetensors file into a timm model; UnsafeFileError for another, DataError where weights are missing."""
    from timm.models import load_checkpoint

    try:
        if path.suffix != ".safetensors":  # which timm goes by
            raise SafetensorError("it is not called .safetensors")
        with safe_open(path, "pt"):
            pass
    except SafetensorError as error:
        raise UnsafeFileError(
            f"{path}: is no safetensors file ({error}), and others may run code when they are read. If you trust it: "
            f"safetensors.torch.save_file(torch.load({str(path)!r}, weights_only=True), 'weights.safetensors')."
        ) from error
    try:
        with no_code_in_weights():
            missing = load_checkpoint(network, str(path), strict=False).missing_keys
    except Exception as error:  # the loaders of several formats, each with errors of its own
        raise DataError(f"{path}: cannot be loaded into {name}: {type(error).__name__}: {error}") from error
    if missing:
        raise DataError(f"{path}: holds no weights for {name}: {len(missing)} are missing, the first {missing[0]!r}.")


@contextlib.contextmanager
def _without_rest() -> Iterator[None]:
    """Have timm not warn of the weights that a file holds beyond those of the feature maps."""

    def wanted(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Unexpected keys")

    logger = logging.getLogger("timm.models._builder")
    logger.addFilter(wanted)
    try:
        yield
    finally:
        logger.removeFilter(wanted)


# ---- libraries and files


def library(owner: str, module: str) -> Any:
    """Import a module of the optional packages; UsageError with the command that installs them."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("_", "-")
        raise UsageError(f"{owner} needs the package {package}: pip install 'i2i[metrics]'") from error


def fetched(owner: str, url: str, name: str = "") -> Path:
    """Return the file of a URL in the folder that torch keeps weights in, downloaded at the first call.

    A name that ends in -DIGITS, as torch's own do, says how the file's sha256 begins: another file is refused.
    """
    path = Path(torch.hub.get_dir(), "checkpoints", name or url.rpartition("/")[2])
    found = re.search(r"-([a-f0-9]{8,})\.\w+$", path.name)
    digest = found[1] if found else None
    if not path.exists():
        partial = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _patience(PATIENCE):
                torch.hub.download_url_to_file(url, str(partial), digest, progress=sys.stderr.isatty())
            if path.suffix == ".safetensors":  # the others' digest has told whether they are whole
                with safe_open(partial, "pt"):
                    pass
            partial.replace(path)
        except (OSError, RuntimeError, http.client.HTTPException, SafetensorError) as error:
            partial.unlink(missing_ok=True)
            raise DataError(
                f"{owner} needs pretrained weights, and they cannot be downloaded ({error}). Get {url} where there is "
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
    name, opposite = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    before = {key: os.environ.pop(key) for key in (name, opposite) if key in os.environ}
    os.environ[name] = "1"  # torch refuses to read at all where both are set
    try:
        yield
    finally:
        os.environ.pop(name)
        os.environ.update(before)


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Give up on a silent network: torch's downloads know no timeout of their own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
