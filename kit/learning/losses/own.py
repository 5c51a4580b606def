"""A loss of the user's own: a function of prediction, target and weight."""

from __future__ import annotations

import torch

from kit.errors import UsageError
from kit.learning.experiments.code import called, failed, load, name_in


def own_loss(reference: str, predicted: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the loss that a function of the user's gives.

    Args:
        reference: of the function, see `kit.learning.experiments.code`.
        predicted, target: `(N, 3, S, S)`.
        weight: `(N, 1, S, S)`: the share of each pixel that is hidden.

    Raises:
        UsageError: it fails, or gives no scalar that depends on the prediction.
    """
    function = load(reference)
    if not callable(function):
        raise UsageError(f"{called(reference)} is {type(function).__name__}, not a function.")
    try:
        loss = function(predicted, target, weight)
    except torch.OutOfMemoryError:
        raise
    except (Exception, SystemExit) as error:  # whatever their code raises
        raise failed(error, reference, f"{name_in(reference)}(prediction, target, weight)") from None
    if not isinstance(loss, torch.Tensor) or loss.ndim:
        what = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise UsageError(f"{called(reference)} gives {what}, and one number (a tensor without dimensions) is needed.")
    if predicted.requires_grad and not loss.requires_grad:
        raise UsageError(f"{called(reference)} gives a number without gradient: it does not depend on the prediction.")
    return loss


def check_own_loss(reference: str, photos: torch.Tensor) -> None:
    """Try the loss on a few pixels. Raises `UsageError`, see `own_loss`."""
    with torch.enable_grad():
        own_loss(reference, photos.clone().requires_grad_(), photos + 0.5, torch.ones_like(photos[:, :1]))
