"""Looking a folder through, and what hostile files can do: nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import hostile
import pytest

from zeuxis.data.check import Checked, check
from zeuxis.data.folder import open_folder
from zeuxis.errors import DataError

MEMORY = 1_500_000_000  # bytes of address space beyond what importing takes
SECONDS = 280  # against a hang alone: just below the limit of any test
PROGRAM = f"""
import json, resource, sys, torch
from zeuxis.data.check import check
pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (pages + {MEMORY}, pages + {MEMORY}))
found = check(sys.argv[1])
print(json.dumps([found.pictures, found.usable, [[f.path, f.message, f.left_out] for f in found.findings]]))
"""


def kinds(found: Checked) -> dict[str, str]:
    return {finding.path: finding.kind for finding in found.findings}


def test_two_hundred_hostile_files_do_no_harm(tmp_path: Path) -> None:
    """In a process with bounded memory and time: no crash, no hang, and every file where it belongs."""
    wanted = hostile.write(tmp_path)
    assert len(wanted) >= 200
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    pictures, usable, findings = json.loads(done.stdout)
    out = {path: message for path, message, left_out in findings if left_out}
    wrong = [f"{name!r} was not used: {out[name]}" for name, fate in wanted.items() if fate == "use" and name in out]
    wrong += [f"{name!r} was used" for name, fate in wanted.items() if fate == "out" and name not in out]
    assert not wrong, "\n".join(wrong)
    assert pictures == len(wanted) and usable == pictures - len(out.keys() - {"folder.png/"})
    assert all(out.values()), "a reason is missing"


def test_what_the_check_says_is_what_happens(tmp_path: Path) -> None:
    for k in range(40):
        hostile.noise("RGB", k, 32).save(tmp_path / f"{k:02d}.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    found = check(tmp_path)
    assert (found.pictures, found.usable, found.refused) == (41, 40, False)
    assert [(f.path, f.kind, f.left_out) for f in found.findings] == [("bad.png", "damaged", True)]
    assert [one.path for one in open_folder(tmp_path, 16).skipped] == ["bad.png"]
    for k in range(3):
        (tmp_path / f"worse-{k}.png").write_bytes(b"")
    assert check(tmp_path).refused
    with pytest.raises(DataError, match="more than 5 %"):
        open_folder(tmp_path, 16)


def test_twins_tiny_and_animated_pictures_are_told_and_used(tmp_path: Path) -> None:
    picture = hostile.noise("RGB", 0, 40)
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "b.bmp")  # the same pixels in another format
    hostile.noise("RGB", 1, 40).save(tmp_path / "c.png")
    hostile.noise("RGB", 2, 8).save(tmp_path / "d.png")
    frames = [hostile.noise("P", k, 40) for k in range(3)]
    frames[0].save(tmp_path / "e.gif", save_all=True, append_images=frames[1:])
    found = check(tmp_path)
    assert kinds(found) == {"b.bmp": "duplicate", "d.png": "tiny", "e.gif": "animated"}
    assert "a.png" in next(f.message for f in found.findings if f.kind == "duplicate")
    assert found.usable == found.pictures == 5 and (found.least, found.most) == ((8, 8), (40, 40))
    assert kinds(check(tmp_path, size=64)).keys() >= {"a.png", "c.png", "d.png"}, "all would be enlarged to 64"


def test_every_layout_is_looked_through(tmp_path: Path) -> None:
    def put(name: str, seed: int, side: int = 32) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        hostile.noise("RGB", seed, side).save(tmp_path / name)

    put("pairs/gt/1.png", 0)
    put("pairs/lq/1.png", 1, 16)
    put("pairs/gt/2.png", 2)
    assert kinds(check(tmp_path / "pairs")) == {"gt/2.png": "unpaired"}
    put("told/a.png", 3)
    lines = [{"file_name": n, "text": "x"} for n in ("a.png", "gone.png", "../pairs/gt/1.png")]
    (tmp_path / "told/metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert kinds(check(tmp_path / "told")) == {"gone.png": "missing", "../pairs/gt/1.png": "outside"}
    for k, name in enumerate(("train/cat/a.png", "train/dog/b.png", "test/cat/c.png", "test/emu/d.png")):
        put(f"split/{name}", 10 + k)
    found = check(tmp_path / "split")
    assert found.pictures == 4 and kinds(found) == {"test/emu/d.png": "left out"}
    for k, name in enumerate(("trainA/a.png", "trainB/b.png", "testA/c.png")):
        put(f"two/{name}", 20 + k)
    assert (check(tmp_path / "two").pictures, check(tmp_path / "two").usable) == (3, 3)
    with pytest.raises(DataError, match="no folder"):
        check(tmp_path / "nowhere")


def test_an_empty_folder_is_refused_and_a_check_leaves_nothing_behind(tmp_path: Path) -> None:
    found = check(tmp_path)
    assert (found.pictures, found.usable, found.refused, found.least) == (0, 0, True, (0, 0))
    assert not list(tmp_path.iterdir())
