"""The scripts in ``examples/`` run, are short, and find what they say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_short_and_tested() -> None:
    lengths = {p.stem: len(p.read_text(encoding="utf-8").splitlines()) for p in EXAMPLES.glob("*.py")}
    assert set(lengths) == {"samplers", "attention", "flow", "metrics"}
    assert max(lengths.values()) < 50


def test_every_sampler_comes_to_the_distribution() -> None:
    script = example("samplers")
    for name, by_steps in script.main().items():
        errors = {steps: abs(std - script.STD) for steps, (_, std) in by_steps.items()}
        assert errors[40] < 0.08 and errors[40] < errors[5], name
        assert by_steps[40][0] == pytest.approx(script.MEAN, abs=0.03), name


def test_attention_is_looked_into_and_steered() -> None:
    plain, steered, where = example("attention").main()
    assert plain.shape == steered.shape and not torch.allclose(plain, steered)
    torch.testing.assert_close(where.sum(0), torch.ones(8, 8))


def test_the_flow_learns() -> None:
    before, after = example("flow").main()
    assert after > before + 0.3


def test_metrics_tell_good_from_bad() -> None:
    found = example("metrics").main()
    for lower in ("frechet", "kernel"):
        good, bad = found[lower]
        assert good < 0.1 * bad, lower
    assert found["recall"][1] < 0.5 * found["recall"][0]
    assert found["psnr"][0] > found["psnr"][1] + 15 and found["ssim"][0] > found["ssim"][1]
