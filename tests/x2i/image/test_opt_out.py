"""Opt-outs inside files, in every place where a format keeps metadata; what permits training or is damaged is none."""

from __future__ import annotations

import struct
import time
import zlib
from pathlib import Path

import pytest

from tests.support.opted_out_files import (
    PLUS,
    data_mining,
    gif_with_manifest,
    jpeg_with,
    jpeg_with_manifest,
    manifest,
    picture,
    png_with,
    webp_with,
    with_xmp,
    xmp,
)
from x2i.crawl.process import StoragePolicy, make_image
from x2i.image.header import read_header
from x2i.image.opt_out import file_opt_out
from x2i.reasons import DroppedError, Reason

NO = "PROHIBITED-AIMLTRAINING"
REFUSED = {"c2pa.ai_training": {"use": "notAllowed"}, "c2pa.ai_inference": {"use": "allowed"}}


def signal(data: bytes) -> str:
    return file_opt_out(data, read_header(data).format)


@pytest.mark.parametrize(
    ("packet", "found"),
    [
        (data_mining(NO), "prohibited-aimltraining"),
        (data_mining("PROHIBITED"), "prohibited"),
        (data_mining("PROHIBITED-GENAIMLTRAINING"), "prohibited-genaimltraining"),
        (data_mining("PROHIBITED-EXCEPTSEARCHENGINEINDEXING"), "prohibited-exceptsearchengineindexing"),
        (data_mining("PROHIBITED-SEECONSTRAINT"), "prohibited-seeconstraint"),
        (data_mining("ALLOWED"), ""),
        (data_mining("UNSPECIFIED"), ""),
        (xmp(attributes=f'plus:DataMining="{PLUS}{NO}"'), "prohibited-aimltraining"),
        (xmp(f'<plus:DataMining rdf:resource="{PLUS}{NO}"/>'), "prohibited-aimltraining"),
        (xmp(f"<plus:DataMining><rdf:Bag><rdf:li>{PLUS}{NO}</rdf:li></rdf:Bag></plus:DataMining>"), "prohibited-aiml"),
        (xmp("<plus:DataMining>Prohibited for AI/ML training</plus:DataMining>"), "prohibited"),
        (xmp("<plus:OtherConstraints>DMI-PROHIBITED is not meant</plus:OtherConstraints>"), ""),
        (xmp("<tdm:reservation>1</tdm:reservation>"), "tdm:reservation: 1"),
        (xmp(attributes='tdm:reservation="1" tdm:policy="https://a.example/p"'), "tdm:reservation: 1"),
        (xmp("<tdm:reservation>0</tdm:reservation>"), ""),
        (xmp("<booking:reservation>1</booking:reservation>"), ""),
        (data_mining(NO).replace(b"</rdf:Description>", b""), "prohibited"),
        (b"DataMining <rdf:RDF", ""),
    ],
)
def test_xmp_fields(packet: bytes, found: str) -> None:
    said = signal(with_xmp(packet, "JPEG"))
    assert (said == "") == (found == "")
    assert found in said


def pieces_of_extended_xmp(packet: bytes) -> bytes:
    """A JPEG whose packet is cut in the middle of its value, the second piece before the first."""
    head = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + struct.pack(">I", len(packet))
    cut = packet.index(b"Data") + 2
    first, second = head + struct.pack(">I", 0) + packet[:cut], head + struct.pack(">I", cut) + packet[cut:]
    return jpeg_with((0xE1, second), (0xE1, first))


def raw_profile(packet: bytes) -> bytes:
    """A PNG as ImageMagick writes it."""
    text = f"\nxmp\n{len(packet):>8}\n{packet.hex()}\n".encode()
    return png_with("zTXt", b"Raw profile type xmp\0\0" + zlib.compress(text))


XMP_CARRIERS = {
    **{name: lambda packet, name=name: with_xmp(packet, name) for name in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")},
    "PNG, compressed": lambda packet: png_with("iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(packet)),
    "PNG, raw profile": raw_profile,
    "JPEG, extended": pieces_of_extended_xmp,
    "GIF": lambda packet: picture("GIF")[:-1] + b"\x21\xff\x0bXMP DataXMP" + packet + b"\x01\0;",
}


@pytest.mark.parametrize("carrier", XMP_CARRIERS)
def test_xmp_is_found_wherever_a_format_keeps_it(carrier: str) -> None:
    assert signal(XMP_CARRIERS[carrier](data_mining(NO))) == "xmp plus:DataMining: prohibited-aimltraining"
    assert not signal(XMP_CARRIERS[carrier](data_mining("ALLOWED")))


C2PA_CARRIERS = {
    "JPEG": jpeg_with_manifest,
    "JPEG, in segments": lambda store: jpeg_with_manifest(store, len(store) - 40),
    "PNG": lambda store: png_with("caBX", store),
    "WEBP": lambda store: webp_with(b"C2PA", store),
    "GIF": gif_with_manifest,
}


@pytest.mark.parametrize("carrier", C2PA_CARRIERS)
@pytest.mark.parametrize("kind", [b"cbor", b"json"])
def test_training_assertions_are_found_wherever_a_format_keeps_them(carrier: str, kind: bytes) -> None:
    put = C2PA_CARRIERS[carrier]
    store = manifest("c2pa.training-mining", REFUSED, kind, padding=300)
    assert signal(put(store)) == "c2pa.training-mining: ai_training notAllowed"
    allowed = {"c2pa.ai_training": {"use": "allowed"}}
    assert not signal(put(manifest("c2pa.training-mining", allowed, kind, padding=300)))


@pytest.mark.parametrize(
    ("label", "entries", "found"),
    [
        ("cawg.training-mining", {"cawg.ai_generative_training": {"use": "notAllowed"}}, "ai_generative_training"),
        ("cawg.training-mining__1", {"cawg.data_mining": {"use": "constrained"}}, "data_mining constrained"),
        ("c2pa.training-mining.v2", {"c2pa.ai_training": {"use": "notAllowed"}}, "ai_training"),
        ("cawg.training-mining", {"cawg.ai_inference": {"use": "notAllowed"}}, ""),
        ("org.other.training-mining", {"c2pa.ai_training": {"use": "notAllowed"}}, ""),
        ("c2pa.training-mining", ["notAllowed"], ""),
        ("c2pa.training-mining", {"c2pa.ai_training": "notAllowed"}, ""),
        ("c2pa.training-mining", {}, ""),
    ],
)
def test_assertions_of_either_name(label: str, entries: object, found: str) -> None:
    said = signal(png_with("caBX", manifest(label, entries)))
    assert (said == "") == (found == "")
    assert found in said


@pytest.mark.parametrize("path", sorted((Path(__file__).parent / "c2pa").glob("*ed.*")), ids=lambda path: path.name)
def test_files_signed_with_the_reference_library(path: Path) -> None:
    assert bool(signal(path.read_bytes())) == ("refused" in path.name)


def test_what_is_hostile_costs_no_time_and_says_nothing() -> None:
    label = b"jumd" + bytes(17) + b"c2pa.training-mining"
    bodies = [
        b"DataMining" + b"<rdf:RDF >" * 200_000,
        b"DataMining" + b"<rdf:RDF ></rdf:RDF>" * 100_000,
        b"DataMining<rdf:RDF>" + b"<a>" * 300_000 + b"</rdf:RDF>",
        b"DataMining<!DOCTYPE x [<!ENTITY a 'b'>]><rdf:RDF>&a;</rdf:RDF>",
        (label + b"_a" * 50) * 20_000,
        (label + b"\0\xff\xff\xff\xff") * 20_000,
        label + b"\0" + b"\0\0\xff\xffcbor" + b"\x81" * 60_000,
        label + b"\0" + b"\0\0\xff\xffcbor" + b"\x9b\x7f" + b"\xff" * 60_000,
        label + b"\0" + b"\0\0\xff\xffjson" + b"[" * 60_000,
    ]
    start = time.process_time()
    assert not any(signal(picture("PNG") + body) for body in bodies)
    assert time.process_time() - start < 5


def test_an_image_that_refuses_is_not_stored_unless_it_is_the_users_own() -> None:
    data = with_xmp(data_mining(NO), "JPEG")
    with pytest.raises(DroppedError) as caught:
        make_image(data, StoragePolicy())
    assert caught.value.verdict.reason is Reason.OPT_OUT
    assert make_image(data, StoragePolicy(ignore_file_opt_outs=True)).width == 56
