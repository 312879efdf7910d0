"""What people write who come from other programs of diffusion: names of samplers, marks in prompts, kinds of LoRA."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import torch
from published import made, tokens
from safetensors.torch import save_file

from zeuxis.api.model import ELSEWHERE, Model
from zeuxis.batch import Condition
from zeuxis.catalog.published import parsed
from zeuxis.catalog.weights import locate
from zeuxis.data.own import OwnData
from zeuxis.diffusion.sampler import SAMPLERS
from zeuxis.errors import NoSuchPath, UnknownName, UsageError, WeightsError
from zeuxis.knobs import COMMON, Sampling
from zeuxis.nn.prompt_syntax import told_marks
from zeuxis.pretrained.lora import LayerPlace, merge
from zeuxis.pretrained.parts import read_parts
from zeuxis.sampler_names import called
from zeuxis.studio.a1111 import SAMPLERS as OF_WEB_UI
from zeuxis.studio.a1111 import TextToImage, _knobs

SAMPLER = COMMON["sampler"]


@pytest.mark.parametrize(
    ("name", "sampler", "eta", "spacing"),
    [
        ("Euler a", "ancestral", None, None),
        ("euler_a", "ancestral", None, None),
        ("k_euler_ancestral", "ancestral", None, None),
        ("EulerAncestralDiscreteScheduler", "ancestral", None, None),
        ("EulerDiscreteScheduler", "euler", None, None),
        ("DPM++ 2M Karras", "dpmpp-2m", None, "karras"),
        ("dpmpp_2m_sde_gpu", "dpmpp-2m-sde", None, None),
        ("DPM++ 2M SDE Exponential", "dpmpp-2m-sde", None, "uniform-log-snr"),
        ("DPM++ 2S a Karras", "dpmpp-2s", 1.0, "karras"),
        ("DPM++ SDE", "dpmpp-sde", None, None),
        ("DPMSolverMultistepScheduler", "dpmpp-2m", None, None),
        ("UniPCMultistepScheduler", "unipc", None, None),
        ("sample_heun", "heun", None, None),
    ],
)
def test_samplers_of_other_programs_are_known(name: str, sampler: str, eta: float | None, spacing: str | None) -> None:
    found = called(name)
    assert found is not None and (found.sampler, found.eta, found.spacing) == (sampler, eta, spacing)
    assert sampler in SAMPLERS
    with pytest.raises(UsageError, match=f"unknown sampler .*: it is {sampler} here") as refused:
        SAMPLER.check(name)
    for knob, value in found.knobs.items():
        assert knob == "sampler" or f"--knob {knob}={value}" in str(refused.value)


@pytest.mark.parametrize("name", ["PLMS", "DPM2 a", "PNDMScheduler", "KDPM2DiscreteScheduler", "DPM++ 3M SDE"])
def test_another_sampler_is_not_taken_for_one_that_is_spelt_like_it(name: str) -> None:
    assert called(name) is None
    with pytest.raises(UsageError, match="there is none of that kind here; known: ancestral") as refused:
        SAMPLER.check(name)
    assert "did you mean" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "spacing"),
    [("sgm_uniform", "trailing"), ("Normal", "linspace"), ("ddim_uniform", "leading"), ("Karras", "karras")],
)
def test_how_other_programs_lay_their_steps_is_known(name: str, spacing: str) -> None:
    with pytest.raises(UsageError, match=f"unknown spacing '{name}': it is {spacing} here"):
        COMMON["spacing"].check(name)
    assert COMMON["spacing"].check("exponential") == "uniform-log-snr"


def test_what_is_nobodys_sampler_is_guessed_at_as_before() -> None:
    with pytest.raises(UnknownName, match="did you mean heun"):
        SAMPLER.check("huen")
    assert SAMPLER.check("dpmpp-2m") == "dpmpp-2m"


def test_the_web_uis_names_turn_what_they_say() -> None:
    for name, ours in OF_WEB_UI.items():
        if name != "Euler a":  # the client's default, which says nothing
            assert _knobs(TextToImage(sampler_name=name))["sampler"] == ours
    assert _knobs(TextToImage(sampler_name="Euler a")) == {}
    assert _knobs(TextToImage(sampler_name="DPM++ 2S a")) == {"sampler": "dpmpp-2s", "eta": 1.0}
    assert _knobs(TextToImage(sampler_name="DPM++ 2S a", eta=0.5)) == {"sampler": "dpmpp-2s", "eta": 0.5}
    assert _knobs(TextToImage(sampler_name="DPM++ 2M Karras")) == {"sampler": "dpmpp-2m", "spacing": "karras"}
    both = TextToImage(sampler_name="DPM++ 2M Karras", scheduler="Exponential")
    assert _knobs(both) == {"sampler": "dpmpp-2m", "spacing": "uniform-log-snr"}


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("a cat (smile:1.3)", ["(smile:1.3)"]),
        ("((masterpiece)), a cat", ["((masterpiece))"]),
        ("[[a cat]]", ["[[a cat]]"]),
        ("a [cat:dog:0.5] on a [red|blue] mat", ["[cat:dog:0.5]"]),
        ("a cat <lora:style:0.8>", ["<lora:style:0.8>"]),
        ("a cat in the style of embedding:mine", ["embedding:mine"]),
        ("a cat BREAK a dog", ["BREAK"]),
        ("a cat AND a dog", ["AND"]),
        ("a <lora:x:1> (b:0.5) AND c", ["(b:0.5)", "<lora:x:1>", "AND"]),
        ("a cat (a tabby), at 10:30 [sic], 3:2 (by 10:30) [10:30]", []),
        ("a cat [in a hat:.5]", ["[in a hat:.5]"]),
        ("A CAT AND A DOG", []),
        ("a cat and a dog; don't break it", []),
        (r"a cat \(tabby:1\)", [r"\("]),
        ("a screen (aspect 16:9), (r:1.) and [x]", ["(r:1.)"]),
        ("", []),
    ],
)
def test_marks_of_other_programs_prompts_are_told(text: str, marks: list[str]) -> None:
    assert [said.split("'")[1] for said in told_marks(text)] == marks


def test_a_model_tells_of_marks_in_its_captions_once() -> None:
    model = made("1.x")
    condition = Condition(caption=("(a cat:1.2)",) * 3, negative=("a dog", "[[a dog]]", "a dog"))
    said = model.unread(condition, Sampling(guidance=5.0))
    assert [line.split("'")[1] for line in said] == ["(a cat:1.2)", "[[a dog]]"]
    assert said[0].startswith("in the caption ") and said[1].startswith("in the negative ")
    assert model.unread(Condition(caption=("a cat",)), Sampling()) == ()


def test_captions_that_are_cut_are_counted_without_their_marks() -> None:
    long = "c" * len(tokens())
    assert made("1.x").prompt.too_long(["(a cat:1.2)", long, "a"]) == [False, True, False]


def test_keywords_of_other_libraries_are_answered() -> None:
    system = made("1.x")
    model = Model("published", system, {"config": system.config, "sha256": "0" * 64})
    for name, here in ELSEWHERE.items():
        with pytest.raises(UsageError, match=f"keyword of sample '{name}': it is {re.escape(here)} here"):
            model.sample(**{name: "a cat"})
    keywords = {*inspect.signature(Model.sample).parameters}
    assert {re.split("[=,]", here)[0] for here in ELSEWHERE.values()} <= keywords and not keywords & ELSEWHERE.keys()


def test_a_published_model_is_not_trained_further(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(UsageError, match=r"is a published model, which is drawn with .* not trained further"):
        locate(tmp_path)


def test_a_data_set_of_another_library_is_told_how_to_be_given() -> None:
    class Rows:
        def __len__(self) -> int:
            return 1

    with pytest.raises(UsageError, match=r"data of type Rows: .* list\(data\)"):
        OwnData.of(Rows())  # type: ignore[arg-type]


LAYER = "unet.mid.attn1.to_q"
PAIR = {f"{LAYER}.lora_A.weight": torch.ones(2, 3), f"{LAYER}.lora_B.weight": torch.ones(5, 2)}


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (f"{LAYER}.diff_b", "differences of biases"),
        ("bundle_emb.mine.string_to_param.*", "tokens of textual inversion"),
    ],
)
def test_other_kinds_of_adapters_are_called_so(tmp_path: Path, key: str, kind: str) -> None:
    file = tmp_path / "style.safetensors"
    save_file({**PAIR, key: torch.ones(5)}, file)
    with pytest.raises(WeightsError, match=f"it holds .*{kind}.*, which is no LoRA"):
        merge(file, {LAYER: torch.zeros(5, 3)}, {LAYER: LayerPlace(LAYER, 0, 1)})


def test_how_much_a_lora_counts_is_written_with_a_star(tmp_path: Path) -> None:
    file = tmp_path / "style.safetensors"
    save_file(PAIR, file)
    with pytest.raises(UsageError, match=r"is written .*style\.safetensors\*-0\.5"):
        parsed(f"base | lora:{file}:-0.5")
    assert parsed(f"base | lora:{file}*-0.5").loras == ((file, -0.5),)
    odd = tmp_path / "style.v1:2"
    odd.write_bytes(file.read_bytes())
    assert parsed(f"base | lora:{odd}").loras == ((odd, 1.0),), "a file may be called so"
    with pytest.raises(NoSuchPath):
        merge(tmp_path / "none.pt", {}, {})
    with pytest.raises(WeightsError, match=r"is a LoRA, and no whole model: .*--lora"):
        read_parts(file)
