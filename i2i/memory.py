"""How many bytes a training holds: counted while it runs on tensors that have no numbers; and how many are free."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_leaves

FEW = 1024
"""So many numbers that a method draws have their values where nothing else has."""
DRAWS = {
    torch.ops.aten.rand.default,
    torch.ops.aten.randn.default,
    torch.ops.aten.randint.low,
    torch.ops.aten.randint.default,
}


class Count(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the storages that operations make in its `with` block.

    alive: of those that are still there. most: the largest that `alive` has been. What an operation takes for itself
    and gives back before it ends is not seen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = 0
        self._held = 0
        self._known: dict[int, tuple[StorageWeakRef, int]] = {}

    @property
    def alive(self) -> int:
        """Look which storages are gone, and return the bytes of the others."""
        gone = [key for key, (storage, _) in self._known.items() if storage.expired()]  # type: ignore[no-untyped-call]
        self._held -= sum(self._known.pop(key)[1] for key in gone)
        return self._held

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and take in what it made."""
        with unset_fake_temporarily() if _known(func, args, kwargs or {}) else contextlib.nullcontext():
            made = func(*args, **(kwargs or {}))
        for tensor in tree_iter(made):
            if isinstance(tensor, Tensor):
                self._take(tensor.untyped_storage())
        if self._held > self.most:  # only then does it matter what is gone
            self.most = max(self.most, self.alive)
        return made

    def _take(self, storage: torch.UntypedStorage) -> None:
        reference = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
        if reference.cdata not in self._known:
            self._known[reference.cdata] = reference, storage.nbytes()
            self._held += storage.nbytes()


def _known(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether an operation keeps its numbers: a few drawn on the CPU, by which methods decide, and what they become."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    if tensors:
        return not any(isinstance(x, FakeTensor) or x.numel() > FEW for x in tensors)
    few = func in DRAWS and math.prod(next(x for x in args if isinstance(x, list | tuple))) <= FEW
    return few and torch.device(kwargs.get("device") or "cpu").type == "cpu"


def without_numbers() -> FakeTensorMode:
    """Return the mode in which tensors have shapes, strides, types and a device, which need not be there."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def copy_without_numbers(network: nn.Module, device: torch.device) -> nn.Module:
    """Copy a network as it would be on a device, within the mode of `without_numbers`.

    A buffer that holds one whole number or truth value is a meta tensor in the copy: by `is_meta` a method knows that
    it cannot be asked for, as it does in a rehearsal.
    """
    memo: dict[int, Any] = {}
    for tensor in [*network.parameters(), *network.buffers()]:
        state = tensor.ndim == 0 and not tensor.is_floating_point()
        made = torch.empty_strided(
            tensor.size(), tensor.stride(), dtype=tensor.dtype, device="meta" if state else device
        )
        own = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(made, tensor.requires_grad) if own else made
    with unset_fake_temporarily():  # what is no parameter and no buffer is copied with its numbers
        return copy.deepcopy(network, memo)


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that a process can still take on a device; None where that is not told."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "cpu" and (told := Path("/proc/meminfo")).exists():
        lines = (line.split() for line in told.read_text().splitlines())
        return next((int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:"), None)
    return None


def cut(error: Exception) -> Exception:
    """Let the last place on an error's way be the one that asked for an operation, and not this page."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        if at.tb_next.tb_frame.f_code is Count.__torch_dispatch__.__code__:
            at.tb_next = None
        at = at.tb_next
    return error
