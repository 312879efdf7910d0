"""Tokens of textual inversion beside a published model: what a file teaches, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from published import made, repository
from safetensors.torch import save_file
from torch import Tensor

from zeuxis.api.model import load
from zeuxis.catalog.published import parsed, spelt
from zeuxis.catalog.weights import load_system
from zeuxis.cli import main
from zeuxis.errors import NoSuchPath, UsageError, WeightsError
from zeuxis.files import file_hash
from zeuxis.nn.clip_tokeniser import ClipTokeniser, byte_vocabulary
from zeuxis.pretrained.embedding_file import read_embedding
from zeuxis.pretrained.lora import merge
from zeuxis.pretrained.parts import read_parts
from zeuxis.provenance.record import read_record

CAPTION = "a cat in mystyle"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(made("1.x"), tmp_path_factory.mktemp("hub") / "repo")


def written(file: Path, **tensors: Tensor) -> Path:
    save_file(tensors, file)
    return file


def vectors(n: int, width: int = 64, seed: int = 0) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def test_a_token_brings_its_vectors_into_the_window(folder: Path, tmp_path: Path) -> None:
    learnt = vectors(2)
    file = written(tmp_path / "mystyle.safetensors", emb_params=learnt)
    base, taught = load_system(folder)[0], load_system(spelt(str(folder), embeddings=[str(file)]))[0]
    before, after = base.prompt.readers[0], taught.prompt.readers[0]
    rows = before.tower.token.weight
    assert torch.equal(after.tower.token.weight, torch.cat([rows, learnt]))
    a, b = before.tokeniser, after.tokeniser
    assert b.pieces("a cat in mystyle, red") == [*a.pieces("a cat in"), len(rows), len(rows) + 1, *a.pieces(", red")]
    assert b.pieces("mystyles, amystyle") == a.pieces("mystyles, amystyle"), "within longer words it is none"
    ids = b.tokenise([CAPTION]).ids
    assert torch.equal(after.tower.ends(ids), (ids == b.end).int().argmax(1)), "the largest id is not its end"
    plain = b.tokenise(["a cat"]).ids
    assert torch.equal(before.tower(plain).pooled, after.tower(plain).pooled)


def test_a_picture_is_drawn_recorded_and_drawn_again(folder: Path, tmp_path: Path, capsys) -> None:
    file, out = written(tmp_path / "mystyle.safetensors", emb_params=vectors(1)), tmp_path / "out.png"
    asked = ["sample", str(folder), "--steps", "2", "-n", "1", "--embedding"]
    assert main([*asked, f"{file}=<it>", "--caption", "a <it> cat", "--out", str(out)]) == 0
    assert "counts for nothing" not in capsys.readouterr().err
    hashes = {str(file): file_hash(file)}
    assert read_record(out)["added"] == [{"kind": "embedding", "files": hashes, "token": "<it>"}]
    assert main(["sample", "--replay", str(out)]) == 0 and "the same, pixel for pixel" in capsys.readouterr().out
    assert main([*asked, str(file), "--caption", "a cat", "--out", str(tmp_path / "other.png")]) == 0
    assert "has 'mystyle', so that its --embedding counts for nothing" in capsys.readouterr().err


def test_a_model_with_a_token_is_exported_and_read_again(folder: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "mystyle.safetensors", emb_params=vectors(2))
    taught = load_system(spelt(str(folder), embeddings=[str(file)]))[0]
    repository(taught, tmp_path / "copy")
    again = load_system(tmp_path / "copy")[0]
    captions = [CAPTION, "a cat"]
    for one, other in zip(taught.prompt.readers[0](captions), again.prompt.readers[0](captions), strict=True):
        assert one is other or torch.equal(one, other)


@pytest.mark.parametrize(
    ("name", "tensors", "token", "rows"),
    [
        ("mystyle", {"emb_params": vectors(3)}, "mystyle", 3),
        ("mystyle", {"string_to_param.*": vectors(2)}, "mystyle", 2),
        ("learned_embeds", {"<cat-toy>": vectors(1)[0]}, "<cat-toy>", 1),
        ("learned_embeds", {"<cat-toy>": vectors(4)}, "<cat-toy>", 4),
    ],
)
def test_each_program_s_file_is_read(tmp_path: Path, name: str, tensors, token: str, rows: int) -> None:
    file = written(tmp_path / f"{name}.safetensors", **tensors)
    found = read_embedding(file)
    assert found.token == token and [v.shape for v in found.vectors] == [(rows, 64)]
    assert read_embedding(file, "other").token == "other"


def test_xl_has_vectors_for_each_of_its_towers(tmp_path: Path) -> None:
    model = made("XL")
    folder = repository(model, tmp_path / "repo")
    widths = [reader.width for reader in model.prompt.readers]
    both = {"clip_l": vectors(2, widths[0]), "clip_g": vectors(2, widths[1], seed=1)}
    file = written(tmp_path / "mystyle.safetensors", **both)
    taught = load_system(spelt(str(folder), embeddings=[str(file)]))[0]
    for reader, learnt in zip(taught.prompt.readers, both.values(), strict=True):
        assert torch.equal(reader.tower.token.weight[-2:], learnt)
    with pytest.raises(WeightsError, match=r"vectors of 64 numbers, .* read .* and .*: it was made for another base"):
        load_system(spelt(str(folder), embeddings=[str(written(tmp_path / "one.safetensors", emb_params=vectors(1)))]))


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"a": vectors(1), "b": vectors(1)}, r"no textual inversion: it holds a \(1, 64\), b \(1, 64\)"),
        ({"emb_params": vectors(99)}, "1 to 75"),
        ({"emb_params": torch.zeros(2, 3, 4)}, "rows of vectors are wanted"),
        ({"clip_l": vectors(1), "clip_g": vectors(2)}, "rows of vectors are wanted"),
        ({"emb_params": torch.full((1, 64), torch.nan)}, "not finite"),
    ],
)
def test_what_is_no_token_is_named(tmp_path: Path, tensors, told: str) -> None:
    with pytest.raises(WeightsError, match=told):
        read_embedding(written(tmp_path / "x.safetensors", **tensors))


def test_a_token_that_is_a_word_already_wants_another_name(folder: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "a.safetensors", emb_params=vectors(1))
    for asked, why in (
        (str(file), "knows 'a' already"),
        (f"{file}=two words", "is one word"),
        (f"{file}=", "one word"),
    ):
        with pytest.raises(UsageError, match=f"{why}.* write FILE=NAME"):
            load_system(spelt(str(folder), embeddings=[str(asked)]))


def test_where_it_is_given_wrongly_the_right_place_is_told(folder: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "mystyle.safetensors", emb_params=vectors(1))
    with pytest.raises(WeightsError, match=r"textual inversion.* --embedding"):
        merge(file, {}, {})
    with pytest.raises(WeightsError, match=r"a token of textual inversion: .* --embedding"):
        read_parts(file)
    with pytest.raises(NoSuchPath):
        load(spelt(str(folder), embeddings=[str(tmp_path / "none.safetensors")]))
    with pytest.raises(WeightsError, match="zeuxis convert"):
        read_embedding(Path(__file__))


def test_a_name_says_all_that_is_added() -> None:
    name = spelt("base", ["l.safetensors*0.5"], "edges", ["e.pt", "f.pt=<it>"])
    found = parsed(name)
    assert found.base == "base" and found.loras == ((Path("l.safetensors"), 0.5),) and found.control == Path("edges")
    assert found.embeddings == ((Path("e.pt"), None), (Path("f.pt"), "<it>"))


def test_tokens_with_marks_of_their_own_stand_anywhere() -> None:
    words = {**byte_vocabulary(), "<it>": 600, "it2": 601}
    tokeniser = ClipTokeniser(words, [], added=("<it>", "it2"))
    assert tokeniser.pieces("a<it>b").count(600) == 1 and 601 not in tokeniser.pieces("bit2 it22")
    assert 601 in tokeniser.pieces("(it2)")


def test_pickles_of_old_programs_are_converted_and_told_of(tmp_path: Path, capsys) -> None:
    vectors_of = torch.nn.ParameterDict({"*": torch.nn.Parameter(vectors(1, 768))})
    torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": vectors_of}, tmp_path / "style.pt")
    torch.save({"<cat-toy>": vectors(2, 768)}, tmp_path / "learned_embeds.bin")
    for name, token in (("style.pt", "style"), ("learned_embeds.bin", "<cat-toy>")):
        assert main(["convert", str(tmp_path / name)]) == 0
        said = capsys.readouterr()
        assert "--embedding" in said.out and "of no kind" not in said.err
        assert read_embedding((tmp_path / name).with_suffix(".safetensors")).token == token
    torch.save({"unet.mid_block.attentions.0.to_q.lora.up.weight": torch.ones(4, 1)}, tmp_path / "lora.pt")
    assert main(["convert", str(tmp_path / "lora.pt")]) == 0 and "--lora" in capsys.readouterr().out
