"""Studies: a grid of runs under one protocol."""
