"""Our first stages beside the public programs themselves: same weights, same picture, same result?

python tools/parity_first_stages.py TAMING LATENT_DIFFUSION [NAME ...]

TAMING and LATENT_DIFFUSION are checkouts of github.com/CompVis/taming-transformers and
github.com/CompVis/latent-diffusion. Their VQModel and AutoencoderKL are built at their published sizes with
random weights, taken over by ``zeuxis.pretrained``, and both are given the same pictures. Published weights are
not needed, and prove no more: a wrong name, order, padding or norm shows with any. What they import and do not use
here (a training framework, a notation for permutations, LPIPS) is replaced by a few lines; nothing of theirs is kept.

Prints a line for each architecture: parameters of both, whether the way back gives every tensor as it was, the
largest differences of the encoder's output, of the picture decoded from one and the same code, and of the critic's
logits, the share of codes that agree; then how far either picture is from theirs in float64, and ours in float64
from that. Ends with 1 if a count differs, a tensor does not come back, or a difference in float32 exceeds 1e-5.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from zeuxis.catalog.build import build
from zeuxis.game import System
from zeuxis.nn.vector_quantiser import VectorQuantiser
from zeuxis.pretrained.first_stage import KL, VQ, FirstStageSizes
from zeuxis.pretrained.kind import from_public, to_public
from zeuxis.pretrained.kinds import kinds_called
from zeuxis.rng import Rng, Stream
from zeuxis.spec import DataSpec, Shape

SIZE = 256
TOLERANCE = 1e-5
PUBLISHED = VQ | KL


class Loss(nn.Module):
    """What their checkpoints hold of the loss: the critic, LPIPS (here one number), a log-variance."""

    def __init__(self, ndf: int, layers: int) -> None:
        super().__init__()
        critic = import_module("taming.modules.discriminator.model").NLayerDiscriminator
        self.discriminator = critic(3, ndf=ndf, n_layers=layers)
        self.perceptual_loss = nn.Linear(1, 1)
        self.logvar = nn.Parameter(torch.zeros(()))


def permute(x: Tensor, pattern: str) -> Tensor:
    """``rearrange`` of einops, as far as it is used here: axes in another order."""
    before, after = (side.split() for side in pattern.split("->"))
    return x.permute(*(before.index(axis) for axis in after))


def stand_in(name: str, **content: Any) -> None:
    module = ModuleType(name)
    module.__dict__.update(content)
    sys.modules[name] = module


def prepare(taming: str, latent_diffusion: str) -> None:
    """Make the checkouts importable."""
    sys.path[:0] = [taming, latent_diffusion]
    stand_in("pytorch_lightning", LightningModule=nn.Module)
    stand_in("einops", rearrange=permute, repeat=None)
    stand_in("main", instantiate_from_config=lambda config: Loss(**config))  # taming imports it from its main.py
    stand_in("ldm.util", instantiate_from_config=lambda config: Loss(**config))


def theirs(name: str, a: FirstStageSizes) -> Any:
    """The public program's first stage of that size."""
    shape = {"ch": a.width, "out_ch": 3, "ch_mult": a.multiples, "num_res_blocks": a.blocks,
             "attn_resolutions": [SIZE // f for f in a.attention], "in_channels": 3, "resolution": SIZE,
             "z_channels": a.latent, "double_z": a.codes is None, "dropout": 0.0}  # fmt: skip
    loss = {"ndf": a.ndf, "layers": a.layers}
    if a.codes is None:
        return import_module("ldm.models.autoencoder").AutoencoderKL(shape, loss, embed_dim=a.latent)
    module = "taming.models.vqgan" if name.startswith("vqgan") else "ldm.models.autoencoder"
    return import_module(module).VQModel(shape, loss, a.codes, a.code_width)


def stir(net: nn.Module, rng: Rng) -> None:
    """No gain may be 1 nor bias 0, or two that changed places would not show."""
    with torch.no_grad():
        for p in net.parameters():
            if p.ndim == 1:
                p.add_(0.1 * rng.normal(*p.shape))


def compare(name: str, a: FirstStageSizes) -> dict[str, float | int | bool]:
    """Both programs on the same picture."""
    rng = Stream(0, name)
    torch.manual_seed(0)  # their program draws its weights from torch's own generator
    peer = theirs(name, a).eval()
    stir(peer, rng)
    x = rng.uniform(1, 3, SIZE, SIZE) * 2 - 1
    with torch.no_grad():
        z = peer.quant_conv(peer.encoder(x))
        if a.codes:  # as a trained codebook is: among the vectors it stands for
            book = peer.quantize.embedding.weight
            book.copy_(z.mean() + z.std() * rng.normal(*book.shape))
    public = peer.state_dict()
    (kind,) = kinds_called("kl-autoencoder-compvis" if a.codes is None else "vqgan-compvis")
    found = from_public(kind, public)
    assert found.architecture == a, f"{name} was read as {found.architecture}"
    ours: System = build(kind.system, DataSpec(Shape(3, SIZE, SIZE)), a.arguments).eval()
    ours.load_state_dict({**ours.state_dict(), **found.tensors})
    back = to_public(kind, a, ours.state_dict())
    kept = {k: v for k, v in public.items() if k not in found.dropped}
    report: dict[str, float | int | bool] = {
        "theirs": sum(p.numel() for k, p in peer.named_parameters() if not k.startswith("loss.")),
        "ours": sum(p.numel() for p in ours.players()[0].parameters()),
        "back": sum(torch.equal(back[k], kept[k]) for k in kept) == len(kept) == len(back),
    }
    with torch.no_grad():
        into, out_of = ("into_codes", "from_codes") if a.codes else ("into_moments", "from_latent")
        report["encoder"] = apart(encoded(ours, into, x), z)
        if a.codes:
            code, _, (_, _, indices) = peer.quantize(z)
            mine = ours.encode(x)
            report["codes"] = float((mine.flatten() == indices.flatten()).float().mean())
            quantiser = ours.get_submodule("quantiser")
            assert isinstance(quantiser, VectorQuantiser)
            report["vectors"] = apart(quantiser.lookup(indices.view(mine.shape)), code)
        else:
            code = peer.encode(x).mode()
            report["mean"] = apart(ours.encode(x), code)
        wanted, picture = peer.decode(code), decoded(ours, out_of, code)
        report["picture"] = apart(picture, wanted)
        report["critic"] = apart(ours.get_submodule("critic")(x), peer.loss.discriminator(x))
        exact = peer.double().decode(code.double())
        report["their rounding"], report["our rounding"] = apart(wanted, exact), apart(picture, exact)
        report["picture in float64"] = apart(decoded(ours.double(), out_of, code.double()), exact)
        report["picture's spread"] = float(wanted.std())
    return report


def apart(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference."""
    return float((ours - theirs).abs().max())


def encoded(system: System, into: str, x: Tensor) -> Tensor:
    """The output of our encoder, before it is quantised or sampled from."""
    z: Tensor = system.get_submodule(into)(system.get_submodule("encoder")(x))
    return z


def decoded(system: System, out_of: str, code: Tensor) -> Tensor:
    """The output of our decoder for a code, not clamped."""
    y: Tensor = system.get_submodule("decoder")(system.get_submodule(out_of)(code))
    return y


def main(taming: str, latent_diffusion: str, *names: str) -> int:
    """Compare the architectures called ``names``, or all; 1 if one of them differs."""
    prepare(taming, latent_diffusion)
    failed = []
    for name in names or PUBLISHED:
        found = compare(name, PUBLISHED[name])
        figures = (
            f"{k} {v}" if isinstance(v, bool) else f"{k} {v:,}" if isinstance(v, int) else f"{k} {v:.3g}"
            for k, v in found.items()
        )
        sys.stdout.write(f"{name}: {', '.join(figures)}\n")
        most = max(float(found[key]) for key in ("encoder", "vectors", "mean", "picture", "critic") if key in found)
        if found["ours"] != found["theirs"] or not found["back"] or most > TOLERANCE:
            failed.append(name)
    sys.stdout.write(f"differ: {', '.join(failed) or 'none'}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) > 2 else __doc__)
