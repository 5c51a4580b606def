"""What is trained, applied to photos that nobody has fetched: a blend's or a source's models on other photos. Trains
nothing.

chosen       what is to predict, and which sources it needs
other_tests  other test photos in the competition's layout, and their submission
pictures     pictures of one's own
carrying     a bundle for a machine without a network, and the way of it to Kaggle
"""
