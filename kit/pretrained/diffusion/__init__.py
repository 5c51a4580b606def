"""Fills by diffusers' inpainting pipelines: every sample kept for ever, and what the blend needs made of them.

    settings   what a sample depends on besides the photo; names the folder of a cache
    prompts    templates over class names
    weights    a model's folder: found, fetched when asked for, named by its content
    records    the cache: append-only files of checked records, safe to kill, for any number of processes
    claims     which samples a process is at work on
    jobs       which samples of which photos; shards; which are there
    pixels     a photo to a pipeline's inputs, and its output to hidden pixels
    pipeline   a diffusers pipeline: loaded, prompts encoded once, batches of photos
    running    the loop: claims, batches, retries, memory
    reading    cached samples of a photo as predictions
    state      what is there, and how long the rest takes
    curve      RMSE of the mean of m samples, and its limit; `measuring` takes it from the cache, prompt by prompt too
    sources    one sample and the mean of all as sources
    shrinking  the mean drawn toward a classical fill; `shrunk` fits it on other folds and writes the source
    asking     what `kit sd` was asked for, and its answers

Only `pipeline` and `running` need torch: import them where they are used.
"""
