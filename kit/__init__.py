"""kit: fetch, fold, fill, train, blend and upload for competitions that hide part of every picture.

The layers, lowest first (a module imports only from its own layer's list and below; `tests/test_layering.py` keeps it):

    0  errors  workspace  storage  progress           standard library and numpy
    1  images  holes  fills  metrics                  + opencv, scipy
    2  competitions  archive  index  pack  folds  predictions  + pandas, scikit-learn
    3a datasets  models  losses  experiments  training  inference   everything that needs torch
    3b blending  submission                           numpy, scipy, pandas
    4  remote  report  demo                           the edges: Kaggle, pages and pictures
    5  cli                                            parse, call one function, print one result
"""

__version__ = "0.1.0"
