"""kit: fetch, fold, fill, train, blend and upload for competitions that hide part of every picture.

The rooms, in the order in which data flows; each imports only from those above it (kept by the import contracts in
pyproject.toml), and the two middle branches never meet:

    errors         the tree of errors that a user can mend
    core           files, paths, locks, progress, threads: no word of photos
    imaging        pixels: images, holes, metrics, classical fills
    competitions   one module a competition: index, value range, encode, decode
    remote         Kaggle
    data           from an archive to a project: fetch, index, pack, folds, the prediction store, fill sources

    pretrained     networks trained elsewhere: hub, weights, prompts, CLIP, Stable Diffusion
    learning       everything that trains: experiments, losses, batches, models, the engine, the stack

    blending       residual Grams, weights, honest scores, the choice among blends
    submission     rows of a CSV: write, check, grade, note, upload
    exchange       predictions from and for others
    report         pictures
    bundling       what a machine without a network needs, in one folder
    upkeep         what is there, stale, damaged or running; is the machine fit

    cli            one file a verb or family: parse, call one function, print one result
"""

__version__ = "0.1.0"
