"""Colour profiles: pictures that steer a model are brought to sRGB by theirs, and inks wherever they are read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from profiles import exchanged, inks, srgb

from zeuxis.api.restore_picture import open_for_restoring
from zeuxis.api.still import mask_of, open_picture, picture_of
from zeuxis.data.profiles import in_srgb
from zeuxis.studio.recoding import cleaned, not_kept

RED, BLUE = (200, 30, 60), (60, 30, 200)


def with_profile(mode: str, colour: tuple[int, ...] | int, profile: bytes) -> Image.Image:
    found = Image.new(mode, (12, 12), colour)
    found.info["icc_profile"] = profile
    return found


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_are_brought_to_srgb_and_transparency_stays(mode: str) -> None:
    given = with_profile("RGBA", (*RED, 77), exchanged()) if mode == "RGBA" else with_profile("RGB", RED, exchanged())
    if mode == "P":
        given = given.convert("P", palette=Image.Palette.ADAPTIVE)
        given.info |= {"icc_profile": exchanged(), "transparency": 255}
        given.putpixel((0, 0), 255)
    found = in_srgb(given)
    assert found.getpixel((3, 3))[:3] == BLUE  # type: ignore[index]
    assert found.getbands()[3:] == (("A",) if mode != "RGB" else ()) and "icc_profile" not in found.info
    if mode == "RGBA":
        assert found.getpixel((3, 3)) == (*BLUE, 77)
    if mode == "P":
        assert found.getchannel("A").getextrema() == (0, 255)


def test_what_has_no_other_profile_is_as_it_was() -> None:
    given = [
        with_profile("RGB", RED, srgb()),
        with_profile("RGB", RED, exchanged()[:300]),  # damaged
        with_profile("L", 7, exchanged()),
        with_profile("RGB", RED, inks()),
        with_profile("CMYK", (1, 2, 3, 4), exchanged()),
        Image.new("RGB", (2, 2), RED),
    ]
    assert all(in_srgb(one) is one for one in given)


@pytest.mark.parametrize(("ink", "grey"), [((255, 0, 0, 0), 119), ((0, 255, 255, 0), 255), ((0, 0, 0, 255), 0)])
def test_inks_are_colours_by_their_profile(ink: tuple[int, ...], grey: int) -> None:
    assert in_srgb(with_profile("CMYK", ink, inks())).getpixel((3, 3)) == (grey, grey, grey)


def test_a_picture_that_is_given_to_a_model_is_in_srgb(tmp_path: Path) -> None:
    Image.new("RGB", (12, 12), RED).save(tmp_path / "wide.png", icc_profile=exchanged())
    Image.new("CMYK", (12, 12), (255, 0, 0, 0)).save(tmp_path / "ink.jpg", icc_profile=inks(), quality=100)
    wide = picture_of(str(tmp_path / "wide.png"), 3, (12, 12), "it")[:, 3, 3]
    assert ((wide + 1) * 127.5).round().tolist() == list(BLUE)
    assert open_picture(tmp_path / "wide.png", 3).getpixel((3, 3)) == BLUE
    ink = picture_of(str(tmp_path / "ink.jpg"), 3, (12, 12), "it")[:, 3, 3]
    assert ((ink + 1) * 127.5).numpy() == pytest.approx(np.array([119, 119, 119]), abs=2)


def test_a_mask_is_no_picture(tmp_path: Path) -> None:
    shown = Image.new("RGB", (4, 4))
    shown.putpixel((1, 2), (255, 255, 255))
    shown.save(tmp_path / "mask.png", icc_profile=exchanged())
    assert mask_of(str(tmp_path / "mask.png"), (4, 4), "it").nonzero().tolist() == [[0, 2, 1]]


def test_inks_are_restored_and_uploaded_by_their_profile(tmp_path: Path) -> None:
    file = tmp_path / "ink.tif"
    Image.new("CMYK", (12, 12), (255, 0, 0, 0)).save(file, icc_profile=inks())
    given = open_for_restoring(file)
    assert (given.colours == 119).all() and given.profile is None
    assert given.notes == ("its inks (CMYK) become red, green and blue by its profile",)
    coded = io.BytesIO()
    Image.new("CMYK", (12, 12), (0, 0, 0, 255)).save(coded, "JPEG", icc_profile=inks())
    with Image.open(io.BytesIO(cleaned(coded.getvalue()))) as found:
        assert found.mode == "RGB" and found.getpixel((3, 3)) == (0, 0, 0)
    assert not_kept(coded.getvalue()) == ["its inks (CMYK) become red, green and blue by its profile"]
    Image.new("CMYK", (12, 12), (255, 0, 0, 0)).save(tmp_path / "bare.tif")
    assert "no profile" in open_for_restoring(tmp_path / "bare.tif").notes[0]
