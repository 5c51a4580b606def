"""Zero-shot classes and prompts: find the text nearest to the visible part of a photo. Knows vectors and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kit.core.workspace import Split
from kit.data.project import Project
from kit.errors import UsageError
from kit.pretrained.clip.embeddings import photo_embeddings, text_embeddings
from kit.pretrained.clip.model import ClipModel, find_model
from kit.pretrained.prompts import templates_of

TEMPLATE = "a photo of a {class}"
WORDS = ("{class}", "{animal}", "{klass}")
"""What stands for a class's name in a template."""


def prompt_of(template: str, name: str) -> str:
    """Fill a class's name, in small letters, into a template; one without a place for it stays as it is."""
    for word in WORDS:
        template = template.replace(word, name.lower())
    return template


@dataclass(frozen=True)
class ZeroShot:
    """The classes that a CLIP predicts for the photos of a split."""

    names: tuple[str, ...]
    chosen: tuple[str, ...]
    """One of the names for each photo."""
    similarity: np.ndarray
    """`(N, classes)` float32: cosines, the mean over templates."""
    known: tuple[str, ...]
    """What the layout says of each photo; "" where it says nothing."""

    @property
    def told(self) -> int:
        """Number of photos whose class is known and among the names."""
        return sum(klass in self.names for klass in self.known)

    @property
    def agreement(self) -> float:
        """Return the share of those that are predicted rightly; NaN where none is known."""
        right = sum(one == klass for one, klass in zip(self.chosen, self.known, strict=True))
        return right / self.told if self.told else float("nan")


def zero_shot(
    project: Project,
    model: str | ClipModel,
    split: Split,
    *,
    names: Sequence[str] = (),
    templates: Sequence[str] = (TEMPLATE,),
    device: torch.device = torch.device("cpu"),
) -> ZeroShot:
    """Predict the class of each photo of a split from its visible part.

    Args:
        names: of the classes; by default those of the training photos.
        templates: their vectors are averaged for each class.

    Raises:
        UsageError: fewer than two names, a template without a place for the name, or a model that reads no text.
    """
    names = tuple(dict.fromkeys(names)) or tuple(klass for klass in project.index.classes if klass)
    if len(names) < 2:
        given = ", ".join(names) or "none"
        raise UsageError(f"Class names: {given}. Two are needed to choose from. Name them: --names cat,dog,tiger")
    for template in templates_of(templates):
        if not any(word in template for word in WORDS):
            raise UsageError(f"The prompt {template!r} has no place for the class: write {{class}} in it.")
    model = find_model(model) if isinstance(model, str) else model
    texts = [prompt_of(template, name) for name in names for template in templates]
    text_vectors = text_embeddings(project.workspace, model, texts, device=device)
    photos = photo_embeddings(project, model, split, device=device)
    similarity = (photos @ text_vectors.T).reshape(len(photos), len(names), len(templates)).mean(2)
    chosen = tuple(names[number] for number in similarity.argmax(1))
    return ZeroShot(names, chosen, similarity, tuple(photo_row.klass for photo_row in project.index.split(split)))


def zero_shot_classes(
    project: Project,
    model: str | ClipModel,
    split: Split = "test",
    *,
    names: Sequence[str] = (),
    templates: Sequence[str] = (TEMPLATE,),
    device: torch.device = torch.device("cpu"),
) -> list[str]:
    """Return the class of each photo: the layout's where it gives one, else the one that the CLIP predicts."""
    known = [photo_row.klass for photo_row in project.index.split(split)]
    if all(known):
        return known
    told = zero_shot(project, model, split, names=names, templates=templates, device=device).chosen
    return [klass or guess for klass, guess in zip(known, told, strict=True)]


@dataclass(frozen=True)
class PromptScore:
    """Fit of one prompt to the training photos."""

    template: str
    similarity: float
    """Mean cosine between the visible parts and the prompt, each photo with its own class in it."""
    by_class: dict[str, float]
    rmse: float | None
    """Of a source made with this prompt alone, if there is one."""


def search_prompts(
    project: Project,
    model: str | ClipModel,
    templates: Sequence[str],
    *,
    rmse: Mapping[str, float] | None = None,
    device: torch.device = torch.device("cpu"),
) -> list[PromptScore]:
    """Rank prompts by RMSE where it is known, then by similarity to the training photos' visible parts; best first.

    Args:
        templates: with `{class}` (or `{animal}`, as in `kit sd`) for the class's name, or without.
        rmse: OOF RMSE of what was generated with a template, for those of which something was.

    Raises:
        UsageError: no template, or a model that reads no text.
    """
    if not templates:
        raise UsageError(
            "Which prompts? Give each as a word of its own, such as: kit clip prompts 'a photo of a {class}'"
        )
    templates = templates_of(templates)  # the same words as in `kit sd`
    model = find_model(model) if isinstance(model, str) else model
    photo_rows, known = project.index.train, rmse or {}
    classes = sorted({photo_row.klass for photo_row in photo_rows})
    texts = [prompt_of(template, klass) for template in templates for klass in classes]
    text_vectors = text_embeddings(project.workspace, model, texts, device=device)
    text_vectors = text_vectors.reshape(len(templates), len(classes), -1)
    photos = photo_embeddings(project, model, "train", device=device)
    number = np.array([classes.index(photo_row.klass) for photo_row in photo_rows])
    found = []
    for template, vectors in zip(templates, text_vectors, strict=True):
        cosines = (photos * vectors[number]).sum(1)
        means = {klass: float(cosines[number == place].mean()) for place, klass in enumerate(classes)}
        found.append(PromptScore(template, float(cosines.mean()), means, known.get(template)))
    return sorted(found, key=lambda one: (one.rmse is None, one.rmse or 0.0, -one.similarity))
