"""Where people already work: transformers pipelines and friends."""
