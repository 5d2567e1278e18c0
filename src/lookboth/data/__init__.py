"""Readers, tag schemes, alignment, windows and packing: from files to batches."""
