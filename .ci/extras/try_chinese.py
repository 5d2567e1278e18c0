"""The extra `chinese`: its library splits a text into words."""

from lookboth.data import named_splitter

text = "我爱北京"
assert "北京" in [text[start:end] for start, end in named_splitter("jieba")(text)]
