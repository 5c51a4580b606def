"""Pictures of one's own, filled where a mask hides them, by what is trained. Trains nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kit.applying.chosen import chosen_sources
from kit.blending import mixer
from kit.core.progress import track
from kit.data.own_pictures import check_out, larger, match_masks, read_own, window_of
from kit.data.project import Project
from kit.imaging.images import composite_values, save_image
from kit.learning.one_photo import PhotoModels
from kit.learning.other_photos import applicable
from kit.pretrained.devices import device_named


@dataclass(frozen=True)
class FilledPictures:
    """Pictures that were filled."""

    called: str
    """What has filled them: `blend NAME`, or the source."""
    pictures: int
    folder: Path
    notes: tuple[str, ...]


def fill_pictures(
    project: Project, images: Path, masks: Path, out: Path, name: str | None = None, *, device: str = "auto"
) -> FilledPictures:
    """Fill what is white in the masks of any pictures, and leave the rest as it is, bit for bit.

    Args:
        images: a folder of pictures.
        masks: their masks, by the same names or NAME_mask; white, 128 and above, is hidden.
        out: the folder that the filled pictures are written to, as PNG.
        name: a blend or a source, by default the newest blend.

    Raises:
        UnknownName, UsageError: there is no such blend or source, or it cannot predict other photos.
        ImageError: a picture or mask that cannot be read, or is not there.
    """
    check_out(out, images, masks)
    called, blend, names = chosen_sources(project, name)
    kinds = applicable(project, names, called=called, stacks=False)
    pictures, notes = match_masks(images, masks)
    shapes = [read_own(picture)[0].shape for picture in track(pictures, "Checking", len(pictures), "pictures")]
    usual = (project.index.train[0].height, project.index.train[0].width)
    models = PhotoModels(project, kinds, device_named(device))
    notes += [
        f"{source} is predicted without fold {','.join(map(str, folds))}, which has not been trained here. All of "
        f"them: kit train {source} --fold all"
        for source, folds in models.absent_folds().items()
    ]
    mixed = None if blend is None else mixer(blend)
    untouched = 0
    for picture in track(pictures, f"Filling by {called}", len(pictures), "pictures"):
        image, hole = read_own(picture)
        if hole.any():
            window = window_of(picture, image, hole, usual)
            values = models.values(window.image, window.row, names)
            known = project.layout.value_range(window.image, window.row.hole)
            filled = values[0] if mixed is None else mixed(values, window.row, window.image, known)
            image = composite_values(image, filled, window.row.boxes, window.top, window.left)
        untouched += not hole.any()
        save_image(out / f"{picture.name}.png", image)
    if count := larger(shapes, usual):
        notes.append(
            f"{count} of {len(pictures)} are larger than the competition's {usual[1]}x{usual[0]}: filled at their own "
            "size; networks saw a window around the hole"
        )
    if untouched:
        notes.append(f"{untouched} of {len(pictures)} have nothing hidden, and are as they were")
    return FilledPictures(called, len(pictures), out, tuple(notes))
