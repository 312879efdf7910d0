"""What a picture's file says in words (IPTC, XMP, comments, texts) is in what is made of it too."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hostile import coded
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from test_restore import denoiser, photo

from zeuxis.api.restore import restore
from zeuxis.provenance.record import read_record
from zeuxis.provenance.xmp import kept_xmp, xmp_beside

IPTC, XMP = "Raw profile type iptc", "XML:com.adobe.xmp"
TITLE, KEYWORD = (2, 5), (2, 25)
PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" tiff:Orientation="6"
 xmp:Rating="5" ext:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture">
<dc:creator><rdf:Seq><rdf:li>Zoë</rdf:li></rdf:Seq></dc:creator><tiff:ImageWidth>20</tiff:ImageWidth>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>""".encode()


@pytest.fixture
def same(tmp_path: Path) -> Path:
    return denoiser(tmp_path / "same.safetensors")


def block(*fields: tuple[tuple[int, int], bytes]) -> bytes:
    """IPTC's block of these fields."""
    return b"".join(bytes((0x1C, *numbers)) + struct.pack(">H", len(value)) + value for numbers, value in fields)


FIELDS = block((TITLE, b"Grapes"), (KEYWORD, b"bird"), (KEYWORD, b"curtain"))


def jpeg_with(iptc: bytes, **settings: object) -> bytes:
    """A JPEG with IPTC's block among the resources of Photoshop."""
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc + bytes(len(iptc) % 2)
    segment = b"Photoshop 3.0\0" + resource
    plain = coded(photo(), "JPEG", **settings)
    return plain[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + plain[2:]


def tiff_with(as_longs: bool) -> bytes:
    """A TIFF with IPTC's block and XMP; Photoshop calls the bytes of the former whole numbers of four."""
    padded = FIELDS + bytes(-len(FIELDS) % 4)
    tags = ImageFileDirectory_v2()
    tags[33723], tags.tagtype[33723] = padded, 7
    tags[700], tags.tagtype[700] = PACKET, 1
    whole = coded(photo(), "TIFF", tiffinfo=tags)
    said = struct.pack("<HHI", 33723, 7, len(padded))
    assert whole.count(said) == 1
    return whole.replace(said, struct.pack("<HHI", 33723, 4, len(padded) // 4)) if as_longs else whole


def texts(file: Path) -> dict[str, str]:
    with Image.open(file) as found:
        found.load()
        return dict(found.text)  # type: ignore[attr-defined]


def iptc_in(file: Path) -> bytes:
    """IPTC's block of a PNG, as other programs read it: its kind, its length, hexadecimal numbers."""
    kind, length, *lines = texts(file)[IPTC].strip("\n").split("\n")
    found = bytes.fromhex("".join(lines))
    assert kind == "iptc" and int(length) == len(found)
    return found


def test_a_jpeg_keeps_iptc_xmp_and_its_comment(same: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_with(FIELDS, xmp=PACKET, comment=b"on a hill"))
    made = restore([tmp_path / "a.jpg"], same)
    said = texts(made.done[0])
    assert iptc_in(made.done[0]) == FIELDS and said["Comment"] == "on a hill" and not made.notes
    assert "<rdf:li>Zoë</rdf:li>" in said[XMP] and 'xmp:Rating="5"' in said[XMP]
    assert read_record(made.done[0])["synthetic"]


def test_what_xmp_says_of_the_file_is_said_anew(same: Path, tmp_path: Path) -> None:
    photo().save(tmp_path / "a.webp", xmp=PACKET, lossless=True)
    said = texts(restore([tmp_path / "a.webp"], same).done[0])[XMP]
    assert "Orientation" not in said and "ImageWidth" not in said and "Zoë" in said
    assert said.count("DigitalSourceType=") == 1 and "compositeWithTrainedAlgorithmicMedia" in said
    assert kept_xmp(said.encode()) == kept_xmp(PACKET), "and of a picture of ours, all but ours"


@pytest.mark.parametrize("as_longs", [False, True])
def test_a_tiff_keeps_iptc_and_xmp(as_longs: bool, same: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_with(as_longs))
    (file,) = restore([tmp_path / "a.tif"], same).done
    assert iptc_in(file) == FIELDS and "Zoë" in texts(file)[XMP]


def test_a_png_keeps_its_texts_and_ours_are_told_anew(same: Path, tmp_path: Path) -> None:
    words = PngInfo()
    words.add_text("Author", "Zeuxis of Heraclea")
    words.add_itxt("Copyright", "© Zoë")
    words.add_text("Description", "a bunch of grapes")
    words.add_text("Raw profile type icm", "\nicm\n       1\n00\n")
    photo().save(tmp_path / "a.png", pnginfo=words)
    (once,) = restore([tmp_path / "a.png"], same).done
    (again,) = restore([once], same).done
    for file in (once, again):
        said = texts(file)
        assert said["Author"] == "Zeuxis of Heraclea" and said["Copyright"] == "© Zoë"
        assert said["Description of the original"] == "a bunch of grapes" and "made by Zeuxis" in said["Description"]
        assert not {key for key in said if key.startswith("Raw") or key.endswith("original of the original")}
    assert read_record(again)["condition"]["source"]["file"] == "a-restored.png"


@pytest.mark.parametrize(
    "packet",
    [
        b"grapes",
        b"<a/>",
        b"\xff\xfe<",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        b"<a>" * 3000,
        b"<a b=''",
        bytes(2),
    ],
)
def test_damaged_xmp_costs_the_xmp_and_not_the_picture(packet: bytes, same: Path, tmp_path: Path) -> None:
    photo().save(tmp_path / "a.jpg", xmp=packet)
    made = restore([tmp_path / "a.jpg"], same)
    assert "its XMP is left out" in made.notes[0] and "compositeWith" in texts(made.done[0])[XMP]


def test_damaged_iptc_costs_the_iptc_and_not_the_picture(same: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_with(b"\x1c\x02\x05\xff\xff grapes"))
    made = restore([tmp_path / "a.jpg"], same)
    assert "its IPTC is damaged, and left out" in made.notes[0] and IPTC not in texts(made.done[0])


def test_words_without_end_are_left_out_with_a_note(same: Path, tmp_path: Path) -> None:
    words = PngInfo()
    for key in ("One", "Two", "Three"):
        words.add_text(key, "x" * 400_000)
    photo().save(tmp_path / "a.png", pnginfo=words)
    made = restore([tmp_path / "a.png"], same)
    said = texts(made.done[0])
    assert {"One", "Two"} < said.keys() and "Three" not in said and "'Three' and what follows" in made.notes[0]


def test_a_packet_of_any_prefixes_is_read() -> None:
    other = PACKET.decode().replace("rdf:", "r:").replace(":rdf=", ":r=").encode()
    said = xmp_beside(kept_xmp(other), "https://example.org/drawn")
    assert "<r:li>Zoë</r:li>" in said and 'DigitalSourceType="https://example.org/drawn"' in said
    assert kept_xmp(said.encode())  # and is whole
    assert io.BytesIO(said.encode()).read(9) == b"<?xpacket"
