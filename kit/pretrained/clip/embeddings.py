"""Vectors of the visible part of each photo, computed once. Knows photos, encoders and the store of vectors.

Holes are filled by the harmonic fill at full size, then the photo is resized. Zeroed boxes would be things to a CLIP,
black squares with hard edges, and their mean colour would be in every vector; the smoothest fill adds no edge and
nothing that the known pixels do not say. What lies under a hole has no influence: a fill looks at known pixels alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from kit.core.progress import progress
from kit.core.storage import digest_of
from kit.core.workspace import Split, Workspace
from kit.data.index import PhotoRow
from kit.data.photo_list import PhotoArray
from kit.data.project import Project
from kit.imaging.fills import fill_photos
from kit.imaging.holes import boxes_to_text
from kit.pretrained.clip.encoders import Encoder, as_tensor, open_encoder
from kit.pretrained.clip.model import PREPROCESSING, ClipModel, find_model, unpinned
from kit.pretrained.clip.vector_store import VectorStore, embeddings_folder

FILL = "harmonic"  # with another one, raise PREPROCESSING
BATCH = 64  # photos at once
SPLITS: tuple[Split, Split] = ("train", "test")


def photo_key(photo_row: PhotoRow) -> str:
    """Return what names a photo with its holes."""
    return digest_of([photo_row.digest, boxes_to_text(photo_row.boxes)])


def photo_embeddings(
    project: Project,
    model: str | ClipModel,
    split: Split,
    *,
    device: torch.device = torch.device("cpu"),
    batch: int = BATCH,
) -> np.ndarray:
    """Return vectors of length one of all photos of a split, `(N, D)` float32; what is not stored is computed now.

    Args:
        model: an encoder, or the text that names it (`kit.pretrained.clip.model`). The files of a pinned one need not
            be there as long as nothing has to be computed.

    Raises:
        UsageError, Mismatch: see `find_model`.
        DamagedStore: stored vectors or the model's files are damaged.
    """
    if isinstance(model, str):
        digest = unpinned(model)[1]
        model = model if digest else find_model(model)
    digest = model.digest if isinstance(model, ClipModel) else str(unpinned(model)[1])
    store = image_store(project.workspace, digest, model.text if isinstance(model, ClipModel) else unpinned(model)[0])
    photo_rows = project.index.split(split)
    keys = [photo_key(photo_row) for photo_row in photo_rows]
    found, there = store.read(keys)
    if not there.all():
        model = model if isinstance(model, ClipModel) else find_model(model)
        _compute(
            store, model, photo_rows, project.pack.image(split), keys, np.flatnonzero(~there), split, device, batch
        )
        found, _ = store.read(keys)
    return found


def image_store(workspace: Workspace, digest: str, text: str) -> VectorStore:
    """Return the store of the photos' vectors of one model."""
    return VectorStore(embeddings_folder(workspace, digest), "images", f"kit clip embed --model {text}")


def text_embeddings(
    workspace: Workspace, model: ClipModel, texts: Sequence[str], *, device: torch.device = torch.device("cpu")
) -> np.ndarray:
    """Return vectors of length one of texts, `(n, D)` float32, stored like those of photos.

    Raises:
        UsageError: the model reads no text.
    """
    folder = embeddings_folder(workspace, model.digest)
    store = VectorStore(folder, "texts", f"kit clip classes --model {model.text}")
    keys = [digest_of(text) for text in texts]
    found, there = store.read(keys)
    if not there.all():
        vectors = open_encoder(model, device).texts(list(texts)).numpy()
        store.add(keys, vectors, _metadata(model))
        found, _ = store.read(keys)
    return found


def _metadata(model: ClipModel) -> dict[str, object]:
    return {"model": model.text, "digest": model.digest, "preprocessing": PREPROCESSING, "fill": FILL}


def _compute(
    store: VectorStore,
    model: ClipModel,
    photo_rows: Sequence[PhotoRow],
    images: PhotoArray,
    keys: Sequence[str],
    missing: np.ndarray,
    split: Split,
    device: torch.device,
    batch: int,
) -> None:
    """Compute batch after batch and store each at once: a kill costs one batch."""
    encoder = open_encoder(model, device)
    with progress(f"Embedding {split} photos", len(photo_rows), "photos") as bar:
        bar.start_at(len(photo_rows) - len(missing))
        for start in range(0, len(missing), batch):
            chosen = missing[start : start + batch]
            vectors = _vectors(encoder, images, photo_rows, chosen)
            store.add([keys[photo] for photo in chosen], vectors, _metadata(model))
            bar.update(len(chosen))


def _vectors(encoder: Encoder, images: PhotoArray, photo_rows: Sequence[PhotoRow], chosen: np.ndarray) -> np.ndarray:
    """Return the vectors of these photos; those of one size are encoded together."""
    sizes = np.array([(photo_rows[photo].height, photo_rows[photo].width) for photo in chosen])
    found: np.ndarray | None = None
    for size in np.unique(sizes, axis=0):
        here = np.flatnonzero((sizes == size).all(axis=1))
        vectors = _encoded(encoder, visible_photos(images, photo_rows, chosen[here]))
        found = np.empty((len(chosen), vectors.shape[1]), vectors.dtype) if found is None else found
        found[here] = vectors
    assert found is not None
    return found


def visible_photos(images: PhotoArray, photo_rows: Sequence[PhotoRow], chosen: np.ndarray) -> torch.Tensor:
    """Return these photos, which have one size, with their holes filled: `(n, 3, H, W)` float32 in [0, 1]."""
    some = [np.asarray(images[photo]) for photo in chosen]
    filled = fill_photos(FILL, some, [photo_rows[photo].hole for photo in chosen])
    return as_tensor(np.stack(list(filled)))


def _encoded(encoder: Encoder, photos: torch.Tensor) -> np.ndarray:
    try:
        return encoder.images(photos).numpy()
    except torch.OutOfMemoryError:
        if len(photos) == 1:
            raise
        half = len(photos) // 2
        return np.concatenate([_encoded(encoder, photos[:half]), _encoded(encoder, photos[half:])])
