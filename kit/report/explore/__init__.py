"""What `kit explore` prints, as a page.

charts     where the marks of its charts stand
page       the page itself
thumbnail  small pictures that it can hold
"""
