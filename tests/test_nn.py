"""The networks: shapes, published counts, initial identities, gradients."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from zeuxis.batch import Shape
from zeuxis.data.source import vocabulary
from zeuxis.diffusion.guidance import Conditioning, classifier_free
from zeuxis.errors import UnknownName, UsageError, WeightsError
from zeuxis.nn.attention import CrossAttention, SelfAttention
from zeuxis.nn.autoencoder import Decoder, Encoder
from zeuxis.nn.conditioner import Backbone, LabelConditioner
from zeuxis.nn.control import AttentionCall, controlled
from zeuxis.nn.dcgan import DCGANDiscriminator, DCGANGenerator
from zeuxis.nn.dit import DiT
from zeuxis.nn.embed import LabelEmbedding, pos_embed, sinusoid
from zeuxis.nn.inception import Inception, load_inception, tf1_bilinear
from zeuxis.nn.norm import Norm
from zeuxis.nn.patch_gan import PatchCritic
from zeuxis.nn.resnet_generator import ResNetGenerator
from zeuxis.nn.text import TextTower, WordTokeniser
from zeuxis.nn.unet import Residuals, UNet, start_as_ddpm
from zeuxis.nn.uvit import UViT
from zeuxis.nn.vector_quantiser import VectorQuantiser
from zeuxis.rng import Stream


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stir(net: nn.Module) -> nn.Module:
    """Give every parameter a value that is neither zero nor one, so that nothing is hidden by its initial value."""
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * 0.08 + (p if p.ndim == 1 else 0))
    return net


def silent_parameters(net: nn.Module, loss: Tensor) -> list[str]:
    """The parameters that ``loss`` sends no gradient to."""
    grads = torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)
    names = [n for n, _ in net.named_parameters()]
    return [n for n, g in zip(names, grads, strict=True) if g is None or not g.abs().sum() > 0]


# -- embeddings -----------------------------------------------------------------------------------


def test_sinusoid_orders() -> None:
    t = torch.tensor([0.0, 3.0])
    sd, ho = sinusoid(t, 8), sinusoid(t, 8, ddpm=True)
    assert torch.equal(sd[0], torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0]))
    assert torch.equal(ho[0], torch.tensor([0.0, 0, 0, 0, 1, 1, 1, 1]))
    assert sd[1, 3].item() == pytest.approx(torch.tensor(3 * 10_000 ** (-3 / 4)).cos().item(), abs=1e-6)
    assert ho[1, 3].item() == pytest.approx(torch.tensor(3 * 10_000**-1.0).sin().item(), abs=1e-6)
    assert torch.equal(sinusoid(t, 7), torch.cat([sinusoid(t, 6), torch.zeros(2, 1)], 1))
    assert torch.equal(sinusoid(t, 2, ddpm=True), torch.stack([t.sin(), t.cos()], 1))
    with pytest.raises(UsageError, match="an embedding of 1 number tells no time"):
        sinusoid(t, 1)


def test_place_names_column_then_row() -> None:
    table = pos_embed(2, 3, 8)
    assert table.shape == (6, 8)
    row1_column2 = table[1 * 3 + 2]
    assert row1_column2[0].item() == pytest.approx(torch.tensor(2.0).sin().item())
    assert row1_column2[4].item() == pytest.approx(torch.tensor(1.0).sin().item())
    with pytest.raises(UsageError, match=r"a width of 30 for tokens: .* a multiple of 4, such as 32"):
        DiT(3, (8, 8), patch=2, width=30, depth=1, heads=2)


def test_label_drop_is_the_null_class() -> None:
    labels = LabelEmbedding(3, 4)
    out = labels(torch.tensor([0, 2]), drop=torch.tensor([True, False]))
    assert torch.equal(out[0], labels.null(1)[0])
    assert torch.equal(out[1], labels.table.weight[2])


# -- attention ------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [False, True])
def test_control_gets_probabilities_and_identity_changes_nothing(masked: bool) -> None:
    net, x, context = CrossAttention(8, 6, 2), randn(3, 5, 8), randn(3, 4, 6)
    mask = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool) if masked else None
    plain = net(x, context, mask)
    given: list[Tensor] = []
    net.control = lambda p: given.append(p) or p
    assert torch.allclose(net(x, context, mask), plain, atol=1e-6)
    assert given[0].shape == (3, 2, 5, 4)
    assert torch.allclose(given[0].sum(-1), torch.ones(3, 2, 5))
    if masked:
        assert given[0][1, :, :, 1:].abs().max() == 0


def test_self_attention_agrees_with_torch() -> None:
    ours, peer = SelfAttention(12, 3), nn.MultiheadAttention(12, 3, batch_first=True)
    peer.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    x = randn(2, 7, 12)
    assert torch.allclose(ours(x), peer(x, x, x)[0], atol=1e-6)


def test_controlled_steers_every_layer_and_lets_go() -> None:
    net = nn.ModuleDict({"a": SelfAttention(4, 1), "b": SelfAttention(4, 1)})
    names: list[str] = []

    def uniform(call: AttentionCall) -> Tensor:
        names.append(call.layer)
        assert call.kind == "self" and call.conditional is None
        return torch.full_like(call.probabilities, 1 / call.probabilities.shape[-1])

    x = randn(1, 3, 4)
    with controlled(net, uniform):
        a = net["a"](x)
        net["b"](x)
    assert names == ["a", "b"]
    assert torch.allclose(a[:, 0], a[:, 1], atol=1e-6)  # uniform attention answers every query alike
    assert net["a"].control is None


def attentive(name: str) -> Backbone:
    return {
        "unet": lambda: UNet(3, width=8, multiples=(1, 2), blocks=1, heads=2, context_width=6),
        "dit": lambda: DiT(3, 8, width=16, depth=2, heads=2, context_width=6),
        "uvit": lambda: UViT(3, (8, 8), patch=4, fine=8, fine_depth=1, width=16, depth=1, heads=2, context_width=6),
    }[name]()


@pytest.mark.parametrize("name", ["unet", "dit", "uvit"])
@pytest.mark.parametrize("edits", [True, False])
def test_a_controller_may_edit_one_half_of_a_guided_batch(name: str, edits: bool) -> None:
    """It reweights the first word in the rows where ``conditional`` is ``edits``; the other rows stay bit-equal."""
    net = stir(attentive(name)).eval()
    kinds: set[str] = set()

    def reweight(call: AttentionCall) -> Tensor:
        kinds.add(call.kind)
        assert call.conditional is not None and len(call.conditional) == len(call.probabilities)
        if call.kind == "self":
            return call.probabilities
        first = call.probabilities * torch.tensor([4.0, 0, 0, 0, 0])
        return torch.where((call.conditional == edits)[:, None, None, None], first, call.probabilities)

    def x0(x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        out = net(x, sigma, **conditioning)
        halves.append(out)
        return out

    halves: list[Tensor] = []
    denoise = classifier_free(x0, {"context": randn(2, 5, 6)}, {"context": randn(2, 5, 6, seed=3)}, 3.0)
    x, sigma = randn(2, 3, 8, 8), torch.tensor([5.0, 600.0])
    with torch.no_grad():
        with controlled(net, lambda call: call.probabilities):
            denoise(x, sigma)
        with controlled(nn.ModuleList([net]), reweight):  # also from within whatever holds the network
            denoise(x, sigma)
    plain, edited = (out.chunk(2) for out in halves)
    touched, untouched = (0, 1) if edits else (1, 0)
    assert torch.equal(edited[untouched], plain[untouched])
    assert not torch.allclose(edited[touched], plain[touched], atol=1e-4)
    assert kinds == {"self", "cross"}


def test_a_network_that_is_given_no_halves_has_none() -> None:
    net, halves = stir(attentive("dit")), []
    with controlled(net, lambda call: halves.append(call.conditional) or call.probabilities):
        net(randn(2, 3, 8, 8), torch.ones(2), context=randn(2, 5, 6), conditional=torch.tensor([True, False]))
        net(randn(1, 3, 8, 8), torch.ones(1), context=randn(1, 5, 6))
    assert [None if c is None else c.tolist() for c in halves] == [[True, False]] * 4 + [None] * 4


# -- text -----------------------------------------------------------------------------------------


def test_tokeniser() -> None:
    tokeniser = WordTokeniser(("a", "red", "circle"), 4)
    ids, mask = tokeniser.encode(["A red, Circle.", ""])
    assert ids.tolist() == [[1, 2, 3, 0], [0, 0, 0, 0]]
    assert mask.tolist() == [[True, True, True, False], [False] * 4]
    with pytest.raises(UnknownName, match="did you mean circle"):
        tokeniser.encode(["a circel"])
    with pytest.raises(UsageError, match="5 words"):
        tokeniser.encode(["a a a a a"])


def test_text_tower_ignores_padding_and_knows_the_null_caption() -> None:
    tower = stir(TextTower(3, 4, 8, depth=2, heads=2))
    ids, mask = WordTokeniser(("a", "red", "circle"), 4).encode(["a red", ""])
    out, seen = tower(ids, mask)
    assert out.shape == (2, 4, 8)
    assert seen.tolist() == [[True, True, False, False], [True, False, False, False]]
    noisy = torch.where(mask, ids, 3)  # other words behind the mask
    assert torch.allclose(tower(noisy, mask)[0][seen], out[seen], atol=1e-6)
    assert not torch.allclose(
        out[1, 0], tower(torch.tensor([[1, 0, 0, 0]]), torch.tensor([[True] + [False] * 3]))[0][0, 0]
    )
    assert silent_parameters(tower, out[seen].pow(3).sum()) == []


def test_a_word_is_the_same_however_its_accents_are_stored() -> None:
    """Names and texts from a Mac have the letter and its accent apart, a keyboard makes one of both."""
    apart, one = "Un cafe\u0301 noir", "un caf\u00e9 noir"
    assert vocabulary([apart]) == vocabulary([one]) == ("caf\u00e9", "noir", "un")
    tokeniser = WordTokeniser(("cafe\u0301", "noir", "un"), 4)
    assert tokeniser.encode([apart])[0].tolist() == tokeniser.encode([one])[0].tolist() == [[3, 1, 2, 0]]


# -- DiT ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "depth", "heads", "published"),
    [
        (384, 12, 6, 32_963_360),
        (768, 12, 12, 130_512_416),
        (1024, 24, 16, 458_102_816),
        (1152, 28, 16, 675_129_632),
    ],
)
def test_dit_published_counts(width: int, depth: int, heads: int, published: int) -> None:
    with torch.device("meta"):
        net = DiT(4, 32, patch=2, width=width, depth=depth, heads=heads, out_channels=8)
        labels = LabelConditioner(1000, net.vector_width)
    assert count(net) + count(labels) + net.pos_embed.numel() == published


def test_dit_starts_at_zero_and_its_blocks_are_the_identity() -> None:
    net = DiT(3, (8, 12), width=16, depth=2, heads=2, context_width=6)
    x, text, mask = randn(2, 3, 8, 12), randn(2, 5, 6), torch.ones(2, 5, dtype=torch.bool)
    assert net(x, torch.tensor([1.0, 999.0]), None, text, mask).abs().max() == 0
    tokens, unread = randn(2, 24, 16), DiT(3, (8, 12), width=16, depth=2, heads=2)
    assert torch.equal(unread.blocks[0](tokens, randn(2, 16), None, None), tokens)
    # But the context counts from the first step on.
    assert not torch.equal(net.blocks[0](tokens, randn(2, 16), text, mask), tokens)


def test_dit_depends_on_everything_it_is_given() -> None:
    net = stir(DiT(3, (8, 12), width=16, depth=2, heads=2, out_channels=6, context_width=6))
    x, t, text = randn(2, 3, 8, 12), torch.tensor([1.0, 999.0]), randn(2, 5, 6)
    mask = torch.tensor([[True] * 3 + [False] * 2] * 2)
    y = randn(2, 16, seed=5)
    out = net(x, t, y, text, mask)
    assert out.shape == (2, 6, 8, 12)
    assert silent_parameters(net, out.pow(2).sum()) == []
    for other in (
        net(x, t.flip(0), y, text, mask),
        net(x, t, y.flip(0), text, mask),
        net(x, t, y, text.flip(1), mask),
        net(x.flip(2), t, y, text, mask),
    ):
        assert not torch.allclose(other, out, atol=1e-4)
    hidden = text.clone()
    hidden[:, 3:] = 9
    assert torch.allclose(net(x, t, y, hidden, mask), out, atol=1e-6)
    with pytest.raises(ValueError, match="context"):
        net(x, t, y)


def test_dit_unpatchify_inverts_patchify() -> None:
    net = DiT(2, (4, 6), width=8, depth=1, heads=1)
    x = randn(1, 2, 4, 6)
    h = x.unflatten(3, (3, 2)).unflatten(2, (2, 2)).permute(0, 2, 4, 3, 5, 1)  # (B, r, c, p, q, C)
    assert torch.equal(net._unpatchify(h.reshape(1, 6, 8)), x)


def uvit(depth: int = 1, **settings: int) -> UViT:
    return UViT(3, (8, 12), patch=4, fine=8, fine_depth=1, width=16, depth=depth, heads=2, **settings)


def test_uvit_starts_at_zero() -> None:
    x, t = randn(2, 3, 8, 12), torch.tensor([1.0, 999.0])
    assert uvit()(x, t).abs().max() == 0
    assert uvit(context_width=6)(x, t, None, randn(2, 5, 6), torch.ones(2, 5, dtype=torch.bool)).abs().max() == 0


def test_uvit_depends_on_everything_it_is_given() -> None:
    net = stir(uvit(context_width=6, out_channels=5))
    x, t, label, text = randn(2, 3, 8, 12), torch.tensor([1.0, 999.0]), randn(2, 16), randn(2, 5, 6)
    mask = torch.tensor([[True] * 3 + [False] * 2] * 2)
    out = net(x, t, label, text, mask)
    assert out.shape == (2, 5, 8, 12)
    assert silent_parameters(net, out.pow(2).sum()) == []
    for other in (
        net(x, t.flip(0), label, text, mask),
        net(x, t, label.flip(0), text, mask),
        net(x, t, label, text.flip(1), mask),
        net(x.flip(2), t, label, text, mask),
    ):
        assert not torch.allclose(other, out, atol=1e-4)
    hidden = text.clone()
    hidden[:, 3:] = 9
    assert torch.allclose(net(x, t, label, hidden, mask), out, atol=1e-5)
    with pytest.raises(ValueError, match="context"):
        net(x, t, label)
    with torch.autocast("cpu", torch.bfloat16):
        assert net(x, t, label, text, mask).dtype == torch.float32


def test_uvit_draws_across_the_seams_of_patches_and_places_by_attention() -> None:
    def reach(net: torch.nn.Module) -> Tensor:
        """Which pixels change with the corner pixel of the first patch."""
        x, t = randn(1, 1, 24, 24), torch.tensor([500.0])
        other = x.clone()
        other[..., 3, 3] += 1.0
        return (stir(net)(x, t) - net(other, t)).abs()[0, 0] > 1e-7

    patches = DiT(1, 24, patch=4, width=16, depth=0, heads=2)
    assert reach(patches)[:4, :4].all() and not reach(patches)[4:].any() and not reach(patches)[:, 4:].any()
    # Without a middle the convolutions (and group norms, which see the whole picture) alone carry the change.
    assert reach(UViT(1, (24, 24), patch=4, fine=8, fine_depth=1, width=16, depth=0, heads=2))[4, 4]
    assert reach(UViT(1, (24, 24), patch=4, fine=8, fine_depth=0, width=16, depth=1, heads=2))[-1, -1]


def test_uvit_with_the_smallest_patch_sees_single_pixels() -> None:
    net = stir(UViT(1, (4, 6), patch=2, fine=8, fine_depth=1, width=16, depth=1, heads=2))
    assert net(randn(2, 1, 4, 6), torch.tensor([1.0, 2.0])).shape == (2, 1, 4, 6)


@pytest.mark.parametrize("size, patch", [((8, 10), 4), ((9, 9), 3)])
def test_uvit_wants_whole_patches_of_an_even_side(size: tuple[int, int], patch: int) -> None:
    with pytest.raises(UsageError, match="even side"):
        UViT(3, size, patch=patch)


def test_dit_under_autocast_answers_in_the_dtype_it_was_asked() -> None:
    net = stir(DiT(3, 8, width=16, depth=1, heads=2))
    x, t = randn(2, 3, 8, 8), torch.tensor([1.0, 2.0])
    with torch.autocast("cpu", torch.bfloat16):
        half = net(x, t)
    assert half.dtype == torch.float32
    assert torch.allclose(half, net(x, t), atol=0.1, rtol=0.1)


# -- U-Net ----------------------------------------------------------------------------------------


def from_diffusers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A diffusers U-Net's weights under our names."""
    rules = (
        (r"^conv_in", "stem"),
        (r"^conv_norm_out", "norm"),
        (r"^conv_out", "out"),
        (r"^time_embedding\.linear_1", "time.mlp.0"),
        (r"^time_embedding\.linear_2", "time.mlp.2"),
        (r"^add_embedding\.linear_1", "added.0"),
        (r"^add_embedding\.linear_2", "added.2"),
        (r"^(down|up)_blocks\.(\d+)\.(?:down|up)samplers\.0", r"\1_levels.\2.resample"),
        (r"^(down|up)_blocks\.(\d+)\.resnets\.(\d+)", r"\1_levels.\2.blocks.\3.resblock"),
        (r"^(down|up)_blocks\.(\d+)\.attentions\.(\d+)", r"\1_levels.\2.blocks.\3.ATT"),
        (r"^mid_block\.resnets\.(\d)", r"middle_blocks.\1.resblock"),
        (r"^mid_block\.attentions\.0", "middle_blocks.0.ATT"),
        (r"time_emb_proj", "vector"),
        (r"conv_shortcut", "skip"),
        (r"ATT\.group_norm", "attention.norm"),
        (r"ATT\.(to_.*)", r"attention.attention.\1"),
        (r"ATT\.transformer_blocks\.(\d+)", r"transformer.blocks.\1"),
        (r"ATT\.norm", "transformer.norm"),
        (r"ATT\.proj_in", "transformer.proj_in"),
        (r"ATT\.proj_out", "transformer.proj_out"),
        (r"attn1\.", "attention."),
        (r"attn2\.", "cross_attention."),
        (r"ff\.net\.0\.proj", "mlp.inner"),
        (r"ff\.net\.2", "mlp.outer"),
        (r"to_out\.0", "out"),
        (r"cross_attention\.to_q", "cross_attention.q"),
    )
    ours = {}
    for name, value in state.items():
        for old, new in rules:
            name = re.sub(old, new, name)
        ours[name] = value.flatten(1) if re.search(r"transformer\.proj_(in|out)\.weight", name) else value
    for name in [n for n in ours if ".to_v." in n]:  # fuse the projections
        cross = ".cross_attention." in name
        parts = [ours.pop(name.replace("to_v", f"to_{p}")) for p in ("kv" if cross else "qkv")]
        ours[name.replace("to_v", "kv" if cross else "qkv")] = torch.cat(parts)
    return ours


def test_unet_holds_ddpm_cifar10() -> None:
    with torch.device("meta"):
        net = UNet(3, ddpm=True)
    assert count(net) == 35_746_307


SD = {"width": 320, "multiples": (1, 2, 4, 4), "attention": (1, 2, 4), "eps": 1e-5}
XL = {"attention": (2, 4), "head_width": 64, "eps": 1e-5}


@pytest.mark.parametrize(
    ("settings", "published"),
    [
        (SD | {"heads": 8, "context_width": 768}, 859_520_964),  # Stable Diffusion 1.x
        (SD | {"head_width": 64, "context_width": 1024}, 865_910_724),  # 2.x
        (SD | {"head_width": 64, "context_width": 1024, "added_width": 1536}, 869_517_764),  # 2.1 unCLIP-L
        (
            XL
            | {"width": 320, "multiples": (1, 2, 4), "transformer_depth": (0, 2, 10)}
            | {"context_width": 2048, "added_width": 2816},
            2_567_463_684,  # XL
        ),
        (
            XL
            | {"width": 384, "multiples": (1, 2, 4, 4), "transformer_depth": 4}
            | {"context_width": 1280, "added_width": 2560},
            2_259_526_660,  # XL's refiner
        ),
    ],
    ids=["1.x", "2.x", "unclip", "xl", "refiner"],
)
def test_unet_holds_stable_diffusion(settings: dict[str, Any], published: int) -> None:
    with torch.device("meta"):
        assert count(UNet(4, **settings)) == published


def test_ddpm_starts_as_its_code_does() -> None:
    """Variance 2 / (fan in + fan out) each, no biases, and zeros where a residual ends."""
    net = UNet(3, width=32, multiples=(1, 2), blocks=1, attention=(2,), ddpm=True)
    start_as_ddpm(net)
    block = net.down_levels[1].blocks[0]
    for weight in (net.stem.weight, block.resblock.conv1.weight, *block.attention.attention.qkv.weight.chunk(3)):
        out, into, *area = weight.shape
        assert float(weight.detach().var()) == pytest.approx(2 / ((out + into) * math.prod(area)), rel=0.12)
    ends = (net.out, block.resblock.conv2, block.attention.attention.out)
    assert not any(p.any() for end in ends for p in end.parameters())
    biases = [p for name, p in net.named_parameters() if name.endswith("bias") and "norm" not in name]
    assert biases and not any(p.any() for p in biases)


def test_unet_agrees_with_diffusers_ddpm() -> None:
    peers = pytest.importorskip("diffusers")
    peer = stir(
        peers.UNet2DModel(
            sample_size=8,
            block_out_channels=(128, 256),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=None,
            downsample_padding=0,
            flip_sin_to_cos=False,
            freq_shift=1,
            norm_eps=1e-6,
        )
    )
    net = UNet(3, width=128, multiples=(1, 2), blocks=1, attention=(2,), ddpm=True)
    net.load_state_dict(from_diffusers(peer.state_dict()))
    x, t = randn(2, 3, 8, 8), torch.tensor([3, 700])
    with torch.no_grad():
        theirs = peer(x, t).sample
        assert theirs.std() > 0.05
        assert torch.allclose(net(x, t), theirs, atol=1e-4, rtol=1e-4)


def test_unet_agrees_with_diffusers_stable_diffusion() -> None:
    peers = pytest.importorskip("diffusers")
    peer = stir(
        peers.UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(128, 256),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            attention_head_dim=8,
            cross_attention_dim=12,
        )
    )
    net = UNet(4, width=128, multiples=(1, 2), blocks=1, attention=(1,), heads=8, context_width=12, eps=1e-5)
    net.load_state_dict(from_diffusers(peer.state_dict()))
    t, text = torch.tensor([3, 700]), randn(2, 5, 12)
    for sides in ((8, 8), (7, 5)):  # odd ones are halved upwards
        x = randn(2, 4, *sides)
        with torch.no_grad():
            theirs = peer(x, t, text).sample
            assert theirs.std() > 0.05
            assert torch.allclose(net(x, t, None, text), theirs, atol=1e-4, rtol=1e-4)


def test_unet_agrees_with_diffusers_stable_diffusion_xl() -> None:
    peers = pytest.importorskip("diffusers")
    peer = stir(
        peers.UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(128, 256),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=(2, 4),  # heads of each level
            cross_attention_dim=12,
            transformer_layers_per_block=(1, 2),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=6 * 4 + 8,
        )
    )
    net = UNet(
        4,
        width=128,
        multiples=(1, 2),
        blocks=1,
        attention=(2,),
        head_width=64,
        context_width=12,
        transformer_depth=(0, 2),
        added_width=32,
        eps=1e-5,
    )
    net.load_state_dict(from_diffusers(peer.state_dict()))
    x, t, context, pooled = randn(2, 4, 8, 8), torch.tensor([3, 700]), randn(2, 5, 12), randn(2, 8)
    sizes = torch.tensor([[8.0, 8, 0, 0, 8, 8], [16.0, 8, 1, 2, 8, 8]])
    added = torch.cat([pooled, sinusoid(sizes.flatten(), 4).unflatten(0, (2, 6)).flatten(1)], 1)  # (B, 8 + 6 x 4)
    with torch.no_grad():
        theirs = peer(x, t, context, added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes}).sample
        assert theirs.std() > 0.05
        assert torch.allclose(net(x, t, added, context), theirs, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="added_width"):
        net(x, t, None, context)


def test_an_odd_side_is_brought_back_to_what_it_was() -> None:
    """By nearest neighbour, at every level: 5 was halved to 3 and that to 2."""
    net = stir(UNet(1, width=8, multiples=(1, 1, 1), blocks=1, attention=()))
    seen: list[tuple[int, ...]] = []
    for level in net.up_levels:
        level.register_forward_hook(lambda module, given, made: seen.append(tuple(made.shape[2:])))
    with torch.no_grad():
        assert net(randn(1, 1, 5, 8), torch.tensor([3.0])).shape == (1, 1, 5, 8)
    assert seen == [(3, 4), (5, 8), (5, 8)]


def test_a_control_branch_adds_to_every_skip_and_to_the_middle() -> None:
    net = stir(UNet(3, width=8, multiples=(1, 2), blocks=1, attention=(2,), heads=2))
    x, t = randn(2, 3, 8, 12), torch.tensor([1.0, 700.0])
    c = net.embed(t, None, None)
    skips = net.down(x, c)
    assert [tuple(s.shape[1:]) for s in skips] == [(8, 8, 12), (8, 8, 12), (8, 4, 6), (16, 4, 6)]
    out = net(x, t)
    assert torch.equal(net.up(net.middle(skips[-1], c), skips, c), out)
    zeros = Residuals([torch.zeros_like(s) for s in skips], torch.zeros_like(skips[-1]))
    assert torch.equal(net(x, t, residuals=zeros), out)  # a branch that ends in zero convolutions changes nothing
    for k in range(len(skips)):
        more = [torch.ones_like(s) if i == k else torch.zeros_like(s) for i, s in enumerate(skips)]
        assert not torch.allclose(net(x, t, residuals=Residuals(more, zeros.middle)), out, atol=1e-4)
    assert not torch.allclose(
        net(x, t, residuals=Residuals(zeros.skips, torch.ones_like(zeros.middle))), out, atol=1e-4
    )
    with pytest.raises(ValueError, match="zip"):
        net(x, t, residuals=Residuals(zeros.skips[:-1], zeros.middle))
    hinted = net.down(x, c, hint=torch.ones_like(skips[0]))
    torch.testing.assert_close(hinted[0], skips[0] + 1)


@pytest.mark.parametrize("modulate", [False, True])
def test_unet_depends_on_everything_it_is_given(modulate: bool) -> None:
    net = UNet(3, width=8, multiples=(1, 2), blocks=1, context_width=6, heads=2, modulate=modulate)
    x, t, text = randn(2, 3, 8, 12), torch.tensor([1.0, 700.0]), randn(2, 5, 6)
    mask = torch.tensor([[True] * 3 + [False] * 2] * 2)
    assert net(x, t, None, text, mask).abs().max() == 0  # as it starts
    stir(net)
    y = randn(2, 32, seed=5)
    out = net(x, t, y, text, mask)
    assert out.shape == x.shape
    assert silent_parameters(net, out.pow(2).sum()) == []
    for other in (net(x, t.flip(0), y, text, mask), net(x, t, y.flip(0), text, mask), net(x, t, None, text, mask)):
        assert not torch.allclose(other, out, atol=1e-4)
    assert not torch.allclose(net(x, t, y, text.flip(1), mask), out, atol=1e-5)


def test_unet_refuses_attention_at_a_level_it_lacks() -> None:
    with pytest.raises(ValueError, match=r"\[4\]"):
        UNet(3, width=8, multiples=(1, 2), attention=(4,))
    with pytest.raises(ValueError, match="transformer_depth"):
        UNet(3, width=8, multiples=(1, 2), attention=(2,), transformer_depth=(1, 0))


# -- convolutional stacks -------------------------------------------------------------------------


def test_dcgan_published_counts() -> None:
    shape = Shape(3, 64, 64)
    with torch.device("meta"):
        assert count(DCGANGenerator(shape, nz=128)) == 3_806_080
        assert count(DCGANDiscriminator(shape)) == 2_765_568
        assert count(DCGANDiscriminator(shape, norm_first=True)) == 2_765_696


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("side", [8, 32])
def test_dcgan_shapes_and_gradients(norm: Norm, side: int) -> None:
    shape = Shape(1, side, side)
    g, d = DCGANGenerator(shape, nz=5, ngf=4, norm=norm), DCGANDiscriminator(shape, ndf=4, norm=norm, norm_first=True)
    image = g(randn(3, 5))
    assert image.shape == (3, 1, side, side)
    assert image.abs().max() <= 1
    logit = d(image)
    assert logit.shape == (3,)
    assert silent_parameters(nn.ModuleList([g, d]), (logit * torch.tensor([1.0, 2.0, -4.0])).sum()) == []


def test_dcgan_initialisation() -> None:
    g = DCGANGenerator(Shape(3, 32, 32))
    weights = torch.cat([m.weight.flatten() for m in g.modules() if isinstance(m, nn.ConvTranspose2d)])
    assert weights.mean().item() == pytest.approx(0, abs=2e-4)
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)


@pytest.mark.parametrize("shape", [Shape(1, 28, 28), Shape(1, 32, 16), Shape(1, 4, 4)])
def test_dcgan_refuses_other_sizes(shape: Shape) -> None:
    with pytest.raises(UsageError, match="set size"):
        DCGANGenerator(shape)


def test_an_unnormalised_critic_judges_each_picture_alone() -> None:
    d = DCGANDiscriminator(Shape(1, 16, 16), ndf=4, norm=Norm.NONE)
    x = randn(3, 1, 16, 16)
    assert torch.allclose(d(x)[:1], d(x[:1]), atol=1e-6)


def test_cyclegan_published_counts() -> None:
    with torch.device("meta"):
        assert count(ResNetGenerator(3, 3)) == 11_378_179
        assert count(ResNetGenerator(3, 3, blocks=6)) == 7_837_699
        assert count(PatchCritic(3)) == 2_764_737
        assert count(PatchCritic(3, norm=Norm.BATCH)) == 2_765_633


def test_cyclegan_shapes_and_gradients() -> None:
    g, d = ResNetGenerator(3, 1, ngf=4, blocks=2), PatchCritic(1, ndf=4)
    image = g(randn(1, 3, 32, 40))
    assert image.shape == (1, 1, 32, 40)
    assert image.abs().max() <= 1
    logits = d(image)
    assert logits.shape == (1, 1, 2, 3)
    # A bias before an instance norm (they are the published ones) cannot matter: its gradient is rounding alone.
    loss = logits.pow(2).sum()
    parts = {n: p for n, p in nn.ModuleList([g, d]).named_parameters() if p.ndim > 1}
    grads = torch.autograd.grad(loss, list(parts.values()))
    assert [n for n, v in zip(parts, grads, strict=True) if not v.abs().max() > 1e-9] == []


@pytest.mark.parametrize(("layers", "seen"), [(1, 16), (2, 34), (3, 70)])
def test_a_patch_is_as_wide_as_published(layers: int, seen: int) -> None:
    critic = PatchCritic(1, ndf=4, layers=layers, norm=Norm.NONE).double()
    x = randn(1, 1, 128, 128).double().requires_grad_()
    logits = critic(x)
    middle = logits.shape[-1] // 2
    (slope,) = torch.autograd.grad(logits[0, 0, middle, middle], x)
    rows = slope[0, 0].abs().sum(1).nonzero()
    assert (rows.max() - rows.min() + 1).item() == seen


# -- vector quantiser -----------------------------------------------------------------------------


def test_quantiser_finds_the_nearest_code_and_counts() -> None:
    vq = VectorQuantiser(3, 2)
    vq.codebook.data = torch.tensor([[0.0, 0.0], [1.0, 1.0], [9.0, 9.0]])
    z = torch.tensor([[0.1, 0.2], [0.9, 0.8], [0.7, 1.2], [-0.4, 0.0]]).t().reshape(1, 2, 2, 2)
    q = vq(z)
    assert q.indices.tolist() == [[[0, 1], [1, 0]]]
    assert torch.allclose(q.vectors, vq.lookup(q.indices))
    assert q.perplexity.item() == pytest.approx(2.0)
    gap = (0.01 + 0.04 + 0.01 + 0.04 + 0.09 + 0.04 + 0.16) / 8
    assert q.loss.item() == pytest.approx(1.25 * gap, rel=1e-5)


@pytest.mark.parametrize("ema", [False, True])
def test_quantiser_gradients_by_hand(ema: bool) -> None:
    """Through the codes it passes as it is; from the loss it is 2 beta (z - e) / n at z and 2 (e - z) / n at e."""
    vq, beta = VectorQuantiser(4, 3, beta=0.4, ema=ema), 0.4
    z = randn(2, 3, 2, 2).requires_grad_()
    slope = randn(2, 3, 2, 2, seed=3)
    q = vq(z)
    (through,) = torch.autograd.grad((q.vectors * slope).sum(), z, retain_graph=True)
    assert torch.equal(through, slope)
    e, n = vq.lookup(q.indices).detach(), z.numel()
    (pull,) = torch.autograd.grad(q.loss, z, retain_graph=True)
    assert torch.allclose(pull, 2 * beta * (z.detach() - e) / n, atol=1e-7)
    if ema:
        assert list(vq.parameters()) == []
        return
    (push,) = torch.autograd.grad(q.loss, vq.codebook)
    expected = torch.zeros_like(push)
    for k, d in zip(q.indices.flatten(), (2 * (e - z.detach()) / n).movedim(1, -1).reshape(-1, 3), strict=True):
        expected[k] += d
    assert torch.allclose(push, expected, atol=1e-7)


def test_ema_codebook_converges_to_the_means_it_is_chosen_for() -> None:
    vq = VectorQuantiser(2, 1, ema=True, decay=0.5)
    vq.codebook.copy_(torch.tensor([[-0.1], [0.1]]))
    z = torch.tensor([-3.0, -1.0, 2.0, 6.0]).view(4, 1, 1, 1)
    for _ in range(40):
        vq.learn(z, vq(z).indices)
    assert torch.allclose(vq.codebook, torch.tensor([[-2.0], [4.0]]), atol=1e-4)
    assert torch.allclose(vq.uses, torch.tensor([2.0, 2.0]), atol=1e-4)


@pytest.mark.parametrize("ema", [False, True])
def test_kmeans_start_and_restart_of_dead_codes(ema: bool) -> None:
    vq = VectorQuantiser(3, 2, ema=ema, decay=0.5)
    centres = torch.tensor([[5.0, 5.0], [-5.0, 5.0], [0.0, -5.0]])
    z = (centres.repeat(20, 1) + 0.1 * randn(60, 2)).view(60, 2, 1, 1)
    vq.start(z, Stream(1))
    assert torch.cdist(centres, vq.codebook).amin(1).max() < 0.2
    assert vq(z).perplexity.item() == pytest.approx(3.0, rel=1e-4)
    assert vq.restart(z, Stream(0)) == 0
    with torch.no_grad():
        vq.codebook[0] = 100.0
    if ema:
        vq.sums[0] = 100.0
    for _ in range(8):
        vq.learn(z, vq(z).indices)
    assert vq.restart(z, Stream(0)) == 1
    assert (vq.codebook[0] == z.flatten(1)).all(1).any()
    assert vq.uses[0] == 1
    with pytest.raises(UsageError, match="enlarge"):
        vq.start(z[:2], Stream(0))


# -- autoencoder ----------------------------------------------------------------------------------


def test_vqgan_f16_published_count() -> None:
    with torch.device("meta"):
        parts = [Encoder(3, 256), nn.Conv2d(256, 256, 1), VectorQuantiser(1024, 256)]
        parts += [nn.Conv2d(256, 256, 1), Decoder(256, 3)]
    assert sum(map(count, parts)) == 72_141_699


def test_kl_autoencoder_published_count() -> None:
    kl = {"multiples": (1, 2, 4, 4), "attention": ()}
    with torch.device("meta"):
        parts = [Encoder(3, 8, **kl), nn.Conv2d(8, 8, 1), nn.Conv2d(4, 4, 1), Decoder(4, 3, **kl)]
    assert sum(map(count, parts)) == 83_653_863


def test_autoencoder_agrees_with_diffusers() -> None:
    peers = pytest.importorskip("diffusers")
    peer = stir(
        peers.AutoencoderKL(
            block_out_channels=(128, 256),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            layers_per_block=1,
            latent_channels=4,
        )
    )
    kl = {"multiples": (1, 2), "blocks": 1, "attention": ()}
    encoder, decoder = Encoder(3, 8, **kl), Decoder(4, 3, **kl)
    x, z = randn(1, 3, 16, 16), randn(1, 4, 8, 8)
    for ours, theirs, given, blocks in ((encoder, peer.encoder, x, 1), (decoder, peer.decoder, z, 2)):
        state = {}
        for name, value in from_diffusers(theirs.state_dict()).items():
            name = re.sub(r"^(?:up|down)_levels\.(\d)\.blocks\.(\d)\.resblock", r"levels.\1.\2", name)
            name = re.sub(r"^(?:up|down)_levels\.(\d)\.resample", rf"levels.\1.{blocks}", name)
            name = name.replace("middle_blocks.0.attention", "middle.1").replace("middle_blocks.0.resblock", "middle.0")
            state[name.replace("middle_blocks.1.resblock", "middle.2")] = value
        ours.load_state_dict(state)
        with torch.no_grad():
            assert torch.allclose(ours(given), theirs(given), atol=1e-4, rtol=1e-4)


def test_autoencoder_shapes_and_gradients() -> None:
    small = {"width": 8, "multiples": (1, 2, 2), "blocks": 1, "attention": (4,)}
    encoder, decoder = Encoder(3, 5, **small), Decoder(5, 3, **small)
    z = encoder(randn(2, 3, 16, 8))
    assert z.shape == (2, 5, 4, 2)
    x = decoder(z)
    assert x.shape == (2, 3, 16, 8)
    assert silent_parameters(nn.ModuleList([encoder, decoder]), x.pow(3).sum()) == []


# -- Inception ------------------------------------------------------------------------------------


def test_inception_published_count_and_names() -> None:
    with torch.device("meta"):
        net = Inception()
    # 23,834,568 is the published network of 1000 classes without its auxiliary head.
    assert count(net) == 23_834_568 + 8 * 2049
    shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    assert len(shapes) == 94 * 6 + 2  # 94 convolutions, each with a norm of five tensors
    assert shapes["Conv2d_1a_3x3.conv.weight"] == (32, 3, 3, 3)
    assert shapes["Mixed_5b.branch_pool.conv.weight"] == (32, 192, 1, 1)
    assert shapes["Mixed_5d.branch5x5_2.conv.weight"] == (64, 48, 5, 5)
    assert shapes["Mixed_6a.branch3x3dbl_3.bn.running_var"] == (96,)
    assert shapes["Mixed_6c.branch7x7dbl_4.conv.weight"] == (160, 160, 7, 1)
    assert shapes["Mixed_6e.branch7x7_2.conv.weight"] == (192, 192, 1, 7)
    assert shapes["Mixed_7a.branch7x7x3_4.conv.weight"] == (192, 192, 3, 3)
    assert shapes["Mixed_7b.branch3x3dbl_1.conv.weight"] == (448, 1280, 1, 1)
    assert shapes["Mixed_7c.branch3x3_2b.conv.weight"] == (384, 384, 3, 1)
    assert shapes["fc.weight"] == (1008, 2048)


def test_inception_pools_as_the_fid_does() -> None:
    with torch.device("meta"):
        net = Inception()
    averages = {n: m.count_include_pad for n, m in net.named_modules() if isinstance(m, nn.AvgPool2d)}
    assert averages == {f"Mixed_{b}.pool": False for b in ("5b", "5c", "5d", "6b", "6c", "6d", "6e", "7b")}
    assert isinstance(net.Mixed_7c.pool, nn.MaxPool2d)
    assert net.Mixed_7c.pool.stride == 1


def test_inception_reads_what_was_written(tmp_path: Path) -> None:
    net = Inception().eval()
    file = tmp_path / "inception.safetensors"
    save_file({n: v for n, v in net.state_dict().items() if "num_batches" not in n}, file)
    read = load_inception(file)
    assert not read.training
    assert not any(p.requires_grad for p in read.parameters())
    image = randn(1, 1, 20, 30).clamp(-1, 1)
    with torch.no_grad():
        sides: list[int] = []
        for part in (read.Conv2d_2b_3x3, read.Conv2d_4a_3x3, read.Mixed_5d, read.Mixed_6e, read.Mixed_7c):
            part.register_forward_hook(lambda _, __, made: sides.append(made.shape[-1]))
        (logits,) = read(image)
        assert sides == [147, 71, 35, 17, 8]
        assert logits.shape == (1, 1008)
        assert torch.equal(logits, net(image.repeat(1, 3, 1, 1))[0])
        with pytest.raises(UsageError, match="RGB"):
            read.features(randn(1, 4, 8, 8))
    with pytest.raises(WeightsError, match="zeuxis convert"):
        load_inception(tmp_path / "pt_inception-2015-12-05-6726825d.pth")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_inception(tmp_path / "missing.safetensors")
    save_file({"fc.weight": torch.zeros(2, 2)}, file)
    with pytest.raises(WeightsError, match="do not fit"):
        load_inception(file)


def test_tf1_bilinear_by_hand() -> None:
    x = torch.tensor([[0.0, 8.0], [4.0, 12.0]]).view(1, 1, 2, 2)
    expected = torch.tensor([[0.0, 4, 8, 8], [2, 6, 10, 10], [4, 8, 12, 12], [4, 8, 12, 12]])
    assert torch.equal(tf1_bilinear(x, 4)[0, 0], expected)
    assert torch.equal(tf1_bilinear(x, 1)[0, 0], torch.tensor([[0.0]]))
