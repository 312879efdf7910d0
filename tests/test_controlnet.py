"""ControlNet's branch: counts, parity with the public library, both key layouts, and what it is refused for."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from zeuxis.batch import Batch, Condition, Shape
from zeuxis.catalog.weights import load_system
from zeuxis.cli.options import recipe_of
from zeuxis.data.library import open_source
from zeuxis.data.worlds.rich.sources import RichScenes
from zeuxis.degrade.edges import edges
from zeuxis.editing.sdedit import edited
from zeuxis.errors import UnknownName, UsageError, WeightsError
from zeuxis.game import System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.controlnet import ControlBranch, controlled_by, scaled, unet_of
from zeuxis.nn.dit import DiT
from zeuxis.nn.unet import UNet
from zeuxis.pretrained.controlnet_keys import key_map, load_controlnet, save_controlnet
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.autoencoder.kl_autoencoder import KLAutoencoder
from zeuxis.systems.diffusion.controlnet import ControlNet
from zeuxis.systems.diffusion.ddpm import DDPM
from zeuxis.systems.diffusion.edm import EDM
from zeuxis.systems.diffusion.flow_matching import FlowMatching
from zeuxis.systems.diffusion.latent_diffusion import LatentDiffusion
from zeuxis.systems.diffusion.score_sde import ScoreSDE
from zeuxis.training.checkpoint import write_model

SD = {"width": 320, "multiples": (1, 2, 4, 4), "attention": (1, 2, 4), "eps": 1e-5}
XL = {"width": 320, "multiples": (1, 2, 4), "attention": (2, 4), "transformer_depth": (0, 2, 10), "eps": 1e-5}
SMALL: dict[str, Any] = {"width": 128, "multiples": (1, 2), "blocks": 1, "attention": (1,), "heads": 8, "eps": 1e-5}


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stir(net: nn.Module, seed: int = 1) -> nn.Module:
    """The same network with every parameter away from where it starts."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return net


@pytest.mark.parametrize(
    ("settings", "published"),
    [
        (SD | {"heads": 8, "context_width": 768}, 361_279_120),
        (SD | {"head_width": 64, "context_width": 1024}, 364_228_240),
        (XL | {"head_width": 64, "context_width": 2048, "added_width": 2816}, 1_251_014_160),
    ],
    ids=["1.x", "2.x", "xl"],
)
def test_the_branch_of_stable_diffusion_has_the_published_count(settings: dict[str, Any], published: int) -> None:
    with torch.device("meta"):
        branch = ControlBranch(UNet(4, **settings), 3, factor=8)
    assert sum(p.numel() for p in branch.parameters()) == published


def pair(**settings: int) -> tuple[UNet, ControlBranch]:
    """A network, which no test changes, and a branch of its own."""
    unet = network(**settings)
    return unet, ControlBranch(unet, 3)


@cache
def network(**settings: int) -> UNet:
    unet = stir(UNet(4, **{**SMALL, **settings}))
    assert isinstance(unet, UNet)
    return unet


def test_at_first_the_steered_network_is_the_base_bit_for_bit() -> None:
    unet, branch = pair(context_width=12)
    x, t, text = randn(2, 4, 8, 8), torch.tensor([3.0, 700.0]), randn(2, 5, 12)
    alone = unet(x, t, None, text)
    with controlled_by(unet, branch, branch.hint(randn(2, 3, 8, 8, seed=5))):
        assert torch.equal(unet(x, t, None, text), alone)
        with torch.no_grad():
            branch.middle_zero.bias.fill_(0.1)
        assert not torch.allclose(unet(x, t, None, text), alone, atol=1e-3)
    assert torch.equal(unet(x, t, None, text), alone)  # and afterwards it is its own again


def test_the_copies_start_as_the_base_and_are_no_part_of_it() -> None:
    unet, branch = pair()
    own = dict(unet.named_parameters())
    for name, p in branch.trunk.named_parameters():
        assert torch.equal(p, own[name]) and p is not own[name] and p.requires_grad
    assert not any(name.startswith(("up_levels", "norm.", "out.")) for name, _ in branch.trunk.named_parameters())


def test_all_of_a_guided_batch_is_steered_and_scales_multiply() -> None:
    unet, branch = pair()
    stir(branch, seed=3)
    x, t = randn(2, 4, 8, 8), torch.tensor([3.0, 3.0])
    features = branch.hint(randn(2, 3, 8, 8))
    with controlled_by(unet, branch, features):
        once, twice = unet(x, t), unet(torch.cat([x, x]), torch.cat([t, t]))
        with pytest.raises(UsageError, match="2 control pictures for 3 images"):
            unet(randn(3, 4, 8, 8), torch.tensor([1.0, 1.0, 1.0]))
    # Kernels for larger batches add in another order.
    torch.testing.assert_close(twice, torch.cat([once, once]), atol=1e-4, rtol=1e-4)
    residuals = branch(x, features, t)
    half = unet(x, t, residuals=scaled(residuals, 0.5))
    with controlled_by(unet, branch, features, 0.5):
        assert torch.allclose(unet(x, t), half, atol=1e-5)
    with controlled_by(unet, branch, features, 0.25), controlled_by(unet, branch, features, 0.25):  # two branches add
        assert torch.allclose(unet(x, t), half, atol=1e-4)
    with controlled_by(unet, branch, features, 0.0):
        assert torch.equal(unet(x, t), unet(x, t, residuals=scaled(residuals, 0.0)))


def test_the_hint_is_of_the_networks_size() -> None:
    unet, _ = pair()
    for factor, sides in ((1, 8), (2, 16), (8, 64)):
        branch = ControlBranch(unet, 1, factor=factor)
        features = branch.hint(randn(2, 1, sides, sides))
        assert features.shape == (2, 128, 8, 8) and not features.any()
    with pytest.raises(UsageError, match="power of two"):
        ControlBranch(unet, 1, factor=6)


def test_only_a_network_with_one_unet_is_steered() -> None:
    with pytest.raises(UsageError, match="no U-Net"):
        unet_of(DiT(3, 8, width=16, depth=1, heads=2), "the base")
    unet, _ = pair()
    assert unet_of(nn.Sequential(unet), "the base") is unet


# -- published files ------------------------------------------------------------------------------------


def peer(cross_attention: int = 12, **settings: Any) -> Any:
    peers = pytest.importorskip("diffusers")
    return peers.ControlNetModel(
        in_channels=4,
        block_out_channels=(128, 256),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        attention_head_dim=8,
        cross_attention_dim=cross_attention,
        conditioning_embedding_out_channels=(16, 32, 96, 256),
        **settings,
    )


def test_the_branch_agrees_with_diffusers() -> None:
    theirs = stir(peer()).eval()
    unet, _ = pair(context_width=12)
    loaded = load_controlnet(theirs.state_dict(), unet)
    assert loaded.unused == ()
    x, t, text, picture = randn(2, 4, 8, 8), torch.tensor([3, 700]), randn(2, 5, 12), randn(2, 3, 64, 64).sigmoid()
    with torch.no_grad():
        skips, middle = theirs(x, t, text, picture, return_dict=False)
        ours = loaded.branch(x, loaded.branch.hint(picture), t, None, text)
    assert len(skips) == len(ours.skips) and min(float(s.std()) for s in skips) > 0.05
    for mine, other in zip([*ours.skips, ours.middle], [*skips, middle], strict=True):
        assert torch.allclose(mine, other, atol=1e-4, rtol=1e-4)


def test_the_settings_beside_a_branch_are_heeded() -> None:
    """Blue first, as some were trained, or refused: a branch that is pooled is no map of the picture."""
    theirs = stir(peer(controlnet_conditioning_channel_order="bgr")).eval()
    unet, _ = pair(context_width=12)
    branch = load_controlnet(theirs.state_dict(), unet, config=dict(theirs.config)).branch
    x, t, text, picture = randn(2, 4, 8, 8), torch.tensor([3, 700]), randn(2, 5, 12), randn(2, 3, 64, 64).sigmoid()
    with torch.no_grad():
        middle = theirs(x, t, text, picture, return_dict=False)[1]
        ours, straight = (branch(x, branch.hint(shown), t, None, text).middle for shown in (picture, picture.flip(1)))
    off = [float((found - middle).abs().mean() / middle.abs().mean()) for found in (ours, straight)]
    assert off[0] < 1e-4 and off[1] > 0.1
    for wrong, says in (
        ({"global_pool_conditions": True}, "global_pool_conditions = True, which is not known here"),
        ({"resnet_time_scale_shift": "scale_shift"}, "resnet_time_scale_shift"),
    ):
        with pytest.raises(WeightsError, match=says):
            load_controlnet(theirs.state_dict(), unet, config=dict(theirs.config) | wrong)
    with pytest.raises(UnknownName, match="channel_order"):
        load_controlnet(theirs.state_dict(), unet, config={"controlnet_conditioning_channel_order": "gbr"})


def test_what_is_saved_is_what_diffusers_reads() -> None:
    unet, _ = pair(context_width=12)
    branch = stir(ControlBranch(unet, 3, factor=8))
    assert isinstance(branch, ControlBranch)
    theirs = peer(use_linear_projection=True)
    theirs.load_state_dict(save_controlnet(branch))  # strict: every key is there, and no other
    again = load_controlnet(theirs.state_dict(), unet).branch
    assert all(torch.equal(a, b) for a, b in zip(branch.parameters(), again.parameters(), strict=True))


def authors_file(branch: ControlBranch) -> dict[str, Tensor]:
    """The tensors of ``branch`` as the authors' program writes them."""
    public = {}
    for name, source in key_map(branch, authors=True).items():
        for key, part in zip(source.keys, branch.get_parameter(name).detach().chunk(len(source.keys)), strict=True):
            pointwise = key.endswith(("1.proj_in.weight", "1.proj_out.weight"))  # 1x1 convolutions, in 1.x
            public[f"control_model.{key}"] = part[:, :, None, None] if pointwise else part
    return public


def test_the_authors_names_are_theirs() -> None:
    """Those of Stable Diffusion 1.x's ControlNets, written down from their files' listing."""
    with torch.device("meta"):
        branch = ControlBranch(UNet(4, **SD, heads=8, context_width=768), 3, factor=8)
    found = {key for source in key_map(branch, authors=True).values() for key in source.keys}
    assert len(found) == 340
    for key in (
        "time_embed.2.bias",
        "input_blocks.0.0.weight",
        "input_blocks.1.0.in_layers.0.weight",
        "input_blocks.2.1.transformer_blocks.0.attn1.to_q.weight",
        "input_blocks.2.1.transformer_blocks.0.attn1.to_out.0.bias",
        "input_blocks.2.1.transformer_blocks.0.norm3.weight",
        "input_blocks.2.1.norm.weight",
        "input_blocks.2.1.proj_in.weight",
        "input_blocks.3.0.op.weight",
        "input_blocks.4.0.skip_connection.weight",
        "input_blocks.5.1.transformer_blocks.0.ff.net.0.proj.weight",
        "input_blocks.8.1.transformer_blocks.0.attn2.to_v.weight",
        "input_blocks.11.0.emb_layers.1.weight",
        "input_blocks.11.0.out_layers.3.bias",
        "middle_block.0.in_layers.2.weight",
        "middle_block.1.transformer_blocks.0.attn2.to_k.weight",
        "middle_block.2.out_layers.0.weight",
        "zero_convs.0.0.weight",
        "zero_convs.11.0.bias",
        "middle_block_out.0.weight",
        "input_hint_block.0.weight",
        "input_hint_block.2.bias",
        "input_hint_block.14.weight",
    ):
        assert key in found, key
    diffusers = {key for source in key_map(branch, authors=False).values() for key in source.keys}
    assert len(diffusers) == 340


def test_the_authors_file_loads_and_its_other_keys_are_named() -> None:
    unet, _ = pair(context_width=12)
    branch = stir(ControlBranch(unet, 3, factor=8))
    assert isinstance(branch, ControlBranch)
    public = authors_file(branch) | {"model.diffusion_model.out.2.bias": torch.zeros(4)}
    loaded = load_controlnet(public, unet)
    assert loaded.unused == ("model.diffusion_model.out.2.bias",)
    assert all(torch.equal(a, b) for a, b in zip(branch.parameters(), loaded.branch.parameters(), strict=True))


def test_a_controlnet_for_another_base_is_refused() -> None:
    first, branch = pair(context_width=12)
    public = save_controlnet(branch)
    other, _ = pair(context_width=16)
    with pytest.raises(WeightsError, match=r"context of 12 numbers, and the base is .* context of 16 numbers"):
        load_controlnet(public, other)
    deeper, _ = pair(context_width=12, blocks=2)
    with pytest.raises(WeightsError, match=r"lacks .* another architecture"):
        load_controlnet(public, deeper)
    wider = UNet(4, **{**SMALL, "context_width": 12, "width": 160})
    with pytest.raises(WeightsError, match="for another base"):
        load_controlnet(public, wider)
    with pytest.raises(WeightsError, match="no ControlNet"):
        load_controlnet(first.state_dict(), first)
    with pytest.raises(WeightsError, match=r"also holds what\.weight"):
        load_controlnet(public | {"what.weight": torch.zeros(1)}, first)


def test_a_branch_that_no_public_one_is_like_has_no_public_file() -> None:
    _, branch = pair()  # without a context
    with pytest.raises(WeightsError, match=r"trunk\..* of this branch has no public name"):
        save_controlnet(branch)


def test_sd_families_are_called_by_name() -> None:
    with torch.device("meta"):
        two = UNet(4, **SD, head_width=64, context_width=1024)
        public = save_controlnet(ControlBranch(UNet(4, **SD, heads=8, context_width=768), 3, factor=8))
    with pytest.raises(WeightsError, match=r"for Stable Diffusion 1\.x .* base is Stable Diffusion 2\.x"):
        load_controlnet(public, two)


# -- the system -----------------------------------------------------------------------------------------

SHAPE = Shape(3, 16, 16)
NAMES = ("sky", "ground", "ring")
TINY = {"kind": "unet", "width": 8, "multiples": (1, 2), "blocks": 1, "attention": (), "heads": 2}


def flow(side: int = 16, **settings: Any) -> FlowMatching:
    torch.default_generator.manual_seed(0)
    system = FlowMatching(Shape(3, side, side), network=TINY, steps=4, **settings)
    stir(system.network)
    return system.requires_grad_(False).eval()


def layouts(n: int = 2) -> Tensor:
    layout = torch.zeros(n, 16, 16, dtype=torch.int64)
    layout[:, 9:] = 1
    layout[0, 2:6, 2:6] = 2
    return layout


def steered(base: System, **settings: Any) -> ControlNet:
    return ControlNet(SHAPE, base=base, layout_names=NAMES, **settings).eval()


def test_an_untrained_controlnet_draws_what_its_base_draws_bit_for_bit() -> None:
    base = flow(classes=3, condition="label")
    system = steered(base)
    assert system.conditions == {"label", "layout"} and set(system.knobs) == {*base.knobs, "control_strength"}
    label = torch.tensor([0, 2])
    how = Sampling(guidance=2.0, sampler="heun")
    alone = base.sample(Condition(label=label), ImageRng([5, 6]), how)
    given = Condition(label=label, layout=layouts())
    assert torch.equal(system.sample(given, ImageRng([5, 6]), how), alone)
    x, sigma = randn(2, *SHAPE), torch.tensor([0.5, 2.0])
    want = base.denoiser(Condition(label=label), 2, how)(x, sigma)
    assert torch.equal(system.denoiser(given, 2, how)(x, sigma), want)
    stir(system.branch)
    assert not torch.allclose(system.sample(given, ImageRng([5, 6]), how), alone, atol=1e-2)
    none = system.sample(given, ImageRng([5, 6]), Sampling(**how, control_strength=0.0))
    assert torch.equal(none, alone)
    swapped = Condition(label=label, layout=layouts().flip(0))
    assert not torch.allclose(
        system.sample(given, ImageRng([5, 6]), how), system.sample(swapped, ImageRng([5, 6]), how), atol=1e-2
    )


def test_ddpm_is_a_base_too() -> None:
    torch.default_generator.manual_seed(0)
    base = DDPM(SHAPE, width=8, multiples=(1, 2), blocks=1, attention=(), chain=20, steps=3)
    stir(base.network)
    system, given = steered(base.eval()), Condition(layout=layouts())
    assert torch.equal(system.sample(given, ImageRng([5, 6])), base.sample(Condition(), ImageRng([5, 6])))
    stir(system.branch)
    batch = Batch(randn(2, *SHAPE).clamp(-1, 1), given)
    assert system.follow(Turn(batch, Stream(0), 0, 0.0)) != base.predict(Turn(batch, Stream(0), 0, 0.0))


@pytest.mark.parametrize("kind", [DDPM, EDM, ScoreSDE])
def test_what_is_shown_lies_on_the_picture_also_upon_a_base_that_flips(kind: type[System]) -> None:
    """A base that flips its pictures in training would have the branch follow the mirror of what it is shown."""
    small = {"width": 8, "multiples": (1, 2), "blocks": 1, "attention": ()}
    settings: dict[str, Any] = small if kind is DDPM else {"network": TINY}
    batch = Batch(torch.linspace(-1, 1, 16).expand(8, *SHAPE), Condition(layout=layouts(8)))
    losses = []
    for flips in (True, False):
        torch.default_generator.manual_seed(0)
        base = kind(SHAPE, **settings, flips=flips)
        stir(base)
        system = steered(base.eval())
        stir(system.branch)
        losses.append(system.follow(Turn(batch, Stream(0), 0, 0.0)).detach())
    assert torch.equal(*losses)


def test_a_class_that_is_none_of_a_layout_s_is_told() -> None:
    system, beyond = steered(flow()), layouts()
    beyond[0, 3, 4] = 255  # as datasets mark what is to be passed over
    with pytest.raises(UsageError, match="a layout holds the class 255: its 3 are counted from 0 to 2"):
        system.sample(Condition(layout=beyond), ImageRng([5, 6]))


def test_training_moves_the_branch_alone() -> None:
    """At first only the zero convolutions have a gradient; once they are off zero everything of the branch has."""
    base = flow()
    before = {name: p.clone() for name, p in base.state_dict().items()}
    system = steered(base).train()
    batch = Batch(randn(2, *SHAPE).clamp(-1, 1), Condition(layout=layouts()))
    optimiser = torch.optim.Adam(system.branch.parameters(), 1e-2)
    for first in (True, False):
        loss = system.follow(Turn(batch, Stream(0), 0, 0.0))
        optimiser.zero_grad()
        loss.backward()
        moved = {name for name, p in system.branch.named_parameters() if p.grad is not None and p.grad.any()}
        zeros = {n for n, _ in system.branch.named_parameters() if n.startswith(("zeros", "middle_zero"))}
        assert zeros <= moved
        assert moved == zeros if first else {"trunk.stem.weight", "hint.out.weight"} <= moved
        optimiser.step()
    assert all(torch.equal(before[name], p) for name, p in base.state_dict().items())
    assert not any(p.grad is not None for p in base.parameters())


def test_a_model_of_latents_is_steered_by_pictures_of_full_size() -> None:
    torch.default_generator.manual_seed(0)
    first_stage = KLAutoencoder(SHAPE, latent=2, width=8, multiples=(1, 2, 2), blocks=1, ndf=8, layers=1)
    base = LatentDiffusion(SHAPE, first_stage=first_stage, network=TINY, chain=20, scale=2.0, steps=3)
    stir(base.network)
    system = steered(base.eval())
    assert system.branch.hint.factor == 4
    given = Condition(layout=layouts())
    alone = base.sample(Condition(), ImageRng([5, 6]))
    assert torch.equal(system.sample(given, ImageRng([5, 6])), alone)
    loss = system.train().follow(Turn(Batch(randn(2, *SHAPE).clamp(-1, 1), given), Stream(0), 0, 0.0))
    assert torch.isfinite(loss) and float(base.scale) == 2.0
    image = randn(2, *SHAPE).clamp(-1, 1)
    torch.testing.assert_close(system.encode(image), base.encode(image))  # what its denoiser's x0 is
    found = system.eval().held_out(Batch(image, given), Stream(0))
    assert found == base.held_out(Batch(image, given), Stream(0))  # the branch adds nothing yet
    drawn = edited(system, image, None, 0.7, given, ImageRng([5, 6]))
    assert torch.equal(drawn, edited(base, image, None, 0.7, Condition(), ImageRng([5, 6])))
    assert "encode" not in steered(flow()).can


def test_its_file_holds_the_branch_and_names_its_base(tmp_path: Path) -> None:
    """The base's file is as it was; the ControlNet's holds nothing of it, and is not opened upon another base."""
    base = flow()
    write_model(tmp_path / "base", base, {"data": "toy"})
    files = {p: p.read_bytes() for p in sorted((tmp_path / "base").iterdir())}
    loaded = load_system(tmp_path / "base")[0]
    system = steered(loaded)
    stir(system.branch)
    write_model(tmp_path / "control", system, {"data": "toy"})
    assert files == {p: p.read_bytes() for p in sorted((tmp_path / "base").iterdir())}
    with safe_open(next((tmp_path / "control").glob("*.safetensors")), "pt") as held:
        assert all(name.startswith("branch.") for name in held.keys())  # noqa: SIM118  (no mapping)
    again = load_system(tmp_path / "control")[0]
    given = Condition(layout=layouts())
    assert torch.equal(again.sample(given, ImageRng([1, 2])), system.sample(given, ImageRng([1, 2])))
    other = flow()
    stir(other.network, seed=9)
    write_model(tmp_path / "base", other, {"data": "toy"})
    with pytest.raises(WeightsError, match=r"trained upon the model .*base .* other weights now"):
        load_system(tmp_path / "control")


def test_a_base_that_cannot_be_steered_is_refused() -> None:
    transformer = FlowMatching(SHAPE, network={"kind": "dit", "patch": 4, "width": 16, "depth": 1, "heads": 2})
    with pytest.raises(UsageError, match="'flow-matching' has no U-Net"):
        steered(transformer)
    with pytest.raises(UsageError, match="obeys a layout already"):
        torch.default_generator.manual_seed(0)
        first_stage = KLAutoencoder(SHAPE, latent=2, width=8, multiples=(1, 2, 2), blocks=1, ndf=8, layers=1)
        steered(LatentDiffusion(SHAPE, first_stage=first_stage, layout_names=NAMES, condition="layout", network=TINY))
    with pytest.raises(UsageError, match="draws pictures of"):
        ControlNet(Shape(3, 32, 32), base=flow(), layout_names=NAMES)
    with pytest.raises(UsageError, match="needs data that has it"):
        ControlNet(SHAPE, base=flow(), condition="source")
    with pytest.raises(UsageError, match="no denoiser with one loss"):
        torch.default_generator.manual_seed(0)
        steered(KLAutoencoder(SHAPE, latent=2, width=8, multiples=(1, 2), blocks=1, ndf=8, layers=1))
    with pytest.raises(UsageError, match="condition of a ControlNet"):
        steered(flow(), condition="style")
    with pytest.raises(UsageError, match="2 U-Nets"):
        steered(steered(flow()), condition="mask")


def test_edges_are_thin_and_where_things_meet() -> None:
    image = -torch.ones(1, 3, 12, 12)
    image[:, 1, 3:9, 4:10] = 1.0  # a green square
    found = edges(image)[0, 0]
    assert 16 <= int(found.sum()) <= 28 and not found[:2].any() and not found[5:7, 6:8].any()
    step = torch.cat([-torch.ones(1, 1, 8, 4), torch.ones(1, 1, 8, 4)], 3)
    assert edges(step)[0, 0].sum(1).eq(1).all()  # one pixel wide
    assert not edges(step * 0.1).any() and edges(step * 0.1, 0.05).any()
    assert not edges(torch.full((1, 3, 8, 8), 0.3)).any()


def test_scenes_beside_their_depth() -> None:
    index = torch.arange(3)
    pair, scene = open_source("scenes-depth", 32), RichScenes(32)
    batch = pair.batch(index)
    assert torch.equal(batch.image, scene.batch(index).image)
    assert torch.equal(batch.condition.source, 2 * scene.depth(index) - 1) and pair.spec.source_shape == (1, 32, 32)
    assert batch.condition.given == pair.spec.provides
    system = ControlNet(Shape(3, 32, 32), base=flow(32), source_shape=Shape(1, 32, 32), condition="source")
    drawn = system.sample(Condition(source=batch.condition.source), ImageRng.counting(1, 3), Sampling(steps=2))
    assert drawn.shape == (3, 3, 32, 32)


def test_a_degradation_as_condition_makes_the_pictures_that_are_followed() -> None:
    recipe = recipe_of("controlnet", base="runs/7", condition="edges:0.3")
    assert recipe.data == "scenes | edges:0.3" and recipe.model == {"base": "runs/7", "condition": "source"}
    assert recipe_of("controlnet", condition="layout").data == "scenes"
    assert recipe_of("controlnet", data="faces", condition="edges").data == "faces | edges"
    first = recipe_of("latent-diffusion", first_stage="runs/3", condition="none").model
    assert first["first_stage"] == "runs/3" and first["condition"] == "none"
    with pytest.raises(UsageError, match="give one of them"):
        recipe_of("controlnet", condition="edges", pair="grey")
