"""XML from strangers: parsed without entities, so that a small file stays small and nothing else is opened."""

from __future__ import annotations

from xml.etree import ElementTree


class XmlError(ValueError):
    """The text is no XML, or XML with a document type, which is where entities are declared."""


class _Builder(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise XmlError("it declares a document type")


def parse_xml(data: bytes) -> ElementTree.Element:
    """Returns the root element of an XML document. Raises XmlError."""
    try:
        return ElementTree.fromstring(data.strip(b"\0 \t\r\n"), ElementTree.XMLParser(target=_Builder()))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise XmlError(str(error)) from error


def local_name(element: ElementTree.Element) -> str:
    """Returns an element's name without its namespace; "" for comments and instructions."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
