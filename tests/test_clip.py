"""CLIP: towers, tokeniser, key maps, loss, and classification by words.

Numbers marked "pinned" were computed with transformers 5.24.0 (CLIPModel, CLIPTokenizerFast) from the same weights.
"""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from zeuxis.api.adopt_clip import adopt_clip
from zeuxis.api.collectors import Chunk
from zeuxis.api.model import Model, load
from zeuxis.api.zero_shot import ZeroShots, classify, text_vectors
from zeuxis.batch import Batch, Condition, Shape
from zeuxis.catalog.build import build
from zeuxis.cli import main
from zeuxis.data.library import open_source
from zeuxis.data.source import ArraySource
from zeuxis.data.worlds import grammar
from zeuxis.data.worlds.questions import scenes
from zeuxis.errors import DataError, UnknownName, Unsupported, UsageError, WeightsError
from zeuxis.game import Turn
from zeuxis.losses.contrastive import info_nce
from zeuxis.metrics.zero_shot import Question, zero_shot
from zeuxis.nn.clip_text import CLIP_TEXT, ClipTextTower
from zeuxis.nn.clip_tokeniser import BEGIN, END, WORD_END, ClipTokeniser, EndedWords
from zeuxis.nn.clip_vision import CLIP_VISION, ClipVisionTower, build_image_tower
from zeuxis.nn.reword import reworded
from zeuxis.pretrained.clip_files import read_tokeniser
from zeuxis.pretrained.clip_keys import (
    OPENCLIP,
    TRANSFORMERS,
    clip_sources,
    read_clip,
    read_text_tower,
    text_sources,
)
from zeuxis.pretrained.kind import gather, scatter
from zeuxis.pretrained.tokeniser_files import of_merges
from zeuxis.rng import Stream
from zeuxis.spec import DataSpec
from zeuxis.systems.recognition.clip import CLIP

# -- a small published CLIP, whose tensors are drawn by name ------------------------------------------

TEXT_CONFIG = {"num_attention_heads": 2, "hidden_act": "quick_gelu", "eos_token_id": 2}
CONFIG = {"text_config": TEXT_CONFIG, "vision_config": {"num_attention_heads": 5, "hidden_act": "quick_gelu"}}


def letters() -> list[str]:
    """GPT-2's characters for bytes, in alphabetical order."""
    own = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    return sorted([chr(byte) for byte in own] + [chr(256 + k) for k in range(256 - len(own))])


def byte_vocabulary() -> dict[str, int]:
    tokens = [*letters(), *(letter + WORD_END for letter in letters()), BEGIN, END]
    return {token: k for k, token in enumerate(tokens)}


def published() -> dict[str, Tensor]:
    """Tensors of a CLIP of two and three blocks under `transformers` names."""
    with torch.device("meta"):
        own = build_small().state_dict()
    sources = clip_sources(TRANSFORMERS, 2, 3)
    found = {}
    for name, source in sources.items():
        for key in source.keys:
            shape = list(own[name].shape)
            if len(source.keys) == 3:
                shape[0] //= 3
            drawn = Stream(0, "clip", key).normal(*(shape or [1])).reshape(shape)
            gain = key.endswith("weight") and len(shape) == 1
            found[key] = (0.3 if len(shape) > 1 else 0.1) * drawn + float(gain)
    return {**found, "logit_scale": torch.tensor(2.0)}


def build_small(**more: Any) -> CLIP:
    made = build(
        "clip",
        DataSpec(Shape(3, 32, 32), words=("a",)),
        {
            "embedding": 24,
            "vocabulary": 514,
            "text": {"width": 32, "depth": 2, "heads": 2, "length": 20, "hidden": 48},
            "image": {"kind": "vit", "patch": 8, "width": 40, "depth": 3, "heads": 5, "hidden": 56},
            **more,
        },
    )
    assert isinstance(made, CLIP)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The same as a folder of the hub."""
    place = tmp_path / "hf"
    place.mkdir()
    save_file(published(), place / "model.safetensors")
    (place / "config.json").write_text(json.dumps(CONFIG))
    (place / "vocab.json").write_text(json.dumps(byte_vocabulary()))
    (place / "merges.txt").write_text("#version: 0.2\n")
    (place / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 20}))
    return place


# -- towers and key maps ------------------------------------------------------------------------------


def test_features_are_those_of_the_public_program(folder: Path) -> None:
    model = load(adopt_clip(folder).folder)
    image, text = Stream(1).uniform(2, 3, 32, 32) * 2 - 1, ("a cat", "an ox by me")
    with torch.no_grad():
        i, t = model.system.encode(image), model.system.encode_text(text)
    pinned_i = torch.tensor([0.1128295287489891, -0.3847634792327881, -0.2521677613258362, 0.13330136239528656])
    pinned_t = torch.tensor([0.11877674609422684, -0.07644665241241455, -0.07916543632745743, 0.16510675847530365])
    logits = torch.tensor([[-1.5648610591888428, -2.0871469974517822], [0.32858455181121826, 0.2661190330982208]])
    torch.testing.assert_close(i[0, :4], pinned_i, atol=1e-5, rtol=0)
    torch.testing.assert_close(t[1, :4], pinned_t, atol=1e-5, rtol=0)
    torch.testing.assert_close(model.system.logit_scale * i @ t.T, logits, atol=1e-4, rtol=0)


def test_features_are_those_of_transformers_where_it_is_installed(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"text_config": dict(vocab_size=514, hidden_size=32, intermediate_size=48, num_hidden_layers=2)}
    sizes["text_config"] |= {"max_position_embeddings": 20, "projection_dim": 24, **TEXT_CONFIG}
    vision = dict(hidden_size=40, intermediate_size=56, num_hidden_layers=3, image_size=32, patch_size=8)
    config = transformers.CLIPConfig(
        projection_dim=24, vision_config={**vision, "projection_dim": 24, **CONFIG["vision_config"]}, **sizes
    )
    theirs = transformers.CLIPModel(config).eval()
    theirs.load_state_dict(published())
    ours = load(adopt_clip(folder).folder).system
    assert isinstance(ours, CLIP)
    image, text = Stream(1).uniform(2, 3, 32, 32) * 2 - 1, ("a cat", "an ox by me")
    with torch.no_grad():
        found = theirs(input_ids=ours.tokeniser.encode(text)[0], pixel_values=((image + 1) / 2 - ours.mean) / ours.std)
        torch.testing.assert_close(ours.encode(image), found.image_embeds, atol=1e-4, rtol=0)
        torch.testing.assert_close(ours.encode_text(text), found.text_embeds, atol=1e-4, rtol=0)


def test_the_published_towers_have_the_published_counts() -> None:
    with torch.device("meta"):
        text = {name: ClipTextTower(**sizes) for name, sizes in CLIP_TEXT.items()}
        vision = {name: ClipVisionTower(**sizes) for name, sizes in CLIP_VISION.items()}
        plain = ClipTextTower(**{**CLIP_TEXT["clip-l"], "projection": None})
        of_sd2 = ClipTextTower(**{**CLIP_TEXT["openclip-h"], "projection": None, "depth": 23})
    size = {
        name: sum(p.numel() for p in net.parameters())
        for name, net in {**text, **vision, "sd1": plain, "sd2": of_sd2}.items()
    }
    temperature = 1
    assert size["vit-b-32"] + size["clip-b"] + temperature == 151_277_313
    assert size["vit-b-16"] + size["clip-b"] + temperature == 149_620_737
    assert size["vit-l-14"] + size["clip-l"] + temperature == 427_616_513
    assert size["sd1"] == 123_060_480 and size["sd2"] == 340_387_840
    assert size["openclip-h"] == 354_032_640 and size["openclip-bigg"] == 694_659_840


def test_both_layouts_hold_the_same_tensors_and_are_inverted() -> None:
    _, tensors = read_clip(published(), CONFIG)
    theirs = scatter(clip_sources(OPENCLIP, 2, 3), tensors, "it")
    assert theirs["transformer.resblocks.1.attn.in_proj_weight"].shape == (96, 32)
    assert theirs["text_projection"].shape == (32, 24) and theirs["visual.proj"].shape == (40, 24)
    sizes, back = read_clip(theirs, CONFIG)
    assert all(torch.equal(back[name], tensor) for name, tensor in tensors.items())
    assert sizes["text"]["activation"] == "quick-gelu"
    again = scatter(clip_sources(TRANSFORMERS, 2, 3), back, "it")
    assert again.keys() == published().keys() and all(torch.equal(again[k], v) for k, v in published().items())


def test_a_text_tower_s_projection_is_read_by_either_name_and_either_way_round() -> None:
    """A bare matrix is (D, P), a layer's weight (P, D); where D and P differ the shape tells, whatever the name."""
    wanted = published()["text_projection.weight"]  # (P, D)
    square = Stream(3).normal(32, 32)  # as XL's is, of 1280
    vision = {key for key in published() if key.startswith(("vision_model.", "visual_projection."))}
    first = {key: tensor for key, tensor in published().items() if key not in vision}
    second = scatter(text_sources(OPENCLIP, 2, True), read_text_tower(first, TEXT_CONFIG)[1], "it")
    bare = {key.removeprefix("text_model."): tensor for key, tensor in first.items()}
    for layout in (first, second, bare):
        rest = {key: tensor for key, tensor in layout.items() if "projection" not in key}
        for name, matrix, meant in (
            ("text_projection.weight", wanted, wanted),
            ("text_projection.weight", wanted.T, wanted),
            ("text_projection", wanted.T, wanted),
            ("text_projection", wanted, wanted),
            ("text_projection.weight", square, square),
            ("text_projection", square, square.T),
        ):
            sizes, tensors = read_text_tower({**rest, name: matrix}, TEXT_CONFIG)
            assert sizes["projection"] == len(meant), name
            assert torch.equal(tensors["projection.weight"], meant), name
        with pytest.raises(WeightsError, match="also holds text_projection"):
            read_text_tower({**rest, "text_projection": square, "text_projection.weight": square}, TEXT_CONFIG)
        with pytest.raises(WeightsError, match=r"\(5, 7\), which projects no vectors of 32 numbers"):
            read_text_tower({**rest, "text_projection": torch.zeros(5, 7)}, TEXT_CONFIG)
    clip = {key: tensor for key, tensor in published().items() if key != "text_projection.weight"}
    assert torch.equal(read_clip({**clip, "text_projection": wanted.T}, CONFIG)[1]["text.projection.weight"], wanted)


def test_without_a_configuration_the_activation_is_that_of_the_program() -> None:
    theirs = scatter(clip_sources(OPENCLIP, 2, 3), read_clip(published(), CONFIG)[1], "it")
    constants = {key: torch.tensor(0) for key in ("input_resolution", "context_length", "vocab_size")}
    assert read_clip(theirs)[0]["text"]["activation"] == "gelu"
    assert read_clip({**theirs, **constants})[0]["text"]["activation"] == "quick-gelu"


def test_a_text_tower_is_read_without_its_prefix_and_strange_keys_are_named() -> None:
    whole = {key: value for key, value in published().items() if key.startswith("text_model.")}
    bare = {key.removeprefix("text_model."): value for key, value in whole.items()}
    sizes, tensors = read_text_tower(bare, TEXT_CONFIG)
    assert sizes["projection"] is None and sizes["end"] is None and sizes["depth"] == 2 and sizes["length"] == 20
    assert tensors.keys() == text_sources(TRANSFORMERS, 2, False).keys()
    position_ids = {"text_model.embeddings.position_ids": torch.arange(20), "logit_scale": torch.tensor(1.0)}
    assert read_text_tower({**whole, **position_ids}, TEXT_CONFIG)[0] == sizes
    missing = {key: value for key, value in whole.items() if key != "text_model.final_layer_norm.bias"}
    with pytest.raises(WeightsError, match=r"lacks text_model\.final_layer_norm\.bias"):
        read_text_tower(missing, TEXT_CONFIG)
    with pytest.raises(WeightsError, match=r"also holds text_model\.strange"):
        read_text_tower({**whole, "text_model.strange": torch.zeros(1)}, TEXT_CONFIG)
    with pytest.raises(WeightsError, match="no CLIP"):
        read_text_tower({"a": torch.zeros(1)})
    with pytest.raises(WeightsError, match="lacks"):
        gather(text_sources(TRANSFORMERS, 3, False), whole, "this CLIP")
    with pytest.raises(UnknownName, match="activation"):
        read_text_tower(whole, {"hidden_act": "relu"})


def test_a_text_is_pooled_where_it_ends() -> None:
    towers = [ClipTextTower(vocabulary=12, length=6, width=8, depth=2, heads=2, end=end) for end in (None, 9)]
    ids = torch.tensor([[10, 1, 11, 11, 11, 11], [10, 1, 2, 9, 11, 9]])
    assert towers[0].ends(ids).tolist() == [2, 4] and towers[1].ends(ids[1:]).tolist() == [3]
    with pytest.raises(UsageError, match="no token 9"):
        towers[1].ends(ids)
    states = towers[0](ids)
    assert torch.equal(states.pooled[1], states.final[1, 4]) and states.projected is None


def test_layers_are_counted_from_the_last_and_do_not_look_ahead() -> None:
    tower = ClipTextTower(vocabulary=12, length=6, width=8, depth=3, heads=2).eval()
    ids = torch.tensor([[10, 1, 2, 3, 11, 0]])
    with torch.no_grad():
        states = tower(ids)
        assert len(states.layers) == 4 and torch.equal(tower.hidden(ids), states.final)
        assert torch.equal(tower.hidden(ids, skip=1, norm=False), states.layers[-2])
        assert torch.equal(tower.hidden(ids, skip=1), tower.norm(states.layers[-2]))
        other = tower(torch.tensor([[10, 1, 2, 4, 11, 0]]))
    torch.testing.assert_close(other.final[:, :3], states.final[:, :3])
    assert not torch.allclose(other.final[:, 3:], states.final[:, 3:])
    with pytest.raises(ValueError, match="skip=4"):
        tower.hidden(ids, skip=4)
    with pytest.raises(UsageError, match="7 tokens"):
        tower(torch.zeros(1, 7, dtype=torch.int64))


def test_an_image_tower_is_refused_with_the_mend() -> None:
    with pytest.raises(UsageError, match="whole 32 x 32 patches"):
        build_image_tower(None, Shape(3, 40, 40), 8)
    with pytest.raises(UnknownName, match="did you mean patch"):
        build_image_tower({"kind": "vit", "patchs": 8}, Shape(3, 32, 32), 8)
    with pytest.raises(UnknownName, match="kind of image tower"):
        build_image_tower({"kind": "resnet"}, Shape(3, 32, 32), 8)


# -- the tokeniser ------------------------------------------------------------------------------------


def tokeniser(length: int = 8, pad: str = END) -> ClipTokeniser:
    """The words "low" and "lower" are one piece each; all else are bytes."""
    merges = [("l", "o"), ("lo", "w" + WORD_END), ("e", "r" + WORD_END), ("lo", "w"), ("low", "er" + WORD_END)]
    vocabulary = byte_vocabulary()
    made = {first + second: 1000 + k for k, (first, second) in enumerate(merges)}
    return ClipTokeniser({**vocabulary, **made}, merges, length=length, pad=pad)


def test_merges_are_applied_in_their_order() -> None:
    t = tokeniser()
    assert t.pieces("LOW  lower") == [1001, 1004]
    assert t.pieces("slow") == [t.vocabulary["s"], 1001]
    assert t.pieces("lo") == [t.vocabulary["l"], t.vocabulary["o</w>"]]  # "lo" is no end of a word
    assert len(t) == 1005


def test_words_are_cut_as_clips_are() -> None:
    t = tokeniser(40)
    assert t.text(t.pieces("it's 2 é x²,a_b!! <|endoftext|>")) == "it 's 2 é x ² , a _ b !!"
    assert t.pieces("42") == [t.vocabulary["4</w>"], t.vocabulary["2</w>"]]
    assert t.pieces("a\u00a0\tb") == t.pieces(" a b ")
    assert t.pieces("e\u0301") == t.pieces("é") and t.pieces("Σ") == t.pieces("σ")


def test_what_is_cut_off_is_said() -> None:
    t = tokeniser(5, pad="!")
    ids, mask, cut = t.tokenise(["low", "low lower low slow", ""])
    assert ids.tolist()[0] == [t.begin, 1001, t.end, t.vocabulary["!"], t.vocabulary["!"]]
    assert ids.tolist()[1] == [t.begin, 1001, 1004, 1001, t.end] and cut == ("", "slow", "")
    assert mask.sum(1).tolist() == [3, 5, 2]
    with pytest.raises(UsageError, match="'slow' is too much"):
        t.encode(["low lower low slow"])


def test_a_vocabulary_that_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="endoftext"):
        ClipTokeniser({BEGIN: 0}, [])
    with pytest.raises(DataError, match="which a merge makes"):
        ClipTokeniser(byte_vocabulary(), [("x", "y")])
    few = {k: v for k, v in byte_vocabulary().items() if k != "z</w>"}
    with pytest.raises(UsageError, match="'z' cannot be tokenised"):
        ClipTokeniser(few, []).pieces("z")


def test_a_tokeniser_is_read_from_either_form(tmp_path: Path) -> None:
    vocabulary = {**byte_vocabulary(), "lo": 600}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nl o\n")
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": {"content": "!"}}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 10**30}))
    one = read_tokeniser(tmp_path)
    assert one.merges == (("l", "o"),) and one.length == 77 and one.pad == vocabulary["!"]
    other = tmp_path / "other"
    other.mkdir()
    model = {"vocab": vocabulary, "merges": ["l o"], "end_of_word_suffix": WORD_END}
    (other / "tokenizer.json").write_text(json.dumps({"model": model, "added_tokens": [{"content": "<x>", "id": 601}]}))
    two = read_tokeniser(other)
    assert two.merges == one.merges and two.vocabulary == {**vocabulary, "<x>": 601}
    for wrong, match in (
        ({"model": {}}, "no byte-pair"),
        ({"model": {**model, "end_of_word_suffix": ""}}, "do not end"),
    ):
        (other / "tokenizer.json").write_text(json.dumps(wrong))
        with pytest.raises(DataError, match=match):
            read_tokeniser(other)
    with pytest.raises(DataError, match="holds no tokeniser"):
        read_tokeniser(tmp_path / "nowhere")


def test_what_textual_inversion_added_stands_for_itself() -> None:
    """Its letters are none of a word's, it ends no text, and the vectors after its first come with it."""
    plain = tokeniser(40)
    made = {"<Toy>": 2000, "<Toy>_1": 2001, "<Toy>_2": 2002, "<猫>": 2003, "<Toy>_4": 2004}
    t = ClipTokeniser({**plain.vocabulary, **made}, plain.merges, length=40, added=tuple(made))
    toy = [2000, 2001, 2002]
    assert t.pieces("low <Toy>, <猫>lower") == [1001, *toy, t.vocabulary[",</w>"], 2003, 1004]
    assert t.pieces("<Toy>_2 <Toy>_4") == [2002, 2004]
    assert t.pieces("<toy> slow") == plain.pieces("<toy> slow")  # spelt otherwise, it is another text
    assert t.text(t.pieces("low<Toy> <猫> slow")) == "low <Toy> <Toy>_1 <Toy>_2 <猫> slow"
    with pytest.raises(DataError, match="lacks '<x>'"):
        ClipTokeniser(plain.vocabulary, plain.merges, added=("<x>",))


def test_added_tokens_are_read_wherever_they_stand(tmp_path: Path) -> None:
    vocabulary = byte_vocabulary()
    plain = {token: i for token, i in vocabulary.items() if token not in (BEGIN, END)}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    added = tmp_path / "added_tokens.json"
    added.write_text(json.dumps({"<toy>": 600, "!": vocabulary["!"]}))
    assert read_tokeniser(tmp_path).pieces("a <toy>!") == [vocabulary["a</w>"], 600, vocabulary["!</w>"]]
    added.unlink()
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"added_tokens_decoder": {"600": {"content": "<toy>", "special": False}}}))
    assert read_tokeniser(tmp_path).pieces("<toy>") == [600]
    for wrong in (["<toy>"], {"first": "<toy>"}):
        config.write_text(json.dumps({"added_tokens_decoder": wrong}))
        with pytest.raises(DataError, match="added_tokens_decoder"):
            read_tokeniser(tmp_path)
    config.unlink()
    (tmp_path / "vocab.json").unlink()
    more = [{"content": token, "id": i} for token, i in {BEGIN: 512, END: 513, "<toy>": 600}.items()]
    model = {"vocab": plain, "merges": [], "end_of_word_suffix": WORD_END}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model, "added_tokens": more}))
    found = read_tokeniser(tmp_path)
    assert found.pieces("<toy>") == [600] and found.added == ("<toy>",)


def test_the_map_of_special_tokens_goes_before_the_configuration(tmp_path: Path) -> None:
    """Unless the latter lists its tokens itself: as transformers reads them."""
    (tmp_path / "vocab.json").write_text(json.dumps(byte_vocabulary()))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": "!"}))
    told = {"pad_token": END, "model_max_length": 20}
    for config, pad in ((told, "!"), ({**told, "added_tokens_decoder": {}}, END), ({"model_max_length": 20}, "!")):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        found = read_tokeniser(tmp_path)
        assert (found.pad_token, found.length) == (pad, 20), config


def test_damaged_files_of_a_tokeniser_are_named(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps(byte_vocabulary()))
    (tmp_path / "merges.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"merges\.txt cannot be read"):
        read_tokeniser(tmp_path)
    (tmp_path / "merges.txt").unlink()
    for wrong in ({"added_tokens": [{"id": 1}]}, {"added_tokens": [{"content": "a", "id": "b"}]}, {"added_tokens": 3}):
        model = {"vocab": byte_vocabulary(), "merges": [], "end_of_word_suffix": WORD_END}
        (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model, **wrong}))
        with pytest.raises(DataError, match=r"tokenizer\.json is damaged"):
            read_tokeniser(tmp_path)
    for merges in (3, [3], ["a"]):
        model = {"vocab": byte_vocabulary(), "merges": merges, "end_of_word_suffix": WORD_END}
        (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
        with pytest.raises(DataError, match=r"tokenizer\.json"):
            read_tokeniser(tmp_path)
    whole = gzip.compress(b"#version\na b\nc d\n")
    flipped = whole[:12] + bytes([whole[12] ^ 255]) + whole[13:]
    for damaged in (b"", whole[:-9], whole[:5], flipped, b"plain text", gzip.compress(b"#version\na b c\n")):
        (tmp_path / "bpe.txt.gz").write_bytes(damaged)
        with pytest.raises(DataError, match=r"bpe\.txt\.gz cannot be read"):
            of_merges(tmp_path / "bpe.txt.gz")
    (tmp_path / "bpe.txt.gz").write_bytes(whole)
    with pytest.raises(DataError, match="cut short"):
        of_merges(tmp_path / "bpe.txt.gz")


def test_words_of_data_begin_and_end() -> None:
    words = EndedWords(("a", "cat"), 5)
    ids, mask = words.encode(["a cat", "", "Cat a cat"])
    assert ids.tolist() == [[3, 1, 2, 4, 0], [3, 4, 0, 0, 0], [3, 2, 1, 2, 4]] and len(words) == 5
    assert mask.sum(1).tolist() == [4, 2, 5]
    with pytest.raises(UnknownName, match="dog"):
        words.encode(["a dog"])
    with pytest.raises(UsageError, match="reads 3"):
        words.encode(["a cat a cat"])


# -- the loss and the game ----------------------------------------------------------------------------


def test_info_nce_by_hand() -> None:
    one = torch.eye(3)
    other = one[[0, 2, 1]]
    # Of identical pairs at scale s: log(e^s + 2) - s.
    assert float(info_nce(one, one, 2.0)) == pytest.approx(math.log(math.e**2 + 2) - 2)
    # Rows 1 and 2 are each other's: the right one has cosine 0, one wrong one 1.
    right, wrong = math.log(math.e**2 + 2) - 2, math.log(math.e**2 + 2)
    assert float(info_nce(one, other, 2.0)) == pytest.approx((right + 2 * wrong) / 3)
    same = torch.tensor([[True, False, False], [False, True, True], [False, True, True]])
    assert float(info_nce(one, other, 2.0, same)) == pytest.approx((right + 2 * math.log(2)) / 3)
    # One more wrong text for each, with cosine 1 to the first picture alone: for it the right one has a rival.
    more = float(info_nce(one, one, 2.0, wrong=one[:1].expand(3, 1, 3)))
    each = math.log(2 * math.e**2 + 2) - 2, math.log(math.e**2 + 3) - 2
    assert more == pytest.approx(((each[0] + 2 * each[1]) / 3 + right) / 2)
    with pytest.raises(ValueError, match="pairs of"):
        info_nce(one, torch.zeros(2, 3), 1.0)


def test_reworded_captions_are_almost_right() -> None:
    captions = ("a red circle above a blue ring", "a blue circle left of a red ring", "a red star below a green ring")
    made = [reworded(captions, Stream(seed), 2) for seed in range(60)]
    assert made[0] == reworded(captions, Stream(0), 2)
    first, second, third = ({new for found in made for new in found[k]} for k in range(3))
    assert "a blue circle above a red ring" in first  # two words exchanged
    assert "a red circle left of a blue ring" in first  # one replaced by two
    assert "a red circle below a blue ring" not in first, "no circle was below anything"
    assert "a blue circle above a red ring" in second  # and two by one
    assert "a red circle above a green ring" in third  # two by two, as neither may change alone
    assert "a red star below a blue ring" in third and "a red star above a green ring" not in third
    for found in made:
        for caption, news in zip(captions, found, strict=True):
            assert len(news) == 2
            for new in news:
                changed = set(caption.split()) ^ set(new.split())
                assert new != caption and len(changed) <= 4 and abs(len(new.split()) - len(caption.split())) < 2
    assert reworded(("", "a", "red"), Stream(0)) == [(), ("red",), ("a",)]
    assert reworded(("red",), Stream(0), 3) == [()]


def test_reworded_scenes_read_like_captions_and_are_wrong() -> None:
    captions = open_source("scenes", 16, "train").batch(torch.arange(128)).condition.caption
    assert captions is not None
    made = reworded(captions, Stream(0), 3)
    relations = 0
    for caption, news in zip(captions, made, strict=True):
        assert len(news) == 3
        true = grammar.parse(caption)
        for new in news:
            facts = grammar.parse(new)  # which raises for what is no caption
            assert facts != true
            relations += facts == replace(true, relation=facts.relation)
    assert relations > 8


def test_only_a_pictures_own_almost_right_captions_count_against_it() -> None:
    rng = Stream(0)
    I, T = (F.normalize(rng.normal(3, 8), dim=1) for _ in range(2))
    wrong = F.normalize(rng.normal(3, 2, 8), dim=2)
    lacking = torch.tensor([[False, True], [False, False], [True, True]])
    logits = 5 * I @ T.T
    rows = [
        torch.cat([logits[n], 5 * wrong[n][~lacking[n]] @ I[n]]).log_softmax(0)[n] for n in range(3)
    ]  # each picture by itself
    columns = logits.T.log_softmax(1).diagonal()
    scale = torch.tensor(5.0, requires_grad=True)
    loss = info_nce(I, T, scale, wrong=wrong, lacking=lacking)
    torch.testing.assert_close(loss, -(torch.stack(rows).mean() + columns.mean()) / 2)
    (slope,) = torch.autograd.grad(loss, scale)
    assert slope.isfinite()


def desk(**more: Any) -> CLIP:
    made = build(
        "clip",
        DataSpec(Shape(3, 8, 8), words=("red", "blue", "above", "a"), provides=frozenset({"caption"})),
        {
            "embedding": 8,
            "image": {"kind": "conv", "widths": [8], "features": 16},
            "text": {"width": 16, "depth": 1, "heads": 2, "length": 8},
            **more,
        },
    )
    assert isinstance(made, CLIP)
    return made


def batch(captions: tuple[str, ...], source: Tensor | None = None) -> Batch:
    image = Stream(2).uniform(len(captions), 3, 8, 8) * 2 - 1
    return Batch(image, Condition(caption=captions, source=source))


def test_the_temperature_is_learnt_and_never_below_a_hundredth() -> None:
    system = desk(temperature=0.02)
    assert system.logit_scale == pytest.approx(50)
    turn = Turn(batch(("a red", "a blue")), Stream(0), 0, 0.0)
    system.contrast(turn).backward()
    assert system.log_scale.grad is not None and float(system.log_scale.grad) != 0
    with torch.no_grad():
        system.log_scale.fill_(9.0)
        system.after_round(turn)
    assert system.logit_scale == pytest.approx(100)


def test_one_caption_twice_makes_no_negatives() -> None:
    system = desk().eval()
    alike = Turn(batch(("a red", "a red")), Stream(0), 0, 0.0)
    assert float(system.contrast(alike).detach()) == pytest.approx(0, abs=1e-6) and float(alike.notes["matched"]) == 1


@torch.no_grad()
def test_sources_stand_in_for_pictures() -> None:
    captions = ("a red", "a blue")
    both = batch(captions, source=torch.zeros(2, 3, 8, 8))
    with pytest.raises(UsageError, match="draw each thing twice"):
        desk(source_share=1.0).contrast(Turn(batch(captions), Stream(0), 0, 0.0))
    always, never = desk(source_share=1.0).eval(), desk().eval()
    grey = Batch(torch.zeros_like(both.image), Condition(caption=captions))
    of_source, of_grey, of_image = (
        float(system.contrast(Turn(given, Stream(0), 0, 0.0)))
        for system, given in ((always, both), (never, grey), (never, both))
    )
    assert of_source == pytest.approx(of_grey) and of_source != pytest.approx(of_image)


def test_weights_decay_and_gains_do_not() -> None:
    (player,) = desk().players()
    (group,) = player.groups
    free = {id(p) for p in group.nets}
    assert group.weight_decay == 0 and {p.ndim for p in player.parameters() if id(p) in free} == {0, 1}
    assert {p.ndim for p in player.parameters() if id(p) not in free} <= {2, 3, 4}


def test_a_system_that_cannot_be_built_says_why() -> None:
    with pytest.raises(UsageError, match="captions and these data have none"):
        build("clip", DataSpec(Shape(3, 8, 8)), {})
    with pytest.raises(UnknownName, match=r"\[model\.text\]"):
        desk(text={"widths": 8})
    with pytest.raises(UsageError, match="the tokeniser has"):
        desk(vocabulary=3)


# -- from a folder, and by words ----------------------------------------------------------------------


def test_a_published_folder_becomes_a_model_and_classifies(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(folder), "--out", str(folder.parent / "ours")]) == 0
    picture = folder.parent / "red.png"
    Image.new("RGB", (50, 40), (200, 10, 10)).save(picture)
    capsys.readouterr()
    assert main(["classify", str(folder.parent / "ours"), str(picture), "--among", "a cat, an ox,a dog", "--json"]) == 0
    ((found,),) = ([json.loads(capsys.readouterr().out)[0]],)
    answers = found["answers"]
    assert {a["name"] for a in answers} == {"a cat", "an ox", "a dog"}
    assert sum(a["probability"] for a in answers) == pytest.approx(1)
    assert answers[0]["cosine"] == max(a["cosine"] for a in answers)


@pytest.mark.parametrize(
    ("gone", "match"),
    [
        ("model.safetensors", "holds no model.safetensors"),
        ("config.json", "holds no config"),
        ("vocab.json", "tokeniser"),
    ],
)
def test_a_folder_that_lacks_a_file_is_refused(folder: Path, gone: str, match: str) -> None:
    (folder / gone).unlink()
    with pytest.raises((UsageError, DataError), match=match):
        adopt_clip(folder)


def test_programs_of_a_published_clip_are_named_and_not_run(folder: Path, tmp_path: Path, capsys) -> None:
    (folder / "modeling.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (folder / "config.json").write_text(json.dumps({**CONFIG, "auto_map": {"AutoModel": "modeling.Evil"}}))
    assert main(["convert", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert "which were not run: modeling.py, config.json" in capsys.readouterr().out
    assert not (tmp_path / "ran").exists()


def test_other_colours_are_refused(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5, 0.5, 0.5]}))
    with pytest.raises(WeightsError, match="image_mean"):
        adopt_clip(folder)


def test_templates_are_averaged_by_their_vectors() -> None:
    model = Model("desk", desk(), {"sha256": "0"})
    with torch.no_grad():
        one = model.encode_text(["a red", "a blue"]) + model.encode_text(["red above", "blue above"])
    found = text_vectors(model, ["red", "blue"], ["a {}", "{} above"])
    torch.testing.assert_close(found, one / one.norm(dim=1, keepdim=True))
    with pytest.raises(UsageError, match=r"has no \{\}"):
        text_vectors(model, ["red"], ["a red"])


def test_what_cannot_be_classified_is_refused() -> None:
    model, image = Model("desk", desk(), {"sha256": "0"}), torch.zeros(3, 8, 8)
    with pytest.raises(UsageError, match=r"of 0 texts .*--among"):
        classify(model, image)
    with pytest.raises(UsageError, match="of 1 texts"):
        classify(model, image, ["red"])
    with pytest.raises(UsageError, match="each once"):
        classify(model, image, ["red", "red"])
    with pytest.raises(Unsupported, match="reads no texts"):
        classify(load("features-digits"), torch.zeros(1, 8, 8), ["red", "blue"])
    with pytest.raises(Unsupported, match="names no pictures"):
        classify(load("judge-scenes"), torch.zeros(3, 32, 32), ["red", "blue"])


def test_a_classifier_names_its_own_classes() -> None:
    ((first, *rest),) = classify(load("features-digits"), torch.full((1, 8, 8), -1.0))
    assert first.cosine is None and len(rest) == 9 and first.probability >= rest[0].probability


# -- the metric ---------------------------------------------------------------------------------------


def test_questions_about_a_scene_have_one_right_answer() -> None:
    caption = "a small red circle above a large blue ring at night"
    asked = scenes(caption)
    thing = [("size", 2), ("colour", 6), ("shape", 5)]
    assert [(name, len(texts)) for name, texts in asked] == [("time", 2), *thing, *thing, ("relation", 4)]
    for _, texts in asked:
        assert texts[0] == caption and len(set(texts)) == len(texts)
        assert len({grammar.factors(text) for text in texts}) == len(texts)
    alike = dict(scenes("a small red circle above a small red circle by day"))["relation"]
    assert len(alike) == 3  # "below" would say the same of two that are alike


def test_of_labelled_pictures_every_class_may_be_chosen() -> None:
    """Also one that no picture which was taken is of: fewer to choose from would be a better figure."""
    images, names = np.zeros((3, 3, 8, 8), np.uint8), ("red", "blue", "above")
    source = ArraySource("made", images, fields={"label": np.arange(3)}, class_names=names)
    collector = ZeroShots(Model("desk", desk(), {"sha256": "0"}), "made", source)
    collector.add(Chunk(source.batch(torch.tensor([1])), None))
    (found,) = collector.evidence().values()
    assert len(found) == 1 and found.chance == pytest.approx(1 / 3)


def test_zero_shot_by_hand() -> None:
    image = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    text = torch.tensor([[0.8, 0.6], [0.6, 0.8], [1.0, 0.0]])
    questions = [
        [Question("one", ("a", "b"), 0), Question("two", ("a", "b", "c"), 1)],
        [Question("one", ("a", "c"), 0)],
    ]
    found = zero_shot(image, text, ("a", "b", "c"), questions)
    assert found.answers["one"].rank.tolist() == [0, 0] and found.answers["two"].rank.tolist() == [2]
    assert found.accuracy == 0.5 and found.chance == pytest.approx((1 / 2 + 1 / 3) / 2) and len(found) == 2
    assert found.parts == {"one": 1.0, "two": 0.0}
    tie = zero_shot(image[:1], text[[2, 2]], ("a", "b"), [[Question("one", ("a", "b"), 0)]])
    assert tie.accuracy == 0 and tie.parts == {}
