"""Moving pictures: frames as an animated WebP or GIF, or as an MP4 where ffmpeg is there to write it.

Each says that it is synthetic and holds a record, in the place that its format has: the EXIF of a WebP, the comment of
a GIF and of an MP4.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from PIL.ExifTags import IFD

from zeuxis.errors import Unsupported, UsageError, ZeuxisError
from zeuxis.provenance.parameters import MAX_TEXT
from zeuxis.provenance.record import DISCLOSURE, READ, SOURCE_TYPE, XMP, as_asked, write_whole

USER_COMMENT, DESCRIPTION = 0x9286, 0x010E  # EXIF tags: the first is of the camera's block, the second of the picture's
ASCII = b"ASCII\0\0\0"  # how a comment of the camera's block says what its characters are
FFMPEG = "ffmpeg"
INSTALL = "apt install ffmpeg, brew install ffmpeg or winget install ffmpeg"
MOST_COMMENT = 60_000  # bytes of a record in a comment
WAIT = 600.0  # seconds for ffmpeg


def write_moving(
    frames: Sequence[Image.Image], durations: Sequence[int], path: Path, record: Mapping[str, Any]
) -> None:
    """Write ``frames``, each shown for so many milliseconds, again and again, to ``path``, whose ending decides.

    Raises:
        UsageError: another ending.
        Unsupported: an MP4 where there is no ffmpeg.
    """
    write_whole(path, as_asked(writer_of(path)(frames, durations, record), path.suffix.lower()))


Writer = Callable[[Sequence[Image.Image], Sequence[int], Mapping[str, Any]], bytes]


def writer_of(path: Path) -> Writer:
    """What writes the format of ``path``; refuses, before a frame is made, what cannot be written."""
    ending = path.suffix.lower()
    if ending not in WRITERS:
        raise UsageError(f"{path}: pictures move as {', '.join(WRITERS)}: give {path.with_suffix('.webp')}")
    if ending == ".mp4" and shutil.which(FFMPEG) is None:
        raise Unsupported(
            f"{path}: an MP4 is written by the program ffmpeg, which is not on this machine: install it ({INSTALL}), "
            f"or give {path.with_suffix('.webp')} or {path.with_suffix('.gif').name}, which need nothing"
        )
    return WRITERS[ending]


def writable() -> list[str]:
    """The endings, without their dots, of the formats that can be written on this machine."""
    return [ending[1:] for ending in WRITERS if ending != ".mp4" or shutil.which(FFMPEG) is not None]


def webp(frames: Sequence[Image.Image], durations: Sequence[int], record: Mapping[str, Any]) -> bytes:
    """The bytes of an animated WebP that is shown again and again."""
    exif = Image.Exif()
    exif[DESCRIPTION] = str(record.get("disclosure", DISCLOSURE))
    exif.get_ifd(IFD.Exif)[USER_COMMENT] = ASCII + json.dumps(record, sort_keys=True).encode()
    buffer = BytesIO()
    frames[0].save(
        buffer,
        format="WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=list(durations),
        loop=0,
        quality=90,
        exif=exif,
        xmp=(XMP % SOURCE_TYPE).encode(),
    )
    return buffer.getvalue()


def gif(frames: Sequence[Image.Image], durations: Sequence[int], record: Mapping[str, Any]) -> bytes:
    """The bytes of an animated GIF: of 256 colours a frame."""
    buffer = BytesIO()
    shown = [frame.convert("RGB").quantize(256) for frame in frames]
    shown[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=shown[1:],
        duration=list(durations),
        loop=0,
        comment=_comment(record),
    )
    return buffer.getvalue()


def mp4(frames: Sequence[Image.Image], durations: Sequence[int], record: Mapping[str, Any]) -> bytes:
    """The bytes of an MP4 (H.264, or what ffmpeg has in its place), at the rate of the first frame."""
    width, height = frames[0].width // 2 * 2, frames[0].height // 2 * 2  # its colours come in pairs of pixels
    pixels = b"".join(frame.convert("RGB").crop((0, 0, width, height)).tobytes() for frame in frames)
    with TemporaryDirectory(prefix="zeuxis-") as folder:
        made = Path(folder) / "made.mp4"
        command = [FFMPEG, "-loglevel", "error", "-f", "rawvideo", "-pixel_format", "rgb24"]
        command += ["-video_size", f"{width}x{height}", "-framerate", f"{1000 / durations[0]:.3f}", "-i", "-"]
        command += [
            "-pix_fmt",
            "yuv420p",
            "-movflags",
            "+faststart",
            "-metadata",
            f"comment={_comment(record).decode()}",
        ]
        try:
            done = subprocess.run([*command, str(made)], input=pixels, capture_output=True, timeout=WAIT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ZeuxisError(f"ffmpeg failed ({error}): give a name that ends in .webp or .gif") from None
        if done.returncode or not made.is_file():
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise ZeuxisError(
                f"ffmpeg failed ({said[-1] if said else done.returncode}): give a name that ends in .webp or .gif"
            )
        return made.read_bytes()


def record_in(path: Path) -> dict[str, Any] | None:
    """The record in a moving WebP or GIF, as it was written; None of other files, and where a comment is another's."""
    try:
        with Image.open(path, formats=("WEBP", "GIF")) as shown:
            exif = shown.getexif().get_ifd(IFD.Exif).get(USER_COMMENT)
            told = shown.info.get("comment", b"") if shown.format == "GIF" else exif
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # another format, or damaged
        return None
    if not isinstance(told, bytes) or len(told) > MAX_TEXT:
        return None
    try:
        found = json.loads(told.removeprefix(ASCII))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("format") in READ and found.get("synthetic") is True else None


WRITERS: Mapping[str, Writer] = {".webp": webp, ".gif": gif, ".mp4": mp4}


def _comment(record: Mapping[str, Any]) -> bytes:
    """The record, or where it is longer than a comment may be, what it says in words."""
    text = json.dumps(record, sort_keys=True).encode()
    return text if len(text) <= MOST_COMMENT else str(record.get("disclosure", DISCLOSURE)).encode()
