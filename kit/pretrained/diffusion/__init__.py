"""Fills by diffusers' inpainting pipelines: every sample kept for ever, and what the blend needs made of them.

    settings        all that a sample depends on besides the photo; names the folder of a cache
    recipes         the folders of a workspace, and what was last asked of each
    model           a model's folder: found, fetched when asked for, named by its content
    plan            which samples of which photos, in which order; shards
    sample_store    the cache: append-only files of checked records, safe to kill, for any number of processes
    locks           which samples a process is at work on
    preprocess      a photo to a pipeline's inputs, and its output to hidden pixels
    pipeline        a diffusers pipeline: loaded, prompts encoded once, batches of photos
    sampler         the loop: locks, batches, retries, memory
    samples         cached samples of a photo as predictions
    status          how many samples are there, and how long the rest takes
    curve           RMSE of the mean of m samples, and its limit; `measure` takes them from the cache
    sources         one sample and the mean of all as sources
    shrink_to_fill  the mean drawn toward a classical fill; `shrunk_source` fits it on other folds and writes the source
    session         a request to `kit sd`, and its results

Only `pipeline` and `sampler` need torch: import them where they are used.
"""
