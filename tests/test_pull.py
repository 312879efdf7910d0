"""Published models fetched from a hub: what is taken, what is left, and what an interrupted fetch leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from published import made, repository
from safetensors.torch import save_file

from zeuxis.cli import main
from zeuxis.errors import DataError
from zeuxis.files import file_hash
from zeuxis.pretrained.pull import pull


class FakeHub:
    """A hub with one repository, a folder here."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.fetched = folder, list[str]()

    def model_info(self, repo: str, *, revision: str | None, files_metadata: bool) -> SimpleNamespace:
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        siblings = [
            SimpleNamespace(
                rfilename=str(p.relative_to(self.folder)),
                size=p.stat().st_size,
                lfs=SimpleNamespace(sha256=file_hash(p)) if p.suffix == ".safetensors" else None,
            )
            for p in files
        ]
        siblings.append(SimpleNamespace(rfilename="../evil.json", size=1, lfs=None))
        return SimpleNamespace(sha="c" * 40, siblings=siblings)

    def hf_hub_download(self, repo: str, path: str, *, revision: str, local_dir: str) -> str:
        self.fetched.append(path)
        made = Path(local_dir) / path
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes((self.folder / path).read_bytes())
        return str(made)


def test_pulling_takes_weights_and_tables_alone(tmp_path: Path, monkeypatch, capsys) -> None:
    repo = repository(made("1.x"), tmp_path / "there")
    for extra in ("unet/run.py", "unet/diffusion_pytorch_model.bin", "safety_checker/model.safetensors", "README.md"):
        (repo / extra).parent.mkdir(exist_ok=True)
        (repo / extra).write_bytes(b"no")
    weights = repo / "unet" / "diffusion_pytorch_model.safetensors"
    (repo / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"another variant")
    hub = FakeHub(repo)
    monkeypatch.setattr("zeuxis.data.hub_files.client", lambda: hub)
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    assert main(["pull", "owner/name", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["commit"] == "c" * 40 and done["files"] == len(hub.fetched)
    assert {Path(path).suffix for path in hub.fetched} == {".safetensors", ".json", ".txt"}
    assert not any("fp16" in path or "safety" in path or ".." in path for path in hub.fetched)
    kept = json.loads((Path(done["folder"]) / "pulled.json").read_text())
    assert kept["sha256"]["unet/diffusion_pytorch_model.safetensors"] == file_hash(weights)
    assert (
        main(
            ["sample", "owner/name", "--caption", "a cat", "--steps", "2", "-n", "1", "--out", str(tmp_path / "x.png")]
        )
        == 0
    )
    assert done["programs"] == ["unet/run.py"]
    assert main(["pull", "owner/name"]) == 2 and "here already" in capsys.readouterr().err
    assert main(["pull", "nowhere"]) == 2 and "write OWNER/NAME" in capsys.readouterr().err


@pytest.fixture
def small_hub(tmp_path: Path, monkeypatch) -> FakeHub:
    """A hub with a repository of which the parts are files of a few bytes, and a cache of its own."""
    there = tmp_path / "there"
    for part in ("unet", "vae"):
        (there / part).mkdir(parents=True)
        save_file({"weight": torch.zeros(100)}, there / part / "diffusion_pytorch_model.safetensors")
    (there / "model_index.json").write_text("{}")
    hub = FakeHub(there)
    monkeypatch.setattr("zeuxis.data.hub_files.client", lambda: hub)
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    return hub


def drafted(tmp_path: Path, *names: str, content: bytes = b"old") -> Path:
    """The folder of an interrupted pull of owner/name, with these files."""
    draft = tmp_path / "cache" / "models" / "owner" / ".name-part"
    for name in names:
        (draft / name).parent.mkdir(parents=True, exist_ok=True)
        (draft / name).write_bytes(content)
    return draft


def test_leftovers_of_an_interrupted_pull_are_no_part_of_the_model(small_hub, tmp_path: Path) -> None:
    drafted(tmp_path, "unet/diffusion_pytorch_model.fp16.safetensors", "safety/old.json", ".cache/x/y.incomplete")
    folder = pull("owner/name").folder
    kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert kept == {*json.loads((folder / "pulled.json").read_text())["sha256"], "pulled.json"}
    assert not (folder / "safety").exists() and not (folder / ".cache").exists()


def test_what_is_here_already_needs_no_room(small_hub, tmp_path: Path, monkeypatch) -> None:
    weights = small_hub.folder / "unet" / "diffusion_pytorch_model.safetensors"
    sizes = {path: path.stat().st_size for path in small_hub.folder.rglob("*.*") if path.is_file()}
    free = SimpleNamespace(free=sum(sizes.values()) - sizes[weights])
    monkeypatch.setattr("zeuxis.pretrained.pull.shutil.disk_usage", lambda place: free)
    drafted(tmp_path, "unet/strange.safetensors", ".cache/z.incomplete", content=bytes(10_000))
    with pytest.raises(DataError, match="GB free: set ZEUXIS_CACHE"):
        pull("owner/name")
    begun = drafted(tmp_path, f".cache/huggingface/x.{file_hash(weights)}.incomplete", content=bytes(9))
    free.free -= 9
    with pytest.raises(DataError, match=r"GB of them here already, and .* GB free"):
        pull("owner/name")
    assert any(begun.rglob("*.incomplete"))  # from which the client goes on
    drafted(tmp_path, f".cache/huggingface/y.{file_hash(weights)}.0a1b2c3d.incomplete", content=bytes(9000))
    with pytest.raises(DataError, match="GB free"):  # newer clients fetch that anew: it is not held, and goes
        pull("owner/name")
    assert [path.name for path in begun.rglob("*.incomplete")] == [f"x.{file_hash(weights)}.incomplete"]
    drafted(tmp_path, "unet/diffusion_pytorch_model.safetensors", content=weights.read_bytes())
    free.free += 9
    assert pull("owner/name").files == 3


def test_what_was_pulled_draws_only_where_it_has_a_unet(small_hub, capsys) -> None:
    assert main(["pull", "owner/name"]) == 0
    assert "zeuxis sample owner/name --caption TEXT draws with it" in capsys.readouterr().out
    (small_hub.folder / "model_index.json").unlink()
    (small_hub.folder / "unet" / "diffusion_pytorch_model.safetensors").rename(small_hub.folder / "lora.safetensors")
    (small_hub.folder / "pipeline.py").write_text("boom")
    assert main(["pull", "owner/lora@main"]) == 0
    told = capsys.readouterr().out
    assert "draws with it" not in told and "--lora FILE" in told
    assert "pipeline.py" in told and "never run" in told
    (small_hub.folder / "lora.safetensors").rename(small_hub.folder / "model.ckpt")
    assert main(["pull", "owner/old"]) == 1
    assert "zeuxis convert model.ckpt" in capsys.readouterr().err


def test_pickles_in_a_part_are_not_fetched(small_hub, capsys) -> None:
    part = small_hub.folder / "unet" / "diffusion_pytorch_model"
    part.with_suffix(".safetensors").rename(part.with_suffix(".bin"))
    assert main(["pull", "owner/name"]) == 1
    told = capsys.readouterr().err
    assert "no safetensors in unet/" in told and "zeuxis convert diffusion_pytorch_model.bin" in told
    assert not small_hub.fetched
