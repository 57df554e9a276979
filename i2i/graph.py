"""A training step as one CUDA graph: hundreds of kernels launched by one call, for small batches wait for the host."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from i2i.contracts import Batch

WARM = 3
"""Steps that are run before one is captured, as torch asks: libraries choose their ways in them."""

Work = Callable[[Batch], dict[str, Tensor]]


class Replayed:
    """A step that is captured once and then replayed, with each batch copied to where the first one lay.

    What a graph cannot hold is run as ever, and said once: a batch of another shape, a method that draws from the
    host's random generator (a replay would draw nothing), a step that waits for the device.

    work: one step, from a batch to its terms. say: takes what is to be told.
    """

    def __init__(self, work: Work, say: Callable[[str], None]) -> None:
        self.work, self.say = work, say
        self.graph: torch.cuda.CUDAGraph | None = None
        self.refused = ""
        self._calls = 0

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Run one step; the terms are the caller's own."""
        if self.refused:
            return self.work(batch)
        if self._calls < WARM:
            return self._warm(batch)
        if self.graph is None and not self._capture(batch):
            return self.work(batch)
        if _shapes(batch) != _shapes(self._batch):
            self._refuse(f"a batch has the shapes {_shapes(batch)}, and the first had {_shapes(self._batch)}")
            return self.work(batch)
        for there, new in zip(_tensors(self._batch), _tensors(batch), strict=True):
            there.copy_(new)
        assert self.graph is not None
        self.graph.replay()
        return {name: value.clone() for name, value in self._terms.items()}

    def _warm(self, batch: Batch) -> dict[str, Tensor]:
        self._calls += 1
        before, stream = torch.get_rng_state(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            terms = self.work(batch)
        torch.cuda.current_stream().wait_stream(stream)
        if not torch.equal(before, torch.get_rng_state()):
            self._refuse("the method draws random numbers on the host in a step")
        return terms

    def _capture(self, batch: Batch) -> bool:
        self._batch, graph = batch.map(torch.clone), torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._terms = self.work(self._batch)
        except RuntimeError as error:
            self._refuse(str(error).splitlines()[0])
            return False
        self.graph = graph
        return True

    def _refuse(self, why: str) -> None:
        self.refused = why
        self.say(f"train.cuda_graph: steps are run without a graph, for {why}.")


def _tensors(batch: Batch) -> list[Tensor]:
    return [x for x in (batch.a, batch.b, batch.mask) if x is not None]


def _shapes(batch: Batch) -> str:
    return ", ".join("x".join(map(str, x.shape)) for x in _tensors(batch))
