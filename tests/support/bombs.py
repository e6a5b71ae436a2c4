"""Small files that ask for much: each goes through the crawl's image path here, in a process of its own.

Run `python -m tests.support.bombs NAME...`: it prints one JSON line for each.
"""

from __future__ import annotations

import io
import json
import struct
import sys
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.hostile_server import png_bomb
from tests.support.image_files import photograph, saved, tiled_tiff

MAX_PIXELS = 2_000_000


def jpeg_of_vast_size(**options: object) -> bytes:
    data = bytearray(saved(photograph(), "JPEG", **options))
    frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65500, 65500)
    return bytes(data)


def png_with_chunk(name: bytes, start: bytes) -> bytes:
    """A small PNG with a chunk that inflates to 200 MB."""
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    body = name + start + packed
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    data = saved(photograph(64, 48), "PNG")
    return data[:33] + chunk + data[33:]


def gif_of_vast_canvas() -> bytes:
    data = bytearray(saved(photograph(64, 48), "GIF"))
    data[6:10] = struct.pack("<HH", 65535, 65535)
    return bytes(data)


def gif_of_vast_frame() -> bytes:
    data = bytearray(saved(photograph(64, 48), "GIF"))
    frame = data.index(b"\x2c\0\0\0\0\x40\0\x30\0")
    data[frame + 5 : frame + 9] = struct.pack("<HH", 65535, 65535)
    return bytes(data)


def gif_of_countless_frames() -> bytes:
    data = saved(photograph(8, 8), "GIF")
    return data[:-1] + b"\x2c\0\0\0\0\1\0\1\0\0\2\2L\1\0" * 300_000 + b";"


def webp_of_vast_canvas() -> bytes:
    frames = [photograph(64, 48).rotate(90)]
    data = bytearray(saved(photograph(64, 48), "WEBP", save_all=True, append_images=frames))
    data[24:30] = b"\xff\x3f\0\xff\x3f\0"
    return bytes(data)


def tiff_of_vast_tiles() -> bytes:
    data = bytearray(tiled_tiff())
    for tag in (322, 323):
        entry = next(at for at in _tiff_entries(data) if struct.unpack_from("<H", data, at)[0] == tag)
        struct.pack_into("<HHII", data, entry, tag, 4, 1, 60000)
    return bytes(data)


def tiff_of_a_vast_strip() -> bytes:
    data = bytearray(saved(photograph(64, 48), "TIFF", compression="tiff_adobe_deflate"))
    entry = next(at for at in _tiff_entries(data) if struct.unpack_from("<H", data, at)[0] == 278)
    struct.pack_into("<HHII", data, entry, 278, 4, 1, 2**31 - 1)
    return bytes(data)


def tiff_of_countless_values() -> bytes:
    """65,535 tags, each of which says that the whole file of 3 MB is its value."""
    size = 3_000_000
    entries = b"".join(struct.pack("<HHII", tag, 7, size, 0) for tag in range(65535))
    body = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 65535) + entries + bytes(4)
    return body + bytes(size - len(body))


def tiff_of_countless_directories() -> bytes:
    """A chain of 200,000 directories that never comes back to where it was."""
    directories = b"".join(struct.pack("<HHHIII", 1, 256, 3, 1, 1, 8 + 18 * number) for number in range(1, 200_001))
    return b"II*\0" + struct.pack("<I", 8) + directories


def _tiff_entries(data: bytearray) -> range:
    start = struct.unpack_from("<I", data, 4)[0]
    return range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12)


def bmp_of_vast_size() -> bytes:
    data = bytearray(saved(photograph(64, 48), "BMP"))
    data[18:26] = struct.pack("<ii", 60000, 60000)
    return bytes(data)


def _with_size(data: bytes, width: int, height: int) -> bytes:
    """Writes another size into every "ispe" box of an AVIF or HEIF file."""
    changed, at = bytearray(data), -1
    while (at := changed.find(b"ispe", at + 1)) >= 0:
        changed[at + 8 : at + 16] = struct.pack(">II", width, height)
    return bytes(changed)


def _vast_picture() -> Image.Image:
    return Image.fromarray(np.zeros((3000, 4000, 3), np.uint8))


def avif_of_vast_size() -> bytes:
    return _with_size(saved(photograph(64, 48), "AVIF"), 60000, 60000)


def avif_that_understates_its_size() -> bytes:
    return _with_size(saved(_vast_picture(), "AVIF", speed=10), 64, 48)


def heif_that_understates_its_size() -> bytes:
    import pillow_heif

    stream = io.BytesIO()
    pillow_heif.from_pillow(_vast_picture()).save(stream, quality=10, enc_params={"preset": "ultrafast"})
    return _with_size(stream.getvalue(), 64, 48)


BOMBS: dict[str, Callable[[], bytes]] = {
    "jpeg of vast size": jpeg_of_vast_size,
    "progressive jpeg of vast size": lambda: jpeg_of_vast_size(progressive=True),
    "png of vast size": lambda: png_bomb(2**31 - 1, 2**31 - 1),
    "png with a vast profile": lambda: png_with_chunk(b"iCCP", b"p\0\0"),
    "png with a vast text": lambda: png_with_chunk(b"zTXt", b"Comment\0\0"),
    "gif of vast canvas": gif_of_vast_canvas,
    "gif of vast frame": gif_of_vast_frame,
    "gif of countless frames": gif_of_countless_frames,
    "webp of vast canvas": webp_of_vast_canvas,
    "tiff of vast tiles": tiff_of_vast_tiles,
    "tiff of a vast strip": tiff_of_a_vast_strip,
    "tiff of countless values": tiff_of_countless_values,
    "tiff of countless directories": tiff_of_countless_directories,
    "bmp of vast size": bmp_of_vast_size,
    "avif of vast size": avif_of_vast_size,
    "avif that understates its size": avif_that_understates_its_size,
    "heif that understates its size": heif_that_understates_its_size,
}


def main() -> None:
    from x2i.crawl.process import StoragePolicy, make_image
    from x2i.reasons import DroppedError

    warnings.simplefilter("ignore")
    policy = StoragePolicy(max_side=128, max_pixels=MAX_PIXELS)
    make_image(saved(photograph(), "JPEG"), policy)
    for name in sys.argv[1:]:
        data = BOMBS[name]()
        # Making the file took memory too: only from here on does the kernel's mark of the most memory count.
        Path("/proc/self/clear_refs").write_text("5")
        before, reason, started = _most_megabytes(), "stored", time.process_time()
        try:
            make_image(data, policy)
        except DroppedError as dropped:
            reason = str(dropped.verdict.reason)
        seconds, grown = time.process_time() - started, _most_megabytes() - before
        print(json.dumps({"name": name, "reason": reason, "grown_megabytes": grown, "seconds": seconds}), flush=True)


def _most_megabytes() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
