"""First stages of other programs: every key has its place, and what they compute is what ours compute."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from zeuxis.api.adopt import adopt
from zeuxis.catalog.build import build
from zeuxis.catalog.weights import load_system
from zeuxis.cli import main
from zeuxis.errors import UnknownName, UsageError, WeightsError
from zeuxis.game import System
from zeuxis.pretrained.first_stage import from_public, names, to_public
from zeuxis.pretrained.published import PUBLISHED, Plan
from zeuxis.spec import DataSpec, Shape

SMALL = Plan(latent=4, multiples=(1, 2), attention=(2,), codes=16, code_width=6, blocks=1, ndf=8, layers=1)
SMALLEST = {
    "vqgan": Plan(latent=4, multiples=(1,), codes=16, code_width=6, blocks=1, ndf=8, layers=1),
    "kl-autoencoder": Plan(latent=4, multiples=(1,), blocks=1, ndf=8, layers=1),
}
CRITIC = "loss.discriminator."

# As CompVis/taming-transformers 3ba01b2 calls them, for the architecture SMALL.
BLOCK, ATTENTION = "{norm1,conv1,norm2,conv2}", "{norm,q,k,v,proj_out}"
LAYERS = f"""
encoder.conv_in encoder.down.0.block.0.{BLOCK} encoder.down.0.downsample.conv
encoder.down.1.block.0.{BLOCK} encoder.down.1.block.0.nin_shortcut encoder.down.1.attn.0.{ATTENTION}
decoder.up.1.block.{{0,1}}.{BLOCK} decoder.up.1.attn.{{0,1}}.{ATTENTION} decoder.up.1.upsample.conv
decoder.up.0.block.{{0,1}}.{BLOCK} decoder.up.0.block.0.nin_shortcut decoder.conv_in
{{encoder,decoder}}.mid.block_{{1,2}}.{BLOCK} {{encoder,decoder}}.mid.attn_1.{ATTENTION}
{{encoder,decoder}}.{{norm_out,conv_out}} quant_conv post_quant_conv
loss.discriminator.main.{{0,3,5}}
"""
TENSORS = """
quantize.embedding.weight loss.discriminator.main.2.weight
loss.discriminator.main.3.{running_mean,running_var,num_batches_tracked}
"""


def expanded(text: str) -> set[str]:
    """``a.{b,c}`` as ``a.b`` and ``a.c``."""
    found = set()
    for word in text.split():
        parts = [part.split(",") for part in re.split(r"[{}]", word)]
        found |= {"".join(choice) for choice in product(*parts)}
    return found


def made(plan: Plan, size: int = 16) -> System:
    """Ours, no two of whose tensors are alike."""
    system = build(plan.system, DataSpec(Shape(plan.channels, size, size)), plan.model)
    return stirred(system).eval()


def stirred(net):
    """Gains that are not 1 and biases that are not 0, or two that changed places would not show; the same each time."""
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in net.parameters():
            noise = torch.randn(p.shape, generator=draws)
            p.copy_(p.round() + 0.1 * noise if p.ndim == 1 else noise * p[0].numel() ** -0.5)
    return net


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


# -- the map ------------------------------------------------------------------------------------------


def test_every_key_of_the_public_program_has_its_place():
    layers = {f"{layer}.{leaf}" for layer in expanded(LAYERS) for leaf in ("weight", "bias")}
    places = names(SMALL, "compvis", critic=True)
    theirs = [key for keys in places.values() for key in keys]
    assert set(theirs) == layers | expanded(TENSORS)
    assert len(theirs) == len(set(theirs))
    assert set(places) == set(made(SMALL).state_dict()) - {"quantiser.uses"}


@pytest.mark.parametrize("dialect", ["compvis", "diffusers", "diffusers-old"])
@pytest.mark.parametrize("plan", [SMALL, SMALLEST["kl-autoencoder"]], ids=["vq", "kl"])
def test_there_and_back_is_bit_equal(plan, dialect):
    state = made(plan).state_dict()
    public = to_public(plan, state, dialect)
    found = from_public(public | {"loss.perceptual_loss.lin0.weight": torch.ones(1), "loss.logvar": torch.zeros(())})
    assert found.plan == plan and found.dialect == dialect
    assert found.dropped == ("loss.logvar", "loss.perceptual_loss.lin0.weight")
    assert found.tensors.keys() == state.keys() - {"quantiser.uses"}
    assert all(torch.equal(found.tensors[name], state[name]) for name in found.tensors)


# Parameters of the autoencoder and of its critic, as counted in the public programs themselves.
COUNTS = {
    "vqgan-f16-1024": (72_141_699, 2_765_633),
    "vqgan-f16-16384": (76_073_859, 2_765_633),
    "vq-f4": (55_322_782, 2_765_633),
    "vq-f8": (67_717_295, 663_361),
    "vq-f8-n256": (67_652_783, 2_765_633),
    "vq-f16": (69_593_371, 663_361),
    "kl-f4": (55_312_063, 2_765_633),
    "kl-f8": (83_653_863, 2_765_633),
    "kl-f16": (69_610_963, 2_765_633),
    "kl-f32": (103_880_131, 2_765_633),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_architectures_are_recognised_by_their_shapes(name):
    plan = PUBLISHED[name]
    with torch.device("meta"):
        system = build(plan.system, DataSpec(Shape(3, 256, 256)), plan.model)
    assert from_public(to_public(plan, system.state_dict())).plan == plan
    assert tuple(sum(p.numel() for p in player.parameters()) for player in system.players()) == COUNTS[name]


def without(state: dict[str, Tensor], *keys: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key not in keys}


def test_what_does_not_fit_is_named():
    public = to_public(SMALL, made(SMALL).state_dict())
    with pytest.raises(WeightsError, match=r"lacks decoder\.up\.0\.block\.1\.conv2\.bias: "):
        from_public(without(public, "decoder.up.0.block.1.conv2.bias"))
    with pytest.raises(WeightsError, match=r"also holds colorize: "):
        from_public(public | {"colorize": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"also holds loss\.a0, .*loss\.a4 and 3 more"):
        from_public(public | {f"loss.a{k}": torch.zeros(1) for k in range(8)})
    gumbel = {"quantize.embed.weight": torch.zeros(16, 6), "quantize.proj.weight": torch.zeros(16, 4, 1, 1)}
    with pytest.raises(WeightsError, match=r"has quantize\.embed\.weight, quantize\.proj\.weight, not"):
        from_public(without(public, "quantize.embedding.weight") | gumbel)
    with pytest.raises(WeightsError, match="ends in 4 channels, for 4 of the decoder"):
        from_public(without(public, "quantize.embedding.weight"))
    with pytest.raises(WeightsError, match=r"holds none of encoder\.mid\.attn_1\.q\.weight, "):
        from_public(without(public, "encoder.mid.attn_1.q.weight"))
    with pytest.raises(WeightsError, match=r"lacks decoder\.conv_in\.weight"):
        from_public(without(public, "decoder.conv_in.weight"))
    with pytest.raises(WeightsError, match="not of one shape"):
        from_public(public | {"decoder.mid.attn_1.v.bias": torch.zeros(3)})
    with pytest.raises(WeightsError, match=r"lacks quantiser\.codebook: "):
        to_public(SMALL, without(made(SMALL).state_dict(), "quantiser.codebook"))
    with pytest.raises(UnknownName, match="did you mean compvis"):
        to_public(SMALL, {}, "compviz")


@pytest.mark.parametrize("width", [64, 144])
def test_norms_that_would_have_other_groups_are_refused(width):
    """Ours have 32 groups from 128 channels on, where 32 divides them; the public ones always."""
    plan = Plan(latent=4, multiples=(1,), blocks=1, width=width, ndf=8, layers=1)
    with pytest.raises(WeightsError, match=f"a first stage of {width} channels .* 32 groups"):
        from_public(to_public(plan, made(plan).state_dict()))


# -- parity -------------------------------------------------------------------------------------------


def test_the_kl_autoencoder_is_that_of_diffusers():
    peers = pytest.importorskip("diffusers")
    peer = stirred(peers.AutoencoderKL(block_out_channels=(128, 256), down_block_types=("DownEncoderBlock2D",) * 2,
                                       up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4)).eval()  # fmt: skip
    found = from_public(peer.state_dict())
    assert found.plan == Plan(latent=4, multiples=(1, 2), blocks=1)
    ours = made(found.plan)
    ours.load_state_dict(ours.state_dict() | found.tensors)
    x, z = randn(2, 3, 16, 16), randn(2, 4, 8, 8)
    with torch.no_grad():
        posterior = peer.encode(x).latent_dist
        mean, logvar = ours.posterior(x)
        torch.testing.assert_close(mean, posterior.mean, rtol=0, atol=1e-5)
        torch.testing.assert_close(logvar, posterior.logvar, rtol=0, atol=1e-5)
        torch.testing.assert_close(ours.encode(x), posterior.mode(), rtol=0, atol=1e-5)
        torch.testing.assert_close(ours.decode(z), peer.decode(z).sample.clamp(-1, 1), rtol=0, atol=1e-5)


def test_vqgan_is_the_vq_model_of_diffusers():
    peers = pytest.importorskip("diffusers")
    peer = stirred(peers.VQModel(block_out_channels=(128, 256),
                                 down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
                                 up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
                                 latent_channels=4, num_vq_embeddings=16, vq_embed_dim=6)).eval()  # fmt: skip
    x = randn(2, 3, 16, 16)
    with torch.no_grad():
        z = peer.encode(x).latents  # (2, 6, 8, 8)
        peer.quantize.embedding.weight.copy_(z.movedim(1, -1).reshape(-1, 6)[::8] + 0.01 * randn(16, 6))
    found = from_public(peer.state_dict())
    assert found.plan == Plan(latent=4, multiples=(1, 2), attention=(2,), codes=16, code_width=6, blocks=1)
    ours = made(found.plan)
    ours.load_state_dict(ours.state_dict() | found.tensors)
    with torch.no_grad():
        torch.testing.assert_close(ours.into_codes(ours.encoder(x)), z, rtol=0, atol=1e-5)
        codes = ours.encode(x)
        assert torch.equal(codes.flatten(), peer.quantize(z)[2][2]) and len(codes.unique()) == 16
        torch.testing.assert_close(ours.decode(codes), peer(x).sample.clamp(-1, 1), rtol=0, atol=1e-5)


# -- checkpoints --------------------------------------------------------------------------------------


def checkpoint(folder: Path, system: str, place: str = "") -> tuple[Path, System]:
    """A public checkpoint of training, and what it holds as ours."""
    ours = made(SMALLEST[system])
    public = to_public(SMALLEST[system], ours.state_dict()) | {"loss.perceptual_loss.lin0.weight": torch.ones(1)}
    state = {place + key: value for key, value in public.items()}
    torch.save(
        {"state_dict": state | {"model.other": torch.ones(2)} if place else state, "epoch": 3}, folder / "a.ckpt"
    )
    return folder / "a.ckpt", ours


@pytest.mark.parametrize(("system", "place"), [("vqgan", ""), ("kl-autoencoder", "first_stage_model.")])
def test_a_public_checkpoint_becomes_a_model(tmp_path, capsys, system, place):
    file, ours = checkpoint(tmp_path, system, place)
    assert main(["convert", str(file), "--as", system, "--size", "16", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["folder"] == str(tmp_path / "a") and said["system"] == system and said["dialect"] == "compvis"
    assert said["architecture"] is None and said["dropped"] == ["loss.perceptual_loss.lin0.weight"]
    assert said["parameters"] == sum(p.numel() for p in ours.parameters())
    assert said["as_initialised"] == (["quantiser.uses"] if system == "vqgan" else [])
    loaded, card = load_system(tmp_path / "a")
    assert tuple(loaded.shape) == (3, 16, 16) and card["source"] == "a.ckpt" and card["names"] == "compvis"
    x = randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded.encode(x), ours.encode(x))
        assert torch.equal(loaded.decode(loaded.encode(x)), ours.decode(ours.encode(x)))
    assert main(["convert", str(file), "--as", system, "--size", "16"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_safetensors_without_a_critic_are_taken_too(tmp_path, capsys):
    """As diffusers and Stable Diffusion publish their autoencoder."""
    plan = SMALLEST["kl-autoencoder"]
    ours = made(plan)
    public = to_public(plan, ours.state_dict(), "diffusers-old")
    save_file({k: v.contiguous() for k, v in public.items() if not k.startswith(CRITIC)}, tmp_path / "vae.safetensors")
    folder = tmp_path / "there"
    assert main(["convert", str(tmp_path / "vae.safetensors"), "--as", "kl-autoencoder", "--out", str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("kl-autoencoder, of no published size, ") and "as it is at the start: critic" in said
    loaded, _ = load_system(folder)
    assert tuple(loaded.shape) == (3, 256, 256)
    with torch.no_grad():
        assert torch.equal(loaded.encode(randn(1, 3, 8, 8)), ours.encode(randn(1, 3, 8, 8)))


def test_adoption_explains_misuse(tmp_path, capsys):
    file, _ = checkpoint(tmp_path, "vqgan")
    with pytest.raises(WeightsError, match="holds a 'vqgan', not a 'kl-autoencoder': use --as vqgan"):
        adopt(file, "kl-autoencoder")
    with pytest.raises(UnknownName, match="did you mean vqgan"):
        adopt(file, "vqgam")
    with pytest.raises(UsageError, match="no file"):
        adopt(tmp_path / "none.ckpt", "vqgan")
    assert main(["convert", str(file), "--size", "16"]) == 2
    assert "together with --as SYSTEM" in capsys.readouterr().err
    state = torch.load(file, weights_only=True)["state_dict"]
    for content, wrong in (
        ({k: v for k, v in state.items() if k.startswith("quant")}, "holds none"),
        ({f"{place}.{k}": v.clone() for k, v in state.items() for place in "ab"}, r"holds several: a\., b\."),
        (state | {"decoder.mid.block_1.norm1.bias": torch.zeros(3)}, r"decoder\.middle\.0\.norm1\.bias is not as"),
    ):
        save_file(content, tmp_path / "b.safetensors")
        with pytest.raises(WeightsError, match=wrong):
            adopt(tmp_path / "b.safetensors", "vqgan")
    (tmp_path / "b.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        adopt(tmp_path / "b.safetensors", "vqgan")
    assert not (tmp_path / "b").exists()
