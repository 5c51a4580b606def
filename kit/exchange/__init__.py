"""Predictions that something else has made, checked and turned into a source; and a source as one file to give away.

values     what a file has to predict, and what its numbers mean
arrays     .npy and .npz
tables     the competition's own CSV
pictures   a folder of inpainted pictures
known      known pixels of whole pictures against the photos
storing    which reader, which name, and the part in the store
continuity whether hidden pixels continue the known ones, or would in another order
submitted  what looks wrong with a submission's values
doubts     what looks wrong with predictions that can be read
partition  a team mate's folds against ours
exporting  a source as one .npz

Knows nothing of how predictions were made: that no model has seen the photo it predicts is for the user to know.
"""

from kit.exchange.checks import doubts_about, doubts_about_score, own_score
from kit.exchange.exporting import Exported, export_source
from kit.exchange.fold_comparison import compare_folds
from kit.exchange.importing import Imported, import_part
from kit.exchange.submitted import doubts_about_submission

__all__ = [
    "Exported",
    "Imported",
    "compare_folds",
    "doubts_about",
    "doubts_about_score",
    "doubts_about_submission",
    "export_source",
    "import_part",
    "own_score",
]
