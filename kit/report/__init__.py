"""Pictures and pages for a person to look at. Reads every store, writes only what it was asked for.

figure     hidden, sources, blend and truth side by side
blend      what `kit blend` prints, as pictures
chart      rows with labels, marks and numbers, drawn to scale
"""
