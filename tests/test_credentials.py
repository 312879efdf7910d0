"""Content credentials: signed with a certificate of one's own, and read by the public library."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from zeuxis.cli import main
from zeuxis.errors import UsageError
from zeuxis.provenance.asked import Marks, marking
from zeuxis.provenance.certificate import folder, make_certificate
from zeuxis.provenance.credentials import holds_credentials, read_credentials, ready, told
from zeuxis.provenance.record import SOURCE_TYPE, read_record, record, save_png

MADE = record(model="m", system="s", weights_sha256=None, recipe=None, data=None, seed=1, sampling={}, condition={},
              device="cpu")  # fmt: skip


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZEUXIS_CREDENTIALS", str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.fixture
def c2pa(own_folder: Path) -> Any:
    pytest.importorskip("cryptography")
    return pytest.importorskip("c2pa")


def signed(path: Path) -> Path:
    make_certificate()
    with marking(Marks(credentials=True)):
        save_png(Image.effect_noise((32, 32), 50), path, MADE)
    return path


def test_the_public_reader_finds_them_whole_and_says_that_a_model_made_it(tmp_path: Path, c2pa: Any) -> None:
    path = signed(tmp_path / "a.png")
    with path.open("rb") as file, c2pa.Reader("image/png", file) as reader:
        assert reader.get_validation_state() == "Valid"
        found = json.loads(reader.json())
    manifest = found["manifests"][found["active_manifest"]]
    (actions,) = (each["data"]["actions"] for each in manifest["assertions"] if each["label"] == "c2pa.actions.v2")
    assert actions == [{"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}]
    assert manifest["claim_generator_info"][0]["name"] == "Zeuxis"
    assert read_record(path) == MADE


def test_ours_tells_whole_from_changed_and_trusts_nobody(tmp_path: Path, c2pa: Any) -> None:
    path = signed(tmp_path / "a.png")
    found = read_credentials(path)
    assert found is not None and found.sound and not found.trusted and found.source_type == SOURCE_TYPE
    content = bytearray(path.read_bytes())
    content[content.rindex(b"IDAT") + 20] ^= 1
    path.write_bytes(content)
    changed = read_credentials(path)
    assert changed is not None and not changed.sound and "dataHash.mismatch" in str(changed)
    save_png(Image.new("L", (8, 8)), tmp_path / "plain.png", MADE)
    assert not holds_credentials(tmp_path / "plain.png") and read_credentials(tmp_path / "plain.png") is None


def test_the_command_makes_a_certificate_once_and_pictures_are_signed_after_it(
    tmp_path: Path, own_folder: Path, c2pa: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "a.png"
    draw = ["sample", "perlin", "-n", "1", "--out", str(picture), "--credentials"]
    assert main(draw) == 2 and "zeuxis credentials" in capsys.readouterr().err and not picture.exists()
    assert main(["credentials", "--name", "A. Painter", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["made"] and first["name"] == "CN=A. Painter"
    assert main(["credentials", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {**first, "made": False}
    assert main(["credentials", "--name", "B"]) == 2 and "--new" in capsys.readouterr().err
    if sys.platform != "win32":
        assert stat.S_IMODE((own_folder / "key.pem").stat().st_mode) == 0o600
    assert sorted(p.name for p in own_folder.iterdir()) == ["certificate.pem", "key.pem"]
    assert main(draw) == 0
    capsys.readouterr()
    assert main(["info", str(picture), "--json"]) == 0
    marks = json.loads(capsys.readouterr().out)["marks"]
    assert marks["credentials"]["sound"] and marks["credentials"]["signer"] == "A. Painter"
    assert main(["info", str(picture)]) == 0
    assert "signature whole, picture unchanged; signer A. Painter (known to nobody)" in capsys.readouterr().out


def test_without_a_certificate_or_the_library_it_is_said_how_to_get_them(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zeuxis.provenance.certificate.find_spec", lambda name: object())
    with pytest.raises(UsageError, match="make one with zeuxis credentials"):
        ready()
    monkeypatch.setattr("zeuxis.provenance.certificate.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install c2pa-python cryptography"):
        ready()
    assert folder() == own_folder and not own_folder.exists()


@pytest.mark.parametrize("report", [{}, {"active_manifest": "a", "manifests": {"a": {"assertions": [{"label": 3}]}}}])
def test_a_report_of_an_unknown_form_is_not_sound(report: dict[str, Any]) -> None:
    assert not told(report).sound
