"""How the names of picture files end: of those that are read, and of those that are told of. Imports nothing."""

from __future__ import annotations

ALWAYS = frozenset(
    """
    .png .apng .jpg .jpeg .jpe .jfif .jfi .jif .pjpeg .pjp .mpo .webp .bmp .dib .gif .tif .tiff .ppm .pgm .pbm .pnm
    """.split()  # noqa: SIM905  (as lists of strings these would be five times as long)
)
AVIF = frozenset((".avif", ".avifs"))  # read where Pillow was built for it
OTHERS = frozenset(
    """
    .heic .heif .hif .jxl .jp2 .j2k .jpf .jpx .jpm .jxr .wdp .bpg .tga .pcx .ico .cur .icns .psd .psb .xcf .kra .ai
    .eps .svg .exr .hdr .pfm .qoi .dds .sgi .rgb .ras .xbm .xpm .fits .dcm .dicom .djvu .raw .dng .cr2 .cr3 .crw .nef
    .nrw .arw .srf .sr2 .raf .orf .rw2 .pef .srw .x3f .3fr .iiq
    """.split()  # noqa: SIM905
)
PICTURES = ALWAYS | AVIF | OTHERS  # whatever a person calls a picture by its name
