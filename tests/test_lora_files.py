"""Files of LoRA: how strong each layer is, and what is damaged."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import conv2d

from zeuxis.errors import WeightsError
from zeuxis.pretrained.lora import LayerPlace, lora_file, merge, places
from zeuxis.pretrained.unet_keys import UNetSizes

RANK = 4
LAYERS = ("unet.mid.attn1.to_q", "unet.mid.attn2.to_q", "text_encoder.layers.0.q_proj")
KNOWN = {layer: LayerPlace(layer, 0, 1) for layer in LAYERS}


def pairs() -> dict[str, Tensor]:
    """Ones, so that alpha / r B A is alpha everywhere."""
    found = {f"{layer}.lora_A.weight": torch.ones(RANK, 3) for layer in LAYERS}
    found |= {f"{layer}.lora_B.weight": torch.ones(5, RANK) for layer in LAYERS}
    return found


def strengths(file: Path, scale: float = 1.0) -> list[float]:
    """By how much each layer's weights change: alpha, of pairs of ones."""
    tensors = {layer: torch.zeros(5, 3) for layer in LAYERS}
    assert merge(file, tensors, KNOWN, scale).layers == len(LAYERS)
    assert all(bool((t == t[0, 0]).all()) for t in tensors.values())
    return [float(tensors[layer][0, 0]) for layer in LAYERS]


def written(file: Path, tensors: dict[str, Tensor], table: Any = None) -> Path:
    save_file(tensors, file, None if table is None else {"lora_adapter_metadata": json.dumps(table)})
    return file


def test_alpha_is_what_is_said_of_it(tmp_path: Path) -> None:
    file = tmp_path / "adapter_model.safetensors"
    assert strengths(written(file, pairs())) == [RANK] * 3, "alpha is the rank where nothing is said"
    table = {"unet.lora_alpha": 8, "unet.r": RANK, "unet.alpha_pattern": {"mid.attn2.to_q": 2.0}}
    assert strengths(written(file, pairs(), table)) == [8, 2, RANK], "of the part that it speaks of"
    own = {**pairs(), f"{LAYERS[0]}.alpha": torch.tensor(3.0)}
    assert strengths(written(file, own, table)) == [3, 2, RANK], "the layer's own goes first"
    assert strengths(written(file, pairs(), {"unet.lora_alpha": 0, "text_encoder.lora_alpha": 0.0})) == [0, 0, 0]
    zero = {f"{layer}.alpha": torch.tensor(0.0) for layer in LAYERS}
    assert strengths(written(file, {**pairs(), **zero})) == [0, 0, 0], "0 is a number, not nothing"
    patterns = {"unet.alpha_pattern": {"^attn1.to_q": 9, "^mid.attn1.to_q": 7, "to_q": 5}}
    assert strengths(written(file, pairs(), patterns)) == [7, 5, RANK]


def test_a_table_beside_the_file_is_read(tmp_path: Path) -> None:
    file, beside = written(tmp_path / "adapter_model.safetensors", pairs()), tmp_path / "adapter_config.json"
    beside.write_text(json.dumps({"lora_alpha": 16, "r": 99, "rank_pattern": {"to_q": RANK, "q_proj": RANK}}))
    assert strengths(file, 0.5) == [8, 8, 8]
    assert merge(file, {layer: torch.zeros(5, 3) for layer in LAYERS}, KNOWN).files == (file, beside)
    beside.write_text(json.dumps({"lora_alpha": 16, "use_rslora": True}))
    assert strengths(file) == [16 * math.sqrt(RANK)] * 3
    kohya = {k.replace("unet.mid.", "lora_unet_mid_").replace("n1.", "n1_").replace("n2.", "n2_"): t
             for k, t in pairs().items()}  # fmt: skip
    kohya = {k.replace("text_encoder.layers.0.", "lora_te_layers_0_"): t for k, t in kohya.items()}
    kohya = {k.replace("lora_A", "lora_down").replace("lora_B", "lora_up"): t for k, t in kohya.items()}
    other = written(tmp_path / "kohya.safetensors", kohya)
    assert strengths(other) == [RANK] * 3, "another adapter's table"
    assert merge(other, {layer: torch.zeros(5, 3) for layer in LAYERS}, KNOWN).files == (other,)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"unet.r": 8}, r"to_q\.lora_A\.weight .* are of rank 4, and .*lora_adapter_metadata says 8"),
        ({"unet.rank_pattern": {"attn2.to_q": 2}}, r"attn2\.to_q\.lora_A\.weight .* of rank 4, and .* says 2"),
        ({"unet.lora_alpha": "8"}, "lora_alpha is '8', which is no number"),
        ({"unet.lora_alpha": True}, "which is no number"),
        ({"unet.alpha_pattern": [1]}, "alpha_pattern is no table"),
        ({"unet.alpha_pattern": {"(a+)+$": 1}}, r"alpha_pattern has '\(a\+\)\+\$', which is no layer's name"),
        ([1], "is not a table"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, table: Any, says: str) -> None:
    file = written(tmp_path / "style.safetensors", pairs(), table)
    with pytest.raises(WeightsError, match=f"style.safetensors.*{says}"):
        strengths(file)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({f"{LAYERS[0]}.lora_B.weight": torch.ones(5, 3)}, r"to_q\.lora_A\.weight \(4, 3\) and .*lora_B.*\(5, 3\) are"),
        ({f"{LAYERS[0]}.lora_A.weight": torch.ones(4)}, "are not of one rank"),
        ({f"{LAYERS[0]}.lora_A.weight": torch.ones(0, 3), f"{LAYERS[0]}.lora_B.weight": torch.ones(5, 0)}, "one rank"),
        ({f"{LAYERS[0]}.alpha": torch.ones(2)}, r"to_q\.alpha \(2,\) is not one number"),
        ({f"{LAYERS[0]}.lora.down.weight": torch.ones(4, 3)}, "are both the down of unet.mid.attn1.to_q"),
    ],
)
def test_tensors_that_do_not_go_together_are_named(tmp_path: Path, tensors: dict[str, Tensor], says: str) -> None:
    file = written(tmp_path / "style.safetensors", {**pairs(), **tensors})
    with pytest.raises(WeightsError, match=f"style.safetensors.*{says}"):
        strengths(file)


def test_metadata_that_are_damaged_are_named(tmp_path: Path) -> None:
    file = tmp_path / "style.safetensors"
    numbered = {"unet:0:down": torch.ones(RANK, 3), "unet:0:up": torch.ones(5, RANK)}
    for tensors, metadata, says in (
        (numbered, {"unet": '["Cross'}, "'unet' of its metadata is no JSON"),
        (numbered, {"unet": "7"}, "no list of classes"),
        (numbered, {"unet": '["Conv2d"]'}, "counts layers of Conv2d"),
        (pairs(), {"lora_adapter_metadata": "{"}, "lora_adapter_metadata of its metadata is no JSON"),
        (pairs(), {"lora_adapter_metadata": "[" * 100_000}, "no JSON"),
    ):
        save_file(tensors, file, metadata)
        with pytest.raises(WeightsError, match=f"style.safetensors.*{says}"):
            strengths(file)
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"adapter_config\.json cannot be read"):
        strengths(written(file, pairs()))


def test_a_pickle_is_refused_with_the_command_that_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "style.ckpt"
    file.write_bytes(b"PK\3\4")
    with pytest.raises(WeightsError, match=f"zeuxis convert {file}"):
        strengths(file)


def test_layers_are_found_by_any_program_s_names(tmp_path: Path) -> None:
    file = tmp_path / "style.safetensors"
    for prefix in ("base_model.model.", "diffusion_model.", "model.diffusion_model.", "base_model.model.unet."):
        spelt = {k.replace("unet.", prefix): t for k, t in pairs().items() if k.startswith("unet.")}
        tensors = {layer: torch.zeros(5, 3) for layer in LAYERS}
        assert merge(written(file, spelt), tensors, KNOWN).layers == 2, prefix
        assert float(tensors[LAYERS[0]][0, 0]) == RANK
    named = {k.replace(".weight", ".my-style_1.weight"): t for k, t in pairs().items()}  # an adapter's name
    assert strengths(written(file, named)) == [RANK] * 3
    with pytest.raises(WeightsError, match="are both the down of"):  # two adapters in one file
        strengths(written(file, {**named, **pairs()}))


def test_a_text_tower_s_projection_is_a_layer(tmp_path: Path) -> None:
    """As OneTrainer has it of XL's second tower (`lora_te2_text_projection`)."""
    sizes = UNetSizes(4, 4, 128, (1,), 1, (1,), 8, 0, False)
    known = places(sizes, [(1, False), (1, True)])
    layer = "text_encoder_2.text_projection"
    assert known[layer].name == "prompt.readers.1.tower.projection.weight"
    assert "text_encoder.text_projection" not in known
    key = "lora_te2_text_projection"
    halves = {f"{key}.lora_down.weight": torch.ones(RANK, 3), f"{key}.lora_up.weight": torch.ones(5, RANK)}
    tensors = {known[layer].name: torch.zeros(5, 3)}
    merge(written(tmp_path / "style.safetensors", halves), tensors, known)
    assert bool((tensors[known[layer].name] == RANK).all())


def test_what_is_not_finite_is_refused_before_it_draws_anything(tmp_path: Path) -> None:
    file = tmp_path / "style.safetensors"
    for role, value in (("lora_A.weight", math.nan), ("lora_B.weight", math.inf), ("alpha", math.nan)):
        shape = {"lora_A.weight": (RANK, 3), "lora_B.weight": (5, RANK), "alpha": ()}[role]
        damaged = {**pairs(), f"{LAYERS[0]}.{role}": torch.full(shape, value)}
        with pytest.raises(WeightsError, match=f"what it adds to {LAYERS[0]} is not finite"):
            strengths(written(file, damaged))
    halves = {layer: torch.zeros(5, 3, dtype=torch.float16) for layer in LAYERS}
    with pytest.raises(WeightsError, match=r"times 20000 is more than torch\.float16 holds"):
        merge(written(file, pairs()), halves, KNOWN, 20_000)


def test_a_folder_stands_for_the_only_file_in_it(tmp_path: Path) -> None:
    file = written(tmp_path / "pytorch_lora_weights.safetensors", pairs())
    assert lora_file(tmp_path) == file == lora_file(file)
    other = written(tmp_path / "other.safetensors", pairs())
    with pytest.raises(WeightsError, match=r"a folder with 2 files of safetensors \(other.*name the one"):
        lora_file(tmp_path)
    file.unlink()
    other.unlink()
    with pytest.raises(WeightsError, match=r"0 files of safetensors \(none\)"):
        lora_file(tmp_path)


# -- LyCORIS's kinds ------------------------------------------------------------------------------------

FLAT, KERNEL = "unet.mid.attn1.to_q", "unet.mid.conv1"  # (6, 4) and (6, 4, 3, 3)
SHAPES = {FLAT: (6, 4), KERNEL: (6, 4, 3, 3)}


def draws(seed: int, **shapes: tuple[int, ...]) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=source) for name, shape in shapes.items()}


def added(tmp_path: Path, layer: str, tensors: dict[str, Tensor], scale: float = 1.0) -> Tensor:
    file = tmp_path / "style.safetensors"
    save_file({f"lora_unet_{layer.removeprefix('unet.').replace('.', '_')}.{k}": t for k, t in tensors.items()}, file)
    base = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    merge(file, base, {name: LayerPlace(name, 0, 1) for name in SHAPES}, scale)
    assert all(not base[other].any() for other in SHAPES if other != layer)
    return base[layer]


def test_a_loha_is_the_product_of_two_products_value_by_value(tmp_path: Path) -> None:
    t = draws(0, hada_w1_a=(6, 2), hada_w1_b=(2, 4), hada_w2_a=(6, 2), hada_w2_b=(2, 4))
    wanted = torch.stack(
        [(t["hada_w1_a"][o] @ t["hada_w1_b"]) * (t["hada_w2_a"][o] @ t["hada_w2_b"]) for o in range(6)]
    )
    assert torch.allclose(added(tmp_path, FLAT, t), wanted, atol=1e-6)
    told = added(tmp_path, FLAT, {**t, "alpha": torch.tensor(1.0)}, 0.5)
    assert torch.allclose(told, wanted / 4, atol=1e-6), "alpha 1 over a rank of 2, half of it"
    flat = draws(1, hada_w1_a=(6, 2), hada_w1_b=(2, 36), hada_w2_a=(6, 2), hada_w2_b=(2, 36))
    whole = (flat["hada_w1_a"] @ flat["hada_w1_b"]) * (flat["hada_w2_a"] @ flat["hada_w2_b"])
    assert torch.allclose(added(tmp_path, KERNEL, flat), whole.view(6, 4, 3, 3), atol=1e-6)
    factors: dict[str, tuple[int, ...]] = {f"hada_w{n}_a": (2, 6) for n in (1, 2)}
    factors |= {f"hada_w{n}_b": (2, 4) for n in (1, 2)} | {f"hada_t{n}": (2, 2, 3, 3) for n in (1, 2)}
    core = draws(2, **factors)
    y, x = 1, 2  # of the kernel
    halves = [core[f"hada_w{n}_a"].T @ core[f"hada_t{n}"][..., y, x] @ core[f"hada_w{n}_b"] for n in (1, 2)]
    assert torch.allclose(added(tmp_path, KERNEL, core)[..., y, x], halves[0] * halves[1], atol=1e-5)


def test_a_lokr_is_a_kronecker_product(tmp_path: Path) -> None:
    t = draws(0, lokr_w1=(2, 2), lokr_w2=(3, 2))
    found = added(tmp_path, FLAT, {**t, "alpha": torch.tensor(7.0)})
    assert all(
        torch.allclose(found[3 * i : 3 * i + 3, 2 * j : 2 * j + 2], t["lokr_w1"][i, j] * t["lokr_w2"])
        for i in range(2)
        for j in range(2)
    ), "whole factors have no rank, and alpha counts for nothing"
    t = draws(1, lokr_w1=(2, 2), lokr_w2_a=(3, 2), lokr_w2_b=(2, 18))
    found = added(tmp_path, KERNEL, {**t, "alpha": torch.tensor(1.0)})
    second = (t["lokr_w2_a"] @ t["lokr_w2_b"]).view(3, 2, 3, 3) / 2
    assert torch.allclose(found[3:, :2], t["lokr_w1"][1, 0] * second, atol=1e-6)
    t = draws(2, lokr_w1_a=(2, 1), lokr_w1_b=(1, 2), lokr_w2_a=(2, 3), lokr_w2_b=(2, 2), lokr_t2=(2, 2, 3, 3))
    second = torch.stack([t["lokr_w2_a"].T @ t["lokr_t2"].flatten(2)[..., k] @ t["lokr_w2_b"] for k in range(9)], -1)
    first = t["lokr_w1_a"] @ t["lokr_w1_b"]
    assert torch.allclose(added(tmp_path, KERNEL, t)[:3, 2:].flatten(2), first[0, 1] * second, atol=1e-5)


def test_kernels_in_three_factors_and_whole_differences_are_merged(tmp_path: Path) -> None:
    t = draws(0, **{"lora_down.weight": (2, 4, 1, 1), "lora_mid.weight": (2, 2, 3, 3), "lora_up.weight": (6, 2, 1, 1)})
    x = torch.randn(1, 4, 5, 5, generator=torch.Generator().manual_seed(1))
    inner = conv2d(conv2d(x, t["lora_down.weight"]), t["lora_mid.weight"], padding=1)
    kernel = added(tmp_path, KERNEL, {**t, "alpha": torch.tensor(2.0)})
    assert torch.allclose(conv2d(x, kernel, padding=1), conv2d(inner, t["lora_up.weight"]), atol=1e-4)
    whole = draws(1, diff=(6, 4))
    assert torch.equal(added(tmp_path, FLAT, whole, 2.0), 2 * whole["diff"])


@pytest.mark.parametrize("layer", [FLAT, KERNEL])
@pytest.mark.parametrize("key", ["dora_scale of rows", "dora_scale of columns", "lora_magnitude_vector"])
def test_a_dora_changes_the_direction_and_says_the_length(tmp_path: Path, layer: str, key: str) -> None:
    """Eq. 5 of arXiv:2402.09353; LyCORIS has a length of each row or each column, PEFT of each row."""
    name, _, along = key.partition(" of ")
    rows = along != "columns"
    tail = SHAPES[layer][2:]
    t = draws(0, **{"lora_A.weight": (2, 4, *tail), "lora_B.weight": (6, 2, *(1 for _ in tail)), "w": SHAPES[layer]})
    shape = (6, 1, *(1 for _ in tail)) if rows else (1, 4, *(1 for _ in tail))
    m = draws(1, m=shape)["m"].abs()
    file = tmp_path / "style.safetensors"
    half = {f"{layer}.{k}": t[k] for k in ("lora_A.weight", "lora_B.weight")}
    save_file({**half, f"{layer}.{name}": m if along else m.transpose(0, 1) if tail else m.flatten()}, file)
    base = {layer: t["w"].clone()}
    merge(file, base, {layer: LayerPlace(layer, 0, 1)})
    changed = t["w"] + (t["lora_B.weight"].flatten(1) @ t["lora_A.weight"].flatten(1)).view(SHAPES[layer])
    apart = changed.flatten(1) if rows else changed.transpose(0, 1).flatten(1)
    assert torch.allclose(base[layer], m * changed / apart.norm(dim=1).view(shape), atol=1e-6)
    half_way = {layer: t["w"].clone()}
    merge(file, half_way, {layer: LayerPlace(layer, 0, 1)}, 0.5)
    assert torch.allclose(half_way[layer], (t["w"] + base[layer]) / 2, atol=1e-6)
    save_file({**half, f"{layer}.{name}": torch.ones(5)}, file)
    with pytest.raises(WeightsError, match=rf"{name}: magnitudes of \(5,\) for a weight of \(6, 4"):
        merge(file, base, {layer: LayerPlace(layer, 0, 1)})


def test_factors_that_are_no_layer_are_named(tmp_path: Path) -> None:
    t = draws(0, hada_w1_a=(6, 2), hada_w1_b=(2, 4), hada_w2_a=(6, 2))
    with pytest.raises(WeightsError, match=r"unet\.mid\.attn1\.to_q without b2"):
        added(tmp_path, FLAT, t)
    with pytest.raises(WeightsError, match=r"do not fit one another: a1 \(6, 2\), .*b2 \(3, 4\)"):
        added(tmp_path, FLAT, {**t, "hada_w2_b": torch.ones(3, 4)})
    with pytest.raises(WeightsError, match="factors of two kinds"):
        added(tmp_path, FLAT, {**t, "diff": torch.ones(6, 4)})
