"""Stacking: small networks that blend beyond linear. Knows sources, folds and photos; no solver and no blend.

A fold's network sees, at a low resolution, what each member predicts, where they differ, the hole and the known photo
around, and gives a residual over a linear blend whose weights were fitted on the other folds. It is trained on the OOF
predictions of the other folds' photos and predicts that fold's photos and the test photos, so a stack is a source
like any other, nested by fold, and has to earn its place in a blend.

settings   what a stack is made of, its recipe and name
network    the network
inputs     all photos at its size, in a file
train      one fold's network
stack      all folds, into the prediction store
"""

from kit.learning.stacking.settings import StackSettings, stack_name, stack_recipe
from kit.learning.stacking.stack import train_stack

__all__ = ["StackSettings", "stack_name", "stack_recipe", "train_stack"]
