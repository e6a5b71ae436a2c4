"""Opt-outs inside image files: the data mining field of PLUS and IPTC, TDM reservations in XMP, C2PA assertions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from x2i.image.metadata_carriers import metadata_carriers
from x2i.xml_text import XmlError, local_name, parse_xml

_XMP_WORDS = (b"DataMining", b"reservation")
_PACKET_START = re.compile(rb"<(?:\w{1,20}:)?(xmpmeta|xapmeta|RDF)[\s>]")
_MAX_PACKET, _MAX_PACKETS = 4 * 2**20, 64
_PROHIBITED = re.compile(r"prohibited[\w-]*", re.IGNORECASE)
_ASSERTION = re.compile(rb"jumd.{16}.((?:c2pa|cawg)\.training-mining)[\w.]{0,20}\0", re.DOTALL)
_MAX_ASSERTION = 64 * 1024
_TRAINING_USES = ("ai_training", "ai_generative_training", "data_mining")


def file_opt_out(data: bytes, image_format: str) -> str:
    """Returns the first signal in an image file that refuses training, such as "c2pa: ai_training notAllowed", or "".

    image_format: as `read_header` tells it. Read are `plus:DataMining` (any value that prohibits), `tdm:reservation`,
    and the assertions c2pa.training-mining and cawg.training-mining of every manifest: notAllowed, or constrained,
    since the constraint is for people to read. Signatures are not checked: a refusal needs no proof.
    """
    for carrier in metadata_carriers(data, image_format):
        if any(word in carrier for word in _XMP_WORDS):
            for packet in _packets(carrier):
                if signal := _xmp_signal(packet):
                    return signal
        if b".training-mining" in carrier:
            for entries, label in _assertions(carrier):
                if signal := _assertion_signal(entries):
                    return f"{label}: {signal}"
    return ""


def _packets(carrier: bytes) -> Iterator[bytes]:
    """Yields the XMP packets, outermost elements; the time it takes grows with the bytes alone, whatever they are."""
    position = 0
    for _ in range(_MAX_PACKETS):
        opening = _PACKET_START.search(carrier, position)
        closing = carrier.find(opening[1] + b">", opening.end()) if opening else -1
        if opening is None or closing < 0:
            return
        position = closing + len(opening[1]) + 1
        yield carrier[opening.start() : min(position, opening.start() + _MAX_PACKET)]


def _xmp_signal(packet: bytes) -> str:
    try:
        root = parse_xml(packet)
    except XmlError:
        # A packet that is damaged elsewhere still says it in so many words.
        return "xmp plus:DataMining: prohibited" if b"DMI-PROHIBITED" in packet else ""
    for name, namespace, value in _properties(root):
        found = _PROHIBITED.search(value) if name == "DataMining" else None
        if found:
            return f"xmp plus:DataMining: {found[0].lower()}"
        if name == "reservation" and "tdm" in namespace.lower() and value.strip().lower() in ("1", "true"):
            return "xmp tdm:reservation: 1"
    return ""


def _properties(root: Element) -> Iterator[tuple[str, str, str]]:
    """Yields name, namespace and value of attributes, and of the elements that matter with the resources they name."""
    for element in root.iter():
        if not isinstance(element.tag, str):
            continue
        if local_name(element) in ("DataMining", "reservation"):
            pairs = [pair for inner in element.iter() for pair in inner.attrib.items()]
            resources = [value for key, value in pairs if key.endswith("}resource")]
            yield local_name(element), element.tag.partition("}")[0], " ".join([*element.itertext(), *resources])
        for key, value in element.attrib.items():
            yield key.rpartition("}")[2], key.partition("}")[0], value


def _assertions(carrier: bytes) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yields the entries and the label of each training assertion: a description box (ISO 19566-5) and its content."""
    for found in _ASSERTION.finditer(carrier):
        start = found.start() - 4
        size = int.from_bytes(carrier[start : start + 4], "big") if start >= 0 else 0
        content = start + size
        length = int.from_bytes(carrier[content : content + 4], "big")
        kind, body = carrier[content + 4 : content + 8], carrier[content + 8 : content + min(length, _MAX_ASSERTION)]
        document = _decoded(kind, body)
        entries = document.get("entries") if isinstance(document, dict) else None
        if isinstance(entries, dict):
            yield entries, found[1].decode()


def _decoded(kind: bytes, body: bytes) -> Any:
    import cbor2

    try:
        return json.loads(body) if kind == b"json" else cbor2.loads(body) if kind == b"cbor" else None
    except (ValueError, RecursionError, cbor2.CBORDecodeError):
        return None


def _assertion_signal(entries: Mapping[str, Any]) -> str:
    for name, entry in entries.items():
        use = entry.get("use") if isinstance(entry, dict) else None
        short = str(name).rpartition(".")[2]
        if short in _TRAINING_USES and use in ("notAllowed", "constrained"):
            return f"{short} {use}"
    return ""
