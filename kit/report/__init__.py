"""Pictures and pages for a person to look at. Reads every store, writes only what it was asked for.

page       everything there is to see, as one HTML page
compare    two sources: where they differ, in what settings
one_photo  one photo by every source
figure     hidden, sources, blend and truth side by side
blend      what `kit blend` prints, as pictures
thumbnails a few photos, small enough for a notebook
chart      rows with labels, marks and numbers, drawn to scale
"""
