"""What a container counts as used is not all in use."""

from __future__ import annotations

from pathlib import Path

import pytest

import zeuxis.training.room as room


def test_files_that_were_read_make_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, text in {"MEMINFO": "MemTotal: 9 kB\nMemAvailable: 900 kB\n", "LIMIT": "500000", "USED": "490000",
                       "KINDS": "anon 90000\ninactive_file 400000\n"}.items():  # fmt: skip
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(room, name, tmp_path / name)
    assert room.free_memory("cpu") == 410_000
    (tmp_path / "LIMIT").write_text("max")  # no limit: what the machine has
    assert room.free_memory("cpu") == 900 * 1024
