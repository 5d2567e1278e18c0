"""Data of the papers in the form in which they are published, converted to files that lookboth reads."""
