"""The method that docs/add-a-method.md adds is taken out of the page into a folder of its own, and its commands run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from zeuxis.api.model import load
from zeuxis.catalog.listing import entries, packaged
from zeuxis.cli import main
from zeuxis.errors import UnknownName

PAGE = (Path(__file__).parent.parent / "docs" / "add-a-method.md").read_text(encoding="utf-8")
FILES = re.compile(r"^`(my-methods/\S+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINES = [line for kind, block in BLOCKS.findall(PAGE) if not kind for line in block.splitlines()]
SHORTER = {"train": ["--set", "train.iterations=3", "--batch", "8"], "compare": ["--budget", "1s"]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the page's files lie, in a working directory of their own."""
    monkeypatch.chdir(tmp_path)
    written = FILES.findall(PAGE)
    assert [Path(name).name for name, _ in written] == ["my_wae.py", "my-wae.toml"]
    for name, text in written:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_page_is_carried_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p for p in Path(packaged()["vae"].path).parents[2].rglob("*") if "__pycache__" not in p.parts}
    variable, value = next(line for line in LINES if line.startswith("export ")).removeprefix("export ").split("=")
    monkeypatch.setenv(variable, value)
    assert set(entries()) - set(packaged()) == {"my-wae"}
    printed = {}
    for line in LINES:
        if line.startswith("zeuxis "):
            command, *words = shlex.split(line)[1:]
            assert main([command, *words, *SHORTER.get(command, [])]) == 0, line
            printed[command] = capsys.readouterr()
    assert list(printed) == ["list", "info", "test-system", "train", "sample", "evaluate", "compare"]
    assert "my-wae" in printed["list"].out and "Wasserstein" in printed["info"].out
    assert printed["test-system"].out.count("\n") == printed["test-system"].out.count("ok ") >= 6
    assert "frechet" in printed["evaluate"].out
    assert len(list((folder / "runs").glob("compare-*/index.html"))) == 1
    assert len(list(folder.rglob("samples/**/*.png"))) >= 16
    assert {p for p in Path(packaged()["vae"].path).parents[2].rglob("*") if "__pycache__" not in p.parts} == before

    run = folder / "runs" / "00000-my-wae-digits"
    assert load(run).system.card.title == "Wasserstein autoencoder"
    monkeypatch.delenv(variable)
    with pytest.raises(UnknownName, match=r"'my-wae'.*--systems FOLDER"):
        load(run)
