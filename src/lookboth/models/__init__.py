"""Backbones, labeler, saving and loading."""
