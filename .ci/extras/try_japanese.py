"""The extra `japanese`: its library splits a text into words."""

from lookboth.data import named_splitter

text = "東京に住む"
assert "東京" in [text[start:end] for start, end in named_splitter("fugashi")(text)]
