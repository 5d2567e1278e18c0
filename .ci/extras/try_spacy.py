"""The extra `spacy`: spaCy finds the component by itself, and it labels."""

import sys

import spacy

nlp = spacy.blank("en")
nlp.add_pipe("lookboth", config={"model": sys.argv[1]})
doc = nlp("Ada Lovelace lived in London.")
assert "scores" in doc.spans["lookboth"].attrs
