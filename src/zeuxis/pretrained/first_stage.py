"""Published first stages: the VQGANs and KL autoencoders of CompVis and of diffusers, as kinds of checkpoint.

Each tensor of ours is one of theirs, but for the three projections of attention, which are one here.

Published architectures are from the configurations beside the authors' checkpoints: CompVis/taming-transformers (Esser
et al. 2020) and CompVis/latent-diffusion (Rombach et al. 2021), all for 256x256 colour images. Their attention is
given by resolution there and by factor here: 256 / resolution. Not among them: the quantiser that samples its codes
(taming's f8 with Gumbel noise), and vq-f4-noattn, whose networks have no attention.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from zeuxis.errors import WeightsError
from zeuxis.pretrained.key_names import PROGRAMS, KeyNames
from zeuxis.pretrained.kind import CheckpointKind, TensorSource
from zeuxis.spec import DataSpec, Shape

CODEBOOK = "quantize.embedding.weight"
CRITIC = "loss.discriminator.main"
DROPPED = ("loss.perceptual_loss.", "loss.logvar")  # LPIPS, which is not theirs, and a number that never moved
SMALLEST = 128  # channels: below, our norms have fewer than the 32 groups that theirs always have


@dataclass(frozen=True)
class FirstStageSizes:
    """The sizes of a first stage. Without ``codes`` it is a KL autoencoder."""

    latent: int  # channels of the decoder's input
    multiples: tuple[int, ...]
    attention: tuple[int, ...] = ()  # factors with attention, besides the middle
    codes: int | None = None
    code_width: int | None = None
    channels: int = 3
    width: int = 128
    blocks: int = 2
    ndf: int = 64  # channels of the critic
    layers: int = 3  # of the critic

    def spec(self, side: int) -> DataSpec:
        """Of square pictures."""
        return DataSpec(Shape(self.channels, side, side))

    @property
    def arguments(self) -> dict[str, int | tuple[int, ...]]:
        """The constructor's keywords."""
        found: dict[str, int | tuple[int, ...]] = {
            "latent": self.latent,
            "width": self.width,
            "multiples": self.multiples,
            "blocks": self.blocks,
            "attention": self.attention,
            "ndf": self.ndf,
            "layers": self.layers,
        }
        if self.codes is not None and self.code_width is not None:
            found |= {"codes": self.codes, "code_width": self.code_width}
        return found


F4, F8, F16, F32 = (1, 2, 4), (1, 2, 2, 4), (1, 1, 2, 2, 4), (1, 1, 2, 2, 4, 4)
VQ = {
    "vqgan-f16-1024": FirstStageSizes(
        256, F16, (16,), codes=1024, code_width=256
    ),  # taming: ImageNet, faces, COCO, ADE20K
    "vqgan-f16-16384": FirstStageSizes(256, F16, (16,), codes=16384, code_width=256),
    "vq-f4": FirstStageSizes(3, F4, codes=8192, code_width=3),  # latent diffusion, from here on
    "vq-f8": FirstStageSizes(4, F8, (8,), codes=16384, code_width=4, layers=2),
    "vq-f8-n256": FirstStageSizes(4, F8, (8,), codes=256, code_width=4),
    "vq-f16": FirstStageSizes(8, F16, (16,), codes=16384, code_width=8, layers=2),
}
KL = {
    "kl-f4": FirstStageSizes(3, F4),
    "kl-f8": FirstStageSizes(4, (1, 2, 4, 4)),  # and Stable Diffusion 1.x, 2.x and XL
    "kl-f16": FirstStageSizes(16, F16, (16,)),
    "kl-f32": FirstStageSizes(64, F32, (16, 32)),
}

# -- the key map --------------------------------------------------------------------------------------

Layer = tuple[str, tuple[str, ...], bool]  # of ours, of theirs, and whether theirs are 1x1 convolutions for a matrix


def rename(names: KeyNames, architecture: FirstStageSizes) -> dict[str, TensorSource]:
    """Each tensor of ours, and the public ones that it is made of: one, or three for queries, keys and values."""
    a = architecture
    into, out_of = ("into_codes", "from_codes") if a.codes else ("into_moments", "from_latent")
    layers: list[Layer] = [
        *_half("encoder", a, names),
        (into, ("quant_conv",), False),
        (out_of, ("post_quant_conv",), False),
        *_half("decoder", a, names),
    ]
    found = {}
    for ours, theirs, pointwise in layers:
        for leaf in ("weight", "bias"):
            keys = tuple(f"{key}.{leaf}" for key in theirs)
            found[f"{ours}.{leaf}"] = TensorSource(keys, pointwise and leaf == "weight")
    if a.codes:
        found["quantiser.codebook"] = TensorSource((CODEBOOK,))
    return found | {f"critic.layers.{leaf}": TensorSource((f"{CRITIC}.{leaf}",)) for leaf in _critic(a)}


def _half(side: str, a: FirstStageSizes, names: KeyNames) -> Iterator[Layer]:
    """The layers of the encoder or the decoder."""
    encodes, last = side == "encoder", len(a.multiples) - 1
    yield f"{side}.stem", (f"{side}.conv_in",), False
    multiple = 1 if encodes else a.multiples[-1]
    for k in range(last + 1):
        level = k if encodes else last - k  # 0 is the finest
        theirs = (names.down if encodes else names.up).format(k if encodes or names.coarse_first else level)
        at = 0
        for block in range(a.blocks + (not encodes)):
            skip = multiple != a.multiples[level]
            yield from _block(f"{side}.levels.{k}.{at}", f"{side}.{theirs}.{names.block.format(block)}", names, skip)
            multiple, at = a.multiples[level], at + 1
            if 2**level in a.attention:
                key = f"{side}.{theirs}.{names.attention.format(block)}"
                yield from _attention(f"{side}.levels.{k}.{at}", key, names)
                at += 1
        if k < last:
            resample = names.downsample if encodes else names.upsample
            yield f"{side}.levels.{k}.{at}.conv", (f"{side}.{theirs}.{resample}",), False
    yield from _block(f"{side}.middle.0", f"{side}.{names.middle[0]}", names, skip=False)
    yield from _attention(f"{side}.middle.1", f"{side}.{names.middle[1]}", names)
    yield from _block(f"{side}.middle.2", f"{side}.{names.middle[2]}", names, skip=False)
    yield f"{side}.norm", (f"{side}.{names.norm}",), False
    yield f"{side}.out", (f"{side}.conv_out",), False


def _block(ours: str, theirs: str, names: KeyNames, skip: bool) -> Iterator[Layer]:
    for part in ("norm1", "conv1", "norm2", "conv2"):
        yield f"{ours}.{part}", (f"{theirs}.{part}",), False
    if skip:
        yield f"{ours}.skip", (f"{theirs}.{names.skip}",), False


def _attention(ours: str, theirs: str, names: KeyNames) -> Iterator[Layer]:
    yield f"{ours}.norm", (f"{theirs}.{names.attention_norm}",), False
    yield f"{ours}.attention.qkv", tuple(f"{theirs}.{part}" for part in names.qkv), names.pointwise
    yield f"{ours}.attention.out", (f"{theirs}.{names.proj_out}",), names.pointwise


def _critic(a: FirstStageSizes) -> Iterator[str]:
    """The patch critic's tensors; both programs count its layers alike."""
    yield from ("0.weight", "0.bias")
    for k in range(a.layers):
        yield f"{2 + 3 * k}.weight"
        norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        yield from (f"{3 + 3 * k}.{leaf}" for leaf in norm)
    yield from (f"{2 + 3 * a.layers}.{leaf}" for leaf in ("weight", "bias"))


# -- the architecture, from the tensors ---------------------------------------------------------------


def config(names: KeyNames, public: Mapping[str, Tensor]) -> FirstStageSizes:
    """The architecture that the tensors' names and shapes tell."""

    def size(key: str, axis: int) -> int:
        if key not in public or public[key].ndim <= axis:
            raise WeightsError(
                f"this first stage lacks {key}, or it has too few axes: its architecture cannot be read off"
            )
        return public[key].shape[axis]

    def count(pattern: str) -> int:
        k = 0
        while pattern.format(k) in public:
            k += 1
        return k

    def block(k: int | str, j: int | str = 0) -> str:
        return f"encoder.{names.down}.{names.block}.conv1.weight".format(k, j)

    attention = f"encoder.{names.down}.{names.attention}.{names.proj_out}.weight"
    width, latent = size("encoder.conv_in.weight", 0), size("decoder.conv_in.weight", 1)
    widths = [size(block(k), 0) for k in range(count(block("{}")))]
    if width < SMALLEST or width % 32 or any(w % width for w in widths):
        raise WeightsError(
            f"a first stage of {width} channels and then {widths}: those known here begin with at least {SMALLEST}, "
            "a multiple of 32 (their norms have 32 groups), and go on with multiples of that"
        )
    found = FirstStageSizes(
        latent=latent,
        multiples=tuple(w // width for w in widths),
        attention=tuple(2**k for k in range(len(widths)) if attention.format(k, 0) in public),
        channels=size("encoder.conv_in.weight", 1),
        width=width,
        blocks=count(block(0, "{}")),
    )
    if f"{CRITIC}.0.weight" in public:
        convolutions = sum(key.startswith(CRITIC) and public[key].ndim == 4 for key in public)
        found = replace(found, ndf=size(f"{CRITIC}.0.weight", 0), layers=convolutions - 2)
    if CODEBOOK in public:
        return replace(found, codes=size(CODEBOOK, 0), code_width=size(CODEBOOK, 1))
    if quantiser := sorted(key for key in public if key.startswith("quantize.")):
        raise WeightsError(
            f"its quantiser has {', '.join(quantiser)}, not {CODEBOOK}: it samples its codes, where the "
            "one known here takes the nearest"
        )
    moments = size("encoder.conv_out.weight", 0)
    if moments != 2 * latent or size("post_quant_conv.weight", 1) != latent:
        raise WeightsError(
            f"a first stage without a codebook whose encoder ends in {moments} channels, for {latent} of the decoder: "
            "a KL autoencoder has a mean and a log-variance for each"
        )
    return found


# -- the records --------------------------------------------------------------------------------------


def _kind(system: str, names: KeyNames) -> CheckpointKind[FirstStageSizes]:
    vq = system == "vqgan"
    return CheckpointKind(
        name=f"{system}-{names.program}",
        system=system,
        marks=(names.mark, CODEBOOK) if vq else (names.mark,),
        config=partial(config, names),
        rename=partial(rename, names),
        published=VQ if vq else KL,
        optional=("critic.",),  # neither codes nor images need it
        optional_arguments=("ndf", "layers"),
        not_stored=("quantiser.uses",) if vq else (),
        dropped=DROPPED,
    )


FIRST_STAGES: tuple[CheckpointKind[Any], ...] = tuple(
    _kind(s, names) for s in ("vqgan", "kl-autoencoder") for names in PROGRAMS
)
