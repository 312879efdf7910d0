"""Published checkpoints: a kind is recognised by its keys, every key has its place, and outputs are the same."""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from zeuxis.api.adopt import Adoption, Plain, adopt, convert_file
from zeuxis.catalog.build import build
from zeuxis.catalog.weights import load_system
from zeuxis.cli import main
from zeuxis.errors import UnknownName, UsageError, WeightsError
from zeuxis.game import System
from zeuxis.pretrained.first_stage import FIRST_STAGES, FirstStageSizes
from zeuxis.pretrained.kind import CheckpointKind, from_public, recognise, to_public, told_of_wrapper, unwrapped
from zeuxis.pretrained.kinds import KINDS, kinds_called
from zeuxis.spec import DataSpec, Shape

BY_NAME = {kind.name: kind for kind in FIRST_STAGES}
SMALL = FirstStageSizes(latent=4, multiples=(1, 2), attention=(2,), codes=16, code_width=6, blocks=1, ndf=8, layers=1)
SMALLEST = {
    "vqgan": FirstStageSizes(latent=4, multiples=(1,), codes=16, code_width=6, blocks=1, ndf=8, layers=1),
    "kl-autoencoder": FirstStageSizes(latent=4, multiples=(1,), blocks=1, ndf=8, layers=1),
}
# Several architectures of every system in the table, which differ in each of their numbers.
SETTINGS = {
    "vqgan": (
        SMALL,
        SMALLEST["vqgan"],
        FirstStageSizes(3, (1, 1, 2), (1, 4), codes=8, code_width=5, channels=1, width=160, blocks=2, ndf=16, layers=2),
    ),
    "kl-autoencoder": (
        SMALLEST["kl-autoencoder"],
        FirstStageSizes(3, (1, 1, 2), (2,), channels=4, blocks=2, ndf=16, layers=2),
        FirstStageSizes(2, (1, 2), (1,), width=160, blocks=1, ndf=8, layers=3),
    ),
}
CASES = [(kind.name, k) for kind in FIRST_STAGES for k in range(len(SETTINGS[kind.system]))]
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


def kind_of(architecture: FirstStageSizes, program: str = "compvis") -> CheckpointKind[FirstStageSizes]:
    return BY_NAME[f"{'kl-autoencoder' if architecture.codes is None else 'vqgan'}-{program}"]


def made(architecture: FirstStageSizes, size: int = 16) -> System:
    """Ours, no two of whose tensors are alike."""
    return copy.deepcopy(_made(architecture, size))


@cache
def _made(architecture: FirstStageSizes, size: int) -> System:
    facts = DataSpec(Shape(architecture.channels, size, size))
    return stirred(build(kind_of(architecture).system, facts, architecture.arguments)).eval()


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
    sources = kind_of(SMALL).rename(SMALL)
    theirs = [key for source in sources.values() for key in source.keys]
    assert set(theirs) == layers | expanded(TENSORS)
    assert len(theirs) == len(set(theirs))
    assert set(sources) == set(made(SMALL).state_dict()) - {"quantiser.uses"}


@pytest.mark.parametrize(("name", "k"), CASES)
def test_every_kind_is_recognised_and_goes_there_and_back_bit_equal(name, k):
    """Built at several settings, exported under the public names, and asked back."""
    kind, architecture = BY_NAME[name], SETTINGS[BY_NAME[name].system][k]
    state = made(architecture).state_dict()
    public = to_public(kind, architecture, state)
    for prefix in ("", "model.first."):
        assert recognise((prefix + key for key in public), KINDS) == {prefix: kind}
    extra = {f"{prefix}extra" if prefix.endswith(".") else prefix: torch.ones(1) for prefix in kind.dropped}
    found = from_public(kind, public | extra)
    assert found.architecture == architecture
    assert found.dropped == tuple(sorted(extra))
    assert found.tensors.keys() == state.keys() - set(kind.not_stored)
    assert all(torch.equal(found.tensors[key], state[key]) for key in found.tensors)
    for prefix in kind.optional:  # left out as a whole, or not at all
        rest = {key: value for key, value in state.items() if not key.startswith(prefix)}
        less = from_public(kind, to_public(kind, architecture, rest))
        assert less.tensors.keys() == rest.keys() - set(kind.not_stored)


@pytest.mark.parametrize("kind", FIRST_STAGES, ids=[kind.name for kind in FIRST_STAGES])
def test_no_kind_takes_another_s_checkpoint(kind):
    """The first record whose marks are all there is the right one, so a look-alike must stand below."""
    assert len({other.name for other in KINDS}) == len(KINDS) and len(SETTINGS[kind.system]) > 1
    architecture = SETTINGS[kind.system][0]
    keys = {key for source in kind.rename(architecture).values() for key in source.keys}
    first = next(other for other in KINDS if set(other.marks) <= keys)
    assert first is kind
    assert set(kinds_called(kind.name)) == {kind} and kind in kinds_called(kind.system)


def test_the_state_of_a_training_is_not_part_of_a_model():
    assert unwrapped(["state_dict.a", "state_dict.b", "optimizer.0"]) == (
        "state_dict.",
        ("state_dict.a", "state_dict.b"),
    )
    assert unwrapped(["params_ema.a", "params.a"]) == ("params_ema.", ("params_ema.a",))
    assert unwrapped(["state_dict.module.a", "epoch"]) == ("state_dict.module.", ("state_dict.module.a",))
    assert unwrapped(["module.a", "b"]) == ("", ("module.a", "b"))
    assert unwrapped(["module.params.a", "module.params.b"])[0] == "module.params."
    assert unwrapped(["netG.module.a", "netD.module.a"]) == ("netG.module.", ("netG.module.a",))
    assert unwrapped(["g_ema.a", "generator.a", "discriminator.b"])[0] == "g_ema."  # the average first
    assert unwrapped([]) == ("", ())


def test_what_is_stripped_and_what_is_left_unused_is_told():
    assert told_of_wrapper(["a", "module.b"]) is None
    assert told_of_wrapper(["params.a"]) == "'params.' is stripped of the names of its tensors"
    told = told_of_wrapper(["generator.a", *(f"discriminator.{k}" for k in range(5))])
    assert told is not None and told.startswith("'generator.' is stripped")
    assert told.endswith("unused: discriminator.0, discriminator.1, discriminator.2 and 2 more")


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


PUBLISHED = {name: kind for kind in FIRST_STAGES for name in kind.published if kind.name.endswith("compvis")}


def test_every_published_architecture_has_a_count():
    assert {name for kind in FIRST_STAGES for name in kind.published} == set(COUNTS) == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_architectures_are_recognised_by_their_shapes(name):
    kind = PUBLISHED[name]
    architecture = kind.published[name]
    with torch.device("meta"):
        system = build(kind.system, DataSpec(Shape(3, 256, 256)), architecture.arguments)
    found = from_public(kind, to_public(kind, architecture, system.state_dict())).architecture
    assert found == architecture and kind.published_name(found) == name
    assert tuple(sum(p.numel() for p in player.parameters()) for player in system.players()) == COUNTS[name]


def without(state: dict[str, Tensor], *keys: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key not in keys}


def test_what_does_not_fit_is_named():
    vq, kl = kind_of(SMALL), kind_of(SMALLEST["kl-autoencoder"])
    public = to_public(vq, SMALL, made(SMALL).state_dict())
    with pytest.raises(WeightsError, match=r"lacks decoder\.up\.0\.block\.1\.conv2\.bias: "):
        from_public(vq, without(public, "decoder.up.0.block.1.conv2.bias"))
    with pytest.raises(WeightsError, match=r"lacks loss\.discriminator\.main\.0\.bias: "):
        from_public(vq, without(public, "loss.discriminator.main.0.bias"))
    with pytest.raises(WeightsError, match=r"also holds colorize: "):
        from_public(vq, public | {"colorize": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"also holds loss\.a0, .*loss\.a4 and 3 more"):
        from_public(vq, public | {f"loss.a{k}": torch.zeros(1) for k in range(8)})
    gumbel = {"quantize.embed.weight": torch.zeros(16, 6), "quantize.proj.weight": torch.zeros(16, 4, 1, 1)}
    with pytest.raises(WeightsError, match=r"has quantize\.embed\.weight, quantize\.proj\.weight, not"):
        from_public(kl, without(public, "quantize.embedding.weight") | gumbel)
    with pytest.raises(WeightsError, match="ends in 4 channels, for 4 of the decoder"):
        from_public(kl, without(public, "quantize.embedding.weight"))
    with pytest.raises(WeightsError, match=r"no vqgan-compvis: it lacks encoder\.mid\.attn_1\.q\.weight"):
        from_public(vq, without(public, "encoder.mid.attn_1.q.weight"))
    with pytest.raises(WeightsError, match=r"lacks decoder\.conv_in\.weight"):
        from_public(vq, without(public, "decoder.conv_in.weight"))
    with pytest.raises(WeightsError, match="not of one shape"):
        from_public(vq, public | {"decoder.mid.attn_1.v.bias": torch.zeros(3)})
    with pytest.raises(WeightsError, match=r"lacks quantiser\.codebook: "):
        to_public(vq, SMALL, without(made(SMALL).state_dict(), "quantiser.codebook"))
    with pytest.raises(UnknownName, match="did you mean vqgan-compvis"):
        kinds_called("vqgan-compviz")


@pytest.mark.parametrize("width", [64, 144])
def test_norms_that_would_have_other_groups_are_refused(width):
    """Ours have 32 groups from 128 channels on, where 32 divides them; the public ones always."""
    architecture = FirstStageSizes(latent=4, multiples=(1,), blocks=1, width=width, ndf=8, layers=1)
    kind = kind_of(architecture)
    with pytest.raises(WeightsError, match=f"a first stage of {width} channels .* 32 groups"):
        from_public(kind, to_public(kind, architecture, made(architecture).state_dict()))


# -- parity -------------------------------------------------------------------------------------------


def test_the_kl_autoencoder_is_that_of_diffusers():
    peers = pytest.importorskip("diffusers")
    peer = stirred(peers.AutoencoderKL(block_out_channels=(128, 256), down_block_types=("DownEncoderBlock2D",) * 2,
                                       up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4)).eval()  # fmt: skip
    found = from_public(BY_NAME["kl-autoencoder-diffusers"], peer.state_dict())
    assert found.architecture == FirstStageSizes(latent=4, multiples=(1, 2), blocks=1)
    ours = made(found.architecture)
    ours.load_state_dict(ours.state_dict() | found.tensors)
    x, z = randn(2, 3, 16, 16), randn(2, 4, 8, 8)
    with torch.no_grad():
        posterior = peer.encode(x).latent_dist
        q = ours.posterior(x)
        torch.testing.assert_close(q.mean, posterior.mean, rtol=0, atol=1e-5)
        torch.testing.assert_close(q.logvar, posterior.logvar, rtol=0, atol=1e-5)
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
    found = from_public(BY_NAME["vqgan-diffusers"], peer.state_dict())
    assert found.architecture == FirstStageSizes(4, (1, 2), attention=(2,), codes=16, code_width=6, blocks=1)
    ours = made(found.architecture)
    ours.load_state_dict(ours.state_dict() | found.tensors)
    with torch.no_grad():
        torch.testing.assert_close(ours.into_codes(ours.encoder(x)), z, rtol=0, atol=1e-5)
        codes = ours.encode(x)
        assert torch.equal(codes.flatten(), peer.quantize(z)[2][2]) and len(codes.unique()) == 16
        torch.testing.assert_close(ours.decode(codes), peer(x).sample.clamp(-1, 1), rtol=0, atol=1e-5)


# -- checkpoints --------------------------------------------------------------------------------------


def checkpoint(folder: Path, system: str, prefix: str = "") -> tuple[Path, System]:
    """A public checkpoint of training, and what it holds as ours; with a prefix, as a part of a larger model."""
    architecture = SMALLEST[system]
    ours = made(architecture)
    public = to_public(kind_of(architecture), architecture, ours.state_dict())
    public["loss.perceptual_loss.lin0.weight"] = torch.ones(1)
    state = {prefix + key: value for key, value in public.items()}
    whole = state | {"model.other": torch.ones(2)} if prefix else state
    torch.save({"state_dict": whole, "optimizer_states": [{"exp_avg": torch.ones(3)}], "epoch": 3}, folder / "a.ckpt")
    return folder / "a.ckpt", ours


@pytest.mark.parametrize(
    ("system", "prefix", "named"),
    [
        ("vqgan", "", "vqgan"),
        ("vqgan", "", None),
        ("kl-autoencoder", "first_stage_model.", "kl-autoencoder"),
        ("kl-autoencoder", "", None),
        ("kl-autoencoder", "", "kl-autoencoder-compvis"),
    ],
)
def test_a_public_checkpoint_becomes_a_model(tmp_path, capsys, system, prefix, named):
    file, ours = checkpoint(tmp_path, system, prefix)
    command = ["convert", str(file), "--size", "16", *(["--as", named] if named else [])]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["folder"] == str(tmp_path / "a") and found["system"] == system and found["kind"] == f"{system}-compvis"
    assert found["architecture"] is None and found["dropped"] == ["loss.perceptual_loss.lin0.weight"]
    assert found["outside"] == 1 + bool(prefix)  # the optimiser's, and the larger model's
    assert found["parameters"] == sum(p.numel() for p in ours.parameters())
    assert found["as_initialised"] == (["quantiser.uses"] if system == "vqgan" else [])
    loaded, card = load_system(tmp_path / "a")
    assert tuple(loaded.shape) == (3, 16, 16) and card["source"] == "a.ckpt" and card["kind"] == found["kind"]
    x = randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded.encode(x), ours.encode(x))
        assert torch.equal(loaded.decode(loaded.encode(x)), ours.decode(ours.encode(x)))
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.ckpt"]


def test_a_model_within_a_larger_one_is_named_and_not_taken_out_of_it(tmp_path, capsys):
    file, _ = checkpoint(tmp_path, "vqgan", "first_stage_model.")
    assert main(["convert", str(file)]) == 0
    found = capsys.readouterr()
    assert "it holds a model at state_dict.first_stage_model.: --as vqgan-compvis makes" in found.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ckpt", "a.json", "a.safetensors"]
    with pytest.raises(UsageError, match=r"is safetensors already; it holds a model at .*--as vqgan-compvis makes"):
        convert_file(tmp_path / "a.safetensors")


def test_an_out_file_asks_for_the_tensors_as_they_are(tmp_path):
    file, _ = checkpoint(tmp_path, "vqgan")
    found = convert_file(file, tmp_path / "b.safetensors")
    assert isinstance(found, Plain) and found.holds == {"state_dict.": "vqgan-compvis"}
    assert isinstance(convert_file(tmp_path / "b.safetensors", tmp_path / "model", size=16), Adoption)


def test_of_unknown_kind_the_tensors_are_written_and_the_known_kinds_named(tmp_path, capsys):
    torch.save({"a.weight": torch.ones(2)}, tmp_path / "a.pt")
    assert main(["convert", str(tmp_path / "a.pt")]) == 0
    found = capsys.readouterr()
    assert all(kind.name in found.err for kind in KINDS) and "1 tensor, 2 numbers" in found.out
    assert main(["convert", str(tmp_path / "a.pt"), "--size", "16", "--out", str(tmp_path / "b.safetensors")]) == 2
    assert "--size is that of a model's images" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.pt", "a.safetensors"]
    with pytest.raises(UsageError, match="is safetensors already; it is of no kind of published checkpoint"):
        convert_file(tmp_path / "a.safetensors")


def test_safetensors_without_a_critic_are_taken_too(tmp_path, capsys):
    """As diffusers and Stable Diffusion publish their autoencoder."""
    architecture = SMALLEST["kl-autoencoder"]
    ours = made(architecture)
    public = to_public(kind_of(architecture, "diffusers-old"), architecture, ours.state_dict())
    save_file({k: v.contiguous() for k, v in public.items() if not k.startswith(CRITIC)}, tmp_path / "vae.safetensors")
    folder = tmp_path / "there"
    assert main(["convert", str(tmp_path / "vae.safetensors"), "--out", str(folder)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("kl-autoencoder-diffusers-old, of no published size, ")
    assert "not in the file, and as initialised: critic" in text
    loaded, _ = load_system(folder)
    assert tuple(loaded.shape) == (3, 256, 256)
    with torch.no_grad():
        assert torch.equal(loaded.encode(randn(1, 3, 8, 8)), ours.encode(randn(1, 3, 8, 8)))


def test_adoption_explains_misuse(tmp_path):
    file, _ = checkpoint(tmp_path, "vqgan")
    with pytest.raises(WeightsError, match=r"holds vqgan-compvis at state_dict\.: use --as vqgan"):
        adopt(file, "kl-autoencoder")
    with pytest.raises(UnknownName, match="did you mean vqgan"):
        adopt(file, "vqgam")
    with pytest.raises(UsageError, match="no file"):
        adopt(tmp_path / "none.ckpt", "vqgan")
    state = torch.load(file, weights_only=True)["state_dict"]
    for content, wrong in (
        ({k: v for k, v in state.items() if k.startswith("quant")}, "holds none"),
        (
            {f"{place}.{k}": v.clone() for k, v in state.items() for place in "ab"},
            r"several: vqgan-compvis at a\., ",
        ),
        (state | {"decoder.mid.block_1.norm1.bias": torch.zeros(3)}, r"decoder\.middle\.0\.norm1\.bias is not as"),
    ):
        save_file(content, tmp_path / "b.safetensors")
        with pytest.raises(WeightsError, match=wrong):
            adopt(tmp_path / "b.safetensors", "vqgan")
    (tmp_path / "b.safetensors").write_bytes(b"nothing")
    for function in (adopt, convert_file):
        with pytest.raises(WeightsError, match="cannot be read as safetensors"):
            function(tmp_path / "b.safetensors")
    torch.save(without(state, "decoder.conv_out.bias"), tmp_path / "c.pt")
    with pytest.raises(WeightsError, match=r"lacks decoder\.conv_out\.bias.*; --out FILE\.safetensors writes"):
        convert_file(tmp_path / "c.pt")
    assert not (tmp_path / "b").exists() and not (tmp_path / "c").exists()


def test_a_folder_that_is_asked_for_of_no_known_kind_is_refused_with_the_kinds(tmp_path: Path) -> None:
    torch.save({"main.0.weight": torch.ones(1)}, tmp_path / "netG.pth")
    told = r"netG\.pth makes no model folder: .*StyleGAN3.*; --out \S*gan\.safetensors writes"
    with pytest.raises(UsageError, match=told):
        convert_file(tmp_path / "netG.pth", tmp_path / "gan")
    assert [path.name for path in tmp_path.iterdir()] == ["netG.pth"]
