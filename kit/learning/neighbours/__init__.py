"""The source `clip-neighbours`: the fill, corrected by what the most similar photos of other folds show."""
