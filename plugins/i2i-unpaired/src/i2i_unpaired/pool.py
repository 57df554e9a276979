"""The pool of earlier translations from which a discriminator is shown some."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from i2i.nn import own_rows, together


class Pool(nn.Module):
    """Up to `size` earlier translations; once full, one in two shown is an old one (Shrivastava et al. 2017, 2.3).

    A discriminator that sees only the newest translations forgets what the generator did before, and the two run in
    circles. Zhu et al. 2017, section 4, keep 50. 0 keeps none. Draws come from torch's global generator. Translations
    of another size than before begin the pool anew.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.pictures = torch.zeros(0)

    @torch.no_grad()
    def forward(self, fakes: Tensor) -> Tensor:
        """Take in translations, N × C × H × W, and return as many to be shown, cut off from what made them.

        Of several processes each takes in those of all, so that their pools are one.
        """
        if not self.size:
            return fakes.detach()
        fakes = together(fakes)
        kept = self.pictures if self.pictures.shape[1:] == fakes.shape[1:] else fakes[:0]
        self.pictures = kept.to(fakes.device)
        return own_rows(torch.stack([self._exchanged(fake) for fake in fakes]))

    def _exchanged(self, fake: Tensor) -> Tensor:
        if len(self.pictures) < self.size:
            self.pictures = torch.cat([self.pictures, fake[None]])
            return fake
        if torch.rand(()) < 0.5:
            return fake
        place = int(torch.randint(self.size, ()))
        old = self.pictures[place].clone()
        self.pictures[place] = fake
        return old

    # A buffer of a growing size could not be loaded; this state may be of any.
    def get_extra_state(self) -> Tensor:
        """Return the pictures, for the training state."""
        return self.pictures

    def set_extra_state(self, state: Tensor) -> None:
        """Take up what `get_extra_state` returned."""
        self.pictures = state.clone()
