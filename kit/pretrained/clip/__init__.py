"""Vectors of photos and texts, and what they are good for. Knows photos, encoders and sources; no blend.

`naming.py` says which encoder a text means, `hub.py` fetches one, `encoders.py` runs it, `store.py` keeps vectors,
`embeddings.py` makes those of the visible part of each photo. `classes.py` tells classes and compares prompts,
`neighbours.py` makes a source of the most similar photos, `conditions.py` tells networks what a photo is about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kit.pretrained.clip.model import THUMBNAIL, Model, find_model, pinned, unpinned

if TYPE_CHECKING:
    from kit.pretrained.clip.embeddings import photo_embeddings, text_embeddings
    from kit.pretrained.clip.zero_shot import (
        TEMPLATE,
        Prompt,
        ZeroShot,
        prompt_of,
        search_prompts,
        zero_shot,
        zero_shot_classes,
    )

__all__ = [
    "TEMPLATE",
    "THUMBNAIL",
    "Model",
    "Prompt",
    "ZeroShot",
    "find_model",
    "photo_embeddings",
    "pinned",
    "prompt_of",
    "search_prompts",
    "text_embeddings",
    "unpinned",
    "zero_shot",
    "zero_shot_classes",
]


def __getattr__(name: str) -> Any:
    """What needs torch, when it is asked for: which encoder a setting means can be told without."""
    if name in __all__:
        import kit.pretrained.clip.embeddings as embeddings
        import kit.pretrained.clip.zero_shot as classes

        for module in (classes, embeddings):
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
