"""XMP, what a file says of its picture in RDF: a photograph's is kept beside ours, which says that it is synthetic.

What a photograph's packet says of its own file is no longer true of a picture that was made of it, and is taken out:
how it is turned, how many pixels it has, its thumbnail, that a film or a map of gains lies behind it, and where it is
from, which is ours to say. All else stays letter by letter (title, creator, rights, rating, keywords, what programs
did).

Adobe, "XMP specification, part 1: data model, serialization, and core properties" (2012), and part 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.dom import XMLNS_NAMESPACE
from xml.dom.minidom import Document, Element, parseString
from xml.parsers.expat import ExpatError

MOST_XMP = 1 << 20  # bytes of a packet
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
%s
<?xpacket end="r"?>"""
OF_FILES = {  # what is said of a file in a namespace: these names, or all of them
    "http://ns.adobe.com/tiff/1.0/": ("Orientation", "ImageWidth", "ImageLength"),
    "http://ns.adobe.com/exif/1.0/": ("PixelXDimension", "PixelYDimension"),
    "http://ns.adobe.com/xap/1.0/": ("Thumbnails",),
    EXT: ("DigitalSourceType",),
    "http://ns.adobe.com/xmp/note/": (),  # HasExtendedXMP: a second part, which is not read
    "http://ns.adobe.com/hdr-gain-map/1.0/": (),
    "http://ns.google.com/photos/1.0/camera/": (),  # a film behind the photograph
    "http://ns.google.com/photos/1.0/container/": (),
}


def xmp_beside(kept: str, source_type: str) -> str:
    """A packet that says where a picture is from, in IPTC's word, beside what :func:`kept_xmp` gave."""
    whole = parseString(kept)
    said = whole.createElementNS(RDF, "rdf:Description")
    ours = {"rdf:about": "", "Iptc4xmpExt:DigitalSourceType": source_type}
    for name, value in {"xmlns:rdf": RDF, "xmlns:Iptc4xmpExt": EXT, **ours}.items():
        said.setAttribute(name, value)
    _rdf(whole).appendChild(said)
    root = whole.documentElement
    assert root is not None
    return PACKET % root.toxml()


def kept_xmp(packet: bytes) -> str:
    """What of a file's packet is true of a picture that was made of it, as XML; nothing where that is nothing.

    Raises ValueError where it is no XMP, or larger than such a packet is.
    """
    if len(packet) > MOST_XMP:
        raise ValueError(f"it has {len(packet) / 1e6:.1f} MB")
    text = packet.decode("utf-8").strip("\0 \t\r\n\ufeff")
    if "<!" in text:  # it declares nothing: entities could grow without end
        raise ValueError("it declares types or entities")
    try:
        whole = parseString(text)
        descriptions = list(_elements(_rdf(whole), RDF, "Description"))
        said = [description for description in descriptions if _says(description)]
        root = whole.documentElement
        assert root is not None
        return root.toxml() if said else ""
    except (ExpatError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _rdf(whole: Document) -> Element:
    """Where the descriptions stand."""
    found = whole.getElementsByTagNameNS(RDF, "RDF")
    if not found:
        raise ValueError("it holds no RDF")
    return found[0]


def _elements(parent: Element, space: str, name: str) -> Iterator[Element]:
    for child in parent.childNodes:
        if isinstance(child, Element) and (child.namespaceURI, child.localName) == (space, name):
            yield child


def _says(description: Element) -> bool:
    """Take out what is said of the file, as attributes or as elements; whether anything is left. If not, it goes."""
    for attribute in list(description.attributes.values()):
        if _of_file(attribute.namespaceURI, attribute.localName):
            description.removeAttributeNode(attribute)
    for child in list(description.childNodes):
        if isinstance(child, Element) and _of_file(child.namespaceURI, child.localName):
            description.removeChild(child)
    left = [one for one in description.attributes.values() if one.namespaceURI not in (RDF, XMLNS_NAMESPACE)]
    if left or any(isinstance(child, Element) for child in description.childNodes):
        return True
    parent = description.parentNode
    assert parent is not None
    parent.removeChild(description)
    return False


def _of_file(space: str | None, name: str | None) -> bool:
    names = OF_FILES.get(space or "")
    return names is not None and (not names or name in names)
