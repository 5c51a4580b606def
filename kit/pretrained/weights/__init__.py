"""Weights of encoders: files that people have, where they lie, and how they get into a network.

    reading    a file's tensors, whatever it is: no code in it is run, no network is known
    fitting    tensors under whatever names, as the tensors of a timm model
    encoders   timm's models: built, named, and what is known of their weights
    places     folders, packages and the hub's cache on this machine, and what was used last; no torch, no timm
    finding    `imagenet`: the first place that has a model's weights
    loading    weights into an encoder, and an encoder with more input channels
    managing   what `kit weights` lists, gets and checks

Importing this package loads no torch: the stamp of a training asks `places` alone.
"""
