"""Activation checkpointing: blocks whose activations are made again in the backward pass, in the place of being kept.

Around `step`, in anybody's networks: a block changes its class for one whose forward is a checkpoint, so the names of
its weights, its hooks and its copies stay what they are.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from i2i.errors import PluginError


def recompute(network: nn.Module) -> int:
    """Let the blocks of a network make their activations again (Chen et al. 2016); return how many there are.

    A block is an item of a `Sequential` or `ModuleList` that is made of layers, has weights to train, and has no such
    block inside. One with buffers is left alone: running statistics would move twice.
    """
    blocks = _blocks(network)
    for block in blocks:
        if not hasattr(block, "recomputed"):
            block.__class__ = _recomputed(type(block))  # type: ignore[arg-type]
    return len(blocks)


def _blocks(network: nn.Module) -> list[nn.Module]:
    lists = [module for module in network.modules() if isinstance(module, nn.Sequential | nn.ModuleList)]
    found = list(dict.fromkeys(item for items in lists for item in items if _suits(item)))
    return [block for block in found if sum(inner in found for inner in block.modules()) == 1]


def _suits(module: nn.Module) -> bool:
    """Whether a module can be called, is made of layers, learns, and holds no state."""
    return (
        not isinstance(module, nn.ModuleList | nn.ModuleDict)
        and any(module.children())
        and any(weight.requires_grad for weight in module.parameters())
        and next(module.buffers(), None) is None
    )


@cache
def _recomputed(kind: type[nn.Module]) -> type[nn.Module]:
    """Make the class of blocks of a kind that are made again; it has the same name."""

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return kind.forward(self, *args, **kwargs)
        versions = [x._version for x in args if isinstance(x, Tensor)]
        y = checkpoint(kind.forward, self, *args, use_reentrant=False, **kwargs)
        if versions != [x._version for x in args if isinstance(x, Tensor)]:
            raise PluginError(
                f"activation_checkpointing: a block {kind.__name__} writes over its own input, and cannot be made "
                "again from it: leave activation_checkpointing out, or let the block's layers have inplace=False."
            )
        return y

    own = {"forward": forward, "recomputed": True, "__module__": kind.__module__, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind,), own)
