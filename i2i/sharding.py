"""Weights, their gradients and what an optimizer remembers of them in shards, one a process: torch's FSDP2."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from i2i.ranks import World

LEAST = 2**14
"""Numbers of a layer's largest weight below which it is whole in every process: 64 kB, less than a message is worth."""


def shard(networks: Iterable[nn.Module], world: World, device: torch.device) -> None:
    """Keep of every large weight of some networks a part in each process; a layer's are whole while it is at work.

    Zhao et al. 2023, "PyTorch FSDP". Layer by layer, as a method may call any part of its networks; what two layers do
    at once is left to waste. Weights must lie without gaps, in the order of their dimensions.
    """
    # Half a second of imports, which no training by one process is to wait for.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (world.size,))
    for network in networks:
        for layer in _layers(network):
            unit = fully_shard(layer, mesh=mesh, reshard_after_forward=True)
            unit.set_force_sum_reduction_for_comms(True)  # and no mean of the processes' gradients
            unit.set_gradient_divide_factor(1.0)


def _layers(network: nn.Module) -> list[nn.Module]:
    """Return the layers with large weights: those with weights of their own, or made of others (spectral norms)."""
    found, inner = [], set[nn.Module]()
    for module in network.modules():
        if module not in inner and (
            is_parametrized(module) or next(module.parameters(recurse=False), None) is not None
        ):
            inner |= {*module.modules()}
            if max(weight.numel() for weight in module.parameters()) >= LEAST:
                found.append(module)
    return found


def let_go(networks: Iterable[nn.Module]) -> None:
    """Keep no weight whole that a forward without a backward has left so: it would not see the next step."""
    for network in networks:
        for module in network.modules():
            if again := getattr(module, "reshard", None):
                again()


def in_shards(x: Any) -> bool:
    """Whether a tensor is one of which each process has a part: a DTensor of torch's."""
    return hasattr(x, "full_tensor")


def own(x: Any) -> Tensor:
    """Return this process's part of a tensor in shards, and any other as it is."""
    return x.to_local() if in_shards(x) else x  # type: ignore[no-any-return]


def whole(x: Any) -> Tensor:
    """Return a tensor in shards as one on the CPU, in all processes, and any other as it is."""
    return x.full_tensor().cpu() if in_shards(x) else x  # type: ignore[no-any-return]


def like(own_part: Tensor, x: Any) -> Tensor:
    """Return what lies in shards as x does, from this process's part of it."""
    if not in_shards(x):
        return own_part
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(own_part, x.device_mesh, x.placements, run_check=False, shape=x.shape, stride=x.stride())


def parted(value: Any, x: Any) -> Any:
    """Return a whole tensor, which all processes have, in shards as x is."""
    if not in_shards(x):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(x.device), x.device_mesh, x.placements, src_data_rank=None)


def load(network: nn.Module, state: Mapping[str, Any]) -> None:
    """Load a state of whole tensors."""
    known = network.state_dict()
    network.load_state_dict({key: parted(value, known.get(key)) for key, value in state.items()})
