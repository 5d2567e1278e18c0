"""Data as papers publish it and annotation tools keep it, converted to files that lookboth reads, and back."""
