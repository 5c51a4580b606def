"""Blending: weights for sources, from their residuals alone. Knows predictions; knows no model and no torch.

grams/residual_gram     residual Grams in score space by photo and region, one streaming pass
grams/kernel            its inner loops, compiled
grams/cache             Grams on disk, extended when a member comes
weights/solvers         Gram to weights: best single, mean, hill climb, simplex
weights/features        terms that weights may depend on: depth, channel, class, contrast, region
weights/linear          weights linear in terms: ridge, nested cross-validation
weights/candidates      the ways of finding weights, from the simplest to the richest: the rungs
weights/mixing          fitted weights as data, and how they mix a photo's members
weights/kernel          the inner loops of that, compiled
selection               the gate: a candidate is taken only if it is credibly better than the one below
evaluation/crossfit     the blend's own error on photos that it was not fitted on, clipped
evaluation/intervals    intervals by photo, paired differences, the leaderboard's score
result                  a blend as data, and the tables in it
blend                   `kit blend` in one function
store                   blends on disk
apply                   a blend's values
scores                  single sources: which are complete, and how good they are
"""

from kit.blending.apply import blend_test_values, blend_values, check_members, mixer
from kit.blending.blend import blend_oof_values, chosen_members, make_blend, nested_weights
from kit.blending.grams.cache import cached_gram
from kit.blending.grams.residual_gram import ResidualGram, residual_gram
from kit.blending.result import Blend
from kit.blending.scores import SourceScore, complete_sources, left_out_sources, score_sources, stack_recipe
from kit.blending.selection import CandidateRow
from kit.blending.store import read_blend
from kit.blending.weights.candidates import CANDIDATES, STACK

__all__ = [
    "CANDIDATES",
    "STACK",
    "Blend",
    "CandidateRow",
    "ResidualGram",
    "SourceScore",
    "blend_oof_values",
    "blend_test_values",
    "blend_values",
    "cached_gram",
    "check_members",
    "chosen_members",
    "complete_sources",
    "left_out_sources",
    "make_blend",
    "mixer",
    "nested_weights",
    "read_blend",
    "residual_gram",
    "score_sources",
    "stack_recipe",
]
