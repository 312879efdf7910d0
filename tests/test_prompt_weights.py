"""Weights of words in captions for Stable Diffusion, by the rules of AUTOMATIC1111's web UI."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from PIL import Image
from published import SIDE, made, repository

from zeuxis.api.model import load
from zeuxis.api.replay import replay
from zeuxis.batch import Condition
from zeuxis.catalog.listing import entries
from zeuxis.cli import main
from zeuxis.knobs import Sampling
from zeuxis.nn.clip_reader import weigh
from zeuxis.nn.prompt_syntax import USUAL, PromptWeights, told_marks, weighed
from zeuxis.provenance.record import read_record
from zeuxis.rng import ImageRng
from zeuxis.studio.a1111 import TextToImage, _of_texts
from zeuxis.studio.models import model_called
from zeuxis.studio.validating import ParameterRefused


@pytest.mark.parametrize(  # of the public program's own description
    ("text", "parts"),
    [
        ("normal text", [("normal text", 1)]),
        ("an (important) word", [("an ", 1), ("important", 1.1), (" word", 1)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        (r"\(literal\]", [("(literal]", 1)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                ("a ", 1),
                ("house", 1.3 * 1.1 * 1.1),
                (" ", 1.1),
                ("on", 1),
                (" a ", 1.1),
                ("hill", 0.5 * 1.1),
                (", sun, ", 1.1),
                ("sky", 1.1**4),
                (".", 1.1),
            ],
        ),
        ("(a:b:1.2) c:1.3) ]", [("a:b", 1.2), (" c:1.3) ]", 1)]),
        ("(below:-.5)(by 10:30)", [("below", -0.5), ("by 10:30", 1.1)]),
        ("a [cat:dog:0.5] on [red|blue] (x)", [("a [cat:dog:0.5] on [red|blue] ", 1), ("x", 1.1)]),
        ("a <lora:(x):1> \\", [("a <lora:(x):1> \\", 1)]),
        ("()", [("", 1)]),
        ("", [("", 1)]),
    ],
)
def test_marks_are_read_as_the_web_ui_reads_them(text: str, parts: list[tuple[str, float]]) -> None:
    found = weighed(text, "all")
    assert [part.text for part in found] == [text for text, _ in parts]
    assert [part.weight for part in found] == pytest.approx([weight for _, weight in parts])


@pytest.mark.parametrize(
    ("text", "reading", "obeyed"),
    [
        ("a cat (a tabby) [sic] ((so))", "numbered", False),
        (r"miku \(vocaloid\)", "numbered", False),
        ("a screen (aspect 16:9) at (10:30)", "numbered", False),
        ("a (cat:1.2) (a tabby)", "numbered", True),
        ("a cat (smile: 2 ) here", "numbered", True),
        ("a (cat:1.2)", "none", False),
        ("a cat (a tabby)", "all", True),
    ],
)
def test_plain_brackets_stay_as_they_are_written(text: str, reading: PromptWeights, obeyed: bool) -> None:
    assert (weighed(text, reading) != ((text, 1.0),)) == obeyed


def test_the_card_has_the_readings_that_there_are() -> None:
    knob = made("1.x").knobs["prompt_weights"]
    assert knob.choices == get_args(PromptWeights) and knob.default == USUAL


def test_what_is_obeyed_and_what_is_not_is_told() -> None:
    assert "prompt_weights=none" in told_marks("a (cat:1.2)")[0]
    assert told_marks("a (cat:1.2)", "numbered") == told_marks("((cat))", "all") == told_marks("((cat))", "none") == ()
    (said,) = told_marks("((cat))", "numbered")
    assert "'((cat))' is read letter by letter" in said and "prompt_weights=all" in said


def test_a_weight_multiplies_its_tokens_and_the_mean_is_restored() -> None:
    context = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0)) + 1
    weights = torch.ones(2, 5)
    weights[1, 2] = 1.5
    found = weigh(context, weights)
    assert torch.equal(found[0], context[0])
    times = context[1] * weights[1, :, None]
    assert torch.allclose(found[1], times * context[1].mean() / times.mean())
    assert torch.allclose(found[1].mean(), context[1].mean())


def test_a_mean_of_next_to_nothing_blows_nothing_up() -> None:
    """XL's towers are not normalised: dividing by their means gives pictures of noise, or turns their signs."""
    context = torch.randn(1, 7, 16, generator=torch.Generator().manual_seed(0))
    context -= context.mean() - 1e-7
    weights = torch.ones(1, 7)
    weights[0, 2:4] = torch.tensor([1.5, -0.5])
    found = weigh(context, weights)
    assert torch.allclose(found.abs().mean(), context.abs().mean())
    assert torch.cosine_similarity(found.flatten(), (context * weights[..., None]).flatten(), 0) > 0.999
    assert torch.isfinite(weigh(torch.zeros_like(context), torch.ones(1, 7))).all()


@pytest.mark.parametrize("version", ["1.x", "2.x", "XL"])
def test_words_are_weighed_in_each_tower_and_nothing_else_is(version: str) -> None:
    prompt = made(version).prompt
    sizes = (SIDE, SIDE, 0, 0, SIDE, SIDE)
    plain, weighty, one = (
        prompt([text], sizes, reading="numbered") for text in ("a red cat", "a (red:1.5) cat", "a (red:1.0) cat")
    )
    assert all(torch.equal(plain[key], one[key]) for key in plain), "a weight of 1 is none"
    width = first = 0
    for reader in prompt.readers:
        width, first = width + reader.width, width
        before, after = (given["context"][0, :, first:width] for given in (plain, weighty))
        share = (after / before).median(1).values
        at = [i for i, token in enumerate(reader.tokeniser.pieces("a red cat"), 1) if token == red_of(reader)]
        rest = [i for i in range(len(share)) if i not in at]
        assert len(at) == 1 and torch.allclose(share[at] / share[0], torch.tensor(1.5), rtol=1e-3)
        assert torch.allclose(share[rest], share[0].expand(len(rest)), rtol=1e-3)
    if prompt.added:
        assert torch.equal(plain["vector"], weighty["vector"])


def red_of(reader: torch.nn.Module) -> int:
    (red,) = reader.tokeniser.pieces("red")  # type: ignore[union-attr, operator]
    return int(red)


def test_marks_take_no_room_in_the_window() -> None:
    reader = next(iter(made("1.x").prompt.readers))
    fits = " ".join(["cat"] * reader.longest)
    assert reader.cut([f"({fits}:1.2)"], "numbered") == ("",) and reader.cut([f"({fits}:1.2)"], "none") != ("",)


def test_a_caption_and_a_negative_are_drawn_by_their_weights() -> None:
    system = made("1.x")

    def drawn(caption: str, negative: str, **how: str) -> torch.Tensor:
        condition = Condition(caption=(caption,), negative=(negative,))
        return system.sample(condition, ImageRng([0]), Sampling(steps=2, guidance=5.0, **how))

    plain = drawn("a red cat", "dog")
    assert not torch.equal(plain, drawn("a (red:1.5) cat", "dog"))
    assert not torch.equal(plain, drawn("a red cat", "(dog:1.5)"))
    assert torch.equal(plain, drawn("a red cat", "(dog:1.0)"))
    assert torch.equal(drawn("a (red) cat", "dog", prompt_weights="all"), drawn("a (red:1.1) cat", "dog"))
    none = drawn("a (red:1.5) cat", "dog", prompt_weights="none")
    assert not torch.equal(none, drawn("a (red:1.5) cat", "dog"))


def test_a_record_says_how_weights_were_read_and_old_ones_read_none(tmp_path: Path, capsys) -> None:
    folder, out = repository(made("1.x"), tmp_path / "repo"), tmp_path / "x.png"
    asked = ["sample", str(folder), "--steps", "2", "-n", "1", "--out", str(out), "--caption", "a (red:1.5) cat"]
    assert main(asked) == 0
    assert "'(red:1.5)' is read as a weight of its words" in capsys.readouterr().err
    record = read_record(out)
    assert record["sampling"]["prompt_weights"] == "numbered"
    assert main(["sample", "--replay", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["identical"]
    old = {**record, "sampling": {"steps": 2}}
    drawn, differs = replay(old)
    letters = load(folder).sample(1, caption="a (red:1.5) cat", steps=2, knobs={"prompt_weights": "none"})
    assert torch.equal(drawn.tensor, letters.tensor) and differs == []
    with Image.open(out) as shown:
        assert drawn[0].tobytes() != shown.tobytes()


def test_clients_of_the_web_ui_have_all_their_marks_obeyed(tmp_path: Path) -> None:
    shipped = model_called("scenes", tmp_path)
    published = replace(shipped, system=entries()["stable-diffusion"], card={})
    assert _of_texts(published, TextToImage()) == {"prompt_weights": "all", "long_captions": "windows"}
    skipping = TextToImage(override_settings={"CLIP_stop_at_last_layers": 2})
    assert _of_texts(published, skipping) == {"prompt_weights": "all", "long_captions": "windows", "clip_skip": 1}
    assert _of_texts(shipped, skipping) == {}
    with pytest.raises(ParameterRefused, match="whole number"):
        _of_texts(published, TextToImage(override_settings={"CLIP_stop_at_last_layers": 0}))
