"""The training loop: players, backward, optimizers, moving average, precision, learning rate.

`fit` is an iterator of reports; saving, logging and stopping happen in the body of the caller's `for`. Everything here
is done around `Method.step` and nothing inside it.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.profiler import record_function

from i2i import sharding
from i2i.contracts import Batch
from i2i.data import mix
from i2i.errors import DivergedError, PluginError, ResourceError, StepTooLarge, UsageError, nearest, told
from i2i.graph import Replayed, Work
from i2i.ranks import ALONE, World
from i2i.recipe import OptimizerSettings, TrainSettings

GENERATOR = "g"


@dataclass(frozen=True)
class Report:
    """What one step did. terms: `player/term` to a scalar on the device; reading one waits for the device."""

    step: int
    lr: float
    terms: Mapping[str, Tensor]


def pick_device(name: str = "auto") -> torch.device:
    """Return the device: auto is CUDA, else Apple's MPS, else the CPU; UsageError when the named one is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name}: no such device. Known: auto, cpu, cuda, cuda:1, mps.") from error
    there: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    if device.type not in there:
        raise UsageError(f"--device {name}: no such device.{nearest(name, there)} Known: auto, cpu, cuda, cuda:1, mps.")
    if not there[device.type]() or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise UsageError(f"--device {name}: this machine, or this build of torch, has none. Try --device auto.")
    return device


def pick_precision(name: str, device: torch.device, *, deep: bool = False) -> torch.dtype:
    """Return the dtype of products: auto is bfloat16 where the device multiplies it in hardware, else float32.

    deep: pictures have more than 8 bits a sample, which are all that bfloat16 keeps: auto is then float32.
    """
    if name != "auto":
        return torch.bfloat16 if name == "bf16" else torch.float32
    return torch.bfloat16 if has_bf16(device) and not deep else torch.float32


def has_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    # Other CPUs emulate bfloat16, which is slower than float32.
    asked = (getattr(torch.cpu, f"_is_{unit}_supported", None) for unit in ("amx_tile", "avx512_bf16"))
    return any(has() for has in asked if has)


def choices(settings: TrainSettings, device: torch.device, *, deep: bool = False) -> dict[str, str]:
    """Return what the recipe's `auto` values come to on a device, and why, in words."""
    hardware = f"this {device.type} multiplies bfloat16 in hardware" if has_bf16(device) else "no bfloat16 in hardware"
    hardware = "pictures of more than 8 bits a sample, which bfloat16 would not keep" if deep else hardware
    precision = str(pick_precision(settings.precision, device, deep=deep)).removeprefix("torch.")
    compiled = "auto: a minute of compiling gains little over the layouts" if settings.compile == "auto" else "as said"
    graph = "auto: true captures a step" if settings.cuda_graph == "auto" else "as said"
    return {
        "precision": f"{precision} ({f'auto: {hardware}' if settings.precision == 'auto' else 'as said'})",
        "compile": f"{'yes' if settings.compile is True else 'no'} ({compiled})",
        "cuda_graph": f"{'yes' if settings.cuda_graph is True else 'no'} ({graph})"
        if device.type == "cuda"
        else f"no (there are none on {device.type})",
    }


def autocast(device: torch.device, precision: torch.dtype) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which products are made in `precision`; weights stay float32."""
    return torch.autocast(device.type, precision) if precision != torch.float32 else contextlib.nullcontext()


def keep_freed_memory() -> None:
    """Have glibc keep large freed blocks for this process instead of giving them back to the kernel at each step.

    On a CPU every step frees and takes the same hundreds of megabytes: as fresh pages they cost a third of the time.
    Threads take from one store, for the library gives pages of a further one back whatever it is told.
    Does nothing with another C library.
    """
    trim_threshold, top_pad, mmap_threshold, arena_max = -1, -2, -3, -8  # malloc.h
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        large = 2**31 - 1
        for parameter, value in ((mmap_threshold, large), (trim_threshold, large), (top_pad, 2**28), (arena_max, 1)):
            libc.mallopt(parameter, value)


@contextlib.contextmanager
def enough_memory(where: str, remedy: str) -> Iterator[None]:
    """Turn an allocation that failed, on any device, into a ResourceError with the remedy."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        text = str(error)
        raise ResourceError(
            f"memory ran out {where}: {text.splitlines()[0] if text else 'no more'}. Try {remedy}."
        ) from error


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that an allocation failed, on any device."""
    signs = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")  # the last: cuBLAS, cuDNN
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)
    )


@contextlib.contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Have torch take kernels that give the same bits every time; UsageError where an operation has none."""
    if not wanted:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA's products are first made
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    except RuntimeError as error:
        found = re.search(r"(\S+) does not have a deterministic implementation", str(error))
        if not found:
            raise
        raise UsageError(
            f"--deterministic: {found[1]} has no deterministic kernel on this device ({told(error)[-160:]}). Leave it "
            "out, train with --device cpu, or choose a part that does without."
        ) from error
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


def players(method: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the trainable weights of a method's players by name: a child module without any (a loss) is none."""
    weights = {name: [p for p in child.parameters() if p.requires_grad] for name, child in method.named_children()}
    return {name: parameters for name, parameters in weights.items() if parameters}


class Training:
    """All that a run changes: the method with its players, their optimizers, the moving average, the step.

    method: a Method, on the device. steps: the length of the run, on which the learning rate depends. layout: how the
    batches lie in memory. parts: how many each batch goes in, one after the other. graph: on CUDA, capture the step and
    replay it; say takes what there is to tell of that. world: the processes that share each batch; counts: how many
    of its pictures each has, where there are several. shard: keep a part of every weight in each.
    """

    def __init__(
        self,
        method: nn.Module,
        optimizer_of: Callable[[str], OptimizerSettings],
        *,
        steps: int,
        decay: float = 0.5,
        ema: float = 0.999,
        seed: int = 0,
        precision: torch.dtype = torch.float32,
        layout: torch.memory_format = torch.contiguous_format,
        parts: int = 1,
        graph: bool = False,
        say: Callable[[str], None] = print,
        world: World = ALONE,
        counts: Sequence[int] = (),
        shard: bool = False,
    ) -> None:
        self.world, self.counts, self.shard = world, [*counts], shard
        self.method, self.steps, self.decay, self.seed = method, steps, decay, seed
        self.precision, self.layout, self.parts = precision, layout, parts
        self.step = 0
        self.players = players(method)
        if GENERATOR not in self.players:
            raise PluginError(
                f"method {type(method).__name__} has no child module {GENERATOR!r} with weights: "
                "it is the player that translates."
            )
        self.device = self.players[GENERATOR][0].device
        for p in method.parameters():
            _close_gaps(p)
        self.average = copy.deepcopy(getattr(method, GENERATOR)).requires_grad_(False) if ema else None
        if shard:
            self._shard()
        self.rows = {
            name: [nn.Parameter(as_row(sharding.own(p.detach()))) for p in own] for name, own in self.players.items()
        }
        self.optimizers = {name: _adam(rows, optimizer_of(name), graph) for name, rows in self.rows.items()}
        self._base = {name: optimizer_of(name).lr for name in self.optimizers}
        self.ema_decay = ema
        self.followed = [] if self.average is None else [*zip(self.average.parameters(), self._live(), strict=True)]
        # In a graph what changes from step to step lies on the device.
        self.pace = torch.zeros((), device=self.device) if graph else 0.0
        self.work: Work = partial(_work, self)
        if graph and self.device.type == "cuda":
            self.work = Replayed(self.work, say)

    def _live(self) -> Iterator[nn.Parameter]:
        return getattr(self.method, GENERATOR).parameters()  # type: ignore[no-any-return]

    def _shard(self) -> None:
        """Keep a part of every weight in each process; what is then a player's weights are these parts."""
        self.networks = [self.method.get_submodule(name) for name in self.players]
        self.networks += [self.average] if self.average is not None else []
        sharding.shard(self.networks, self.world, self.device)
        self.players = players(self.method)

    def factor(self) -> float:
        """Return what the learning rate is multiplied by: 1, then linearly down, above zero to the last step."""
        keep = self.steps * (1 - self.decay)
        return 1.0 if self.step <= keep else max(self.steps - self.step, 1) / max(self.steps - keep, 1)

    def set_pace(self) -> float:
        """Set this step's learning rates and how far the average moves in it; return the generator's rate."""
        factor = self.factor()
        for player, optimizer in self.optimizers.items():
            group, lr = optimizer.param_groups[0], self._base[player] * factor
            group["lr"] = group["lr"].fill_(lr) if isinstance(group["lr"], Tensor) else lr
        # Faster in the first steps, when the average still holds the random start.
        pace = 1 - min(self.ema_decay, (1 + self.step) / (10 + self.step))
        self.pace = self.pace.fill_(pace) if isinstance(self.pace, Tensor) else pace
        return self._base[GENERATOR] * factor

    @contextlib.contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """Give the method for translation: in eval mode, with the moving average of its generator."""
        live, mode = getattr(self.method, GENERATOR), self.method.training
        try:
            if self.average is not None:
                setattr(self.method, GENERATOR, self.average)
            yield self.method.eval()
        finally:
            setattr(self.method, GENERATOR, live)
            self.method.train(mode)
            if self.shard:
                sharding.let_go(self.networks)

    def move(self, player: str) -> None:
        """Take a step of a player's optimizer along the gradients of its weights, of all processes, and forget them."""
        for p, row in zip(self.players[player], self.rows[player], strict=True):
            row.grad, p.grad = None if p.grad is None else as_row(sharding.own(p.grad)), None
        if self.shard:  # what other players have gained by this backward they do not want
            self.method.zero_grad(set_to_none=True)
            sharding.let_go(self.networks)
        # The backward has made the sums of what is in shards.
        both = zip(self.players[player], self.rows[player], strict=True)
        self.world.add_up([row.grad for p, row in both if row.grad is not None and not sharding.in_shards(p)])
        self.optimizers[player].step()
        self.optimizers[player].zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor that changes, by name, for a checkpoint; whole, on the CPU, where they are in shards."""
        found = {f"method/{key}": sharding.whole(value) for key, value in self.method.state_dict().items()}
        if self.average is not None:
            found |= {f"average/{key}": sharding.whole(value) for key, value in self.average.state_dict().items()}
        for player, optimizer in self.optimizers.items():
            for index, slots in optimizer.state_dict()["state"].items():
                p = self.players[player][index]
                part = sharding.own(p)
                for key, value in slots.items():
                    shaped = sharding.like(value.as_strided(part.shape, part.stride()), p) if value.ndim else value
                    found[f"optimizer/{player}/{index}/{key}"] = sharding.whole(shaped)
        return found

    def restore(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Take up the state that `tensors` returned at `step`."""

        def under(prefix: str) -> dict[str, Tensor]:
            return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

        sharding.load(self.method, under("method/"))
        if self.average is not None:
            sharding.load(self.average, under("average/"))
        for player, optimizer in self.optimizers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in under(f"optimizer/{player}/").items():
                index, slot = key.split("/")
                p = self.players[player][int(index)].detach()
                part = sharding.own(p)
                lain = (
                    as_row(torch.empty_like(part).copy_(sharding.own(sharding.parted(value, p))))
                    if value.ndim
                    else value
                )
                state.setdefault(int(index), {})[slot] = lain
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
        self.step = step

    def check_finite(self) -> None:
        """Raise DivergedError when a weight, or what an optimizer remembers of one, is NaN or infinite.

        A gradient of 1e25 leaves its weight a number, and an infinite moment, with which that never moves again.
        """
        names = {parameter: name for name, parameter in self.method.named_parameters()}
        held = {f"weight {name}": sharding.own(parameter.detach()) for parameter, name in names.items()}
        for player, optimizer in self.optimizers.items():
            for parameter, row in zip(self.players[player], self.rows[player], strict=True):
                for slot, value in optimizer.state.get(row, {}).items():
                    held[f"the optimizer's {slot} of weight {names[parameter]}"] = value
        for name, value in held.items():
            if not torch.isfinite(value.sum()) and not torch.isfinite(value).all():  # a sum may overflow by itself
                raise DivergedError(f"{name} is not finite after step {self.step}. Try a lower learning rate.")


def as_row(x: Tensor) -> Tensor:
    """Return the numbers of x, which lies without gaps, in their order in memory: a view, whatever the layout.

    Of weights that lie with their channels last, fused Adam makes copies: it takes three times as long.
    """
    return x.as_strided((x.numel(),), (1,))


def _close_gaps(p: nn.Parameter) -> None:
    """Store a weight that is a part of a larger tensor as a tensor of its own."""
    if (
        p.numel()
        and 1 + sum((side - 1) * stride for side, stride in zip(p.shape, p.stride(), strict=True)) != p.numel()
    ):
        p.data = p.data.contiguous()


def _adam(parameters: list[nn.Parameter], settings: OptimizerSettings, graph: bool) -> torch.optim.Optimizer:
    # One pass over the weights instead of one a formula: 420 to 87 ms for 57 M weights on 2 cores.
    fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.Adam(
        parameters,
        lr=torch.tensor(settings.lr, device=parameters[0].device) if graph else settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=fused,
        capturable=graph and parameters[0].device.type == "cuda",
    )


def fit(training: Training, batches: Iterable[Batch]) -> Iterator[Report]:
    """Train from `training.step` to `training.steps`, one report a step.

    All that a step draws (augmentation, masks, dropout) follows from (seed, step): torch's global generator is set
    before the batch is made, so a resumed run draws what the unbroken one would have drawn and no generator is saved.
    """
    training.method.train()
    iterator = iter(batches)
    while training.step < training.steps:
        torch.manual_seed(mix(training.seed, training.step, 2))
        lr = training.set_pace()
        with record_function("data"):
            batch = next(iterator).map(lambda x: x.contiguous(memory_format=training.layout))
        too_large = ""
        try:
            terms = training.work(batch)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            too_large = str(error).partition("\n")[0] or "no more"
        if too_large:  # raised here, where nothing holds the frames with what has filled the memory
            raise StepTooLarge(too_large)
        training.step += 1
        yield Report(training.step, lr, terms)


def _work(training: Training, batch: Batch) -> dict[str, Tensor]:
    terms = _turns(training, batch)
    with record_function("average"):
        _follow(training)
    return terms


def _turns(training: Training, batch: Batch) -> dict[str, Tensor]:
    """Run one `Method.step`: sum each turn's terms, backward into that player's weights alone, step its optimizer.

    A batch in several parts goes through each turn part by part, before the player takes its one step: the gradients
    add up to those of the whole batch, as every loss is a mean over its pictures. A term that comes in several turns of
    a player (a critic trained five times) is reported as its mean.
    """
    terms: dict[str, list[Tensor]] = {}
    pieces = [_Piece(training, *part) for part in parted(batch, training.parts, training.counts, training.world.rank)]
    while True:
        summed: dict[str, Tensor] = {}
        taken = [piece.turn(summed) for piece in pieces]
        if taken[0] is None:
            return {
                name: values[0] if len(values) == 1 else torch.stack(values).mean() for name, values in terms.items()
            }
        if len(set(taken)) > 1:
            raise PluginError(
                f"method {type(training.method).__name__} takes other turns for other pictures, so that its batches "
                "cannot go in parts: choose a smaller batch."
            )
        with record_function(f"{taken[0]}: optimizer"):
            training.move(taken[0])
        for name, loss in summed.items():
            terms.setdefault(f"{taken[0]}/{name}", []).append(loss)


def parted(
    batch: Batch, parts: int, counts: Sequence[int] = (), rank: int = 0
) -> Iterator[tuple[Batch, list[int], float]]:
    """Yield a batch's parts of nearly equal size: how many pictures every process has in it, and the own ones' share.

    The share is of the pictures of all parts and processes. counts: how many pictures every process has, rank: which of
    them has this batch; by default there is one.
    """
    counts = counts or [len(batch.a)]
    for i in range(parts):
        cuts = [(round(count * i / parts), round(count * (i + 1) / parts)) for count in counts]
        start, end = cuts[rank]
        part = batch if parts == 1 else batch.map(lambda x, start=start, end=end: x[start:end])  # type: ignore[misc]
        yield part, [end - start for start, end in cuts], (end - start) / sum(counts)


class _Piece:
    """A part of a batch on its way through a `Method.step`.

    What a method's buffers hold of its steps (whole numbers count them) and of its weights (spectral normalisation's
    vectors) does not depend on pictures: each piece sees it as if it were the batch.
    """

    def __init__(self, training: Training, batch: Batch, present: list[int], share: float) -> None:
        self.training, self.present, self.share = training, present, share
        self.turns = turns(training.method, training.players, batch)
        self.counters = [
            buffer
            for module in (training.method.modules() if training.parts > 1 else ())
            for buffer in module.buffers(recurse=False)
            if isinstance(module, _SpectralNorm) or (not buffer.ndim and not buffer.is_floating_point())
        ]
        self.counts = [counter.clone() for counter in self.counters]

    def turn(self, summed: dict[str, Tensor]) -> str | None:
        """Go forward and backward through the next turn; return its player. summed: gains the terms, by their share."""
        with self.training.world.at_work(self.present):
            return self._turn(summed)

    def _turn(self, summed: dict[str, Tensor]) -> str | None:
        training = self.training
        for counter, count in zip(self.counters, self.counts, strict=True):
            counter.copy_(count)
        with record_function("forward"), autocast(training.device, training.precision):
            turn = next(self.turns, None)
        self.counts = [counter.clone() for counter in self.counters]
        if turn is None:
            return None
        player, losses = turn
        with record_function(f"{player}: backward"):
            total = torch.stack([loss.float() for loss in losses.values()]).sum()
            # `inputs` keeps gradients out of the other players: a fifth of the step's time, and nothing to toggle.
            # Weights in shards are not what a backward ends at.
            inputs = None if training.shard else training.players[player]
            torch.autograd.backward(total if self.share == 1 else self.share * total, inputs=inputs)
        for name, loss in losses.items():
            value = loss.detach() if self.share == 1 else self.share * loss.detach()
            summed[name] = summed[name] + value if name in summed else value
        return player


def turns(method: nn.Module, known: Mapping[str, object], batch: Batch) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Pass on the turns of a method's `step`; PluginError for one that is not as the contract has it.

    known: the method's players.
    """
    name = type(method).__name__
    step = method.step(batch)  # type: ignore[operator]
    if not isinstance(step, Iterator):
        raise PluginError(f"method {name}: step gives a {type(step).__name__}, and should yield its turns one by one.")
    for turn in step:
        if not (isinstance(turn, tuple) and len(turn) == 2 and isinstance(turn[1], Mapping) and turn[1]):
            raise PluginError(f"method {name}: a turn is (player, {{term: scalar}}), not {turn!r:.80}.")
        player, losses = turn
        if player not in known:
            raise PluginError(
                f"method {name} has a turn for {player!r}, which is no child module of it "
                f"with weights.{nearest(str(player), known)} Its players: {', '.join(known)}."
            )
        for term, loss in losses.items():
            if not isinstance(loss, Tensor) or loss.ndim:
                found = f"of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
                raise PluginError(
                    f"method {name}: the term {term!r} of {player!r} is {found}, and should be a scalar tensor: "
                    "a loss gives one number for its batch, such as the mean."
                )
        yield player, losses


@torch.no_grad()
def _follow(training: Training) -> None:
    """Move the average towards the generator."""
    if training.average is None:
        return
    live = getattr(training.method, GENERATOR)
    if training.followed:
        average, new = ([sharding.own(p.detach()) for p in weights] for weights in zip(*training.followed, strict=True))
        pace = [training.pace] * len(average) if isinstance(training.pace, Tensor) else training.pace
        torch._foreach_lerp_(average, new, pace)
    for old, new in zip(training.average.buffers(), live.buffers(), strict=True):
        old.copy_(new)
