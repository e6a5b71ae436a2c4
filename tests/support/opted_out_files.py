"""Image files that carry opt-outs: XMP packets and C2PA manifests put where each format has them."""

from __future__ import annotations

import io
import json
import struct
import zlib
from typing import Any

import cbor2
import numpy as np
from PIL import Image

from x2i.image.header import webp_size

PLUS = "http://ns.useplus.org/ldf/vocab/DMI-"


def picture(image_format: str = "JPEG", **options: Any) -> bytes:
    """Returns a small picture as a file."""
    y, x = np.mgrid[:40, :56]
    pixels = np.stack([x * 4 % 256, y * 5 % 256, x * y % 256], 2).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, image_format, **options)
    return stream.getvalue()


def xmp(inside: str = "", attributes: str = "") -> bytes:
    """Returns an XMP packet with properties as elements or as attributes of its description."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        ' xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/" xmlns:tdm="http://www.w3.org/ns/tdmrep/"'
        ' xmlns:booking="https://hotel.example/"'
        f' {attributes}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def data_mining(value: str) -> bytes:
    return xmp(f"<plus:DataMining>{PLUS}{value}</plus:DataMining>")


def with_xmp(packet: bytes, image_format: str) -> bytes:
    """Returns a picture with the packet where Pillow puts it."""
    if image_format == "PNG":
        return png_with("iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)
    if image_format == "TIFF":
        return picture(image_format, tiffinfo={700: packet})
    return picture(image_format, xmp=packet)


def png_with(kind: str, body: bytes) -> bytes:
    """Returns a PNG with one more chunk, after its header."""
    data, chunk = picture("PNG"), kind.encode() + body
    return data[:33] + struct.pack(">I", len(body)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    """Returns a JPEG with further segments: marker and payload."""
    data = picture("JPEG")
    more = b"".join(bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments)
    return data[:2] + more + data[2:]


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def superbox(kind: bytes, label: str, body: bytes) -> bytes:
    uuid = kind + bytes.fromhex("00110010800000aa00389b71")
    return box(b"jumb", box(b"jumd", uuid + b"\x03" + label.encode() + b"\0") + body)


def manifest(label: str, entries: object, kind: bytes = b"cbor", padding: int = 0) -> bytes:
    """Returns a C2PA manifest store with one assertion, after `padding` bytes of another."""
    document = {"entries": entries}
    content = json.dumps(document).encode() if kind == b"json" else cbor2.dumps(document)
    other = superbox(b"cbor", "c2pa.other", box(b"cbor", cbor2.dumps(bytes(padding))))
    assertions = other + superbox(kind, label, box(kind, content))
    return superbox(b"c2pa", "c2pa", superbox(b"c2ma", "urn:uuid:1", superbox(b"c2as", "c2pa.assertions", assertions)))


def jpeg_with_manifest(store: bytes, piece: int = 60_000) -> bytes:
    """Returns a JPEG with the store in APP11 segments, the header of its box repeated in each."""
    pieces = [store[8:][start : start + piece] for start in range(0, len(store) - 8, piece)]
    bodies = (b"JP\0\1" + struct.pack(">I", n) + store[:8] + part for n, part in enumerate(pieces, 1))
    return jpeg_with(*((0xEB, body) for body in bodies))


def webp_with(kind: bytes, body: bytes) -> bytes:
    """Returns an extended WebP with one more chunk at its end."""
    data = picture("WEBP")
    width, height = webp_size(data)
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    chunk = kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    whole = b"WEBP" + extended + data[12:] + chunk
    return b"RIFF" + struct.pack("<I", len(whole)) + whole


def gif_with_manifest(store: bytes) -> bytes:
    """Returns a GIF with the store in an application extension, in blocks of 255 bytes."""
    data = picture("GIF")
    blocks = [store[start : start + 255] for start in range(0, len(store), 255)]
    extension = b"\x21\xff\x0bC2PA_GIF\x01\0\0" + b"".join(bytes([len(one)]) + one for one in blocks) + b"\0"
    end = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    return data[:end] + extension + data[end:]
