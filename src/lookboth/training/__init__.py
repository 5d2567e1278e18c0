"""Adapters and the training run."""
