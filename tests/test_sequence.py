"""Sequence models over pixels and codes: what depends on what, their caches, and what they draw."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from zeuxis.api.evaluate import default_metrics
from zeuxis.api.model import Model
from zeuxis.batch import Batch, Condition, Shape, to_float
from zeuxis.distributions.categorical import Categorical
from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.game import System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.attention import attend
from zeuxis.nn.causal_transformer import CausalTransformer
from zeuxis.nn.code_cache import tokenise
from zeuxis.nn.palette import Greys, Palette
from zeuxis.nn.rms_norm import RMSNorm
from zeuxis.nn.sequence import GELUS, DepthwiseConv, SequenceBlock, SequenceTransformer
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.autoencoder.vae import VAE
from zeuxis.systems.autoencoder.vqgan import VQGAN
from zeuxis.systems.autoregressive.image_gpt import ImageGPT
from zeuxis.systems.autoregressive.maskgit import MaskGIT, halton, halton_ranks, masked_after
from zeuxis.systems.autoregressive.pixel_cnn import PixelCNN
from zeuxis.training.ema import ema_copy

SHAPE, CODES, GRID = Shape(1, 8, 8), 8, (4, 4)
SIZE = {"width": 16, "depth": 2, "heads": 2}


def stirred(net: nn.Module, scale: float = 0.3) -> nn.Module:
    """With weights that are all at work: outputs begin at zero otherwise."""
    draws = Stream(1)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(scale * draws.normal(*p.shape))
    return net


def tokeniser() -> VQGAN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = VQGAN(SHAPE, codes=CODES, code_width=4, latent=8, width=8, multiples=(1, 2), blocks=1, ndf=8, layers=1)
    with torch.no_grad():  # codes amid what the encoder says: untrained ones lie so close that one wins everywhere
        made.quantiser.start(made.into_codes(made.encoder(pictures(8))), Stream(0))
    return made.eval()


def built(kind: type[System], shape: Shape = SHAPE, **config: object) -> System:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = kind(shape, **config).eval()
    for name, net in made.named_children():
        if name != "tokeniser":
            stirred(net, 0.1 if kind is PixelCNN else 0.3)
    return made


def pictures(n: int, shape: Shape = SHAPE, seed: int = 0) -> Tensor:
    return to_float(Stream(seed).integers(256, n, *shape).to(torch.uint8))


def turn(image: Tensor, label: Tensor | None = None, round: int = 0) -> Turn:
    return Turn(Batch(image, Condition(label=label)), Stream(0), round, 0.0)


# -- a choice among K -----------------------------------------------------------------------------


def test_a_choice_is_where_the_cumulative_probability_passes() -> None:
    p = torch.tensor([0.0, 0.25, 0.5, 0.25])
    choice = Categorical(p.log().expand(5, 4))
    drawn = choice.from_uniform(torch.tensor([0.0, 0.2499, 0.2501, 0.7499, 1 - 2**-24]))
    assert drawn.tolist() == [1, 1, 2, 2, 3]
    assert torch.allclose(choice.log_prob(torch.tensor([1, 2, 3, 2, 1])).exp(), p[[1, 2, 3, 2, 1]])


def test_choices_have_their_probabilities_at_any_temperature() -> None:
    logits = 2 * Stream(0).normal(6)
    u = (torch.arange(60_000) + 0.5) / 60_000
    for temperature in (0.5, 1.0, 3.0):
        shares = (
            torch.bincount(Categorical(logits.expand(60_000, 6)).from_uniform(u, temperature), minlength=6) / 60_000
        )
        assert torch.allclose(shares, (logits / temperature).softmax(0), atol=1e-4)
    for coldest in (0.0, 1e-39):  # the second is no 0, and logits divided by it are infinite
        assert Categorical(logits).from_uniform(torch.tensor(0.9), coldest) == logits.argmax()


# -- the transformers -----------------------------------------------------------------------------


def test_no_output_depends_on_a_later_position_and_on_all_earlier_ones() -> None:
    x = Stream(0).normal(1, 6, 16).requires_grad_()
    net = stirred(SequenceTransformer(6, 16, 2, 2, causal=True))
    both = stirred(SequenceTransformer(6, 16, 2, 2, causal=False))
    for i in range(6):
        (slope,) = torch.autograd.grad(net(x)[0, i].sum(), x)
        assert (slope[0].abs().sum(1) > 0).tolist() == [j <= i for j in range(6)]
        (slope,) = torch.autograd.grad(both(x)[0, i].sum(), x)
        assert (slope[0].abs().sum(1) > 0).all()


def test_predictions_start_before_the_value_itself() -> None:
    net, codes = stirred(CausalTransformer(5, 6, 16, 2, 2)), Stream(0).integers(5, 1, 6)
    plain = net(codes)
    for j in range(6):
        other = codes.clone()
        other[0, j] = (codes[0, j] + 1) % 5
        changed = (net(other) - plain)[0].abs().sum(1) > 0
        assert changed.tolist() == [i > j for i in range(6)]


@torch.no_grad()
def test_cached_is_what_would_be_computed_again() -> None:
    net, x = stirred(SequenceTransformer(7, 16, 3, 4, causal=True)), Stream(0).normal(2, 7, 16)
    caches = net.caches(2)
    steps = torch.stack([net.step(x[:, i], caches) for i in range(7)], 1)
    torch.testing.assert_close(steps, net(x), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="no next position"):
        stirred(SequenceTransformer(7, 16, 1, 4, causal=False)).step(x[:, 0], caches)


# -- pixels as a sequence -------------------------------------------------------------------------


def test_greys_keep_256_levels_and_round_to_fewer() -> None:
    image = torch.linspace(-1, 1, 256).view(1, 1, 16, 16)
    assert torch.equal(Greys(256).encode(image).flatten(), torch.arange(256))
    assert torch.allclose(Greys(256).decode(Greys(256).encode(image)), image, atol=1e-6)
    few = Greys(5).decode(Greys(5).encode(image))
    assert len(few.unique()) == 5 and (few - image).abs().max() <= 0.25 + 1e-6


def test_a_palette_shows_the_nearest_of_its_colours() -> None:
    image, palette = pictures(1, Shape(3, 4, 4)), Palette(16)
    palette.learn(image, Stream(0))  # sixteen pixels, sixteen colours
    assert torch.allclose(palette.decode(palette.encode(image)), image, atol=1e-6)
    other = pictures(2, Shape(3, 4, 4), seed=1)
    distance = (other[:, None] - palette.colours.codebook[:, :, None, None]).square().sum(2)  # (B, K, H, W)
    assert torch.equal(palette.encode(other), distance.argmin(1))


def test_in_colour_the_first_round_finds_the_palette() -> None:
    model, image = built(ImageGPT, Shape(3, 4, 4), colours=12, **SIZE), pictures(2, Shape(3, 4, 4))
    before = model.tokeniser.colours.codebook.clone()
    assert model.nll(turn(image)) is None
    model.after_round(turn(image))
    palette = model.tokeniser.colours.codebook.clone()
    assert not torch.equal(palette, before)
    assert model.nll(turn(image, round=1)) > 0
    model.after_round(turn(pictures(2, Shape(3, 4, 4), seed=1), round=1))
    assert torch.equal(model.tokeniser.colours.codebook, palette)
    made = model.sample(Condition(), ImageRng.counting(0, 2)).movedim(1, -1).reshape(-1, 1, 3)
    assert (made - palette.clamp(-1, 1)).abs().sum(-1).min(1).values.max() < 1e-6
    with pytest.raises(UsageError, match="enlarge batch"):
        built(ImageGPT, Shape(3, 2, 2), colours=12, **SIZE).after_round(turn(pictures(1, Shape(3, 2, 2))))


# -- Image GPT ------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_probabilities_of_all_pictures_sum_to_one() -> None:
    model = built(ImageGPT, Shape(1, 1, 2), width=8, depth=1, heads=2)
    values = torch.linspace(-1, 1, 256)
    all_of_them = torch.cartesian_prod(values, values)[:, None, None]  # (65536, 1, 1, 2)
    log_prob = torch.cat([model.log_prob(part, Stream(0)) for part in all_of_them.split(8192)])
    assert float(log_prob.double().logsumexp(0)) == pytest.approx(0, abs=1e-4)
    assert log_prob.std() > 0.1
    assert model.nll(turn(all_of_them[:9])).item() == pytest.approx(-float(log_prob[:9].mean()) / 2, rel=1e-5)


@pytest.mark.parametrize("condition", ["none", "label"])
@pytest.mark.parametrize("coded", [False, True])
@torch.no_grad()
def test_drawing_with_a_memory_is_drawing_without(condition: str, coded: bool) -> None:
    given = {"tokeniser": tokeniser()} if coded else {"colours": 6}
    model = built(ImageGPT, condition=condition, classes=3, **given, **SIZE)
    label = torch.tensor([0, 2]) if condition == "label" else None
    made = model.sample(Condition(label=label), ImageRng.counting(0, 2), Sampling(temperature=0.9))
    length = model.layout.length
    u, codes = ImageRng.counting(0, 2).uniform(2, length), torch.zeros(2, length, dtype=torch.int64)
    for i in range(length):
        codes[:, i] = Categorical(model.network(codes, label)[:, i]).from_uniform(u[:, i], 0.9)
    assert len(codes.unique()) > 3
    assert torch.equal(made, model.tokeniser.decode(codes.view(2, *model.layout.grid)))


def test_likelihoods_are_given_only_where_they_are_of_the_pixels() -> None:
    exact = built(ImageGPT, **SIZE)
    assert "log_prob" in exact.can and "bits-per-dim" in default_metrics(Model("", exact, {}))
    for model in (
        built(ImageGPT, colours=16, **SIZE),
        built(ImageGPT, Shape(3, 4, 4), **SIZE),
        built(ImageGPT, tokeniser=tokeniser(), **SIZE),
        built(ImageGPT, condition="label", classes=3, **SIZE),
        built(PixelCNN, tokeniser=tokeniser(), width=8, depth=2),
        built(PixelCNN, condition="label", classes=3, width=8, depth=2),
    ):
        assert model.can == {"sample"} and "bits-per-dim" not in default_metrics(Model("", model, {}))
        with pytest.raises(Unsupported, match="likelihood"):
            model.log_prob(pictures(1, model.shape), Stream(0))


def test_a_label_matters_and_must_be_one_of_some() -> None:
    for kind in (ImageGPT, MaskGIT):
        model = built(kind, tokeniser=tokeniser(), condition="label", classes=3, **SIZE)
        assert model.conditions == {"label"}
        a, b = (model.sample(Condition(label=torch.tensor([k])), ImageRng([0])) for k in (0, 1))
        assert not torch.equal(a, b)
        with pytest.raises(UsageError, match="labelled data"):
            kind(SHAPE, tokeniser=tokeniser(), condition="label")
        with pytest.raises(UsageError, match="none, label"):
            kind(SHAPE, tokeniser=tokeniser(), condition="caption")


# -- tokenisers -----------------------------------------------------------------------------------


class InARow(System):
    """A tokeniser whose codes have no rows and columns."""

    card = VQGAN.card
    codes = 8

    def __init__(self) -> None:
        super().__init__()
        self.shape = SHAPE

    def encode(self, image: Tensor) -> Tensor:
        return ((image.flatten(1)[:, :5] + 1) * 3).long()

    def decode(self, latent: Tensor) -> Tensor:
        return (latent.float().mean(1) / 7 * 2 - 1)[:, None, None, None].expand(-1, *SHAPE)


@pytest.mark.parametrize("kind", [ImageGPT, MaskGIT])
def test_codes_need_not_be_a_map(kind: type[System]) -> None:
    model = built(kind, tokeniser=InARow(), **SIZE)
    assert model.layout == (8, (5,))
    assert model.sample(Condition(), ImageRng.counting(0, 3)).shape == (3, *SHAPE)
    with pytest.raises(Unsupported, match="use image-gpt"):
        PixelCNN(SHAPE, tokeniser=InARow())


@pytest.mark.parametrize("kind", [ImageGPT, MaskGIT, PixelCNN])
def test_a_tokeniser_that_does_not_fit_is_refused(kind: type[System]) -> None:
    with pytest.raises(Unsupported, match="such as vqgan"):
        kind(SHAPE, tokeniser=VAE(SHAPE, latent=4, widths=(8,), hidden=8))
    with pytest.raises(UsageError, match="set size to its own"):
        kind(Shape(1, 16, 16), tokeniser=tokeniser())


def test_misuse_is_explained() -> None:
    with pytest.raises(UsageError, match="has 8 codes, not 512"):
        ImageGPT(SHAPE, tokeniser=tokeniser(), colours=512)
    with pytest.raises(Unsupported, match="1 or 3 channels"):
        ImageGPT(Shape(2, 4, 4))
    with pytest.raises(UsageError, match=r"change model\.steps"):
        MaskGIT(SHAPE, tokeniser=tokeniser(), steps=0)
    with pytest.raises(UsageError, match="1 to 100000"):
        built(MaskGIT, tokeniser=tokeniser(), **SIZE).sample(Condition(), ImageRng([0]), Sampling(steps=0))


@pytest.mark.parametrize("kind", [ImageGPT, MaskGIT, PixelCNN])
def test_the_tokeniser_stays_as_it_was(kind: type[System]) -> None:
    model = built(kind, tokeniser=tokeniser()).train()
    learning = {id(p) for player in model.players() for p in player.parameters()}
    others = {n for n, p in model.named_parameters() if id(p) not in learning}
    assert others == {f"tokeniser.{n}" for n, _ in model.tokeniser.named_parameters()}
    assert not any(p.requires_grad for p in model.tokeniser.parameters()) and not model.tokeniser.training
    shared = zip(ema_copy(model).tokeniser.parameters(), model.tokeniser.parameters(), strict=True)
    assert all(one is other for one, other in shared)


def test_codes_are_the_same_in_half_precision() -> None:
    model, image = tokeniser(), pictures(256)
    plain = tokenise(model, image)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(tokenise(model, image), plain)
        assert not torch.equal(model.encode(image).flatten(1), plain)  # which is why


# -- MaskGIT --------------------------------------------------------------------------------------


class Spy(nn.Module):
    """Answers with fixed logits, and keeps what it was shown."""

    label = None

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits, self.inputs = logits, []

    def forward(self, codes: Tensor, context: Tensor | None = None) -> Tensor:
        self.inputs.append(codes)
        return self.logits.expand(len(codes), -1, -1)


def test_the_schedule_is_the_cosine_and_reveals_one_at_least() -> None:
    hidden, found = 64, []
    for t in range(1, 8):
        hidden = masked_after(t, 8, 64, hidden)
        found.append(hidden)
    assert found == [math.floor(64 * math.cos(math.pi * t / 16)) for t in range(1, 8)] == [62, 59, 53, 45, 35, 24, 12]
    assert masked_after(1, 100, 16, 16) == 15
    assert masked_after(3, 100, 16, 1) == 1


def test_what_is_known_stays_and_the_most_confident_is_kept_first() -> None:
    model = built(MaskGIT, tokeniser=tokeniser(), choice_temperature=0.0, **SIZE)
    sharp = torch.linspace(0.2, 3, 16)[torch.randperm(16, generator=torch.Generator().manual_seed(0))]
    spy = Spy(sharp[:, None] * torch.tensor([1.0] + [-1.0] * 7))
    model.network = spy
    made = model.sample(Condition(), ImageRng.counting(0, 3), Sampling(steps=5, temperature=0.0))
    assert made.shape == (3, *SHAPE) and len(spy.inputs) == 5
    left, want = 16, []
    for t in range(1, 5):
        left = masked_after(t, 5, 16, left)
        want.append(left)
    assert [int((c == CODES).sum(1).max()) for c in spy.inputs] == [16, *want]
    order = sharp.argsort(descending=True)
    for codes, n in zip(spy.inputs[1:], want, strict=True):
        known = (codes != CODES).all(0)
        assert set(known.nonzero().flatten().tolist()) == set(order[: 16 - n].tolist())
        assert (codes[:, known] == 0).all()  # the likeliest, at temperature 0


def test_noise_on_the_confidence_makes_the_order_random_and_what_is_known_stays() -> None:
    model = built(MaskGIT, tokeniser=tokeniser(), **SIZE)
    model.network = spy = Spy(torch.zeros(1, 16, CODES))
    model.sample(Condition(), ImageRng.counting(0, 6))
    assert len(spy.inputs) == 8
    for before, after in zip(spy.inputs, spy.inputs[1:], strict=False):
        known = before != CODES
        assert torch.equal(after[known], before[known])
    assert len({tuple(row.tolist()) for row in spy.inputs[3] == CODES}) == 6  # no two pictures in the same order


def test_halton_ranks_leave_no_quarter_of_the_map_out() -> None:
    rank = halton_ranks(8, 8)
    assert sorted(rank.flatten().tolist()) == list(range(64))
    assert sorted(halton_ranks(3, 5).flatten().tolist()) == list(range(15))
    for kept in (8, 16, 32):
        quarters = [int((part < kept).sum()) for half in rank.chunk(2) for part in half.chunk(2, dim=1)]
        assert all(0.5 * kept / 4 <= n <= 1.5 * kept / 4 for n in quarters), f"{quarters} of the first {kept}"
    assert [halton(k, 2) for k in range(1, 5)] == [0.5, 0.25, 0.75, 0.125]
    assert [halton(k, 3) for k in range(1, 4)] == pytest.approx([1 / 3, 2 / 3, 1 / 9])


def test_halton_keeps_by_place_alone_and_each_picture_in_an_order_of_its_own() -> None:
    model = built(MaskGIT, tokeniser=tokeniser(), **SIZE)
    orders = []
    for sharp in (0.0, 3.0):  # whatever the confidence
        model.network = spy = Spy(sharp * Stream(4).normal(1, 16, CODES))
        model.sample(Condition(), ImageRng.counting(0, 6), Sampling(sampler="halton"))
        for before, after in zip(spy.inputs, spy.inputs[1:], strict=False):
            known = before != CODES
            assert torch.equal(after[known], before[known])
        orders.append(torch.stack([codes == CODES for codes in spy.inputs]))
    assert torch.equal(*orders)
    assert len({tuple(row.tolist()) for row in orders[0][4]}) > 2
    with pytest.raises(UnknownName, match="halton"):
        model.sample(Condition(), ImageRng.counting(0, 1), Sampling(sampler="haltn"))
    with pytest.raises(UsageError, match="lie on no map"):
        built(MaskGIT, tokeniser=InARow(), **SIZE).sample(
            Condition(), ImageRng.counting(0, 1), Sampling(sampler="halton")
        )


def test_neighbours_are_those_on_the_map_and_at_first_ignored() -> None:
    near = DepthwiseConv(4, (3, 5))
    x = Stream(0).normal(2, 16, 4)  # one token in front of the map
    assert torch.equal(near(x), x), "a block begins as it would be without"
    stirred(near)
    changed = torch.autograd.functional.jacobian(lambda y: near(y)[0, :, 0], x)[:, 0, :, 0] != 0  # (16, 16)
    for k in range(16):
        row, column = divmod(k - 1, 5)
        expected = {0} if k == 0 else {1 + 5 * r + c for r in range(3) for c in range(5)
                                     if abs(r - row) <= 1 and abs(c - column) <= 1}  # fmt: skip
        assert set(changed[k].nonzero().flatten().tolist()) == expected
    with pytest.raises(ValueError, match="give no grid"):
        SequenceTransformer(15, 16, 2, 2, causal=True, grid=(3, 5))


def test_the_loss_is_of_masked_codes_whose_number_is_by_the_cosine() -> None:
    model, image = built(MaskGIT, tokeniser=tokeniser(), smoothing=0.2, **SIZE), pictures(6)
    codes, logits = tokenise(model.tokeniser, image), Stream(3).normal(1, 16, CODES)
    model.network = spy = Spy(logits)
    loss = model.nll(turn(image))
    hidden = spy.inputs[0] == CODES
    assert torch.equal(spy.inputs[0][~hidden], codes[~hidden])
    assert hidden.sum(1).tolist() == [math.ceil(math.cos(math.pi / 2 * r) * 16) for r in Stream(0).uniform(6).tolist()]
    log_p = logits.log_softmax(-1).expand(6, -1, -1)
    expected = 0.8 * log_p.gather(-1, codes[..., None])[..., 0] + 0.2 * log_p.mean(-1)
    torch.testing.assert_close(loss, -expected[hidden].mean())


@torch.no_grad()
def test_guidance_goes_on_in_the_direction_of_the_label() -> None:
    model = built(MaskGIT, tokeniser=tokeniser(), condition="label", classes=3, guidance=2.5, **SIZE)
    label, codes = torch.tensor([1, 2]), torch.full((2, 16), CODES)
    conditional = model.network(codes, model.network.label(label))
    plain = model.network(codes, model.network.label.null(2))
    torch.testing.assert_close(model._guided(codes, label, 1.0), conditional)
    torch.testing.assert_close(model._guided(codes, label, 0.0), plain)
    torch.testing.assert_close(model._guided(codes, label, 3.0), plain + 3 * (conditional - plain))
    one, other, own = (
        model.sample(Condition(label=label), ImageRng.counting(0, 2), Sampling(guidance=g)) for g in (1.0, 2.5, None)
    )
    assert torch.equal(other, own) and not torch.equal(one, own)


def test_dropped_labels_train_the_unconditional_model() -> None:
    for drop, taught in ((1.0, [3]), (0.0, [1, 2])):
        model = built(MaskGIT, tokeniser=tokeniser(), condition="label", classes=3, drop=drop, **SIZE)
        model.nll(turn(pictures(4), torch.tensor([1, 1, 2, 2]))).backward()
        rows = model.network.label.table.weight.grad.abs().sum(1)
        assert rows.nonzero().flatten().tolist() == taught


# -- PixelCNN over codes --------------------------------------------------------------------------


def test_no_code_depends_on_a_later_one() -> None:
    model = built(PixelCNN, tokeniser=tokeniser(), width=8, depth=3, first_kernel=3, kernel=3)
    seen: list[Tensor] = []
    model.embedding.register_forward_hook(lambda net, given, out: seen.append(out))
    logits = model._predicted(tokenise(model.tokeniser, pictures(1)).view(1, *GRID), None).logits  # (1, 4, 4, K)
    for pos_embed in range(16):
        (slope,) = torch.autograd.grad(logits.flatten(0, 2)[pos_embed].sum(), seen[0], retain_graph=True)
        touched = slope.abs().sum(-1).flatten() > 0
        assert not touched[pos_embed:].any(), pos_embed
        assert not pos_embed or touched[max(0, pos_embed - 4) : pos_embed].any()


@pytest.mark.parametrize("condition", ["none", "label"])
@torch.no_grad()
def test_codes_drawn_row_by_row_are_those_of_recomputing_everything(condition: str) -> None:
    model = built(PixelCNN, tokeniser=tokeniser(), condition=condition, classes=3, width=8, depth=3, kernel=3)
    label = torch.tensor([0, 2]) if condition == "label" else None
    made = model.sample(Condition(label=label), ImageRng.counting(0, 2), Sampling(temperature=0.8))
    u, codes = ImageRng.counting(0, 2).uniform(2, 1, *GRID)[:, 0], torch.zeros(2, *GRID, dtype=torch.int64)
    for row in range(GRID[0]):
        for column in range(GRID[1]):
            codes[:, row, column] = model._predicted(codes, label).from_uniform(u, 0.8)[:, row, column]
    assert len(codes.unique()) > 3
    assert torch.equal(made, model.tokeniser.decode(codes))


def test_rms_norm_and_its_gradients_are_torch_s_own() -> None:
    ours, theirs = RMSNorm(7), nn.RMSNorm(7, 1e-5)
    gain, x, slope = Stream(0).normal(7), Stream(1).normal(3, 5, 7), Stream(2).normal(3, 5, 7)
    found = []
    for norm in (ours, theirs):
        with torch.no_grad():
            norm.weight.copy_(gain)
        leaf = x.clone().requires_grad_()
        y = norm(leaf)
        found.append((y, *torch.autograd.grad((y * slope).sum(), [leaf, norm.weight])))
    for mine, torch_s in zip(*found, strict=True):
        torch.testing.assert_close(mine, torch_s, rtol=1e-5, atol=1e-6)
    doubles = x[:1, :2].double().requires_grad_()
    assert torch.autograd.gradcheck(RMSNorm.bare, doubles)
    assert RMSNorm.bare(torch.zeros(2, 7)).isfinite().all()
    for half in (torch.bfloat16, torch.float16):
        large = (1000 * x).to(half).requires_grad_()
        y = RMSNorm.bare(large)
        assert y.dtype == half
        torch.testing.assert_close(y.float(), RMSNorm.bare(large.float()), rtol=1e-2, atol=1e-2)
        (slopes,) = torch.autograd.grad(y.sum(), large)
        assert slopes.dtype == half and slopes.isfinite().all()


@pytest.mark.parametrize("tokens", [1, 50])
def test_a_gain_in_the_weight_is_one_before_the_layer(tokens: int) -> None:
    norm, linear, x = RMSNorm(6), nn.Linear(6, 9, bias=False), Stream(0).normal(tokens, 6)
    with torch.no_grad():
        norm.weight.copy_(Stream(1).uniform(6) + 0.5)
    torch.testing.assert_close(norm.into(linear, x, 1.5), linear(1.5 * norm(x)), rtol=1e-5, atol=1e-6)


def test_image_gpt_s_gelu_is_x_sigmoid_of_1_702_x() -> None:
    x = torch.linspace(-6, 6, 101, dtype=torch.float64)
    kernel, stretch = GELUS["sigmoid"]
    torch.testing.assert_close(kernel(stretch * x) / stretch, x * torch.sigmoid(1.702 * x))
    kernel, stretch = GELUS["tanh"]
    torch.testing.assert_close(kernel(stretch * x) / stretch, nn.functional.gelu(x, approximate="tanh"))


def test_a_sequence_block_is_that_of_image_gpt() -> None:
    """x + c_proj(attn(norm x)), then x + proj(gelu2(fc(norm x))), by its own formulas in float64."""
    block = SequenceBlock(8, 2, causal=True, gelu="sigmoid").double()
    with torch.no_grad():
        for k, p in enumerate(block.parameters()):
            p.copy_(0.5 * Stream(k).normal(*p.shape) + (p.ndim == 1))
    x = Stream(9).normal(2, 5, 8).double()

    def norm(x: Tensor, gain: Tensor) -> Tensor:
        return gain * x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()

    q, k, v = (norm(x, block.norm1.weight) @ block.attention.qkv.weight.T).view(2, 5, 3, 2, 4).unbind(2)
    scores = torch.einsum("bihd,bjhd->bhij", q, k) / 2
    scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
    seen = torch.einsum("bhij,bjhd->bihd", scores.softmax(-1), v).flatten(2)
    middle = x + seen @ block.attention.out.weight.T
    inner = norm(middle, block.norm2.weight) @ block.proj_in.weight.T
    expected = middle + (inner * torch.sigmoid(1.702 * inner)) @ block.proj_out.weight.T
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("control", [None, lambda p: p])
def test_causal_attention_is_that_of_a_mask(control) -> None:
    q, k, v = (Stream(s).normal(2, 3, 6, 4) for s in range(3))
    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    torch.testing.assert_close(attend(q, k, v, None, control, causal=True), attend(q, k, v, mask))
