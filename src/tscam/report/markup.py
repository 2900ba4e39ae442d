"""Elements of HTML and SVG as nested calls. All text is escaped, unless it is markup made here."""

from html import escape

Attribute = str | int | float | bool | None


class Markup(str):
    """Text that is HTML already; nothing that comes from data is made one but by `element`."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: Attribute) -> Markup:
    """An element with its end tag.

    Args:
        children: markup stays, any other text is escaped.
        attributes: `data_x` stands for `data-x`, `class_` for `class`. True is a bare name; None and False give none.
    """
    inner = "".join(child if isinstance(child, Markup) else escape(child) for child in children)
    return Markup(f"<{name}{''.join(_attribute(*item) for item in attributes.items())}>{inner}</{name}>")


def void(name: str, /, **attributes: Attribute) -> Markup:
    """An element that has no content and no end tag: `img`, `input`, `meta`."""
    return Markup(f"<{name}{''.join(_attribute(*item) for item in attributes.items())}>")


def joined(*parts: str) -> Markup:
    """Parts one after another, escaped where they are no markup."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))


def named(text: str) -> Markup:
    """A name from data: its direction of writing does not reach what stands around it."""
    return element("bdi", text)


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    plain = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {plain}"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f' {plain}="{escape(text)}"'
