"""What it costs that a test photo's extremes must be estimated from its known pixels.

    python scripts/bench/extremes.py --archive photo-reconstruction.zip [--photos 300]

The truth of training photos, put into score space by the estimated extremes (clipped as a submission is), against the
truth by the true ones. No prediction can be expected to score below this; the interval is by photo.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from kit.competitions import competition, to_score_space
from kit.core.archive import extract
from kit.core.progress import track
from kit.imaging.holes import boxes_from_text, hole_of, scored_pixels
from kit.imaging.images import load_image
from kit.imaging.metrics import rmse_by_photo, sse


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, required=True, help="the competition's zip or extracted folder")
    parser.add_argument("--photos", type=int, help="so many training photos, drawn at random; all by default")
    parser.add_argument("--slug", default="photo-reconstruction")
    arguments = parser.parse_args()
    layout = competition(arguments.slug)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        extract(arguments.archive, raw)
        rows = layout.index(raw).rows
        rows = rows[rows["split"] == "train"]
        if arguments.photos and arguments.photos < len(rows):
            rows = rows.sample(arguments.photos, random_state=0)
        errors, counts, off = [], [], 0
        paths = zip(rows["image"], rows["target"], rows["boxes"], strict=True)
        for image_path, target_path, text in track(paths, "Extremes", len(rows), "photos"):
            boxes = boxes_from_text(text)
            image, target = load_image(raw / image_path), load_image(raw / target_path)
            estimated = layout.extremes(image, hole_of(boxes, *image.shape[:2]))
            true = layout.extremes(target, None)
            values = target[scored_pixels(boxes)] / 255.0
            errors.append(sse(np.clip(to_score_space(values, estimated), 0, 1), to_score_space(values, true)))
            counts.append(values.size)
            off += bool(np.abs(estimated - true).max() > 5 / 255)
    score = rmse_by_photo(np.array(errors), np.array(counts), np.arange(len(counts)))
    print(f"RMSE from estimated extremes alone: {score} over {len(counts)} training photos (95 % by photo)")
    print(f"photos with an extreme off by more than 5 grey levels: {off} ({100 * off / len(counts):.1f} %)")


if __name__ == "__main__":
    main()
