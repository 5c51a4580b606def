"""Pixels: images, holes, metrics and classical fills. Knows no competition and no stored file."""
