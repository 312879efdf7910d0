"""What depends on the machine: the precision of networks, and what the processor tells of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import zeuxis.training.precision as precision
import zeuxis.training.processor as asked
from test_training import Batches, Duel, trainer
from zeuxis.recipe import load_recipe, packaged_recipes
from zeuxis.testing.toy import toy_source
from zeuxis.training.precision import chosen, precision_of
from zeuxis.training.processor import Processor, told

INTEL = "processor\t: 0\nmodel name\t: Xeon Gold\nflags\t\t: fpu avx2 avx512f avx512_bf16 amx_bf16\n\nmodel name\t: other\n"
OLD = "model name\t: Core i5\nflags\t: fpu sse4_2 avx2\nvmx flags\t: avx512_bf16\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd sve bf16 i8mm\nCPU implementer\t: 0x41\n"
NATIVE = ("amx_bf16", "avx512_bf16", "bf16")


def on(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let this processor be another."""
    monkeypatch.setattr(asked, "NATIVE_BFLOAT16", NATIVE)
    monkeypatch.setattr(precision, "processor", lambda: told(text, "unnamed", 2))


@pytest.mark.parametrize(
    ("text", "name", "instructions", "auto"),
    [
        (INTEL, "Xeon Gold", ("avx2", "avx512f", "avx512_bf16", "amx_bf16"), "bfloat16"),
        (OLD, "Core i5", ("avx2",), "float32"),
        (ARM, "unnamed", ("asimd", "sve", "bf16", "i8mm"), "bfloat16"),
        ("", "unnamed", (), "float32"),
    ],
)
def test_the_processor_is_asked_whether_it_computes_bfloat16(
    monkeypatch: pytest.MonkeyPatch, text: str, name: str, instructions: tuple[str, ...], auto: str
) -> None:
    assert told(text, "unnamed", 2) == Processor(name, instructions, 2)
    on(monkeypatch, text)
    assert chosen("cpu").precision == precision_of("auto", "cpu") == auto
    assert precision_of("float32", "cpu") == "float32" and precision_of("bfloat16", "cpu") == "bfloat16"
    assert chosen("mps").precision == "float32"


def test_a_run_keeps_the_precision_that_it_began_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on(monkeypatch, INTEL)
    trainer(tmp_path, rounds=2).run()
    assert json.loads((tmp_path / "model" / "model.json").read_text())["precision"] == "bfloat16"
    assert '"computes in bfloat16"' in (tmp_path / "log.jsonl").read_text()
    on(monkeypatch, OLD)
    moved = trainer(tmp_path, rounds=4)
    assert moved.steps.precision == "float32"
    moved.run()
    assert moved.steps.precision == "bfloat16" and moved.round == 4


def test_an_open_precision_computes_as_the_one_that_it_comes_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on(monkeypatch, INTEL)
    weights = {}
    for name in ("auto", "bfloat16", "float32"):
        made = trainer(tmp_path / name, rounds=3, precision=name)
        made.run()
        weights[name] = torch.cat([p.detach().flatten() for p in made.system.parameters()])
    assert torch.equal(weights["auto"], weights["bfloat16"]) and not torch.equal(weights["auto"], weights["float32"])


def test_no_packaged_recipe_is_bounded_by_time_or_forces_half_precision() -> None:
    for name in packaged_recipes():
        train = load_recipe(name).train
        assert train.minutes is None, f"{name}: a budget in minutes is a claim about a machine"
        assert train.precision in ("auto", "float32"), name
