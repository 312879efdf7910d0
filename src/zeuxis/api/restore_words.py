"""What a picture's file says in words, and how a PNG says it: IPTC, XMP, comments, and the texts of a PNG.

IPTC's block (its Information Interchange Model: title, creator, rights, caption, keywords) is hexadecimal in a PNG,
under the key that ImageMagick gave it, which others read too. What a PNG says under keys that are ours to write stands
under ``KEY of the original``.
"""

from __future__ import annotations

import struct

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.IptcImagePlugin import getiptcinfo
from PIL.PngImagePlugin import PngImageFile, PngInfo
from PIL.TiffImagePlugin import TiffImageFile

from zeuxis.provenance.record import KEY, OUR_KEYS, XMP_KEY
from zeuxis.provenance.xmp import kept_xmp

XMP_OF_TIFF = 700
MOST_FIELD, LENGTH_FOLLOWS = 0x7FFF, 0x8004  # of IPTC: bytes whose number takes two, and that it takes the next four
RAW = "Raw profile type "
RAW_KEPT = (f"{RAW}iptc", f"{RAW}8bim")  # others hold the notes, the profile or the XMP, which are kept as such
A_LINE = 36  # bytes of a line of hexadecimal
MOST_WORDS = 1 << 20  # bytes of all the texts of a file
MOST_KEY = 60  # letters, so that what is put behind it still fits into the 79 of PNG
Chunks = tuple[tuple[bytes, bytes], ...]  # of PNG: kinds and contents


def words_of(file: Image.Image, notes: list[str]) -> tuple[Chunks, str | None]:
    """What an open picture says in words, as chunks of PNG; and of its XMP what is true of another file, as XML.

    What cannot be kept is told of in ``notes``. A TIFF is asked before it is decoded, a PNG after that.
    """
    kept, size = PngInfo(), 0
    for key, text in _texts(file, notes).items():
        size += len(text)
        if size > MOST_WORDS:
            notes.append(f"its texts are of more than {MOST_WORDS >> 20} MiB: '{key}' and what follows is left out")
            break
        if key in RAW_KEPT:
            kept.add_text(key, text, zip=True)
        else:
            kept.add_itxt(key, text)
    chunks = tuple((kind, content) for kind, content, *_ in kept.chunks)
    packet = _xmp(file)
    if packet is None:
        return chunks, None
    try:
        return chunks, kept_xmp(packet) or None
    except ValueError as error:
        notes.append(f"its XMP is left out: {error}")
        return chunks, None


def _texts(file: Image.Image, notes: list[str]) -> dict[str, str]:
    """Texts by their keys in a PNG."""
    if isinstance(file, PngImageFile):
        return _of_png({key: str(text) for key, text in file.text.items()})
    found = {}
    if (comment := file.info.get("comment")) and isinstance(comment, (bytes, str)):
        found["Comment"] = comment if isinstance(comment, str) else _decoded(comment)
    try:
        block = _iptc(file)
    except Exception:  # noqa: BLE001  (of damaged blocks nearly anything, which says nothing against the picture)
        notes.append("its IPTC is damaged, and left out")
    else:
        found |= {} if block is None else {RAW_KEPT[0]: _hexadecimal(block)}
    return found


def _of_png(texts: dict[str, str]) -> dict[str, str]:
    """The texts of a PNG that are another's too. Of a picture of ours, ours are not: the next one tells its own."""
    found = {}
    for key, text in texts.items():
        if not 0 < len(key) <= MOST_KEY or (key.startswith(RAW) and key not in RAW_KEPT) or key in (KEY, XMP_KEY):
            continue
        if key not in OUR_KEYS:
            found[key] = text
        elif KEY not in texts:
            found[f"{key} of the original"] = text
    return found


def _iptc(file: Image.Image) -> bytes | None:
    """IPTC's block of a JPEG or a TIFF: of each field a mark, its numbers, its length and its content."""
    if not isinstance(file, ImageFile) or not (found := getiptcinfo(file)):
        return None
    block = b""
    for numbers, values in found.items():
        for value in values if isinstance(values, list) else [values]:
            content = value or b""  # Pillow has None for nothing
            many = len(content)
            length = struct.pack(">H", many) if many <= MOST_FIELD else struct.pack(">HI", LENGTH_FOLLOWS, many)
            block += bytes((0x1C, *numbers)) + length + content
    return block


def _xmp(file: Image.Image) -> bytes | None:
    packet = file.tag_v2.get(XMP_OF_TIFF) if isinstance(file, TiffImageFile) else file.info.get("xmp")
    if isinstance(packet, str):
        return packet.encode()
    return packet if isinstance(packet, bytes) and packet else None


def _hexadecimal(block: bytes) -> str:
    """As ImageMagick writes a block into a text: its kind, its length, and lines of numbers."""
    lines = [block[k : k + A_LINE].hex() for k in range(0, len(block), A_LINE)]
    return "\n".join(["", "iptc", f"{len(block):8d}", *lines, ""])


def _decoded(comment: bytes) -> str:
    try:
        return comment.decode("utf-8").strip("\0")
    except UnicodeDecodeError:
        return comment.decode("latin-1").strip("\0")
