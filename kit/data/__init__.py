"""From a competition's archive to a project: fetch, index, pack, folds and the prediction store."""
