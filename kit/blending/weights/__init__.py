"""Blend weights: models linear in photo features, their solvers, and how pixels are mixed by them."""
