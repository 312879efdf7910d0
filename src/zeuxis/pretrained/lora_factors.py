"""What the factors that a file holds for one layer multiply to: those of LoRA, and of LyCORIS's kinds beside it.

    LoRA           B A                      A: ``down`` (r, in, ...), B: ``up`` (out, r)
    LoCon          B M A                    M: ``mid`` (r, r, k, k) between factors of kernels of one pixel
    LoHa           (A1 B1) * (A2 B2)        each product value by value; ``t1``, ``t2`` (r, r, k, k) lie between their
                                            factors, which then are (r, out) and (r, in)
    LoKr           W1 (x) W2                Kronecker's product; each whole, or as factors of its own; ``kt2`` as above
    full           W                        the difference itself

With magnitudes m beside them (DoRA) the changed weight has the length that m says, row by row or column by column.

Yeh et al. 2024, "Navigating text-to-image customization: from LyCORIS fine-tuning to model evaluation"
(arXiv:2309.14859); Liu et al. 2024, "DoRA: weight-decomposed low-rank adaptation" (arXiv:2402.09353). What is found is
multiplied by alpha / r; LoKr of whole factors, and differences, have no r.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zeuxis.errors import WeightsError

ROLES = {  # endings of keys, and what they are called here
    "lora_mid.weight": "mid",
    "hada_w1_a": "a1",
    "hada_w1_b": "b1",
    "hada_w2_a": "a2",
    "hada_w2_b": "b2",
    "hada_t1": "t1",
    "hada_t2": "t2",
    "lokr_w1": "k1",
    "lokr_w1_a": "k1a",
    "lokr_w1_b": "k1b",
    "lokr_w2": "k2",
    "lokr_w2_a": "k2a",
    "lokr_w2_b": "k2b",
    "lokr_t2": "kt2",
    "diff": "full",
    "dora_scale": "dora",
    "lora_magnitude_vector": "m",
}
MAGNITUDES = {"dora", "m"}  # LyCORIS's, of shape (out, 1, ...) or (1, in, ...), and PEFT's, one for each row
_KINDS = (  # all that one layer may have, by kind
    frozenset({"up", "down", "mid"}),
    frozenset({"a1", "b1", "a2", "b2", "t1", "t2"}),
    frozenset({"k1", "k1a", "k1b", "k2", "k2a", "k2b", "kt2"}),
    frozenset({"full"}),
)


def missing(layer: str, tensors: Mapping[str, Tensor]) -> str | None:
    """A role without which the others are no layer; None where nothing is missing.

    Raises :class:`WeightsError` where they are of several kinds.
    """
    held = tensors.keys() - {"alpha"} - MAGNITUDES
    kinds = [kind for kind in _KINDS if held & kind]
    if len(kinds) > 1:
        raise WeightsError(f"{layer} has factors of two kinds: {', '.join(sorted(held))}")
    wanted: tuple[str, ...] = ("up", "down")
    if "full" in held:
        wanted = ("full",)
    elif held & _KINDS[1]:
        wanted = ("a1", "b1", "a2", "b2")
    elif held & _KINDS[2]:
        wanted = tuple(role for n in "12" for role in ([f"k{n}"] if f"k{n}" in held else [f"k{n}a", f"k{n}b"]))
    return next((role for role in wanted if role not in held), None)


def product(layer: str, tensors: Mapping[str, Tensor]) -> tuple[Tensor, int | None]:
    """The change of a layer of which nothing is :func:`missing`, float32, without alpha / r; and r.

    Raises :class:`WeightsError` for factors that do not fit one another.
    """
    t = {role: tensor.float() for role, tensor in tensors.items() if role != "alpha"}
    try:
        if "full" in t:
            return t["full"], None
        if "a1" in t:
            return _tucker(t["a1"], t["b1"], t.get("t1")) * _tucker(t["a2"], t["b2"], t.get("t2")), len(t["b1"])
        if "k1" in t or "k1a" in t:
            return _kronecker(t)
        down, up = t["down"].flatten(1), t["up"].flatten(1)
        return torch.einsum("mnhw,om,ni->oihw", t["mid"], up, down), len(down)
    except (RuntimeError, IndexError) as error:
        shapes = ", ".join(f"{role} {tuple(tensor.shape)}" for role, tensor in t.items())
        raise WeightsError(f"the factors of {layer} do not fit one another: {shapes}") from error


def decomposed(weight: Tensor, change: Tensor, magnitude: Tensor, role: str) -> Tensor:
    """What is added to ``weight`` (out, in, ...) so that it is m (W + change) / |W + change| (Eq. 5), float32.

    Raises :class:`WeightsError` for magnitudes of no such shape.
    """
    w, m = weight.float(), magnitude.float()
    changed = w + change
    rows, columns = (len(w), *[1] * (w.ndim - 1)), (1, w.shape[1], *[1] * (w.ndim - 2))
    if role == "m" and m.numel() == len(w):
        m = m.reshape(rows)
    if m.shape not in (rows, columns):
        raise WeightsError(f"magnitudes of {tuple(magnitude.shape)} for a weight of {tuple(w.shape)}")
    lengths = torch.linalg.vector_norm(changed, dim=[d for d, n in enumerate(m.shape) if n == 1], keepdim=True)
    return m * changed / lengths - w


def _tucker(a: Tensor, b: Tensor, core: Tensor | None) -> Tensor:
    """A B, or with a core (r, r, k, k) a kernel (out, in, k, k) of A (r, out) and B (r, in)."""
    return a @ b if core is None else torch.einsum("ijkl,ip,jr->prkl", core, a, b)


def _kronecker(t: Mapping[str, Tensor]) -> tuple[Tensor, int | None]:
    rank = None
    one, other = t.get("k1"), t.get("k2")
    if one is None:
        one, rank = t["k1a"] @ t["k1b"], len(t["k1b"])
    if other is None:
        other, rank = _tucker(t["k2a"], t["k2b"], t.get("kt2")), len(t["k2b"])
    return torch.kron(one.reshape(*one.shape, *[1] * (other.ndim - one.ndim)), other.contiguous()), rank
