"""The extra `thai`: its library splits a text into words."""

from lookboth.data import named_splitter

text = "ฉันรักกรุงเทพ"
assert "กรุงเทพ" in [text[start:end] for start, end in named_splitter("pythainlp")(text)]
