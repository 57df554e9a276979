"""Writes a folder of malformed picture files of many kinds: `python tests/faults/malformed.py FOLDER`."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 32


def encoded(kind: str) -> bytes:
    """Return a whole file of 32 x 32 pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    buffer = io.BytesIO()
    if kind == "npy":
        np.save(buffer, pixels)
    else:
        Image.fromarray(pixels).save(buffer, {"jpg": "JPEG", "tif": "TIFF"}.get(kind, kind.upper()))
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a PNG chunk with its checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int = 8, color: int = 2, data: bytes = b"", end: bool = True) -> bytes:
    """Return a PNG whose header says this, whatever its data are."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + body + (chunk(b"IEND", b"") if end else b"")


def npy(header: str, data: bytes = b"\0" * 64, version: bytes = b"\1\0") -> bytes:
    """Return an .npy file with this header."""
    return b"\x93NUMPY" + version + struct.pack("<H", len(header) + 1) + header.encode() + b"\n" + data


def tiff(tags: dict[int, tuple[int, int]], following: int = 0, data: bytes = b"\0" * 64) -> bytes:
    """Return a little TIFF with these tags (type, value) and the offset of the directory that follows."""
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in sorted(tags.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + struct.pack("<I", following) + data


def plain(**changed: int) -> dict[int, tuple[int, int]]:
    """Return the tags of a grey 8 x 8 TIFF, but for those changed by name."""
    names = {"width": 256, "height": 257, "bits": 258, "compression": 259, "kind": 262, "at": 273, "samples": 277}
    names |= {"rows": 278, "count": 279}
    values = {"width": 8, "height": 8, "bits": 8, "compression": 1, "kind": 1, "at": 122, "samples": 1}
    values |= {"rows": 8, "count": 64} | changed
    return {names[name]: (4, value) for name, value in values.items()}


def wrong() -> dict[str, bytes]:
    """Return malformed files by name; what stands before the first dash is the kind."""
    made: dict[str, bytes] = {}
    for kind in ("png", "jpg", "tif", "webp", "bmp", "npy"):
        whole = encoded(kind)
        for part in (0.02, 0.1, 0.3, 0.5, 0.7, 0.95):
            made[f"cut {kind}-{part}.{kind}"] = whole[: max(1, int(len(whole) * part))]
        made[f"empty {kind}-0.{kind}"] = b""
        made[f"magic of {kind}-0.{kind}"] = b"\0\0\0\0" + whole[4:]
        made[f"zeros as {kind}-0.{kind}"] = bytes(400)
        made[f"text as {kind}-0.{kind}"] = b"hello there\n" * 20
        made[f"page as {kind}-0.{kind}"] = b"<!DOCTYPE html><title>404 Not Found</title>"
        made[f"pickle as {kind}-0.{kind}"] = pickle.dumps([1, 2, 3])
    whole = encoded("png")
    made |= {
        "EPS-0.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "SVG-0.png": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "PDF-0.jpg": b"%PDF-1.4\n%%EOF\n",
        "GIF cut-0.png": b"GIF89a\x20\0\x20\0\xf7\0\0",
        "PNG checksum-0.png": whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:],
        "PNG zero width-0.png": png(0, 8),
        "PNG zero height-0.png": png(8, 0),
        "PNG bomb header-0.png": png(60000, 60000),
        "PNG bomb header-1.png": png(2**31 - 1, 2**31 - 1),
        "PNG bomb data-0.png": png(14000, 14000, data=bytes(1 << 20)),
        "PNG of 3 bits-0.png": png(8, 8, depth=3, data=bytes(200)),
        "PNG of colour 5-0.png": png(8, 8, color=5, data=bytes(200)),
        "PNG palette without colours-0.png": png(8, 8, color=3, data=bytes(72)),
        "PNG without end-0.png": png(8, 8, data=bytes(200), end=False),
        "PNG too few rows-0.png": png(8, 8, data=bytes(100)),
        "PNG of 16 bits, half-0.png": png(8, 8, depth=16, data=bytes(200)),
        "BMP bomb-0.bmp": b"BM" + struct.pack("<IIIIiiHH", 1 << 20, 0, 54, 40, 60000, 60000, 1, 24) + bytes(24),
        "JPEG without tables-0.jpg": encoded("jpg").replace(b"\xff\xdb", b"\xff\xfe"),
        "JPEG without frame-0.jpg": encoded("jpg").replace(b"\xff\xc0", b"\xff\xfe"),
        "npy lies, larger-0.npy": npy("{'descr': '|u1', 'fortran_order': False, 'shape': (80, 80)}"),
        "npy lies, huge-0.npy": npy("{'descr': '|u1', 'fortran_order': False, 'shape': (900000, 900000)}"),
        "npy of objects-0.npy": npy("{'descr': '|O', 'fortran_order': False, 'shape': (8, 8)}"),
        "npy of one axis-0.npy": npy("{'descr': '|u1', 'fortran_order': False, 'shape': (64,)}"),
        "npy of text-0.npy": npy("{'descr': '<U1', 'fortran_order': False, 'shape': (4, 4)}"),
        "npy negative-0.npy": npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-8, -8)}"),
        "npy with code-0.npy": npy("__import__('os').getcwd()"),
        "npy version 9-0.npy": npy("{}", version=b"\x09\0"),
        "npy NaN-0.npy": npy(
            "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 4)}", np.full(16, np.nan, "<f4").tobytes()
        ),
        "TIFF of cyclic directories-0.tif": tiff(plain(samples=5), following=8),
        "TIFF strip beyond end-0.tif": tiff(plain(at=1 << 30)),
        "TIFF huge strip-0.tif": tiff(plain(count=2**32 - 1, samples=5)),
        "TIFF bomb-0.tif": tiff(plain(width=2**31, height=2**31)),
        "TIFF zero width-0.tif": tiff(plain(width=0)),
        "TIFF of 3 bits-0.tif": tiff(plain(bits=3)),
        "TIFF of compression 999-0.tif": tiff(plain(compression=999)),
        "TIFF without tags-0.tif": tiff({}),
    }
    return made


def write(folder: Path) -> list[Path]:
    """Write all of them below a folder; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in wrong().items():
        (folder / name).write_bytes(data)
    return sorted(folder / name for name in wrong())


if __name__ == "__main__":
    print(f"{len(write(Path(sys.argv[1])))} files")
