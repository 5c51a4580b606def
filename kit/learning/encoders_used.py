"""Which encoders of timm a workspace has to do with. Loads no network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from kit.errors import UsageError
from kit.learning.experiments import EXPERIMENTS, Experiment, experiment_from


def encoders_used(root: Path) -> Iterator[str]:
    """Yield the encoders that the catalog names, that of the setting's default, and those of trainings here."""
    yield from (one.encoder for make in EXPERIMENTS.values() if (one := make()).has_timm_encoder)
    yield Experiment("default").encoder
    for path in sorted(root.glob("runs/*/fold_*/experiment.json")):
        try:
            trained = experiment_from(json.loads(path.read_text(encoding="utf-8")))
            if trained.has_timm_encoder:
                yield trained.encoder
        except (OSError, ValueError, KeyError, TypeError, UsageError):
            continue  # whoever trains there is told
