"""A picture says how it was made: a record in the PNG itself, for people, programs and platforms.

Four text chunks carry it: ``zeuxis`` holds the whole record as JSON (enough to draw the picture
again), ``parameters`` the line that other programs show, ``Description`` says in words that it is
synthetic, and ``XML:com.adobe.xmp`` says so with IPTC's digital source type, which is what image
libraries and search engines read. There is no date in it: the same call gives the same bytes.
Only content credentials, where a user asks for them, are signed anew each time.
"""

from __future__ import annotations

import json
import platform
import struct
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from zeuxis.data.png_chunks import SIGNATURE, png_chunks
from zeuxis.errors import DataError, NoSuchPath, UsageError, ZeuxisError, mend_of
from zeuxis.escaping import json_text
from zeuxis.files import open_regular, without_home, write_draft
from zeuxis.provenance.asked import asked
from zeuxis.provenance.credentials import signed
from zeuxis.provenance.parameters import MAX_CHUNKS, MAX_TEXT, PARAMETERS, parameters
from zeuxis.provenance.xmp import xmp_beside
from zeuxis.version import __version__

KEY, SOFTWARE, DESCRIPTION, XMP_KEY = "zeuxis", "Software", "Description", "XML:com.adobe.xmp"
OUR_KEYS = (KEY, PARAMETERS, SOFTWARE, DESCRIPTION, XMP_KEY)  # of the texts that are written here
FORMAT = 2
OF_LATENTS = 3  # of a picture whose latent was made step by step, which older versions would draw otherwise
READ = (1, 2, OF_LATENTS)  # that can be read; in 1 a class is a number and of a picture given nothing is held
RESTORER = "restorer"  # in a system's place, of a picture that was made of another one by zeuxis restore
STYLED = "style-transfer"  # in a system's place, of a picture that zeuxis style made of two others
DISCLOSURE = "This image was synthesised by Zeuxis. It is not a photograph of anything that exists."
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SOURCE_TYPE = f"{SOURCE_TYPES}trainedAlgorithmicMedia"
XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="%s"/></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


class CarriesNoRecord(UsageError):
    """A file in which there is no record of ours."""


def versions() -> dict[str, str]:
    """The versions that may change pixels. Reads package metadata, once: imports nothing heavy."""
    return {
        "zeuxis": __version__,
        "torch": _installed("torch"),
        "numpy": _installed("numpy"),
        "python": platform.python_version(),
    }


@cache
def _installed(package: str) -> str:
    """Its version, which takes milliseconds to read: of each picture of a folder that would add up."""
    return version(package)


def record(
    *,
    model: str,
    system: str,
    weights_sha256: str | None,
    recipe: str | None,
    data: str | None,
    seed: int,
    sampling: Mapping[str, Any],
    condition: Mapping[str, Any],
    device: str,
    dtype: str = "float32",
    drawn: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """How one picture is made, ready for JSON.

    ``model`` is the name or folder that it was loaded by, ``data`` what that learnt from: where either is a path, the
    home in it is ``~``, for pictures are passed on, and a home names its user; ``seed`` the seed of this very
    picture; ``sampling`` the knobs that were set, by name; ``condition`` what steered it, as plain values by field;
    ``drawn`` what its last bits depend on (see :func:`drawn_in`), where it was drawn.
    """
    made = {
        "format": FORMAT,
        "model": without_home(model),
        "system": system,
        "weights_sha256": weights_sha256,
        "recipe": recipe,
        "data": None if data is None else without_home(data),
        "seed": seed,
        "sampling": dict(sampling),
        "condition": dict(condition),
        "versions": versions(),
        "device": device,
        "dtype": dtype,
        "synthetic": True,
        "disclosure": DISCLOSURE,
    }
    return made if drawn is None else {**made, "drawn": dict(drawn)}


def drawn_in(batch: int, row: int, threads: int, instructions: str) -> dict[str, Any]:
    """What the last bits of a picture depend on besides its seed: sums are ordered, and so rounded, by all of it.

    It was ``row`` of the ``batch`` pictures that were drawn at a time, by ``threads`` threads with the processor's
    ``instructions``.
    """
    return {"batch": batch, "row": row, "threads": threads, "instructions": instructions}


def save_png(image: Image.Image, path: Path, record: Mapping[str, Any], source_type: str = SOURCE_TYPE) -> None:
    """Write ``image`` with its record; the file appears whole or not at all, and parent folders are made.

    What it says in words is the record's own ``disclosure``, where it has one. It is signed where that was asked for.
    """
    content = png_bytes(image, text_of(record, path, image.size, source_type))
    write_whole(Path(path), as_asked(content, ".png", source_type))


def as_asked(content: bytes, suffix: str, source_type: str = SOURCE_TYPE) -> bytes:
    """A file of the kind that ``suffix`` says, with content credentials where a user asked for them."""
    return signed(content, suffix, source_type) if asked().credentials else content


def text_of(
    record: Mapping[str, Any],
    path: Path,
    size: tuple[int, int],
    source_type: str = SOURCE_TYPE,
    xmp: str | None = None,
) -> PngInfo:
    """The text that carries the record of a picture of ``size``, width and height.

    ``source_type`` is IPTC's word for where a picture comes from; ``xmp`` is what stands beside it, of a picture that
    was made of another one (:func:`zeuxis.provenance.xmp.kept_xmp`).
    """
    text = json_text(record, sort_keys=True)
    if len(text.encode()) > MAX_TEXT:
        raise UsageError(f"the record of {path} is longer than {MAX_TEXT >> 20} MiB: shorten the condition")
    info = PngInfo()
    info.add_itxt(KEY, text)
    info.add_text(PARAMETERS, parameters(record, *size))  # iTXt where it is no Latin-1
    info.add_itxt(SOFTWARE, f"Zeuxis {__version__}")
    info.add_itxt(DESCRIPTION, str(record.get("disclosure", DISCLOSURE)))
    info.add_itxt(XMP_KEY, XMP % source_type if xmp is None else xmp_beside(xmp, source_type))
    return info


def write_png(image: Image.Image, path: Path, info: PngInfo | None = None) -> None:
    """Write a PNG, whole or not at all; without ``info`` it says nothing of its origin (pictures of data)."""
    write_whole(Path(path), png_bytes(image, info))


def png_bytes(image: Image.Image, info: PngInfo | None = None) -> bytes:
    """``image`` as a PNG with the text ``info``."""
    buffer = BytesIO()
    image.save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def write_whole(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``: it reaches the disk under another name first, then is renamed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = write_draft(path, content)
        try:
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise ZeuxisError(f"cannot write {path}: {error.strerror}; {mend_of(error, 'give another --out')}") from None
    except ValueError as error:  # a null character in the name
        raise UsageError(f"cannot write {path}: {error}; give another --out") from None


def read_record(path: Path) -> dict[str, Any]:
    """The record of a picture that Zeuxis made.

    Only the text is read, never the pixels. Raises UsageError when there is no file, or none that
    could hold a record; DataError when the record in it is damaged.
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            if file.read(len(SIGNATURE)) != SIGNATURE:
                raise CarriesNoRecord(f"{path} is not a PNG: only PNG files carry a record that can be drawn again")
            text = next((t for t in map(_our_text, _texts(file, path)) if t is not None), None)
    except FileNotFoundError:
        raise NoSuchPath("picture", path) from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (struct.error, ValueError, zlib.error) as error:
        raise DataError(f"the record in {path} is damaged: {error}") from None
    if text is None:
        raise CarriesNoRecord(f"{path} carries no record: it was not made by Zeuxis, or a program removed its text")
    return _checked(text, path)


def require_replaceable(path: Path) -> None:
    """Refuse to write a picture over a file that is there and carries no record: it may be a person's only copy."""
    if not path.is_file():
        return
    try:
        read_record(path)
    except ZeuxisError:
        raise UsageError(
            f"{path} is there already and was not made by Zeuxis: give another name, or move it away"
        ) from None


def _texts(file: BinaryIO, path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The text chunks, as (type, content); pixels are passed over unread."""
    for kind, length in png_chunks(file, MAX_CHUNKS):
        if kind != b"iTXt" or length > MAX_TEXT + 1024:
            continue
        content, checksum = file.read(length), file.read(4)
        if len(content) < length or len(checksum) < 4:
            raise DataError(f"{path} is cut short")
        if struct.unpack(">I", checksum)[0] != zlib.crc32(kind + content):
            raise DataError(f"{path} is damaged: the checksum of its text is wrong")
        yield kind, content


def _our_text(chunk: tuple[bytes, bytes]) -> str | None:
    """The text of an ``iTXt`` chunk under our key, unpacked if need be; None for another's."""
    key, _, rest = chunk[1].partition(b"\0")
    if key != KEY.encode():
        return None
    packed, rest = rest[:1] == b"\1", rest[2:]
    _language, _, rest = rest.partition(b"\0")
    _translated, _, text = rest.partition(b"\0")
    if packed:
        unpack = zlib.decompressobj()
        text = unpack.decompress(text, MAX_TEXT)
        if unpack.unconsumed_tail:
            raise ValueError(f"it unpacks to more than {MAX_TEXT >> 20} MiB")
    return text.decode("utf-8")


TYPES: dict[str, type | tuple[type, ...]] = {
    "model": str,
    "system": str,
    "weights_sha256": (str, type(None)),
    "seed": int,
    "sampling": dict,
    "condition": dict,
    "versions": dict,
    "device": str,
}


def _checked(text: str, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the record in {path} is not JSON: {error}") from None
    if not isinstance(found, dict) or found.get("format") not in READ:
        formats = " or ".join(map(str, READ))
        raise DataError(f"the record in {path} is not one that this version reads (format {formats}): update Zeuxis")
    for key, kind in TYPES.items():
        if key not in found or not isinstance(found[key], kind):
            raise DataError(f"the record in {path} is damaged: '{key}' is missing or of the wrong kind")
    _check_drawn(found.get("drawn"), path)
    return found


def _check_drawn(drawn: Any, path: Path) -> None:
    """Refuse what :func:`drawn_in` cannot have said; None, of older versions and of what was not drawn, is fine."""
    if drawn is None:
        return
    kinds = drawn_in(1, 0, 1, "")
    told = isinstance(drawn, dict) and drawn.keys() == kinds.keys()
    if not told or any(type(drawn[key]) is not type(value) for key, value in kinds.items()):
        raise DataError(f"the record in {path} is damaged: 'drawn' is not {', '.join(kinds)}")
    if not 0 <= drawn["row"] < drawn["batch"] or drawn["threads"] < 1:
        raise DataError(f"the record in {path} is damaged: 'drawn' is row {drawn['row']} of {drawn['batch']}")
