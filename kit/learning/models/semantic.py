"""Semantic inpainting: search the z whose generated photo fits the known pixels best (Yeh et al. 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from kit.learning.datasets.base_fill import mean_fill, spectral_fill

WINDOW = 7  # a known pixel counts by the share of hidden ones in a window of this side, as in the paper's section 3.3
RATE = 0.03  # of Adam on z; of the paper's code
CANDIDATES = 256  # photos generated once; each search starts at the z of the one that fits best


class SemanticInpainter(nn.Module):
    """A DCGAN as a fill: `(N, 6, S, S)` as `kit.learning.datasets` makes it, to a residual `(N, 3, S, S)`."""

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, *, latent: int, steps: int, prior_weight: float, seed: int
    ) -> None:
        """
        Args:
            generator: `(N, latent)` to photos in [-1, 1].
            discriminator: photos in [-1, 1] to logits.
            latent: length of z.
            steps: of Adam, for all photos of a batch together; each photo's search is its own.
            prior_weight: of the discriminator's verdict (lambda in the paper).
            seed: of the candidates.
        """
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.latent, self.steps, self.prior_weight, self.seed = latent, steps, prior_weight, seed

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the residual that brings the filled photo to the blended best fit; zero where nothing is hidden."""
        filled, hole = x[:, :3] / 4 + 0.5, x[:, 3:4]
        training = self.training
        self.eval()  # batch norm of a batch would let photos change one another
        photo = (self.generator(self.search(filled, hole)).float() + 1) / 2
        self.train(training)
        return (blend_in(photo, filled, hole) - filled) * hole

    def search(self, filled: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
        """Search for the best z for each photo, `(N, latent)`."""
        photo, weight = filled * 2 - 1, context_weight(hole)
        best = self._best_candidates(photo, weight).detach()
        lowest = torch.full_like(best[:, 0], torch.inf)
        with torch.enable_grad():
            z = best.clone().requires_grad_()
            optimizer = torch.optim.Adam([z], lr=RATE)
            for step in range(self.steps + 1):
                losses = self._loss(z, photo, weight)
                # Adam goes on to circle the minimum: what is kept is the nearest that each search has come to it
                best = torch.where((losses.detach() < lowest)[:, None], z.detach(), best)
                lowest = lowest.minimum(losses.detach())
                if step < self.steps:
                    (z.grad,) = torch.autograd.grad(losses.sum(), [z])  # a sum: no photo changes another's gradient
                    optimizer.step()
        return best

    def _loss(self, z: torch.Tensor, photo: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        generated = self.generator(z)
        context = ((generated - photo).abs() * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp(min=1e-6)
        prior = -F.softplus(self.discriminator(generated))  # log(1 - D)
        y: torch.Tensor = context + self.prior_weight * prior
        return y

    def _best_candidates(self, photo: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        numbers = torch.Generator().manual_seed(self.seed)
        z = torch.randn(CANDIDATES, self.latent, generator=numbers).to(photo.device)
        generated = torch.cat([self.generator(piece) for piece in z.split(32)])  # type: ignore[no-untyped-call]
        # the squared error, which is three matrix products, stands for the absolute one
        flat = (generated.flatten(1), (photo * weight).flatten(1), weight.expand_as(photo).flatten(1))
        error = flat[0].square() @ flat[2].T - 2 * flat[0] @ flat[1].T  # (candidates, photos)
        return z[error.argmin(0)]


def context_weight(hole: torch.Tensor) -> torch.Tensor:
    """Return how much each known pixel counts, `(N, 1, S, S)`: the share of hidden ones around it; 0 under the hole."""
    # the mean over what lies inside the photo: beyond its edge nothing is hidden
    hidden = (hole > 0).float()
    around = F.avg_pool2d(hidden, WINDOW, 1, WINDOW // 2, count_include_pad=False)
    return around * (1 - hidden)


def blend_in(photo: torch.Tensor, filled: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """Blend by Poisson's equation (Perez et al. 2003): the generated photo's gradients, the border's known values.

    That is the generated photo plus the harmonic continuation, into the hole, of what it is wrong by around it.
    """
    missing = hole > 0
    one = photo.new_ones(len(photo))
    wrong = torch.where(missing, mean_fill(filled - photo, missing.float()), filled - photo)
    correction = spectral_fill(wrong / 4 + 0.5, missing, one, one) * 4 - 2  # into [0, 1], where the fill is clipped
    return torch.where(missing, (photo + correction).clamp(0, 1), filled)
