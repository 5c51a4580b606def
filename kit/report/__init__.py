"""Pictures and pages for a person to look at. Reads every store, writes only what it was asked for.

page            everything there is to see, as one HTML page
compare         two sources: where they differ, in what settings
one_photo       one photo by every source
figure          hidden, sources, blend and truth side by side
blend           a blend as one picture
thumbnails      a few photos, small enough for a notebook
explore         what `kit explore` prints, as a page
"""
