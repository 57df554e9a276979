"""The pool of earlier translations from which a discriminator is shown some."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pool(nn.Module):
    """Up to `size` earlier translations; once full, one in two shown is an old one (Shrivastava et al. 2017, 2.3).

    A discriminator that sees only the newest translations forgets what the generator did before, and the two run in
    circles. Zhu et al. 2017, section 4, keep 50. 0 keeps none. Draws come from torch's global generator. Pictures may
    differ in size, but not within a batch of which old and new ones come together: a pool is for pictures of one size,
    or for batches of one.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.pictures: list[Tensor] = []

    @torch.no_grad()
    def forward(self, fakes: Tensor) -> Tensor:
        """Take in translations, N × C × H × W, and return as many to be shown."""
        if not self.size:
            return fakes
        return torch.stack([self._exchange(fake) for fake in fakes.detach()])

    def _exchange(self, fake: Tensor) -> Tensor:
        if len(self.pictures) < self.size:
            self.pictures.append(fake.clone())
            return fake
        if torch.rand(()) < 0.5:
            return fake
        place = int(torch.randint(self.size, ()))
        old, self.pictures[place] = self.pictures[place], fake.clone()
        return old.to(fake.device)

    def get_extra_state(self) -> Tensor:
        """Return the pictures as one list of numbers, each behind its shape: a training state holds tensors alone."""
        parts = [torch.cat([fake.new_tensor(fake.shape), fake.flatten()]) for fake in self.pictures]
        return torch.cat(parts) if parts else torch.zeros(0)

    def set_extra_state(self, state: Tensor) -> None:
        """Take up what `get_extra_state` returned."""
        self.pictures = []
        while len(state):
            shape = [int(side) for side in state[:3]]
            fake, state = state[3:].split([numel := torch.Size(shape).numel(), len(state) - 3 - numel])
            self.pictures.append(fake.view(shape).clone())
