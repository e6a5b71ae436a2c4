"""Mutated real images, fed to the crawl's image path in a process of its own with limits on time and memory.

Run `python -m tests.support.fuzz COUNT FORMAT...`: it prints one JSON line for each format.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import signal
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.image_files import photograph, saved, swapped_profile, tiled_tiff

CPU_SECONDS = 5.0
"""For one image. A mutated header may claim up to MAX_PIXELS, which take well under a second."""
MAX_PIXELS = 2_000_000
ADDRESS_SPACE = 4 << 30


def _frames() -> list[Image.Image]:
    return [photograph(64, 48).rotate(90 * turn) for turn in (1, 2)]


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    return exif


def _transparent() -> Image.Image:
    picture = photograph(96, 72)
    picture.putalpha(photograph(96, 72).convert("L"))
    return picture


def _heif() -> bytes:
    import pillow_heif

    stream = io.BytesIO()
    pillow_heif.from_pillow(photograph(96, 72)).save(stream)
    return stream.getvalue()


MAKERS: dict[str, list[Callable[[], bytes]]] = {
    "jpeg": [
        lambda: saved(photograph(96, 72), "JPEG", exif=_exif(), icc_profile=swapped_profile()),
        lambda: saved(photograph(96, 72).convert("CMYK"), "JPEG"),
        lambda: saved(photograph(97, 71).convert("L"), "JPEG", restart_marker_blocks=3),
    ],
    "progressive": [lambda: saved(photograph(96, 72), "JPEG", progressive=True, exif=_exif())],
    "png": [
        lambda: saved(photograph(64, 48), "PNG", icc_profile=swapped_profile(), exif=_exif()),
        lambda: saved(_transparent(), "PNG"),
        lambda: saved(photograph(64, 48), "PNG", save_all=True, append_images=_frames()),
    ],
    "webp": [
        lambda: saved(photograph(96, 72), "WEBP", exif=_exif(), icc_profile=swapped_profile()),
        lambda: saved(_transparent(), "WEBP", lossless=True),
        lambda: saved(photograph(64, 48), "WEBP", save_all=True, append_images=_frames()),
    ],
    "gif": [
        lambda: saved(photograph(64, 48), "GIF"),
        lambda: saved(photograph(64, 48), "GIF", save_all=True, append_images=_frames()),
    ],
    "bmp": [lambda: saved(photograph(48, 36), "BMP"), lambda: saved(photograph(48, 36).convert("P"), "BMP")],
    "tiff": [
        lambda: saved(photograph(64, 48), "TIFF", exif=_exif()),
        lambda: saved(photograph(64, 48), "TIFF", compression="tiff_lzw"),
        lambda: saved(photograph(64, 48), "TIFF", compression="jpeg"),
        lambda: saved(photograph(64, 48), "TIFF", compression="tiff_adobe_deflate"),
        tiled_tiff,
        lambda: saved(photograph(64, 48).convert("1"), "TIFF", compression="group4"),
    ],
    "avif": [
        lambda: saved(photograph(64, 48), "AVIF", exif=_exif()),
        lambda: saved(_transparent(), "AVIF"),
        lambda: saved(photograph(64, 48), "AVIF", save_all=True, append_images=_frames()),
    ],
    "heif": [_heif],
}


def mutated(data: bytes, other: bytes, draw: np.random.Generator) -> bytes:
    """Returns `data` damaged in one to three ways: bits, runs, its end, its numbers, or the tail of `other`."""
    for _ in range(int(draw.integers(1, 4))):
        way = MUTATIONS[int(draw.integers(len(MUTATIONS)))]
        data = way(data, other, draw) or data
    return data


def _flip_bits(data: bytes, other: bytes, draw: np.random.Generator) -> bytes:
    broken = bytearray(data)
    for _ in range(int(draw.integers(1, 9))):
        broken[int(draw.integers(len(data)))] ^= 1 << int(draw.integers(8))
    return bytes(broken)


def _flip_header(data: bytes, other: bytes, draw: np.random.Generator) -> bytes:
    return _flip_bits(data[:200], other, draw) + data[200:]


def _cut(data: bytes, other: bytes, draw: np.random.Generator) -> bytes:
    return data[: int(draw.integers(1, len(data) + 1))]


def _insert(data: bytes, other: bytes, draw: np.random.Generator) -> bytes:
    place = int(draw.integers(len(data)))
    return data[:place] + draw.bytes(int(draw.integers(1, 40))) + data[place:]


def _delete(data: bytes, other: bytes, draw: np.random.Generator) -> bytes:
    place = int(draw.integers(len(data)))
    return data[:place] + data[place + int(draw.integers(1, 40)) :]


def _write_number(data: bytes, other: bytes, draw: np.random.Generator) -> bytes:
    """Writes a telling number where a length, an offset, a count or a dimension may stand."""
    size = int(draw.choice([1, 2, 4]))
    value = int(draw.choice([0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFDC, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF]))
    number = (value & (256**size - 1)).to_bytes(size, str(draw.choice(["big", "little"])))  # type: ignore[arg-type]
    place = int(draw.integers(min(len(data), 600 if draw.random() < 0.8 else len(data))))
    return data[:place] + number + data[place + size :]


def _splice(data: bytes, other: bytes, draw: np.random.Generator) -> bytes:
    return data[: int(draw.integers(1, len(data) + 1))] + other[int(draw.integers(len(other))) :]


MUTATIONS = (_flip_bits, _flip_header, _cut, _insert, _delete, _write_number, _write_number, _splice)


def case(kind: str, number: int, originals: list[bytes]) -> bytes:
    draw = np.random.default_rng([sorted(MAKERS).index(kind), number])
    first, second = draw.integers(len(originals), size=2)
    data = mutated(originals[first], originals[second], draw)
    return _with_right_sums(data) if kind == "png" and draw.random() < 0.7 else data


def _with_right_sums(png: bytes) -> bytes:
    """Returns a damaged PNG whose chunks' checksums are right again, so that the damage gets past the first check."""
    position, mended = 8, bytearray(png)
    while position + 12 <= len(mended):
        end = position + 8 + int.from_bytes(mended[position : position + 4], "big")
        if end + 4 > len(mended):
            break
        mended[end : end + 4] = zlib.crc32(mended[position + 4 : end]).to_bytes(4, "big")
        position = end + 4
    return bytes(mended)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, help="Cases of each format, numbered from 0.")
    parser.add_argument("formats", nargs="+", choices=MAKERS, metavar="FORMAT")
    parser.add_argument("--log", type=Path, help="The format and the number of the case at hand are written here.")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    originals = {kind: [maker() for maker in MAKERS[kind]] for kind in options.formats}
    for original in (one for several in originals.values() for one in several):
        _outcome(original)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    for kind in options.formats:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcomes: Counter[str] = Counter()
        for number in range(options.count):
            data = case(kind, number, originals[kind])
            if options.log:
                options.log.write_text(f"{kind}, case {number}")
            # Left to its default, SIGPROF ends the process, even from within a decoder's endless loop.
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            outcomes[_outcome(data)] += 1
        signal.setitimer(signal.ITIMER_PROF, 0)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(json.dumps({"format": kind, "outcomes": outcomes, "grown_megabytes": grown}), flush=True)


def _outcome(data: bytes) -> str:
    """Returns "stored", or the reason why the crawl drops an image of these bytes."""
    from x2i.crawl.process import StoragePolicy, make_image
    from x2i.reasons import DroppedError

    policy = StoragePolicy(max_side=128, max_pixels=MAX_PIXELS, keep_metadata=True)
    try:
        image = make_image(data, policy)
    except DroppedError as dropped:
        return str(dropped.verdict.reason)
    assert image.data
    assert max(image.width, image.height) <= policy.max_side
    return "stored"


if __name__ == "__main__":
    main()
