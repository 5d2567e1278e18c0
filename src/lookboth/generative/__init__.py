"""Labeling by writing: answer formats, prompts, demonstrations, training, decoding."""
