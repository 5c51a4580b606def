"""Honest scores: cross-fitting by fold, and intervals over photos."""
