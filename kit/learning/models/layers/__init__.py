"""Layers and wrappers that several networks share."""
