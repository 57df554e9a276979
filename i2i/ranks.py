"""The processes that train one model together: whose rows of a batch are whose, sums over all, and how all end alike.

Every process has a rank. A batch of the recipe is that of all together: each reads its rows of it, the gradients are
added up, and all take the same step. What is random is drawn by each process for the whole batch, from the same seed,
and cut to its rows: the union over the ranks is what one process would have drawn.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from i2i.errors import Elsewhere, I2IError, UsageError
from i2i.nn import SPREAD, ChannelNorm

BUCKET = 2**24
"""Numbers in one message of gradients: 64 MB, beyond which a larger one is no quicker."""
PATIENCE = datetime.timedelta(hours=2)
"""For what one process does alone (samples, measures). One that has died is found at once, by its closed connection."""
GRACE = 25.0
"""Seconds after a signal in which a process that hangs in a message to a dead one is given up; launchers kill at 30."""

Item = TypeVar("Item")


class World:
    """The processes of a training; by default this one alone.

    rank: this one's number, 0 ... size - 1; only the first writes, and speaks. local_size: those of this machine.
    stop: the signal that all have agreed to stop after, 0 before. agreed: whether all know that one of them has failed,
    and have ended the same step.
    """

    def __init__(self, rank: int = 0, size: int = 1, local_size: int = 1) -> None:
        self.rank, self.size, self.local_size = rank, size, local_size
        self.stop, self.agreed = 0, False
        self.counts: list[int] = []
        self._asked: tuple[Tensor, Any] | None = None

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def share(self, count: int) -> list[int]:
        """Return how many of a batch's pictures each process has."""
        ends = [count * rank // self.size for rank in range(self.size + 1)]
        return [end - start for start, end in pairwise(ends)]

    def rows(self, count: int) -> slice:
        """Return which of a batch's pictures this process has."""
        counts = self.share(count)
        start = sum(counts[: self.rank])
        return slice(start, start + counts[self.rank])

    # ---- what is drawn, and normalised, over the whole batch

    @contextlib.contextmanager
    def at_work(self, counts: Sequence[int]) -> Iterator[None]:
        """Let what follows see its pictures as rows of a batch of which every process has so many.

        What is drawn with a first dimension of this process's count is drawn for all; `i2i.nn.together` and batch
        normalisation reach over all.
        """
        if self.size == 1:
            yield
            return
        before, self.counts = self.counts, list(counts)
        token = SPREAD.set(self)
        try:
            with _Draws(self.own, self.offset, sum(counts)):
                yield
        finally:
            self.counts = before
            SPREAD.reset(token)

    @property
    def own(self) -> int:
        """How many of the pictures at work are this process's."""
        return self.counts[self.rank]

    @property
    def offset(self) -> int:
        """How many are those of processes before it."""
        return sum(self.counts[: self.rank])

    def together(self, x: Tensor) -> Tensor:
        """Return the rows N × ... of all processes, in their order; without a gradient."""
        whole = x.new_zeros((sum(self.counts), *x.shape[1:]))
        whole[self.offset : self.offset + self.own] = x.detach()
        return self.summed(whole)

    def cut(self, x: Tensor) -> Tensor:
        """Return this process's rows of what `together` gave."""
        return x[self.offset : self.offset + self.own]

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each channel of N × C × ... over the batch of all processes, C each.

        Any number of times differentiable, as a penalty on a discriminator's slope asks.
        """
        var, mean = torch.var_mean(_wide(x), dim=[d for d in range(x.ndim) if d != 1], correction=0)
        own = torch.stack([mean, var])
        every = _Sum.apply(
            torch.stack([own if rank == self.rank else torch.zeros_like(own) for rank in range(self.size)]), self
        )
        share = torch.tensor(self.counts, dtype=own.dtype, device=x.device)[:, None] / sum(self.counts)
        means, variances = every.unbind(1)
        mean = (share * means).sum(0)
        return mean, (share * (variances + (means - mean).square())).sum(0)

    def normalise_over_all(self, method: nn.Module) -> None:
        """Have every batch normalisation of a method take its statistics over all processes while training."""
        for module in method.modules() if self.size > 1 else ():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.forward = partial(_batch_norm, self, module)  # type: ignore[method-assign]
            elif isinstance(module, ChannelNorm) and module.over_batch:
                module.forward = partial(_channel_norm, self, module)  # type: ignore[method-assign]

    # ---- sums over all

    def summed(self, x: Tensor) -> Tensor:
        """Return a tensor's sum over all processes, in its place."""
        if self.size > 1:
            with _reached():
                torch.distributed.all_reduce(x)
        return x

    def least(self, x: Tensor) -> Tensor:
        """Return the least of each number over all processes, in its place."""
        if self.size > 1:
            with _reached():
                torch.distributed.all_reduce(x, torch.distributed.ReduceOp.MIN)
        return x

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors, which lie without gaps, by their sums over all processes, in few large messages."""
        if self.size == 1 or not tensors:
            return
        under_way = []
        for bucket in _buckets(tensors):
            flat = torch.cat(bucket) if len(bucket) > 1 else bucket[0]
            with _reached():
                under_way.append((bucket, flat, torch.distributed.all_reduce(flat, async_op=True)))
        for bucket, flat, message in under_way:
            with _reached():
                message.wait()
            if len(bucket) > 1:
                torch._foreach_copy_(bucket, list(torch.split(flat, [len(row) for row in bucket])))

    # ---- how all go on, and end, alike

    def texts(self, text: str) -> list[str]:
        """Return what every process gives, by rank."""
        if self.size == 1:
            return [text]
        own = torch.frombuffer(bytearray(text.encode()) or bytearray(1), dtype=torch.uint8)
        counts = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        with _reached():
            torch.distributed.all_gather(counts, torch.tensor([len(text.encode())]))
            most = max(1, *(int(count) for count in counts))
            padded = torch.zeros(most, dtype=torch.uint8)
            padded[: len(own)] = own[:most]
            every = [torch.empty_like(padded) for _ in range(self.size)]
            torch.distributed.all_gather(every, padded)
        return [bytes(one[: int(count)].tolist()).decode() for one, count in zip(every, counts, strict=True)]

    def told(self, value: Item) -> Item:
        """Return what the first process gives, of what JSON holds."""
        found: Item = json.loads(self.texts(json.dumps(value) if self.leads else "")[0]) if self.size > 1 else value
        return found

    @contextlib.contextmanager
    def as_one(self) -> Iterator[None]:
        """Have an I2IError of any process end all: the first of them tells it, the others end with its exit code."""
        error: I2IError | None = None
        try:
            yield
        except I2IError as own:
            if self.size == 1:
                raise
            error = own
        codes = self.texts(str(error.exit_code) if error else "") if self.size > 1 else []
        first = next((rank for rank, code in enumerate(codes) if code), None)
        if first is None:
            return
        if error and first == self.rank:
            raise error
        raise Elsewhere("", int(codes[first]))

    def in_step(self, items: Iterator[Item], stop: Callable[[], int]) -> Iterator[Item]:
        """Pass items on, each when every process has its own; what keeps one of them from it is raised in all.

        One is fetched ahead, so that what all agree on arrives while they work. stop: the signal to stop after, or 0:
        `World.stop` is the largest of them, the same in all processes.
        """
        if self.size == 1:
            yield from items
            return
        fetched = self._fetch(items, stop)
        while True:
            got, error = fetched
            failed = self._agree()
            self.agreed = bool(failed)
            if error:
                raise error
            if failed:
                raise Elsewhere("", failed)
            assert got is not None
            fetched = self._fetch(items, stop)
            yield got

    def _fetch(self, items: Iterator[Item], stop: Callable[[], int]) -> tuple[Item | None, Exception | None]:
        got: Item | None = None
        error: Exception | None = None
        try:
            got = next(items)
        except Exception as found:
            error = found
        code = error.exit_code if isinstance(error, I2IError) else 4 if error else 0
        self.settle()
        asked = torch.tensor([stop(), code], dtype=torch.int32)
        with _reached():
            message = torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX, async_op=True)
        self._asked = asked, message
        return got, error

    def settle(self) -> None:
        """Wait for what was asked ahead and is not wanted any more, as a message under way would outlive its end."""
        if self._asked is not None:
            with contextlib.suppress(Elsewhere):
                self._agree()

    def _agree(self) -> int:
        assert self._asked is not None
        (asked, message), self._asked = self._asked, None
        with _reached():
            message.wait()
        self.stop, failed = asked.tolist()
        return int(failed)


ALONE = World()


@contextlib.contextmanager
def _reached() -> Iterator[None]:
    """Say in a sentence that another process is gone."""
    try:
        yield
    except RuntimeError as error:
        text = "another process of this training has ended" if os.environ.get("RANK") == "0" else ""
        raise Elsewhere(text and f"{text}: see what it says ({str(error).splitlines()[0][:120]}).", 1) from error


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Gather rows of one type until they are BUCKET numbers."""
    bucket: list[Tensor] = []
    for row in tensors:
        if bucket and (sum(map(len, bucket)) + len(row) > BUCKET or row.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(row)
    yield bucket


class _Sum(torch.autograd.Function):
    """The sum over all processes, on which the losses of all depend."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, world: World) -> Tensor:
        ctx.world = world
        return world.summed(x.clone())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(grads[0], ctx.world), None


def _channel_norm(world: World, module: Any, x: Tensor) -> Tensor:
    if not (module.training and world.counts):
        return type(module).forward(module, x)  # type: ignore[no-any-return]
    return _scaled(x, *world.moments(x), 1e-5, module.weight, module.bias)


def _batch_norm(world: World, module: Any, x: Tensor) -> Tensor:
    if not (module.training and world.counts):
        return type(module).forward(module, x)  # type: ignore[no-any-return]
    mean, var = world.moments(x)
    if module.track_running_stats and module.running_mean is not None:
        with torch.no_grad():
            module.num_batches_tracked.add_(1)
            pace = module.momentum if module.momentum is not None else 1 / float(module.num_batches_tracked)
            count = sum(world.counts) * x[0, 0].numel() * (len(x) // world.own)
            module.running_mean.lerp_(mean, pace)
            module.running_var.lerp_(var * (count / max(1, count - 1)), pace)
    return _scaled(x, mean, var, module.eps, module.weight, module.bias)


def _scaled(x: Tensor, mean: Tensor, var: Tensor, eps: float, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    shape = (1, -1, *[1] * (x.ndim - 2))
    y = (_wide(x) - mean.view(shape)) * (var + eps).rsqrt().view(shape)
    y = y if weight is None else y * weight.view(shape)
    return (y if bias is None else y + bias.view(shape)).to(x.dtype)


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


# ---- what is drawn for a whole batch


class _Draws(TorchFunctionMode):
    """Draws random numbers of own rows for the whole batch, and cuts them out.

    What is drawn with another first dimension than the number of own rows is not touched: all processes draw the same.
    """

    def __init__(self, own: int, offset: int, whole: int) -> None:
        super().__init__()
        self.own, self.offset, self.whole = own, offset, whole

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of torch's, or what draws in its place."""
        kwargs = kwargs or {}
        drawn = _WAYS[func](self, func, args, dict(kwargs)) if func in _WAYS else None
        return func(*args, **kwargs) if drawn is None else drawn

    def cut(self, whole: Tensor) -> Tensor:
        """Return own rows."""
        return whole[self.offset : self.offset + self.own]

    def like(self, x: Tensor, blocks: int = 1) -> Tensor:
        """Return room for the whole batch, of several kinds one behind the other, that lies in memory as x does."""
        last = x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format
        shape = (blocks * self.whole, *x.shape[1:])
        return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)


def _of_size(draws: _Draws, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    """Of `rand(2, 3)`, `rand((2, 3))`, `randint(9, (2, 3))`, and each with `size=`."""
    head: Sequence[Any] = args
    if "size" in kwargs:
        size = tuple(kwargs.pop("size"))
    elif args and isinstance(args[-1], Sequence):
        *head, last = args
        size = tuple(last)
    else:
        head, size = (), tuple(args)
    if not size or size[0] != draws.own:
        return None
    return draws.cut(func(*head, (draws.whole, *size[1:]), **kwargs))


def _of_likeness(draws: _Draws, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    """Of `randn_like(x)`."""
    x, *rest = args or (kwargs.pop("input"),)
    return draws.cut(func(draws.like(x), *rest, **kwargs)) if x.ndim and len(x) == draws.own else None


def _in_place(draws: _Draws, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    """Of `x.uniform_()`."""
    x, *rest = args
    if not x.ndim or len(x) != draws.own or any(isinstance(one, Tensor) for one in rest):
        return None
    with torch.no_grad():
        x.copy_(draws.cut(func(draws.like(x), *rest, **kwargs)))
    return x  # type: ignore[no-any-return]


def _dropped(draws: _Draws, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    """Of dropout, whatever number of batches x is."""
    x, *rest = args or (kwargs.pop("input"),)
    names = ("p", "training", "inplace")
    given = dict(zip(names, rest, strict=False)) | kwargs
    blocks, odd = divmod(len(x), draws.own)
    if odd or not given.get("training", True):
        return None
    whole = draws.like(x if func is F.dropout else x.detach()[:, :, :1, :1], blocks).fill_(1)
    mask = func(whole, given.get("p", 0.5), True).unflatten(0, (blocks, draws.whole))
    mask = mask[:, draws.offset : draws.offset + draws.own].flatten(0, 1)
    return x.mul_(mask) if given.get("inplace") else x * mask  # type: ignore[no-any-return]


_WAYS: dict[Any, Callable[[_Draws, Any, Sequence[Any], dict[str, Any]], Tensor | None]] = {
    **dict.fromkeys([torch.rand, torch.randn, torch.randint], _of_size),
    **dict.fromkeys([torch.rand_like, torch.randn_like, torch.randint_like], _of_likeness),
    **dict.fromkeys([Tensor.uniform_, Tensor.normal_, Tensor.bernoulli_, Tensor.random_], _in_place),
    **dict.fromkeys([F.dropout, F.dropout2d], _dropped),
}


# ---- joining


def launched() -> bool:
    """Whether a launcher (torchrun, `i2i train --devices`) has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextlib.contextmanager
def joined(device: str) -> Iterator[tuple[World, str]]:
    """Meet the other processes of a launch; yield them, and this one's device.

    UsageError for a device that one of several processes cannot have, or for an environment that is no launcher's.
    """
    if not launched():
        yield ALONE, device
        return
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local = int(os.environ.get("LOCAL_RANK", rank))
        os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {error} is missing or no number: start several processes "
            "with torchrun --nproc-per-node N -m i2i train, or with i2i train --devices N."
        ) from error
    name = _own_device(device, local)
    if name.startswith("cuda"):
        torch.cuda.set_device(name)
    backend = "cpu:gloo,cuda:nccl" if name.startswith("cuda") else "gloo"
    with _reached():
        torch.distributed.init_process_group(backend, timeout=PATIENCE)
    _give_up_when_stuck()
    world = World(rank, size, int(os.environ.get("LOCAL_WORLD_SIZE", size)))
    try:
        yield world, name
    finally:
        world.settle()
        with contextlib.suppress(RuntimeError):
            torch.distributed.destroy_process_group()


def _own_device(device: str, local: int) -> str:
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if device not in ("auto", "cuda"):
        raise UsageError(f"--device {device}: each of several processes takes its own; say cuda, cpu or auto.")
    if not torch.cuda.is_available():
        raise UsageError("--device cuda: this machine, or this build of torch, has none. Try --device auto.")
    if local >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise UsageError(f"process {local} of this machine has no device: there are {count}. Start {count} processes.")
    return f"cuda:{local}"


def _give_up_when_stuck() -> None:
    """End the process GRACE seconds after the first signal, should it hang in a message to one that is dead.

    A handler in Python is not reached there; the number that the system writes into a pipe is.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    out, into = os.pipe()
    os.set_blocking(into, False)
    signal.set_wakeup_fd(into, warn_on_full_buffer=False)

    def wait() -> None:
        while True:
            number = os.read(out, 1)
            if number and number[0] in (signal.SIGTERM, signal.SIGINT):
                break
        time.sleep(GRACE)
        if torch.distributed.is_initialized():
            os._exit(75 if number[0] == signal.SIGTERM else 130)

    threading.Thread(target=wait, daemon=True).start()
