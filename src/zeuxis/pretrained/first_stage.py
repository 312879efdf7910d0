"""First stages of other programs under our names, and ours under theirs.

Each tensor of ours is one of theirs, but for the three projections of attention, which are one here. The map
is made from the architecture, and the architecture is read off the tensors' names and shapes: so every key has
its place, and one that is missing or left over is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zeuxis.errors import UnknownName, WeightsError
from zeuxis.pretrained.dialects import DIALECTS, Dialect
from zeuxis.pretrained.published import Plan

STEM, MOUTH = "encoder.conv_in.weight", "decoder.conv_in.weight"
CRITIC = "loss.discriminator.main"
DROPPED = ("loss.perceptual_loss.", "loss.logvar")  # LPIPS, which is not theirs, and a number that never moved
ATTENTION = ".attention."  # in the names of our projections, which are matrices
SMALLEST = 128  # channels: below, our norms have fewer than the 32 groups that theirs always have


@dataclass(frozen=True)
class Found:
    """A public first stage: what it is, and its tensors under our names."""

    plan: Plan
    dialect: str
    tensors: dict[str, Tensor]
    dropped: tuple[str, ...]  # keys that have no place here: the perceptual loss's network


Layer = tuple[str, tuple[str, ...]]  # of ours, and of theirs


def from_public(public: Mapping[str, Tensor]) -> Found:
    """The tensors of a public first stage (``encoder.*``, ``decoder.*``, ...) under our names.

    Raises :class:`WeightsError` for what is no such thing, and names the keys that are missing or left over.
    """
    name = _dialect(public)
    plan = _plan(public, DIALECTS[name])
    dropped = tuple(sorted(key for key in public if key.startswith(DROPPED)))
    places = names(plan, name, critic=f"{CRITIC}.0.weight" in public)
    wanted = {key for keys in places.values() for key in keys}
    _all_there(wanted, set(public) - set(dropped))
    return Found(plan, name, {ours: _joined(ours, keys, public) for ours, keys in places.items()}, dropped)


def to_public(plan: Plan, tensors: Mapping[str, Tensor], dialect: str = "compvis") -> dict[str, Tensor]:
    """Our tensors under a program's names (with the critic, where they hold one): the inverse of :func:`from_public`.

    Raises :class:`WeightsError` when a tensor is missing. The codebook's count of uses has no place there.
    """
    if dialect not in DIALECTS:
        raise UnknownName("dialect", dialect, DIALECTS)
    places = names(plan, dialect, critic="critic.layers.0.weight" in tensors)
    _all_there(set(places), set(tensors) - {"quantiser.uses"})
    public = {}
    for ours, keys in places.items():
        for key, part in zip(keys, tensors[ours].chunk(len(keys)) if len(keys) > 1 else [tensors[ours]], strict=True):
            matrix = ATTENTION in ours and part.ndim == 2
            public[key] = part[:, :, None, None] if matrix and DIALECTS[dialect].pointwise else part
    return public


def names(plan: Plan, dialect: str, *, critic: bool) -> dict[str, tuple[str, ...]]:
    """Each tensor of ours, and the public ones that it is made of: one, or three for queries, keys and values."""
    into, out_of = ("into_codes", "from_codes") if plan.codes else ("into_moments", "from_latent")
    layers = [*_half("encoder", plan, DIALECTS[dialect]), (into, ("quant_conv",)), (out_of, ("post_quant_conv",)),
              *_half("decoder", plan, DIALECTS[dialect])]  # fmt: skip
    found = {f"{o}.{leaf}": tuple(f"{t}.{leaf}" for t in ts) for o, ts in layers for leaf in ("weight", "bias")}
    if plan.codes:
        found["quantiser.codebook"] = ("quantize.embedding.weight",)
    ours = _critic(plan) if critic else ()
    return found | {f"critic.layers.{leaf}": (f"{CRITIC}.{leaf}",) for leaf in ours}


def _half(side: str, plan: Plan, d: Dialect) -> Iterator[Layer]:
    """The layers of the encoder or the decoder."""
    encodes, last = side == "encoder", len(plan.multiples) - 1
    yield f"{side}.stem", (f"{side}.conv_in",)
    now = 1 if encodes else plan.multiples[-1]
    for k in range(last + 1):
        level = k if encodes else last - k  # 0 is the finest
        place = (d.down if encodes else d.up).format(k if encodes or d.coarse_first else level)
        at = 0
        for block in range(plan.blocks + (not encodes)):
            yield from _block(f"{side}.levels.{k}.{at}", f"{side}.{place}.{d.block.format(block)}", d,
                              skip=now != plan.multiples[level])  # fmt: skip
            now, at = plan.multiples[level], at + 1
            if 2**level in plan.attention:
                yield from _attention(f"{side}.levels.{k}.{at}", f"{side}.{place}.{d.attend.format(block)}", d)
                at += 1
        if k < last:
            yield f"{side}.levels.{k}.{at}.conv", (f"{side}.{place}.{d.shrink if encodes else d.grow}",)
    yield from _block(f"{side}.middle.0", f"{side}.{d.middle[0]}", d, skip=False)
    yield from _attention(f"{side}.middle.1", f"{side}.{d.middle[1]}", d)
    yield from _block(f"{side}.middle.2", f"{side}.{d.middle[2]}", d, skip=False)
    yield f"{side}.norm", (f"{side}.{d.norm}",)
    yield f"{side}.out", (f"{side}.conv_out",)


def _block(ours: str, theirs: str, d: Dialect, *, skip: bool) -> Iterator[Layer]:
    for part in ("norm1", "conv1", "norm2", "conv2"):
        yield f"{ours}.{part}", (f"{theirs}.{part}",)
    if skip:
        yield f"{ours}.skip", (f"{theirs}.{d.skip}",)


def _attention(ours: str, theirs: str, d: Dialect) -> Iterator[Layer]:
    yield f"{ours}.norm", (f"{theirs}.{d.attention_norm}",)
    yield f"{ours}.attention.qkv", tuple(f"{theirs}.{part}" for part in d.qkv)
    yield f"{ours}.attention.out", (f"{theirs}.{d.leave}",)


def _critic(plan: Plan) -> Iterator[str]:
    """The patch critic's tensors; both programs count its layers alike."""
    yield from ("0.weight", "0.bias")
    for k in range(plan.layers):
        yield f"{2 + 3 * k}.weight"
        norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        yield from (f"{3 + 3 * k}.{leaf}" for leaf in norm)
    yield from (f"{2 + 3 * plan.layers}.{leaf}" for leaf in ("weight", "bias"))


def _joined(ours: str, keys: tuple[str, ...], public: Mapping[str, Tensor]) -> Tensor:
    """One tensor of ours from theirs."""
    parts = [public[key] for key in keys]
    if len({p.shape for p in parts}) > 1:
        raise WeightsError(f"{', '.join(keys)} are not of one shape: this is no first stage that is known here")
    if ATTENTION not in ours:
        return parts[0]
    return torch.cat([p.flatten(1) if p.ndim > 1 else p for p in parts])


# -- the architecture, from the tensors ---------------------------------------------------------------


def _dialect(public: Mapping[str, Tensor]) -> str:
    for name, dialect in DIALECTS.items():
        if dialect.mark in public:
            return name
    marks = ", ".join(d.mark for d in DIALECTS.values())
    raise WeightsError(f"this is no first stage that is known here: it holds none of {marks}")


def _plan(public: Mapping[str, Tensor], d: Dialect) -> Plan:
    """The architecture that the tensors' names and shapes tell."""

    def size(key: str, axis: int) -> int:
        if key not in public or public[key].ndim <= axis:
            raise WeightsError(f"this first stage lacks {key}, or it has too few axes: its architecture cannot be told")
        return public[key].shape[axis]

    def count(pattern: str) -> int:
        k = 0
        while pattern.format(k) in public:
            k += 1
        return k

    def block(k: int | str, j: int | str = 0) -> str:
        return f"encoder.{d.down}.{d.block}.conv1.weight".format(k, j)

    attend = f"encoder.{d.down}.{d.attend}.{d.leave}.weight"
    width, latent = size(STEM, 0), size(MOUTH, 1)
    widths = [size(block(k), 0) for k in range(count(block("{}")))]
    if width < SMALLEST or width % 32 or any(w % width for w in widths):
        raise WeightsError(
            f"a first stage of {width} channels and then {widths}: those known here begin with at least {SMALLEST}, "
            "a multiple of 32 (their norms have 32 groups), and go on with multiples of that"
        )
    plan = Plan(
        latent=latent,
        multiples=tuple(w // width for w in widths),
        attention=tuple(2**k for k in range(len(widths)) if attend.format(k, 0) in public),
        channels=size(STEM, 1),
        width=width,
        blocks=count(block(0, "{}")),
    )
    if f"{CRITIC}.0.weight" in public:
        convolutions = sum(key.startswith(CRITIC) and public[key].ndim == 4 for key in public)
        plan = replace(plan, ndf=size(f"{CRITIC}.0.weight", 0), layers=convolutions - 2)
    if "quantize.embedding.weight" in public:
        codes, code_width = (size("quantize.embedding.weight", axis) for axis in (0, 1))
        return replace(plan, codes=codes, code_width=code_width)
    if quantiser := sorted(key for key in public if key.startswith("quantize.")):
        raise WeightsError(
            f"its quantiser has {', '.join(quantiser)}, not quantize.embedding.weight: it draws its codes, where the "
            "one known here takes the nearest"
        )
    if (told := size("encoder.conv_out.weight", 0)) != 2 * latent or size("post_quant_conv.weight", 1) != latent:
        raise WeightsError(
            f"a first stage without a codebook whose encoder ends in {told} channels, for {latent} of the decoder: "
            "a KL autoencoder has a mean and a log-variance for each"
        )
    return plan


def _all_there(wanted: set[str], given: set[str]) -> None:
    """Name what is missing and what is left over."""
    for what, keys in (("lacks", wanted - given), ("also holds", given - wanted)):
        if keys:
            some = ", ".join(sorted(keys)[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
            raise WeightsError(f"this first stage {what} {some}: it is not of a kind that is known here")
