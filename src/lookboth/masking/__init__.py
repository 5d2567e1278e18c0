"""Mask plans: which layer may look how far right."""
