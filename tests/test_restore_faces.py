"""``zeuxis restore --task face``: where faces are, how they are cut out and put back, and who they are afterwards."""

from __future__ import annotations

import json
import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from zeuxis.api.restore import restore
from zeuxis.api.restore_faces import box_of, cut_out, put_back, restore_faces
from zeuxis.api.restore_measure import measure_restorer
from zeuxis.api.restore_models import restorer_for
from zeuxis.catalog.build import build
from zeuxis.cli import main
from zeuxis.data.cache import data_dir
from zeuxis.data.library import open_source
from zeuxis.errors import DataError, Unsupported, UsageError
from zeuxis.nn.fidelity import Fidelity
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.pretrained import face_finder
from zeuxis.pretrained.face_finder import EXPECTED, FacePlace, find_faces, parse_place
from zeuxis.pretrained.restorer import Restorer
from zeuxis.provenance.record import read_record
from zeuxis.rng import Stream
from zeuxis.spec import DataSpec, Shape
from zeuxis.training.checkpoint import write_model

TURNED = FacePlace(70.0, 52.5, 40.0, 0.4)


class Inverted(PictureNetwork):
    """A restorer of faces that makes their negatives."""

    channels, scale, reach, floats, side = 3, 1, 16, 8, 16

    def forward(self, x: Tensor) -> Tensor:
        return 1 - x


class Kept(Inverted):
    """One that leaves them as they are."""

    side = 64

    def forward(self, x: Tensor) -> Tensor:
        return x


def restorer(network: PictureNetwork, fidelity: Fidelity | None = None) -> Restorer:
    return Restorer("it", network, "face", "0" * 64, "none", fidelity=fidelity)


def smooth(height: int = 110, width: int = 140) -> Tensor:
    """A picture ``(1, 3, H, W)`` in [0, 1] without detail that resampling would lose."""
    return nn.functional.interpolate(Stream(0).uniform(1, 3, 5, 6), (height, width), mode="bicubic").clamp(0, 1)


def pixels(picture: Tensor) -> np.ndarray:
    return (picture[0].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)


def ignored(box: object, before: Tensor, after: Tensor) -> None:
    """No tile is refused."""


# -- squares ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [TURNED, FacePlace(60.0, 50.0, 64.0), FacePlace(10.0, 100.0, 50.0, -0.2)])
def test_what_is_cut_out_and_put_back_is_the_picture(place: FacePlace) -> None:
    picture = smooth()
    again = put_back(picture, cut_out(picture, place, 64), place)
    torch.testing.assert_close(again, picture, atol=0.02, rtol=0)


def test_a_turned_square_is_cut_out_upright() -> None:
    """A bright bar that leans as the square does stands level in what is cut out."""
    y, x = torch.meshgrid(torch.arange(110) + 0.5, torch.arange(140) + 0.5, indexing="ij")
    across = (y - TURNED.y) * math.cos(TURNED.angle) - (x - TURNED.x) * math.sin(TURNED.angle)
    bar = (across.abs() < 3).float()[None, None]
    found = cut_out(bar, TURNED, 40)[0, 0]
    assert found[19:21].min() > 0.9 and found[:15].max() == 0 and found[25:].max() == 0


def test_a_face_passes_softly_into_the_photograph() -> None:
    picture, face = torch.zeros(1, 1, 60, 60), torch.ones(1, 1, 32, 32)
    made = put_back(picture, face, FacePlace(30.0, 30.0, 40.0))[0, 0]
    row = made[30]
    assert row[:10].max() == 0 and row[50:].max() == 0 and row[15:45].min() == 1
    assert (row[10:14].diff() > 0).all() and row.diff().abs().max() < 0.6


def test_large_faces_are_averaged_and_those_at_the_edge_mirrored() -> None:
    checks = (torch.arange(128)[:, None] + torch.arange(128)).remainder(2).float()[None, None]
    inside = cut_out(checks, FacePlace(64.0, 64.0, 96.0), 16)
    assert (inside - 0.5).abs().max() < 0.1
    corner = cut_out(smooth(), FacePlace(0.0, 0.0, 40.0), 16)
    assert torch.isfinite(corner).all() and corner.std() > 0
    torch.testing.assert_close(corner, corner.flip(3), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [("1,2,3", "write X,Y,W,H"), ("a,b,c,d", "write X,Y,W,H"), ("1,2,0,4", "1 or more"), ("1,2,nan,4", "1 or more")],
)
def test_a_face_is_said_in_four_numbers(text: str, message: str) -> None:
    assert parse_place("10,20,30,40") == FacePlace(25.0, 40.0, 40.0)  # grown to a square about its middle
    with pytest.raises(UsageError, match=message):
        parse_place(text)
    with pytest.raises(UsageError, match="outside the picture of 140x110"):
        box_of(FacePlace(200.0, 50.0, 20.0), 140, 110)


# -- restored --------------------------------------------------------------------------------------


def test_only_faces_change_and_each_is_told_of() -> None:
    colours = pixels(smooth())
    places = [FacePlace(30.0, 30.0, 40.0), FacePlace(100.0, 70.0, 40.0, 0.3)]
    made, moved = restore_faces(colours, places, restorer(Inverted()), "cpu", ignored)
    outside = np.ones(colours.shape[:2], bool)
    for place in places:
        left, top, right, bottom = box_of(place, 140, 110)
        outside[top:bottom, left:right] = False
        x, y = int(place.x), int(place.y)
        assert np.abs(255 - colours[y, x].astype(int) - made[y, x]).max() < 12
    assert np.array_equal(made[outside], colours[outside]) and [one.place for one in moved] == places
    grey, _ = restore_faces(colours[..., :1], places, restorer(Inverted()), "cpu", ignored)
    assert grey.shape == (110, 140, 1) and not np.array_equal(grey, colours[..., :1])
    deep, _ = restore_faces(colours.astype(np.uint16) * 257, places, restorer(Inverted()), "cpu", ignored)
    assert deep.dtype == np.uint16 and np.abs(deep // 257 - made.astype(int)).max() <= 1


def test_a_face_that_is_held_is_nearer_to_the_photograph() -> None:
    colours, place = pixels(smooth()), [FacePlace(60.0, 60.0, 60.0)]

    def apart(fidelity: Fidelity | None) -> float:
        made, _ = restore_faces(colours, place, restorer(Inverted(), fidelity), "cpu", ignored)
        return float(np.abs(made.astype(int) - colours).mean())

    bold, half, held = apart(None), apart(Fidelity(0.5)), apart(Fidelity(1.0))
    assert bold > 1.5 * half > 1.5 * held


def test_how_far_identity_moved_is_told_of_faces_that_are_known() -> None:
    face = (open_source("faces", 64).batch(torch.tensor([8])).image + 1) / 2
    colours, place = pixels(face), [FacePlace(32.0, 32.0, 64.0)]
    _, (kept,) = restore_faces(colours, place, restorer(Kept()), "cpu", ignored)
    assert kept.cosine == pytest.approx(1, abs=0.02) and kept.same and "moved by 0.0" in str(kept)
    _, (lost,) = restore_faces(colours, place, restorer(Inverted()), "cpu", ignored)
    assert lost.cosine is None and lost.same is None and "abstains" in str(lost)


# -- the command -----------------------------------------------------------------------------------

STYLE = {"nz": 4, "width": 6, "mapping": 1, "channel_base": 64, "channel_max": 8}


def run_of(folder: Path) -> Path:
    """A small gfpgan as a run, upon a generator that is kept beside it."""
    from zeuxis.catalog.weights import load_system

    shape = Shape(3, 16, 16)
    write_model(folder / "prior" / "model", build("stylegan2", DataSpec(shape), STYLE).eval(), {"data": "x"})
    base, _ = load_system(folder / "prior")
    model = {"base": base, "judge_base": 64, "judge_max": 4}
    made = build("gfpgan", DataSpec(shape, source_shape=shape), model)
    write_model(folder / "run" / "model", made.eval(), {"data": "x | blind-face"})
    return folder / "run"


def test_a_run_restores_the_faces_that_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(tmp_path)
    Image.fromarray(pixels(smooth())).save(tmp_path / "a.png")
    command = ["restore", str(tmp_path / "a.png"), "--model", str(run), "--task", "face", "--face", "20,20,30,30"]
    assert main([*command, "--face", "80,40,40,40", "--page"]) == 0
    said = capsys.readouterr().out
    assert "1 picture, face by" in said and said.count("a.png: face of") == 2 and said.count("abstains") == 2
    made = tmp_path / "a-restored.png"
    found = read_record(made)
    assert found["sampling"]["task"] == "face" and found["faces"][1] == [100.0, 60.0, 40.0, 0.0]
    assert np.array_equal(np.asarray(Image.open(made))[:, :15], pixels(smooth())[:, :15])
    assert "--face 80,40,40,40" in (tmp_path / "a-restored.html").read_text(encoding="utf-8")
    assert main([*command, "--face", "80,40,40,40", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert len(again["before"]) == 1 and again["faces"] == []
    assert main(command) == 1  # another face: what is there is not that result


def test_what_a_face_restorer_cannot_do_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from restorers import built

    run = run_of(tmp_path)
    Image.fromarray(pixels(smooth())).save(tmp_path / "a.png")
    Image.fromarray(pixels(smooth())).save(tmp_path / "b.png")
    picture, other = tmp_path / "a.png", tmp_path / "b.png"
    whole = tmp_path / "whole"
    write_model(whole / "model", built("sr-resnet", 2, blocks=1, width=4).eval(), {"data": "x | bicubic:2"})
    assert restorer_for(run, None).task == "face"
    with pytest.raises(UsageError, match="restores whole pictures"):
        restore([picture], whole, faces=["1,2,3,4"])
    with pytest.raises(UsageError, match="does enlarge:2, not face"):
        restore([picture], whole, "face")
    with pytest.raises(UsageError, match="which are not cut"):
        restore([picture], run, faces=["1,2,3,4"], tile=96)
    with pytest.raises(UsageError, match="is of one picture, and 2 are given"):
        restore([picture, other], run, faces=["1,2,3,4"])
    with pytest.raises(DataError, match="outside the picture"):
        restore([picture], run, faces=["500,2,30,40"])
    with pytest.raises(UsageError, match="restores faces alone"):
        measure_restorer([picture], run, "blur:1")
    monkeypatch.setattr(face_finder, "find_spec", lambda name: None)
    with pytest.raises(Unsupported, match=r"opencv-python-headless"):
        restore([picture], run)
    with pytest.raises(Unsupported, match="or give --face"):
        find_faces(pixels(smooth()))


def test_faces_that_were_found_are_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, found = run_of(tmp_path), [FacePlace(50.0, 50.0, 40.0)]
    monkeypatch.setattr("zeuxis.api.restore.finder_lacks", lambda: None)
    monkeypatch.setattr("zeuxis.api.restore_job.find_faces", lambda colours: found)
    Image.fromarray(pixels(smooth())).save(tmp_path / "a.png")
    made = restore([tmp_path / "a.png"], run)
    assert [moved.place for _, moved in made.faces] == found and "faces" not in read_record(made.done[0])["sampling"]
    found.clear()
    with pytest.raises(DataError, match="no face was found: say where one is"):
        restore([tmp_path / "a.png"], run, out=tmp_path / "b.png")


# -- the finder ------------------------------------------------------------------------------------


def test_faces_are_framed_by_their_eyes() -> None:
    upright = face_finder._framed(100.0, 50.0, 200.0, EXPECTED, 2.0)
    assert upright.angle == 0 and upright.side == pytest.approx(2 * 200 * 0.35 / 0.247, rel=1e-3)
    top = upright.y - upright.side / 2
    assert (2 * (50 + 200 * 0.385) - top) / upright.side == pytest.approx(0.469, abs=1e-3)  # where eyes are in FFHQ
    leaning = face_finder._framed(0.0, 0.0, 100.0, ((0.3, 0.35), (0.65, 0.45)), 1.0)
    assert leaning.angle == pytest.approx(math.atan2(0.1, 0.35))
    corners = leaning.corners()
    assert np.allclose(corners.mean(0), (leaning.x, leaning.y))
    assert math.atan2(*(corners[1] - corners[0])[::-1]) == pytest.approx(leaning.angle)


@pytest.mark.skipif(find_spec("cv2") is None, reason="the extra 'faces' is not installed")
def test_opencv_finds_the_faces_of_a_photograph() -> None:
    root = data_dir()
    file = None if root is None else root / "restoration_test" / "Set5" / "woman.png"
    if file is None or not file.is_file():
        pytest.skip("Set5 is not here")
    (face,) = find_faces(np.asarray(Image.open(file).convert("RGB")))
    assert face.angle == pytest.approx(-0.15, abs=0.1)  # her left eye is the higher one
    assert abs(face.x - 112) < 15 and abs(face.y - 105) < 25 and 190 < face.side < 290
    assert find_faces(pixels(smooth(200, 200))) == []
