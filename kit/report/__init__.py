"""What a person looks at: pictures and pages. Reads every store, writes only what it was asked for.

figure     hidden, sources, blend and truth side by side
"""
