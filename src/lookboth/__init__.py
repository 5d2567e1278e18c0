"""Sequence labeling with decoder language models that look both ways."""
