"""Networks trained elsewhere: the hub, encoder weights, prompts, CLIP and Stable Diffusion."""
