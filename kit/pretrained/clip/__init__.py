"""Vectors of photos and texts, classes and prompts. Knows photos and encoders; no source and no blend.

model         find the encoder that a text names, and pin it by a digest
encoders      run it: thumbnails, CLIPs of transformers, vision encoders of timm
vector_store  keep vectors by key
embeddings    compute the vector of each photo's visible part, and of texts
zero_shot     predict classes, compare prompts
"""
