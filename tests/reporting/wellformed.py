"""A parser that refuses pages whose tags do not close in order."""

from html.parser import HTMLParser

VOID = {"meta", "img", "input", "br", "link"}


class Wellformed(HTMLParser):
    """Checks that tags close in order, ids are unique, and collects what a test asks for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.attributes, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(set(self.ids)) == len(self.ids)

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
