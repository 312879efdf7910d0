"""Shipped weights compute what they did when they were shipped: the reference is ``tests/shipped.safetensors``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from safetensors.torch import load_file

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("shipped_outputs", HERE.parent / "tools" / "shipped_outputs.py")
assert spec is not None and spec.loader is not None
shipped_outputs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shipped_outputs)

TOLERANCE = 5e-3  # of numbers kept in half precision, on another processor


def test_shipped_models_draw_and_judge_as_before() -> None:
    reference = load_file(HERE / "shipped.safetensors")
    found = shipped_outputs.every_output()
    assert found.keys() == reference.keys()
    differing = []
    for name, wanted in reference.items():
        out = shipped_outputs.small(name, found[name])
        assert out.shape == wanted.shape and out.dtype == wanted.dtype, name
        if out.dtype == torch.uint8:  # a picture: a level here and there, where sums are rounded otherwise
            apart = (out.int() - wanted.int()).abs()
            same = bool(apart.max() <= 2) or float((apart > 2).float().mean()) < 1e-3
        elif out.is_floating_point():
            same = torch.allclose(out.float(), wanted.float(), rtol=TOLERANCE, atol=TOLERANCE)
        else:  # codes and flags
            same = float((out == wanted).float().mean()) > 0.99
        if not same:
            differing.append(name)
    assert not differing, f"these shipped models compute otherwise than when they were shipped: {differing}"
