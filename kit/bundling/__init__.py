"""What a machine without a network needs, in one folder: wheels, folds, weights, a blend, a notebook that uses them.

wheels.py     a wheel made again of an installed package
contents.py   which files of a workspace a blend or source needs
bundle.py     the folder, with a digest of every file
notebook.py   the notebook and what Kaggle wants to know of it
verify.py     is everything there as it was written, and is a submission the one that was noted?
"""

from kit.bundling.bundle import MANIFEST, Bundle, make_bundle, newest_bundle
from kit.bundling.contents import Contents, contents_of
from kit.bundling.notebook import metadata_of
from kit.bundling.verify import Comparison, Verified, compare_submission, verify_bundle
from kit.bundling.wheels import make_wheel

__all__ = [
    "MANIFEST",
    "Bundle",
    "Comparison",
    "Contents",
    "Verified",
    "compare_submission",
    "contents_of",
    "make_bundle",
    "make_wheel",
    "metadata_of",
    "newest_bundle",
    "verify_bundle",
]
