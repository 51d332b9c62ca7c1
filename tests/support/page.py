"""page.py FILE - checks the structure of a page of `detent report`: that it is well-formed and needs nothing beside, and
that readers of screens and keyboards find their way. Prints what is wrong, a line each. As a module: read(FILE)."""
import base64
import html.parser
import re
import struct
import sys
import zlib

VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.stack, self.wrong, self.ids, self.elements = [], [], [], []
        self.tables = []

    def say(self, what):
        self.wrong.append("line %d: %s" % (self.getpos()[0], what))

    def handle_starttag(self, tag, attrs, closed=False):
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.say("<%s> has an attribute twice" % tag)
        a = dict(attrs)
        self.elements.append((tag, a, tuple(t for t, _ in self.stack), self.getpos()[0]))
        if "id" in a:
            self.ids.append(a["id"])
        if tag == "table":
            self.tables.append({"caption": "", "rows": [], "attrs": a})
        if tag == "tr" and self.tables:
            self.tables[-1]["rows"].append([])
        if tag in ("td", "th") and self.tables:
            self.tables[-1]["rows"][-1].append({"tag": tag, "attrs": a, "text": ""})
        if not closed and tag not in VOID:
            self.stack.append((tag, a))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs, closed=True)

    def handle_endtag(self, tag):
        if tag in VOID or not self.stack or self.stack[-1][0] != tag:
            self.say("</%s> closes %s" % (tag, self.stack[-1][0] if self.stack else "nothing"))
        else:
            self.stack.pop()

    def is_beside(self):
        """In what stands small under a number."""
        return any(a.get("class") == "low" for _, a in self.stack)

    def handle_data(self, data):
        inside = [t for t, _ in self.stack]
        if self.tables and "table" in inside:
            if "caption" in inside:
                self.tables[-1]["caption"] += data
            elif ("td" in inside or "th" in inside) and "svg" not in inside and not self.is_beside():
                self.tables[-1]["rows"][-1][-1]["text"] += data


def png_size(url):
    """Width and height of a data: URI, whose chunks are checked."""
    kind, _, data = url.partition(",")
    if kind != "data:image/png;base64":
        raise ValueError("source is no PNG of this page: " + url[:60])
    png = base64.b64decode(data, validate=True)
    if png[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("no PNG")
    at, size = 8, None
    while at < len(png):
        n, = struct.unpack(">I", png[at:at + 4])
        if zlib.crc32(png[at + 4:at + 8 + n]) != struct.unpack(">I", png[at + 8 + n:at + 12 + n])[0]:
            raise ValueError("a chunk's checksum is wrong")
        if png[at + 4:at + 8] == b"IHDR":
            size = struct.unpack(">II", png[at + 8:at + 16])
        at += 12 + n
    return size


def check_element(p, tag, a, inside, line):
    say = lambda what: p.wrong.append("line %d: %s" % (line, what))
    for name in ("src", "href", "xlink:href", "action", "poster", "srcset", "data"):
        value = a.get(name)
        if value is None:
            continue
        if name == "href" and tag == "a":
            if not value.startswith("#") or value[1:] not in p.ids:
                say("a link to %s, which is not in the page" % value)
        elif not value.startswith("data:"):
            say("%s=%s is outside of the page" % (name, value))
    if tag in ("link", "iframe", "object", "embed", "base"):
        say("<%s>" % tag)
    if tag == "img":
        if not a.get("alt"):
            say("<img> without alt")
        try:
            size = png_size(a.get("src", ""))
            if (str(size[0]), str(size[1])) != (a.get("width"), a.get("height")):
                say("<img> of %s says %sx%s" % (size, a.get("width"), a.get("height")))
        except ValueError as problem:
            say(str(problem))
    if tag == "svg" and a.get("aria-hidden") != "true" and not (a.get("role") == "img" and a.get("aria-label")):
        say("<svg> that readers of screens can make nothing of")
    if tag == "th" and a.get("scope") not in ("row", "col", "rowgroup"):
        say("<th> without scope")
    for name in ("aria-labelledby", "for"):
        if name in a and a[name] not in p.ids:
            say("%s=%s is not in the page" % (name, a[name]))
    if "wide" in a.get("class", "").split() and not (a.get("tabindex") == "0" and a.get("aria-label")):
        say("a box that scrolls, and no keyboard reaches")
    for value in a.values():
        if value and re.search(r"\b(nan|inf)\b", value):
            say("<%s> has a number that is none: %s" % (tag, value[:80]))


def read(path):
    text = open(path, encoding="utf-8").read()
    p = Page()
    p.feed(text)
    p.close()
    for tag, _ in p.stack:
        p.wrong.append("<%s> is not closed" % tag)
    for name in sorted({i for i in p.ids if p.ids.count(i) > 1}):
        p.wrong.append("id %s is there twice" % name)
    for tag, a, inside, line in p.elements:
        check_element(p, tag, a, inside, line)
    for t in p.tables:
        if not t["caption"].strip():
            p.wrong.append("a table without a caption")
        widths = {sum(int(c["attrs"].get("colspan", 1)) for c in row) for row in t["rows"]}
        if len(widths) != 1:
            p.wrong.append("table '%s' has rows of %s cells" % (t["caption"], sorted(widths)))
    levels = [int(tag[1]) for tag, _, _, _ in p.elements if re.fullmatch("h[1-6]", tag)]
    if levels.count(1) != 1 or any(b > a + 1 for a, b in zip(levels, levels[1:])):
        p.wrong.append("headings are %s" % levels)
    bare = re.sub(r'base64,[A-Za-z0-9+/=]*|<p class="absent">[^<]*', "", text)  # a reason may name where data are
    if re.search(r"(?i)https?://|url\(|@import|//[a-z]", bare):
        p.wrong.append("an address outside of the page")
    if not text.startswith("<!DOCTYPE html>\n<html lang=\"en\">") or "name=\"viewport\"" not in text:
        p.wrong.append("the head is not that of a page for all screens")
    return p


if __name__ == "__main__":
    page = read(sys.argv[1])
    print("\n".join(page.wrong))
    sys.exit(bool(page.wrong))
