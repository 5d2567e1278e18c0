"""A labeler over billions of words: parts of the input, labeled by workers of a Ray cluster, each written once."""
