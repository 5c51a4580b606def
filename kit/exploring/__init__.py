"""The data before any model is made: what they are like, what differs between training and test, what is odd.

explore      all of it, as one result
result       the result's types: numbers, names and verdicts
verdicts     what the numbers mean, a line each
holes        where holes are
looking      one pass over the photos
known        numbers about one photo, from its known pixels alone
spectra      spectra beside each other
comparing    numbers beside each other
copies       near duplicates, leaks among them
apart        can test photos be told from training photos?
auc          how well a number tells it, with an interval
logistic     the classifier
files        formats and headers
odd          photos that are odd
"""

from kit.exploring.explore import explore
from kit.exploring.result import Exploration

__all__ = ["Exploration", "explore"]
