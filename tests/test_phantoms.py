"""The world of phantoms: does it obey the physics, and say what it shows?"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from zeuxis.api.contact import card, contact_sheet
from zeuxis.api.runs import preview_images
from zeuxis.batch import Batch, Condition, Shape, to_float, to_uint8
from zeuxis.card import Card
from zeuxis.data.library import open_source
from zeuxis.data.worlds.exact import bearing, cosine, decay, normals, sine
from zeuxis.data.worlds.head import FACTORS, OWN, SLICE, head
from zeuxis.data.worlds.phantoms import SLICES, JointPhantoms, Phantoms
from zeuxis.data.worlds.scanner import BIAS, BIASES, SIGMA, grey_window, magnitude, sensitivity
from zeuxis.data.worlds.section import paint
from zeuxis.data.worlds.tissue import CONTRASTS, NUMBERS, TISSUES, VARIATION, signals, spin_echo
from zeuxis.data.worlds.world import SPLITS
from zeuxis.errors import UnknownName
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng, Stream

MANY = 240


@pytest.fixture(scope="module")
def world() -> Phantoms:
    return Phantoms(64)


@pytest.fixture(scope="module")
def seen(world: Phantoms) -> tuple[Tensor, Tensor, Tensor]:
    """The truth, the layout and the factors of many examples."""
    index = torch.arange(MANY)
    condition = world.batch(index).condition
    assert condition.layout is not None and condition.factors is not None
    return world.truth(index), condition.layout, condition.factors


def source_of(batch: Batch) -> Tensor:
    assert batch.condition.source is not None
    return batch.condition.source


def layout_of(batch: Batch) -> Tensor:
    assert batch.condition.layout is not None
    return batch.condition.layout


def level(signal: float, contrast: str) -> float:
    """The value in [-1, 1] that shows a signal."""
    return 2 * signal / CONTRASTS[contrast].white - 1


# -- a source ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [64, 37, 8])  # 37: rows that no vector width divides
@pytest.mark.parametrize("kind", [Phantoms, JointPhantoms])
def test_a_slice_does_not_depend_on_its_company(kind: type[Phantoms], size: int) -> None:
    world = kind(size)
    index = torch.cat([torch.tensor([3, 999_999, 17, 4]), torch.arange(100, 133)])
    together = world.batch(index)
    for k in (0, 1, 3, 20, 36):
        alone = world.batch(index[k : k + 1])
        assert torch.equal(together.image[k : k + 1], alone.image)
        assert torch.equal(source_of(together)[k : k + 1], source_of(alone))
        assert torch.equal(layout_of(together)[k : k + 1], layout_of(alone))
    assert torch.equal(world.truth(index)[5:7], world.truth(index[5:7]))
    assert len(world.batch(torch.arange(0))) == 0


def test_not_even_the_last_bit_of_a_signal_depends_on_the_company(world: Phantoms) -> None:
    """Before 256 levels hide what differs."""
    own, u = world.draws(torch.arange(37))
    bright, level = signals(own[:, :NUMBERS]), torch.arange(37) % SLICES
    together, _ = paint(head(level, own[:, NUMBERS:], u[:, BIASES:]), bright, 37)
    for k in range(37):
        row = slice(k, k + 1)
        assert torch.equal(signals(own[row, :NUMBERS]), bright[row])
        alone, _ = paint(head(level[row], own[row, NUMBERS:], u[row, BIASES:]), bright[row], 37)
        assert torch.equal(alone, together[row])
        assert torch.equal(sensitivity(u[row, :BIASES], 37), sensitivity(u[:, :BIASES], 37)[row])


def test_it_is_a_source_and_pixels_survive_a_file(world: Phantoms) -> None:
    for source, channels in ((world, 1), (JointPhantoms(64), 2)):
        batch = source.batch(torch.arange(12))
        assert batch.condition.given == source.spec.provides and source.spec.shape == (1, 64, 64)
        assert batch.image.shape == (12, 1, 64, 64) and source_of(batch).shape == (12, channels, 64, 64)
        for picture in (batch.image, source_of(batch)):
            assert torch.equal(to_float(to_uint8(picture)), picture)
        assert source.fingerprint() == type(source)(64).fingerprint() != type(source)(64, "val").fingerprint()
    assert world.fingerprint() != JointPhantoms(64).fingerprint()
    with pytest.raises(UnknownName):
        Phantoms(64, "tests")
    with pytest.raises(IndexError):
        world.batch(torch.tensor([1_000_000]))


def test_all_phantom_worlds_show_the_same_slices(world: Phantoms) -> None:
    index = torch.tensor([5, 70, 200_003])
    one, joint, all_three = world.batch(index), JointPhantoms(64).batch(index), world.contrasts(index)
    assert torch.equal(torch.cat([source_of(one), one.image, joint.image], 1), all_three)
    assert torch.equal(torch.cat([source_of(joint), joint.image], 1), all_three)
    assert torch.equal(layout_of(one), layout_of(joint))


def test_sizes_show_the_same_slices(world: Phantoms) -> None:
    index = torch.arange(8)
    large = Phantoms(256)
    fine = torch.nn.functional.avg_pool2d(large.truth(index), 4)
    assert (world.truth(index) - fine).abs().mean() < 0.01
    small_layout, large_layout = layout_of(world.batch(index)), layout_of(large.batch(index))
    for k, name in enumerate(TISSUES):
        small_share, large_share = ((layout == k).float().mean() for layout in (small_layout, large_layout))
        assert abs(small_share - large_share) < 0.004, name


def test_splits_share_no_subject_and_a_subject_keeps_its_head() -> None:
    index = torch.arange(400)
    heads, tissues = {}, {}
    for split in SPLITS:
        world = Phantoms(16, split)
        own, _ = world.draws(index)
        heads[split] = own
        tissues[split] = signals(own[:, :NUMBERS])
        assert world.subject(index).tolist() == [k // SLICES for k in range(400)]
        factors = world.batch(index).condition.factors
        assert factors is not None and factors[:, 0].tolist() == [k % SLICES for k in range(400)]
    everyone = torch.cat(list(heads.values()))
    assert len({tuple(row) for row in everyone.tolist()}) == 3 * 400 // SLICES
    for numbers in tissues.values():
        assert all(len(numbers[k : k + SLICES].unique(dim=0)) == 1 for k in range(0, 400, SLICES))
        assert len(numbers.unique(dim=0)) == 400 // SLICES


# -- anatomy ----------------------------------------------------------------------------------------------------------


def test_factors_occur_and_show(seen: tuple[Tensor, Tensor, Tensor]) -> None:
    _, layout, factors = seen
    for k, values in enumerate(FACTORS.values()):
        assert torch.bincount(factors[:, k], minlength=len(values)).min() > MANY / 12
    assert all(len(factors[k : k + SLICES, 1].unique()) == 1 for k in range(0, MANY, SLICES))

    def share(*parts: str, atrophy: int, level: int) -> float:
        some = layout[(factors[:, 1] == atrophy) & (factors[:, 0] == level)]
        return float(sum((some == list(TISSUES).index(part)).float().mean() for part in parts))

    for k in range(SLICES - 1):
        ventricles = [share("ventricle", atrophy=a, level=k) for a in range(3)]
        assert 0.002 < ventricles[0] < ventricles[1] < ventricles[2], FACTORS["slice"][k]
    for k in range(SLICES):
        water = [share("fluid", "ventricle", atrophy=a, level=k) for a in range(3)]
        assert water[0] < water[1] < water[2]
    top = layout[factors[:, 0] == FACTORS["slice"].index("top")]
    for part in ("ventricle", "deep grey"):
        assert not (top == list(TISSUES).index(part)).any()
    nuclei = FACTORS["slice"].index("nuclei")
    assert all(share("deep grey", atrophy=a, level=nuclei) > 0.01 for a in range(3))


def test_values_of_atrophy_never_overlap() -> None:
    heads = head(torch.arange(4000) % SLICES, Stream(0).uniform(4000, OWN), Stream(1).uniform(4000, SLICE))
    by_value = [heads.furrow[heads.factors[:, 1] == k] for k in range(3)]
    assert by_value[0].max() < by_value[1].min() and by_value[1].max() < by_value[2].min()
    length = heads.ways.square().sum(1).sqrt()
    assert (length - 1).abs().max() < 1e-5


def test_lesions_are_where_the_factor_says(seen: tuple[Tensor, Tensor, Tensor]) -> None:
    _, layout, factors = seen
    lesion = layout == list(TISSUES).index("lesion")
    area = lesion.flatten(1).sum(1)
    stated = factors[:, 2]
    assert (area[stated == 0] == 0).all() and area[stated > 0].min() >= 2
    column = (lesion.float() * torch.arange(64.0)).flatten(1).sum(1) / area
    assert (column[stated == 1] < 31).all() and (column[stated == 2] > 32).all()


def test_tissues_lie_within_each_other() -> None:
    layout = layout_of(Phantoms(256).batch(torch.arange(12)))  # fine enough for the thinnest film of fluid
    names = list(TISSUES)

    def beside(part: str) -> set[str]:
        here = (layout == names.index(part)).float()[:, None]
        grown = torch.nn.functional.max_pool2d(here, 3, 1, 1)[:, 0] > 0
        return {names[k] for k in layout[grown].unique()} - {part}

    assert beside("background") == {"scalp"}
    assert beside("scalp") == {"background", "skull"}
    assert beside("skull") == {"scalp", "fluid"}
    assert not {"background", "scalp", "skull"} & (beside("grey matter") | beside("white matter") | beside("ventricle"))
    assert beside("white matter") >= {"grey matter", "ventricle", "deep grey", "lesion"}


# -- physics ----------------------------------------------------------------------------------------------------------


def test_the_signal_equation_by_hand() -> None:
    white, fluid = torch.tensor(TISSUES["white matter"]), torch.tensor(TISSUES["fluid"])
    for tissue, contrast, expected in (
        (white, "T1", 0.77 * (1 - math.exp(-500 / 500)) * math.exp(-15 / 70)),
        (white, "PD", 0.77 * (1 - math.exp(-3300 / 500)) * math.exp(-35 / 70)),
        (fluid, "T2", 1.00 * (1 - math.exp(-3300 / 2569)) * math.exp(-120 / 329)),
    ):
        assert float(spin_echo(tissue, CONTRASTS[contrast])) == pytest.approx(expected, rel=1e-6)


def test_subjects_differ_mildly_and_keep_the_order_of_contrasts() -> None:
    u = Stream(0).uniform(2000, NUMBERS)
    many = {t: dict(zip(TISSUES, s, strict=True)) for t, s in zip(CONTRASTS, signals(u).permute(1, 2, 0), strict=True)}
    t1, t2, pd = many["T1"], many["T2"], many["PD"]
    brain = ("grey matter", "white matter", "deep grey", "lesion")
    for part in brain:
        assert (t1["fluid"] < t1[part]).all() and (t1["scalp"] > t1[part]).all()
        assert (t2["fluid"] > t2[part]).all() or part == "lesion"
    assert (t1["white matter"] > t1["grey matter"]).all() and (t2["white matter"] < t2["grey matter"]).all()
    assert (pd["white matter"] < pd["grey matter"]).all()
    for contrast in (t2, pd):
        assert (contrast["lesion"] > contrast["white matter"]).all()
        assert contrast["lesion"].mean() > contrast["grey matter"].mean()
    for which, parts in many.items():
        assert torch.equal(parts["fluid"], parts["ventricle"]) and not parts["background"].any()
        plain = float(spin_echo(torch.tensor(TISSUES["grey matter"]), CONTRASTS[which]))
        spread = (parts["grey matter"] / plain - 1).abs()
        assert spread.mean() > 0.01 and spread.max() < 0.18
    assert max(VARIATION) <= 0.05


def test_every_contrast_is_mixed_in_the_same_shares() -> None:
    """Paired exactly: a contrast that is another's negative is so in every pixel, edges too."""
    heads = head(torch.arange(8) % SLICES, Stream(0).uniform(8, OWN), Stream(1).uniform(8, SLICE))
    bright = Stream(2).uniform(8, 1, len(TISSUES))
    image, layout = paint(heads, torch.cat([bright, 1 - bright], 1), 64)
    torch.testing.assert_close(image[:, 0], 1 - image[:, 1], atol=1e-5, rtol=0)
    pure = bright[:, 0].gather(1, layout.flatten(1)).view(layout.shape)
    assert ((image[:, 0] - pure).abs() < 1e-5).float().mean() > 0.6, "most pixels hold one tissue"


def test_pure_pixels_of_the_truth_show_the_tissues_signal(world: Phantoms) -> None:
    index = torch.arange(0, 32)
    truth, layout = world.truth(index), layout_of(world.batch(index))
    own, _ = world.draws(index)
    bright = signals(own[:, :NUMBERS])
    for k, name in enumerate(TISSUES):
        if name in ("scalp", "skull", "fluid", "lesion", "grey matter"):
            continue  # too thin for pixels without a neighbour
        here = (layout == k).float()[:, None]
        inner = (-torch.nn.functional.max_pool2d(-here, 3, 1, 1))[:, 0] > 0
        for c, contrast in enumerate(CONTRASTS.values()):
            expected = grey_window(bright[:, c, k, None, None].expand(-1, 64, 64), contrast)
            exact = (truth[:, c] == expected)[inner].float().mean()
            assert exact > 0.8 and inner.any(), name


def test_the_pictures_have_the_contrasts_of_textbooks(seen: tuple[Tensor, Tensor, Tensor]) -> None:
    truth, layout, _ = seen
    mean = {name: [float(truth[:, c][layout == k].mean()) for c in range(3)] for k, name in enumerate(TISSUES)}
    t1, t2, pd = range(3)
    assert mean["ventricle"][t1] < mean["grey matter"][t1] < mean["white matter"][t1] < mean["scalp"][t1]
    assert mean["white matter"][t2] < mean["grey matter"][t2] < mean["lesion"][t2]
    assert mean["scalp"][t2] < mean["ventricle"][t2]
    assert mean["white matter"][pd] < mean["lesion"][pd]
    assert max(mean["background"] + mean["skull"]) < -0.7


# -- the scanner ------------------------------------------------------------------------------------------------------


def test_noise_is_rayleighs_in_air_and_rices_in_tissue() -> None:
    index = torch.arange(60)
    air = magnitude(torch.zeros(60, 64, 64), 1, index)
    assert air.mean().item() == pytest.approx(SIGMA * math.sqrt(math.pi / 2), rel=0.01)
    assert air.square().mean().item() == pytest.approx(2 * SIGMA**2, rel=0.01)
    amplitude = 3 * SIGMA
    weak = magnitude(torch.full((60, 64, 64), amplitude), 1, index)
    assert weak.square().mean().item() == pytest.approx(amplitude**2 + 2 * SIGMA**2, rel=0.01)
    strong = magnitude(torch.full((60, 64, 64), 50 * SIGMA), 2, index)
    assert strong.std().item() == pytest.approx(SIGMA, rel=0.01)
    pairs = torch.stack([air.flatten(), magnitude(torch.zeros(60, 64, 64), 2, index).flatten(), air.flip(0).flatten()])
    assert (torch.corrcoef(pairs) - torch.eye(3)).abs().max() < 0.01  # of contrasts, and of examples
    beside = torch.stack([air[..., :-1].flatten(), air[..., 1:].flatten()])
    assert torch.corrcoef(beside)[0, 1].abs() < 0.01


def test_noise_stands_in_the_pictures(world: Phantoms) -> None:
    corner = world.contrasts(torch.arange(64))[:, :, :6, :6]
    for c, contrast in enumerate(CONTRASTS.values()):
        shown = float(corner[:, c].add(1).mul(contrast.white / 2).mean())
        assert shown == pytest.approx(SIGMA * math.sqrt(math.pi / 2), rel=0.04)
    assert (world.truth(torch.arange(8))[:, :, :6, :6] == -1).all()
    apart = torch.corrcoef(corner.transpose(0, 1).flatten(1)) - torch.eye(3)
    assert apart.abs().max() < 0.1, "each contrast has noise of its own"


def test_the_sensitivity_is_smooth_and_bounded() -> None:
    u = torch.cat([Stream(0).uniform(500, BIASES), torch.ones(1, BIASES), torch.zeros(1, BIASES)])
    field = sensitivity(u, 48)
    assert 1 - BIAS <= field.min() < 0.88 and 1.12 < field.max() <= 1 + BIAS
    assert (field[:, 1:] - field[:, :-1]).abs().max() < 0.04 and (field[0] - field[1]).abs().max() > 0.01
    assert field.mean().item() == pytest.approx(1, abs=0.01)
    x = (torch.arange(48) + 0.5) / 24 - 1
    only_xy = sensitivity(torch.tensor([[0.5, 0.5, 1.0, 0.5, 0.5]]), 48)[0]
    torch.testing.assert_close(only_xy, 1 + BIAS * x[:, None] * x[None, :], atol=1e-6, rtol=0)


def test_the_window_is_fixed_and_shows_nearly_all() -> None:
    for name, contrast in CONTRASTS.items():
        shown = grey_window(torch.tensor([0.0, contrast.white / 2, contrast.white, 2 * contrast.white]), contrast)
        assert shown[0] == -1 and shown[2] == shown[3] == 1 and abs(float(shown[1])) < 0.005
        brightest = max(float(spin_echo(torch.tensor(tissue), contrast)) for tissue in TISSUES.values())
        assert 0.5 < level(brightest, name) < 1


# -- exact functions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mine", "theirs"), [(sine, math.sin), (cosine, math.cos)])
def test_sine_and_cosine(mine: Callable[[Tensor], Tensor], theirs: Callable[[float], float]) -> None:
    turns = torch.linspace(-2, 2, 1001)
    expected = torch.tensor([theirs(2 * math.pi * t) for t in turns.tolist()])
    assert (mine(turns) - expected).abs().max() < 0.0012


def test_bearing_decay_and_normals() -> None:
    angle = (torch.arange(1000) + 0.5) / 1000
    x, y = (2 * math.pi * angle).sin(), -(2 * math.pi * angle).cos()
    assert (bearing(x, y) - angle).abs().max() < 0.0007
    assert bearing(torch.zeros(1), torch.zeros(1)).isfinite().all()
    times = torch.tensor([0.0, 1e-6, 0.1, 1.0, 7.0, 60.0], dtype=torch.float64)
    torch.testing.assert_close(decay(times), (-times).exp(), rtol=1e-11, atol=0)
    a, b = normals(Stream(0).uniform(400_000))
    for numbers in (a, b):
        assert abs(float(numbers.mean())) < 0.01 and float(numbers.std()) == pytest.approx(1, abs=0.01)
        assert float((numbers.abs() < 1).float().mean()) == pytest.approx(0.6827, abs=0.005)
    assert abs(float((a * b).mean())) < 0.01


# -- what shows sources of several channels ---------------------------------------------------------------------------


def test_a_page_shows_each_contrast_of_a_source() -> None:
    one, two = (contact_sheet(open_source(name, 32), 4).width for name in ("phantoms", "phantoms-pd"))
    assert one == 2 * 2 * (32 * 3 + 2) + 2 and two == 2 * 3 * (32 * 3 + 2) + 2
    facts = card(open_source("phantoms-pd", 32))
    assert facts["shape"] == [1, 32, 32] and facts["title"] and "source" in facts["provides"]


class Copier(System):
    """Its image is the first contrast of the source."""

    card = Card("copier", title="", family="translation", year=2020, paper="", needs={"source"})

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        assert condition.source is not None
        return condition.source[:, :1]


def test_previews_show_each_contrast_above_what_is_made_of_them() -> None:
    source = open_source("phantoms-pd", 16)
    batch = source.batch(torch.arange(12))
    shown = preview_images(Copier(source.spec.shape), batch, Sampling())
    assert shown is not None and len(shown) == 3 * 12
    contrasts = source_of(batch)
    for start, n, at in ((0, 8, 0), (8, 4, 24)):
        for row, expected in enumerate((contrasts[:, :1], contrasts[:, 1:], contrasts[:, :1])):
            assert torch.equal(torch.stack(shown[at + row * n : at + (row + 1) * n]), expected[start : start + n])
