"""Blending: weights for sources, from their residuals alone. Knows predictions; knows no model and no torch.

gram       residual Grams in score space by photo and region, one streaming pass
kernel     its inner loops, compiled
cache      Grams on disk, extended when a member comes
solvers    Gram to weights: best single, mean, hill climb, simplex
estimate   nested cross-validation, intervals by photo, paired differences
fit        a Gram to a blend: nested scores and the gate
blend      the blend on disk, and its test values
scores     single sources: which are complete, and how good they are
"""

from kit.blending.blend import blend_test_values, make_blend, read_blend
from kit.blending.cache import cached_gram
from kit.blending.fit import Blend, MemberRow, RungRow, fit_blend
from kit.blending.gram import ResidualGram, residual_gram
from kit.blending.scores import SourceScore, complete_sources, left_out_sources, score_sources

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
