"""Which files are restored and where their results go: names of any length, links of any kind, files given twice."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_restore import denoiser, photo

from zeuxis.api.restore import restore
from zeuxis.api.restore_paths import errands_of
from zeuxis.cli import main
from zeuxis.errors import UsageError
from zeuxis.files import machine


@pytest.fixture
def same(tmp_path: Path) -> Path:
    return denoiser(tmp_path / "same.safetensors")


def pictures(folder: Path, *names: str) -> Path:
    for k, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        photo(seed=k).save(folder / name)
    return folder


def test_long_names_and_deep_folders_have_a_page_too(same: Path, tmp_path: Path) -> None:
    deep = "/".join(["album" * 12] * 5)
    given = pictures(tmp_path / "in", f"{'x' * 240}.png", f"{deep}/a.png", f"{deep}/b.png")
    made = restore([given], same, out=tmp_path / "out")
    assert len(made.done) == 3 and not made.problems and made.page is not None
    assert len(list((tmp_path / "out" / "index-files").iterdir())) == 6, "each has its own two parts"
    assert made.page.read_text().count("<img") == 6


def test_a_result_that_cannot_be_called_so_costs_a_line(same: Path, tmp_path: Path) -> None:
    given = pictures(tmp_path / "in", f"{'x' * 250}.png", "ok.png")
    made = restore([given / f"{'x' * 250}.png", given / "ok.png"], same)  # x...x-restored.png is too long
    assert [file.name for file in made.done] == ["ok-restored.png"] and made.failed == 1
    assert "its result cannot be" in made.problems[0] and "choose a shorter name" in made.problems[0]


def test_a_file_where_a_folder_of_results_should_be_costs_a_line(same: Path, tmp_path: Path) -> None:
    given = pictures(tmp_path / "in", "album/a.png", "b.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "album").write_text("mine")
    made = restore([given], same, out=tmp_path / "out")
    assert [file.name for file in made.done] == ["b.png"] and (tmp_path / "out" / "album").read_text() == "mine"
    assert "its result cannot be" in made.problems[0] and "give another --out" in made.problems[0]


def test_links_that_lead_round_in_a_circle_cost_a_line(same: Path, tmp_path: Path) -> None:
    given = pictures(tmp_path / "in", "a.png")
    (given / "round").symlink_to("round")
    (given / "round.png").symlink_to("round.png")
    (given / "up").symlink_to(given)
    made = restore([given], same, out=tmp_path / "out")
    assert [file.name for file in made.done] == ["a.png"] and len(made.problems) == 3
    with pytest.raises(UsageError, match=r"round\.png: it is a link that leads nowhere"):
        restore([given / "round.png"], same)


def test_a_folder_that_may_not_be_read_costs_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = pictures(tmp_path / "in", "a.png", "locked/b.png")
    plain = Path.iterdir

    def refusing(folder: Path):
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied", str(folder))
        return plain(folder)

    monkeypatch.setattr(Path, "iterdir", refusing)
    found = errands_of([given], None, "restored")
    assert [errand.name for errand in found.each] == ["a.png"]
    assert found.passed_over == (f"{given / 'locked'}: a folder that may not be read: look at its permissions",)
    with pytest.raises(UsageError, match="locked, a folder that may not be read"):
        errands_of([given / "locked"], None, "restored")


def test_names_that_some_systems_take_for_one_are_kept_apart(tmp_path: Path) -> None:
    accents = [unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD")]
    given = pictures(tmp_path / "in", "a.jpg", "A.png", *accents)
    targets = [errand.target.name for errand in errands_of([given], tmp_path / "out", "restored").each]
    assert {"a-jpg.png", "A-png.png"} < set(targets)
    assert len({unicodedata.normalize("NFC", name).casefold() for name in targets}) == 4


def test_a_name_that_is_made_apart_may_be_taken(tmp_path: Path) -> None:
    given = pictures(tmp_path / "in", "a.jpg", "a.tif", "a-jpg.png")
    found = {errand.name: errand.target.name for errand in errands_of([given], None, "restored").each}
    assert found == {"a-jpg.png": "a-jpg.png", "a.jpg": "a-jpg-2.png", "a.tif": "a-tif.png"}


def test_all_pictures_of_a_folder_may_be_given_again(
    same: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = pictures(tmp_path / "in", "a.png", "b.png")
    for _ in range(2):  # as a shell writes *.png out, which holds the results the second time
        assert main(["restore", *map(str, sorted(given.glob("*.png"))), "--model", str(same)]) == 0
    assert sorted(file.name for file in given.iterdir()) == ["a-restored.png", "a.png", "b-restored.png", "b.png"]
    assert "done before: 2" in capsys.readouterr().out
    (again,) = restore([given / "a-restored.png"], same).done  # but one that is given alone is meant
    assert again.name == "a-restored-restored.png"


def test_an_empty_path_is_not_the_folder_here(
    same: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(pictures(tmp_path / "in", "a.png"))
    for more in (["--model", str(same)], [], ["--model", str(same), "--pair", "noise:0.1"]):
        assert main(["restore", "", *more]) == 2
        assert "one of the paths is empty" in capsys.readouterr().err
    assert not (tmp_path / "in-restored").exists()
    with pytest.raises(UsageError, match="one of the paths is empty"):
        restore([""], same)


def test_a_picture_that_is_given_twice_is_restored_once(same: Path, tmp_path: Path) -> None:
    given = pictures(tmp_path / "in", "a.png")
    (given / "link.png").symlink_to("a.png")
    made = restore([given / "a.png", given / "." / "a.png", given / "link.png"], same)
    assert [file.name for file in made.done] == ["a-restored.png"]


def test_what_a_kill_has_left_of_a_result_goes(same: Path, tmp_path: Path) -> None:
    given = pictures(tmp_path / "in", "deep/a.png")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    restore([given], same, out=tmp_path / "out")
    left = [
        tmp_path / "out" / "deep" / f".draft-{machine()}-{process}-00000000" for process in (ended.pid, os.getpid())
    ]
    for draft in left:
        draft.write_bytes(b"half a PNG")
    restore([given], same, out=tmp_path / "out")
    assert [draft.exists() for draft in left] == [False, True], "of a process that is at work nothing goes"


def test_what_is_transparent_all_over_keeps_its_colours(same: Path, tmp_path: Path) -> None:
    hidden = photo(mode="RGBA")
    hidden.putalpha(0)
    hidden.save(tmp_path / "a.png")
    made = restore([tmp_path / "a.png"], same)
    with Image.open(made.done[0]) as found:
        assert np.array_equal(np.asarray(found), np.asarray(hidden))
    assert "transparent all over" in made.notes[0]
