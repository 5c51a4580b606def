"""Residual Grams: one streaming pass over predictions, kept on disk."""
