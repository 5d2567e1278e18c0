"""The extra `generative`: demonstrations are found by BM25."""

from lookboth.generative.retrieval import Bm25Retriever

ranked = Bm25Retriever([["a", "dog"], ["the", "cat"], ["rain"]]).rank([["cat"]], 1)
assert ranked == [[1]]
