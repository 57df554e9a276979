"""Feature maps out of any generator, by the names of its sub-modules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain

import torch
from torch import Tensor, nn

from i2i.errors import UsageError, nearest
from i2i.generators.resnet import ResNet
from i2i.generators.unet import UNet

PICTURE = "input"
"""The layer that is the picture itself."""


def passed(network: nn.Module, layers: Sequence[str], x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Run x, N × C × H × W, through a network: (its output, the feature maps of the layers)."""
    with _watching(network, layers, x) as maps:
        output: Tensor = network(x)
    return output, [maps[layer] for layer in layers]


def encoded(network: nn.Module, layers: Sequence[str], x: Tensor) -> list[Tensor]:
    """Return the feature maps of the layers alone; what comes after the last of them is not computed."""
    with _watching(network, layers, x, stop=True) as maps:
        network(x)
    return [maps[layer] for layer in layers]


class _Enough(Exception):
    """Ends a forward pass of which nothing more is wanted."""


@contextmanager
def _watching(
    network: nn.Module, layers: Sequence[str], x: Tensor, *, stop: bool = False
) -> Iterator[dict[str, Tensor]]:
    """Give a dict of feature maps, filled by the forward pass in the body; stop: and end it when all are there.

    Of a layer that is passed several times, the first map is kept.
    """
    maps = {PICTURE: x} if PICTURE in layers else {}
    modules = dict(network.named_modules())

    def keep(layer: str, module: nn.Module, inputs: object, output: Tensor) -> None:
        maps.setdefault(layer, output)
        if stop and len(maps) == len(set(layers)):
            raise _Enough

    hooks = [modules[layer].register_forward_hook(partial(keep, layer)) for layer in set(layers) - {PICTURE}]
    try:
        yield maps
    except _Enough:
        pass
    finally:
        for hook in hooks:
            hook.remove()


def default_layers(generator: nn.Module) -> list[str]:
    """Return the layers of CUT for the built-in generators; UsageError for another, whose layers must be named.

    resnet: the picture, the two halvings, the first and the fifth residual block (Park et al. 2020, appendix), or
    the last of fewer. unet: the picture and the first four halvings.
    """
    if isinstance(generator, ResNet):
        layers = list(generator.model.named_children())
        blocks = [place for place, module in layers if hasattr(module, "conv_block")]
        first = [place for place, module in layers[: int(blocks[0])] if isinstance(module, nn.Conv2d)]
        places = dict.fromkeys([*first[-2:], blocks[0], blocks[:5][-1]])
        return [PICTURE, *(f"model.{place}" for place in places)]
    if isinstance(generator, UNet):
        return [PICTURE, *(f"encoder.{level}" for level in range(min(4, len(generator.encoder))))]
    names = ", ".join(name for name, _ in generator.named_children())
    raise UsageError(
        f"cut: which layers of {type(generator).__name__} hold the features is not known: name some as layers, "
        f"'{PICTURE}' for the picture itself among them. Its first sub-modules: {names}."
    )


def channels_of(generator: nn.Module, layers: Sequence[str], in_channels: int) -> list[int]:
    """Return the channels of each layer's feature map, from a forward pass without numbers.

    UsageError for no name, for a name that no sub-module has, for one twice, and for one that gives no map N × C × H ×
    W.
    """
    if not layers:
        raise UsageError("cut: layers is empty: name one of the generator's sub-modules at least, or 'input'.")
    if twice := [layer for layer in layers if layers.count(layer) > 1]:
        raise UsageError(f"cut: layers names {twice[0]!r} twice.")
    names = [PICTURE, *(name for name, _ in generator.named_modules() if name)]
    if unknown := [layer for layer in layers if layer not in names]:
        lines = [f"{type(generator).__name__} has no layer {layer!r}.{nearest(layer, names)}" for layer in unknown]
        raise UsageError(f"cut: layers: {' '.join(lines)} Its layers are the names of its sub-modules, and 'input'.")
    multiple = int(getattr(generator, "multiple", 1))
    side = -(-64 // multiple) * multiple
    state = {name: tensor.to("meta") for name, tensor in chain(generator.named_parameters(), generator.named_buffers())}
    with (
        torch.no_grad(),
        _watching(generator, layers, x := torch.empty(1, in_channels, side, side, device="meta")) as maps,
    ):
        torch.func.functional_call(generator, state, (x,))
    for layer in layers:
        found = maps.get(layer)
        if not isinstance(found, Tensor) or found.ndim != 4:
            gives = "is never called" if found is None else f"gives {type(found).__name__}"
            if isinstance(found, Tensor):
                gives = f"gives a tensor of shape {tuple(found.shape)}"
            raise UsageError(f"cut: layers: {layer!r} {gives}, and no feature map N x C x H x W: choose another.")
    return [maps[layer].shape[1] for layer in layers]
