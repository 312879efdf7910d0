"""Files of 16 bits that hold fewer: told of, never guessed, and read with white where it is said to be."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile import chunk, png
from PIL import Image

from zeuxis.api.restore_picture import open_for_restoring
from zeuxis.cli import main
from zeuxis.data.bit_depth import avif_bits, bits_and_folder
from zeuxis.data.check import check
from zeuxis.data.library import open_source
from zeuxis.data.picture import AVIF, to_bytes
from zeuxis.errors import DataError, UsageError


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))


def scans(folder: Path, white: int, kind: str = "png", n: int = 3) -> Path:
    """Ramps from black to ``white``, of 16 bits, no two alike."""
    folder.mkdir()
    ramp = np.linspace(0, white, 64).round().astype(np.uint16).reshape(8, 8)
    for k in range(n):
        Image.fromarray(np.roll(ramp, k, 1)).save(folder / f"{k}.{kind}")
    return folder


def levels(name: str | Path) -> list[int]:
    """Of the first picture, from 0 to 255."""
    image = open_source(name).batch(torch.tensor([0])).image
    return ((image[0, 0].flatten() + 1) * 127.5).round().long().tolist()


WANTED = np.linspace(0, 4095, 64).round() * 255 / 4095


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_twelve_bits_are_told_of_and_read_where_that_is_said(tmp_path: Path, kind: str) -> None:
    folder = scans(tmp_path / "scans", 4095, kind)
    line = "3 of 3 pictures are of 16 bits and reach no more than 4,095 of 65,535"
    for remarks in (open_source(folder).remarks, check(folder).remarks):
        (told,) = (remark for remark in remarks if line in remark)
        assert told.endswith(f"if white is at 4,095, write bits12:{folder}")
    assert max(levels(folder)) == 16, "as it stands it is nearly black"
    assert levels(f"bits12:{folder}") == WANTED.round().tolist()
    assert not any("16 bits" in remark for remark in open_source(f"bits12:{folder}").remarks)
    assert open_source(folder).fingerprint() != open_source(f"bits12:{folder}").fingerprint()


def test_what_has_all_its_bits_is_not_told_of(tmp_path: Path) -> None:
    for name, white in (("light", 65535), ("dim", 20000)):
        assert not any("16 bits" in line for line in open_source(scans(tmp_path / name, white)).remarks)
    for white, bits in ((200, 8), (1000, 10), (16383, 14)):
        assert any(f"write bits{bits}:" in line for line in open_source(scans(tmp_path / f"{bits}", white)).remarks)
    mixed = scans(tmp_path / "mixed", 4095)
    Image.new("L", (8, 8), 255).save(mixed / "z.png")  # of 8 bits, which tells nothing of the others
    assert any("3 of 4 pictures" in line for line in open_source(mixed).remarks)


def test_colours_of_twelve_bits_are_read_whole(tmp_path: Path) -> None:
    """Pillow keeps the upper halves alone: sixteen levels of them."""
    ramp = np.linspace(0, 4095, 64).round().astype(">u2").reshape(8, 8, 1).repeat(3, 2)
    rows = b"".join(b"\0" + row.tobytes() for row in ramp)
    (tmp_path / "colour").mkdir()
    (tmp_path / "colour" / "a.png").write_bytes(png(8, 8, chunk(b"IDAT", zlib.compress(rows)), depth=16, colour=2))
    assert any("write bits12:" in line for line in open_source(tmp_path / "colour").remarks)
    assert levels(f"bits12:{tmp_path / 'colour'}") == WANTED.round().tolist()


@pytest.mark.skipif(not AVIF, reason="Pillow was built without AVIF")
@pytest.mark.parametrize(("bits", "flag"), [(8, 0), (10, 0x40), (12, 0x60)])
def test_an_avif_of_more_bits_says_that_it_is_read_by_eight(tmp_path: Path, bits: int, flag: int) -> None:
    file = tmp_path / "a.avif"
    Image.effect_noise((64, 48), 60).convert("RGB").save(file)
    content = bytearray(file.read_bytes())  # its pixels stay those of 8 bits; what its boxes say is what is asked
    content[content.index(b"av1C") + 6] |= flag
    depths = content.index(b"pixi") + 9
    content[depths : depths + 3] = bytes([bits] * 3)
    file.write_bytes(content)
    assert avif_bits(file) == bits
    notes = open_for_restoring(file).notes
    assert [f"colours of {bits} bits are read by 8" in note for note in notes] == ([True] if flag else [])
    (tmp_path / "b.png").write_bytes(png(8, 2))
    assert avif_bits(tmp_path / "b.png") is None


def test_bits_that_cannot_be_are_refused(tmp_path: Path) -> None:
    folder = scans(tmp_path / "scans", 5000)
    with pytest.raises(DataError, match=r"pixels up to 5,000: more than 12 bits hold \(4,095\)"):
        open_source(f"bits12:{folder}")
    with pytest.raises(UsageError, match="from 8 to 16: write bits12:"):
        open_source(f"bits17:{folder}")
    (tmp_path / "bits9:odd").mkdir()
    assert bits_and_folder(tmp_path / "bits9:odd") == (16, tmp_path / "bits9:odd")
    wide = np.arange(65536)
    assert (to_bytes(wide) == np.floor(wide / 257 + 0.5)).all() and (
        to_bytes(np.arange(256), 8) == np.arange(256)
    ).all()


def test_the_command_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = scans(tmp_path / "scans", 4095)
    assert main(["data", str(folder), "--out", str(tmp_path / "a.png")]) == 0
    assert f"write bits12:{folder}" in capsys.readouterr().out.replace("\n", "")
    assert main(["data", "--check", f"bits12:{folder}"]) == 0
    assert "look dark or black" not in capsys.readouterr().out
