"""kit: fetch, fold, fill, train, blend and upload for competitions that hide part of every picture.

The layers, lowest first (a module imports only from its own layer's list and below; `tests/test_layering.py` keeps it):

    0   errors  workspace  storage  progress  threads                           standard library and numpy
    1   images  holes  fills  metrics                                           + opencv, scipy
    2   competitions  archive  index  pack  folds  reading  predictions  sources  project    + pandas, scikit-learn
    3a experiments datasets spectral models losses checkpoints training inference fitting stacking clip diffusion +torch
    3b  blending  rows  submission  grading  ledger  importing                  numpy, scipy, pandas, pyarrow, numba
    4   remote  report  demo  fetching  uploading                               the edges: Kaggle, pictures
    5   cli                                                                     parse, call, print one result

3a and 3b never import each other: a blend needs no model, and a model no blend.
"""

__version__ = "0.1.0"
