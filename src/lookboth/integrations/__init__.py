"""Where people already work: transformers pipelines, spaCy, datasets."""
