"""What is particular to restorers against critics and to those that draw: losses, starts, masks, knobs, figures.

The contract that all systems share is tested elsewhere; equal outputs of the authors' programs were checked with them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from restorers import RRDB, UNET, built, turn
from torch import Tensor

from zeuxis.api.evaluate import default_metrics, held_out
from zeuxis.api.functions import train
from zeuxis.api.restore import restore
from zeuxis.api.restore_models import restorer_for
from zeuxis.api.suited import chain_of, damaged_as, sized_by_start
from zeuxis.batch import Condition, Shape
from zeuxis.catalog.build import build
from zeuxis.catalog.weights import start_from
from zeuxis.cli.options import recipe_of
from zeuxis.data.library import Named, fit_for
from zeuxis.degrade.degradation import Masking
from zeuxis.degrade.language import DEGRADATIONS
from zeuxis.diffusion.gamma import GammaChain
from zeuxis.errors import Unsupported, UsageError, WeightsError
from zeuxis.knobs import Sampling
from zeuxis.losses.adversarial import RelativisticAverage
from zeuxis.nn.lab import lab_to_rgb, rgb_to_lab
from zeuxis.nn.mixture import mixed
from zeuxis.nn.multi_scale import pyramid
from zeuxis.nn.residual_unet import ResidualUNet
from zeuxis.nn.rrdb import RRDBNet
from zeuxis.nn.spectral import SpectralConv2dUV
from zeuxis.nn.unet_critic import UNetCritic
from zeuxis.pretrained.restorer import task_against
from zeuxis.recipe import load_recipe
from zeuxis.rng import ImageRng, Stream
from zeuxis.spec import DataSpec
from zeuxis.systems.restoration._family import FeatureSpace
from zeuxis.systems.restoration.danet import local_mean
from zeuxis.training.checkpoint import write_model

# -- losses ----------------------------------------------------------------------------------------


def test_a_relativistic_critic_compares_with_the_mean() -> None:
    real, fake = Stream(0).normal(5), Stream(1).normal(5)

    def judged(logits: Tensor, target: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    loss = RelativisticAverage()
    wanted = judged(real - fake.mean(), 1) + judged(fake - real.mean(), 0)
    torch.testing.assert_close(loss.critic(real, fake), wanted)
    torch.testing.assert_close(
        loss.generator(real, fake), judged(real - fake.mean(), 0) + judged(fake - real.mean(), 1)
    )


@pytest.mark.parametrize("system", ["srgan", "esrgan", "real-esrgan"])
def test_regression_comes_before_the_critic(system: str) -> None:
    own = {"blocks": 1, "width": 4, "critic_width": 4, "halvings": 3, "hidden": 4} if system == "srgan" else RRDB
    found = built(system, 2, **own, **({"halvings": 3} if system == "esrgan" else {}), critic_start=0.5)
    early, late = turn(2, progress=0.4), turn(2, progress=0.5)
    made = found.made_of(early.batch.condition)  # type: ignore[operator]
    distance = F.mse_loss if system == "srgan" else F.l1_loss
    torch.testing.assert_close(found.restore(early), distance(made, early.batch.image))  # type: ignore[operator]
    assert found.criticise(early) is None  # type: ignore[operator]
    assert found.restore(late) != found.restore(early)  # type: ignore[operator]
    assert found.criticise(late) is not None  # type: ignore[operator]


def test_windows_cover_a_picture_of_any_size() -> None:
    space = FeatureSpace(build("judge", DataSpec(Shape(3, 8, 8), factors=(("a", 2),)), {}), Shape(3, 11, 16))
    image = Stream(0).uniform(1, 3, 11, 16)
    windows = space.windows(image)
    assert windows.shape == (4, 3, 8, 8)  # rows from 0 and 3, columns from 0 and 8
    assert torch.equal(windows[3], image[0, :, 3:, 8:]) and space.distance(image, image) == 0
    with pytest.raises(UsageError, match="features of 'judge'"):
        FeatureSpace(space.features, Shape(3, 4, 16))


def test_noise_is_compared_by_its_local_means() -> None:
    noise = torch.zeros(1, 2, 9, 9)
    noise[0, 1, 4, 4] = 16.0**2
    mean = local_mean(noise)
    assert mean[0, 0].abs().max() == 0
    assert mean[0, 1, 4].tolist() == [0, 0, 6, 24, 36, 24, 6, 0, 0]


def test_a_pyramid_halves_and_keeps_what_is_even() -> None:
    levels = pyramid(torch.full((1, 3, 8, 12), 0.3), 3)
    assert [level.shape[2:] for level in levels] == [(8, 12), (4, 6), (2, 3)]
    assert all(torch.allclose(level, torch.tensor(0.3), atol=1e-3) for level in levels)


def test_lab_is_that_of_the_standard() -> None:
    colours = torch.tensor([[1.0, 1, 1], [1, 0, 0], [0, 0, 1], [0.5, 0.5, 0.5]])[:, :, None, None]
    lab = rgb_to_lab(colours)[..., 0, 0]
    wanted = torch.tensor([[100, 0, 0], [53.241, 80.092, 67.203], [32.297, 79.187, -107.86], [53.389, 0, 0]])
    torch.testing.assert_close(lab, wanted, atol=0.02, rtol=0)
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(colours)), colours, atol=1e-4, rtol=0)


def test_colours_are_converted_in_full_precision_under_autocast() -> None:
    rgb = torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lab = rgb_to_lab(rgb)
        back = lab_to_rgb(lab)
        weights = built("colorizer", width=4).weights()  # type: ignore[operator]
    assert torch.equal(lab, rgb_to_lab(rgb))
    torch.testing.assert_close(back, rgb, atol=1e-4, rtol=0)
    assert torch.equal(weights, built("colorizer", width=4).weights())  # type: ignore[operator]
    assert rgb_to_lab(rgb.half()).dtype == torch.float32 and rgb_to_lab(rgb.double()).dtype == torch.float64


def test_colours_are_spread_over_near_bins_and_rare_ones_weigh_more() -> None:
    found = built("colorizer", width=4)
    bins = found.network.bins  # type: ignore[union-attr]
    near, share = found.soft(bins[100].view(1, 2, 1, 1) + 1.0)  # type: ignore[operator]
    assert near[0, 0].item() == 100 and share.sum() == pytest.approx(1) and share[0, 0] > 0.5
    torch.testing.assert_close(found.weights(), torch.ones(len(bins)), atol=0.2, rtol=0)  # type: ignore[operator]
    found.prior.zero_()[100] = 1  # type: ignore[union-attr, operator]
    weights = found.weights()  # type: ignore[operator]
    assert weights[0] > 20 * weights[100] > 0


def test_the_critic_of_real_esrgan_has_torchs_spectral_norm() -> None:
    """The layers of the authors' program, with our numbers in them, give our logits, in training too."""
    found, reference = UNetCritic(Shape(3, 16, 16), width=4), UNetCritic(Shape(3, 16, 16), width=4)
    for name, layer in [*reference.named_modules()]:
        if isinstance(layer, SpectralConv2dUV):
            plain = torch.nn.Conv2d(
                layer.in_channels,
                layer.out_channels,
                layer.kernel_size[0],
                layer.stride[0],
                layer.padding[0],
                bias=False,
            )
            row, _, place = name.rpartition(".")
            setattr(reference.get_submodule(row), place, torch.nn.utils.spectral_norm(plain))
    ours = found.state_dict()
    assert sum(key.endswith(".u") for key in ours) == 8
    names = {".weight_u": ".u", ".weight_v": ".v", ".weight_orig": ".weight"}
    theirs = {key: key for key in reference.state_dict()}
    for key in theirs:
        for end, mine in names.items():
            theirs[key] = theirs[key].removesuffix(end) + mine if key.endswith(end) else theirs[key]
    reference.load_state_dict({key: ours[name].clone() for key, name in theirs.items()})
    x = Stream(0).uniform(2, 3, 16, 16)
    for _ in range(3):
        torch.testing.assert_close(found(x), reference(x))
    torch.testing.assert_close(found.eval()(x), reference.eval()(x))


@pytest.mark.parametrize(
    ("system", "model", "message"),
    [
        ("srgan", {"critic_start": 1.5}, "critic_start is 1.5"),
        ("esrgan", {"critic_start": -0.1}, "critic_start is -0.1"),
        ("real-esrgan", {"critic_start": 2.0}, "critic_start is 2.0"),
        ("srgan", {"halvings": 0}, "halvings is 0"),
        ("danet", {"levels": 0}, "levels is 0"),
        ("deep-deblur", {"scales": 0, "strides": (2, 2)}, "scales is 0"),
        ("deblurgan", {"layers": 3}, "3 strided layers has no logit of pictures of 16x16"),
        ("colorizer", {"annealing": 0.0}, "annealing is 0.0"),
        ("colorizer", {"uniform": 0.0}, "uniform is 0.0"),
    ],
)
def test_sizes_that_make_no_network_are_refused(system: str, model: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        built(system, **model)


# -- networks between, and starts from others ------------------------------------------------------


def test_esrgan_draws_between_the_two_networks(tmp_path: Path) -> None:
    found = built("esrgan", 2, **RRDB, halvings=3)
    with pytest.raises(UsageError, match="never joined"):
        found.sample(turn(2).batch.condition, ImageRng.counting(0, 2), Sampling(interpolation=0.5))
    found.after_round(turn(2, progress=0.4))
    assert not found.taken
    found.after_round(turn(2, progress=0.5))
    before = found.sample(turn(2).batch.condition, ImageRng.counting(0, 2))
    with torch.no_grad():
        for p in found.network.parameters():  # type: ignore[union-attr]
            p.add_(0.01)
    condition, rng = turn(2).batch.condition, ImageRng.counting(0, 2)
    assert torch.equal(found.sample(condition, rng, Sampling(interpolation=0.0)), before)
    between = found.sample(condition, rng, Sampling(interpolation=0.5))
    assert not torch.equal(between, before) and not torch.equal(between, found.sample(condition, rng))
    write_model(tmp_path / "model", found.eval(), {"data": "scenes | bicubic:2"})
    turned = restorer_for(tmp_path, None, ["interpolation=0.0"])
    assert turned.task == "enlarge:2" and turned.knobs == (("interpolation", 0.0),)
    with pytest.raises(Unsupported, match="has no knob 'sharpness'"):
        restorer_for(tmp_path, None, ["sharpness=1"])


def test_mixing_is_of_every_parameter() -> None:
    one, other = (RRDBNet(3, blocks=1, width=4, growth=4) for _ in range(2))
    for share, wanted in ((0.0, one), (1.0, other)):
        found = mixed(one, other, share).state_dict()
        assert all(torch.equal(value, wanted.state_dict()[name]) for name, value in found.items())


def test_training_starts_from_the_network_of_another_restorer(tmp_path: Path) -> None:
    first, then = built("sr-resnet", 2, blocks=1, width=4), built("srgan", 2, **SRGAN)
    write_model(tmp_path / "model", first, {})
    critic = [p.clone() for p in then.critic.parameters()]  # type: ignore[union-attr]
    start = start_from(then, tmp_path)
    assert start.line is not None and "all else is fresh" in start.line
    assert all(torch.equal(value, then.state_dict()[name]) for name, value in first.state_dict().items())
    assert all(torch.equal(one, other) for one, other in zip(critic, then.critic.parameters(), strict=True))  # type: ignore[union-attr]
    with pytest.raises(WeightsError, match="has the same sizes"):
        start_from(built("srgan", 2, **(SRGAN | {"width": 8})), tmp_path)


SRGAN = {"blocks": 1, "width": 4, "critic_width": 4, "halvings": 3, "hidden": 4}


def test_training_starts_from_a_published_network(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from zeuxis.pretrained.restorer_keys import BASIC

    network = RRDBNet(3, blocks=2, width=4, growth=4)
    names = {"first": BASIC.first, "after_body": BASIC.after_body, "fine": BASIC.fine, "last": BASIC.last}
    names |= {f"ups.{k}": up for k, up in enumerate(BASIC.ups)}
    names |= {
        f"body.{b}.blocks.{d}.convs.{c}": BASIC.block.format(b, d + 1, c + 1)
        for b in range(2) for d in range(3) for c in range(5)
    }  # fmt: skip
    public = {
        f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": value
        for key, value in network.state_dict().items()
    }
    file = tmp_path / "public.safetensors"
    save_file(public, file)
    recipe = recipe_of("real-esrgan", start=str(file))
    recipe, line = sized_by_start(recipe)
    assert {key: recipe.model[key] for key in ("blocks", "width", "growth")} == {"blocks": 2, "width": 4, "growth": 4}
    assert line is not None and "model.critic_start = 0.0" in line
    found = built("real-esrgan", 4, 8, blocks=2, width=4, growth=4, critic_width=4)
    start_from(found, file)
    x = Stream(0).uniform(1, 3, 8, 8)
    torch.testing.assert_close(found.network(x), network(x))  # type: ignore[operator]
    with pytest.raises(WeightsError, match=r"keys of \[model\]"):
        start_from(built("real-esrgan", 4, 8, **RRDB), file)


# -- data as the recipe has it ---------------------------------------------------------------------


def test_a_recipes_damage_is_kept_for_other_pictures(tmp_path: Path) -> None:
    recipe = load_recipe("real-esrgan")
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    assert damaged_as(recipe, str(tmp_path)) == f"{tmp_path} | blind:4"
    assert damaged_as(recipe, "faces | noise") == "faces | noise" and damaged_as(recipe, None) is None
    assert damaged_as(recipe, "scenes-day-night") == "scenes-day-night"  # it comes with sources of its own
    assert damaged_as(recipe, None, 2) == "scenes | blind:2" and chain_of("a | b | c") == "b | c"
    with pytest.raises(UsageError, match="makes pictures smaller"):
        damaged_as(load_recipe("dncnn"), None, 2)
    with pytest.raises(UsageError, match="write the scale"):
        damaged_as(recipe, "faces | bicubic:4", 2)


def test_grain_is_learnt_of_photographs_at_their_own_resolution(tmp_path: Path) -> None:
    """Shrunk to a training's size a photograph has no noise, no blur and no compression of its own left to learn."""
    Image.new("RGB", (90, 60)).save(tmp_path / "a.png")
    photos = str(tmp_path)
    for name in ("sr-resnet", "real-esrgan", "dncnn", "deep-deblur", "palette-jpeg"):
        assert recipe_of(name, data=photos).fit == "patch", name
    for name in ("colorizer", "context-encoder", "palette", "palette-uncrop", "gfpgan"):
        assert recipe_of(name, data=photos).fit == "crop", name  # the whole picture tells what is missing
    assert recipe_of("dncnn", data=photos, pair="noise:0.1 | jpeg:30").fit == "patch"
    assert recipe_of("pix2pix", data=photos, pair="edges").fit == "square", "as the recipe has it"
    assert recipe_of("sr-resnet", data=photos, fit="crop:2").fit == "crop:2"
    mine = tmp_path / "mine.toml"
    mine.write_text('system = "dncnn"\nabout = "x"\ndata = "scenes | noise"\nsize = 16\nfit = "crop:2"\n')
    assert recipe_of(str(mine), data=photos).fit == "crop:2", "the recipe says it itself"
    assert recipe_of("sr-resnet", data="scenes", scale=2).fit == "square", "scenes have one shape"
    for damage in DEGRADATIONS.values():
        assert not (issubclass(damage, Masking) and damage.local)


@pytest.mark.parametrize(
    ("damage", "task"),
    [
        ("blind-noise", "denoise"),
        ("blind-blur | blind-noise:0,0.016", "deblur"),
        ("blind-jpeg:10,40", "jpeg"),
        ("noise | jpeg", "denoise"),
        ("grey | blur", "restore"),
        ("jpeg | blur", "restore"),
        ("blind:1", "restore"),
    ],
)
def test_a_restorer_is_for_the_damage_before_what_every_camera_adds(damage: str, task: str) -> None:
    network = ResidualUNet(3, widths=(8, 8), blocks=1)
    assert task_against(f"photos | {damage}", network) == task


def test_a_masked_network_makes_what_is_hidden_and_sees_nothing_of_it() -> None:
    network = ResidualUNet(3, widths=(8, 8), blocks=1, masked=True)
    picture = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 1, 16, 16)
    mask[:, :, 4:9, 4:9] = 1
    made = network(torch.cat([picture, mask], 1))
    assert torch.equal(made.where(mask == 0, 0), picture.where(mask == 0, 0))
    other = picture.where(mask == 0, 0.7)
    assert torch.equal(made, network(torch.cat([other, mask], 1)))
    assert not torch.equal(made, picture)


def test_drunet_fills_what_a_mask_hides_in_pictures_of_any_size(tmp_path: Path) -> None:
    """What is not hidden stays, bit for bit."""
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for k in range(12):
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(photos / f"{k}.png")
    settings = {"model.widths": [8, 8], "model.blocks": 1, "train.batch": 4}
    run = train("inpaint", str(photos), size=32, iterations=1, settings=settings, out=tmp_path / "run", quiet=True)
    assert run.model.system.conditions == {"source", "mask"}
    hidden = np.zeros((40, 40), np.uint8)
    hidden[10:20, 10:20] = 255
    Image.fromarray(hidden).save(tmp_path / "mask.png")
    restored = tmp_path / "out.png"
    restore([photos / "0.png"], tmp_path / "run", f"inpaint:{tmp_path / 'mask.png'}", restored)
    before, after = (np.asarray(Image.open(path).convert("RGB")) for path in (photos / "0.png", restored))
    assert np.array_equal(before[hidden == 0], after[hidden == 0])
    assert not np.array_equal(before, after)


def test_a_restorer_is_measured_at_the_resolution_that_it_learnt(tmp_path: Path) -> None:
    """Columns of one pixel, black and white, are grey when shrunk."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for k in range(12):
        stripes = np.zeros((64, 96, 3), np.uint8)
        stripes[:, k % 2 :: 2] = 255
        stripes[k] = 128  # no two alike
        Image.fromarray(stripes).save(photos / f"{k}.png")
    settings = {"model.depth": 3, "model.width": 4, "train.save_minutes": 60, "train.preview_minutes": 60}
    run = train(
        "dncnn", str(photos), size=16, iterations=1, batch=2, settings=settings, out=tmp_path / "run", quiet=True
    )
    assert run.model.card["fit"] == "patch"
    shown = held_out(Named(run.model.card["data"]).open(16, "test", fit_for(run.model.card, run.model.card["data"])), 1)
    assert float(shown.image.std()) > 0.9, "black and white, not grey"
    assert "agreement" not in default_metrics(run.model), "nothing judges photographs"
    assert "agreement" in default_metrics(
        train("dncnn", iterations=1, batch=2, out=tmp_path / "scenes", quiet=True).model
    )


# -- restorers that draw ---------------------------------------------------------------------------


def test_gamma_lies_between_neighbours_of_the_chain() -> None:
    chain = GammaChain(2000, 1e-6, 1e-2)
    assert float(chain.gammas[-1]) == pytest.approx(4.386e-5, rel=1e-3)  # as both papers' programs have it
    drawn = chain.draw(4000, Stream(0), "cpu")
    assert drawn.max() <= 1 and drawn.min() >= chain.gammas[-1]
    assert float(drawn.mean()) == pytest.approx(float((chain.gammas[1:] + chain.gammas[:-1]).mean() / 2), abs=0.02)


def test_palette_keeps_what_the_mask_leaves() -> None:
    mask = torch.zeros(2, 1, 16, 16)
    mask[:, :, 4:9, 4:9] = 1
    found = built("palette", network=UNET, condition="mask", steps=3).eval()
    condition = turn(mask=mask).batch.condition
    drawn = found.sample(condition, ImageRng.counting(0, 2))
    kept = (mask == 0).expand_as(drawn)
    assert torch.equal(drawn[kept], condition.source[kept])  # type: ignore[index]
    assert not torch.equal(drawn[~kept], condition.source[~kept])  # type: ignore[index]
    hidden = Condition(source=condition.source.where(mask == 0, 5.0), mask=mask)  # type: ignore[union-attr]
    assert torch.equal(found.sample(hidden, ImageRng.counting(0, 2)), drawn)  # it does not see what is hidden


def test_the_loss_of_palette_is_of_what_is_hidden() -> None:
    found, mask = built("palette", network=UNET, condition="mask"), torch.zeros(2, 1, 16, 16)
    mask[0, :, :4], mask[1, :, :8] = 1, 1
    noise = torch.ones(2, 3, 16, 16)
    error = found.error(noise.where(mask > 0, 9.0) * 3, noise, Condition(mask=mask))  # type: ignore[operator]
    torch.testing.assert_close(error, torch.tensor([4.0, 4.0]))


def test_context_encoders_fill_the_middle_alone() -> None:
    found = built("context-encoder", side=32, nef=4, ngf=4, ndf=4, bottleneck=8).eval()
    mask = torch.zeros(2, 1, 32, 32)
    mask[:, :, 10:22, 10:22] = 1
    condition = turn(side=32, mask=mask).batch.condition
    made = found.sample(condition, ImageRng.counting(0, 2))
    kept = (mask == 0).expand_as(made)
    assert torch.equal(made[kept], condition.source[kept])  # type: ignore[index]
    mask[:, :, 0, 0] = 1
    with pytest.raises(UsageError, match="middle half"):
        found.sample(condition, ImageRng.counting(0, 2))


def test_context_encoders_learn_no_mask_that_they_cannot_fill() -> None:
    found = built("context-encoder", side=32, nef=4, ngf=4, ndf=4, bottleneck=8)
    with pytest.raises(UsageError, match="hide less, as --pair mask"):
        found.fill(turn(side=32, mask=torch.ones(2, 1, 32, 32)))  # type: ignore[operator]


def test_a_scale_finds_a_size_that_it_divides(tmp_path: Path) -> None:
    """`--scale 5` alone is what a refusal of `--task enlarge:5` advises."""
    assert recipe_of("sr-resnet", data="scenes", scale=5).size == 35
    assert recipe_of("sr-resnet", data="scenes", scale=4).size == 32
    assert recipe_of("sr-resnet", data="scenes", scale=5, size=40).size == 40
