"""Files, paths, locks, progress and threads: no word of photos."""
