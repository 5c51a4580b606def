"""Blending: weights for sources, from their residuals alone. Knows predictions; knows no model and no torch.

gram       per-photo residual Grams in score space, one streaming pass, cached
solvers    Gram to weights: best single, mean, hill climb, simplex
estimate   nested cross-validation, intervals by photo, paired differences
blend      the gate, the blend on disk, its test values, and the scores of single sources
"""

from kit.blending.blend import (
    Blend,
    MemberRow,
    RungRow,
    SourceScore,
    blend_test_values,
    complete_sources,
    fit_blend,
    left_out_sources,
    make_blend,
    read_blend,
    score_sources,
)
from kit.blending.gram import ResidualGram, cached_gram, residual_gram

__all__ = [
    "Blend",
    "MemberRow",
    "ResidualGram",
    "RungRow",
    "SourceScore",
    "blend_test_values",
    "cached_gram",
    "complete_sources",
    "fit_blend",
    "left_out_sources",
    "make_blend",
    "read_blend",
    "residual_gram",
    "score_sources",
]
