"""The language model against its formula, and its measure against the exact entropy of the grammar."""

import math
from collections import Counter

import pytest
import torch

from zeuxis.api.evaluate import default_metrics, evaluate, held_out
from zeuxis.api.model import Model
from zeuxis.batch import Batch, Condition, Shape
from zeuxis.data.worlds import caption_likelihood, grammar
from zeuxis.data.worlds import scenes as scenes_module
from zeuxis.data.worlds.scenes import (
    FRONT,
    OMITTED,
    ONE_OMITTED,
    SINGLES,
    TIME_TELLINGS,
    Scenes,
    size_tellings,
)
from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.game import Turn
from zeuxis.knobs import Sampling
from zeuxis.metrics.perplexity import over, perplexity
from zeuxis.metrics.table import Evidence, measure
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.autoregressive.caption_lm import CaptionLM

SHAPE = Shape(3, 8, 8)
WORDS = ("red", "blue", "ring")


def model(strength: float = 1.0, words: tuple[str, ...] = WORDS, **config: int) -> CaptionLM:
    made = CaptionLM(SHAPE, words=words, **{"context": 3, "features": 4, "hidden": 8, "longest": 6, **config})
    with torch.no_grad():
        for k, p in enumerate(made.parameters()):
            p.copy_(strength * Stream(k, "lm").normal(*p.shape))
    return made.eval()


def told(scenes: Scenes, index: torch.Tensor) -> tuple[str, ...]:
    """The captions of the scenes of ``index``, none of which is painted."""
    return scenes.told(Batch(torch.empty(len(index), 0), index=index))


def test_the_next_word_is_the_papers_equation():
    lm = model()
    C, H, d, U, b, W = (p.detach() for p in lm.parameters())
    ids, nats = [4, 4, 4, 2, 1, 3], 0.0  # three marks of the start, then blue red ring
    for t, word in enumerate([2, 1, 3, 0]):
        x = torch.cat([C[i] for i in ids[t : t + 3]])
        y = b + W @ x + U @ torch.tanh(d + H @ x)
        nats += float(y[word] - y.logsumexp(0))
    with torch.no_grad():
        assert float(lm.log_prob_caption(["Blue, red ring."])) == pytest.approx(nats, abs=1e-4)


def test_the_probabilities_of_all_captions_sum_to_one():
    lm = model(0.3, words=("red",), longest=40)
    with torch.no_grad():
        lm.output.bias[0] += 1  # long captions are rare
        total = lm.log_prob_caption([" ".join(["red"] * n) for n in range(41)]).exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("context", [1, 2, 5])
def test_a_word_depends_on_the_context_before_it_and_on_nothing_else(context):
    lm = model(context=context)
    ids = torch.tensor([[2, 1, 3, 2, 1, 3]])
    kept = []
    hook = lm.feature.register_forward_hook(lambda module, args, out: kept.append(out.requires_grad_()))
    caption = " ".join(WORDS[i - 1] for i in ids[0])
    total = lm.log_prob_caption([caption])
    hook.remove()
    (seen,) = torch.autograd.grad(total, kept[0])  # (1, T + 1, context, m)
    assert seen.shape == (1, 7, context, 4) and (seen.abs().sum((0, 2, 3)) > 0).all()
    padded = [4] * context + ids[0].tolist()
    windows = [padded[t : t + context] for t in range(7)]
    found = lm.feature.weight[torch.tensor(windows)][None]
    torch.testing.assert_close(found, kept[0])


def test_a_bigram_cannot_tell_what_came_before_the_last_word_and_a_longer_context_can():
    def change(context: int) -> float:
        """Of the probability of "ring" after "red", with the word before that."""
        lm = model(context=context)
        with torch.no_grad():
            told = [float(lm.log_prob_caption([f"{x} red ring"]) - lm.log_prob_caption([f"{x} red"])) for x in WORDS]
        return max(told) - min(told)

    assert change(1) < 1e-5
    assert change(3) > 0.1


def test_it_writes_captions_as_often_as_they_are_likely():
    lm = model(0.5)
    with torch.inference_mode():
        told = Counter(lm.write(ImageRng.counting(0, 4000)))
        often = [text for text, n in told.most_common() if n > 100]
        expected = lm.log_prob_caption(often).exp()
    assert len(often) > 3
    for text, p in zip(often, expected.tolist(), strict=True):
        cut = len(text.split()) == 6  # those are cut, so that they come more often
        assert cut or told[text] / 4000 == pytest.approx(p, abs=4 * math.sqrt(p / 4000))


def test_a_seed_is_a_caption_in_any_company_and_temperature_sharpens():
    lm = model(0.3)
    with torch.inference_mode():
        together = lm.write(ImageRng.counting(7, 5))
        assert together == tuple(lm.write(ImageRng([7 + k]))[0] for k in range(5))
        assert len(set(lm.write(ImageRng.counting(0, 50), Sampling(temperature=0.01)))) == 1
        assert len(set(lm.write(ImageRng.counting(0, 50)))) > 10
    with torch.inference_mode():
        coldest = lm.write(ImageRng.counting(0, 3), Sampling(temperature=0.0))
        assert coldest == lm.write(ImageRng.counting(5, 3), Sampling(temperature=1e-39))
        assert set(coldest) == set(lm.write(ImageRng([0]), Sampling(temperature=0.01)))


def test_its_loss_is_the_log_of_its_perplexity():
    lm = model(0.0)  # all words and the end are equally likely
    captions = ("red ring", "blue", "")
    turn = Turn(Batch(torch.zeros(3, *SHAPE), Condition(caption=captions)), Stream(0), 0, 0.0)
    assert float(lm.nll(turn).detach()) == pytest.approx(math.log(4))
    assert float(turn.notes["perplexity"]) == pytest.approx(4)
    with torch.no_grad():
        nats = lm.log_prob_caption(captions)
    torch.testing.assert_close(nats, -math.log(4) * torch.tensor([3.0, 2.0, 1.0]))  # words and an end
    assert perplexity(nats, torch.tensor([3, 2, 1])) == pytest.approx(4)


def test_misuse_is_explained():
    with pytest.raises(UsageError, match="captions"):
        CaptionLM(SHAPE)
    with pytest.raises(UsageError, match="context 9"):
        model(context=9)
    with pytest.raises(UnknownName, match="green"):
        model().log_prob_caption(["green ring"])
    with pytest.raises(Unsupported, match="cannot sample"):
        model().sample(Condition(), ImageRng([0]))


@pytest.fixture(scope="module")
def lessons() -> tuple[tuple[str, ...], ...]:
    """The captions of 150 batches of scenes."""
    scenes = Scenes(8)
    assert told(scenes, torch.arange(9)) == scenes.batch(torch.arange(9)).condition.caption
    return tuple(told(scenes, torch.arange(192 * k, 192 * (k + 1))) for k in range(150))


@pytest.mark.parametrize(("context", "low", "high"), [(6, 1.0, 1.04), (1, 1.13, 1.17)])
def test_it_learns_the_grammar_if_it_sees_enough_of_each_caption(lessons, context, low, high):
    """The best models of one word and of six, by counting, have ratios of 1.151 and 1.016."""
    scenes = Scenes(8)
    captions = told(Scenes(8, "test"), torch.arange(500))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        lm = CaptionLM(scenes.spec.shape, words=scenes.spec.words, context=context, hidden=64)
    optimiser = torch.optim.Adam(lm.parameters())
    for k, lesson in enumerate(lessons):
        loss = lm.nll(Turn(Batch(torch.empty(len(lesson), 0), Condition(caption=lesson)), Stream(0), k, k / 150))
        optimiser.param_groups[0]["lr"] = 1e-2 * (1 - k / 150)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        nats = lm.log_prob_caption(captions)
    words = torch.tensor([len(c.split()) + 1 for c in captions])
    ratio, error = over(nats, caption_likelihood.log_prob("scenes", captions), words)
    assert low < ratio < high and error < 0.01


# -- the grammar ---------------------------------------------------------------------------------------


def test_the_captions_of_scenes_are_a_distribution_of_the_closed_forms_entropy():
    forms = caption_likelihood.scenes_forms()
    assert math.fsum(p for p, _ in forms.values()) == pytest.approx(1, abs=1e-12)
    assert sum(n for _, n in forms.values()) == 162_450

    def coins(*shares: float) -> float:
        return -sum(p * math.log(p) for p in (*shares, 1 - sum(shares)))

    # The kind (one thing or two), which sizes are told, whether and where the time, then one of equally many captions
    # of that sort: 6 colours and 5 shapes, 2 sizes where told and 2 times where told; two relations and two orders.
    times = coins(OMITTED, FRONT) + (1 - OMITTED) * math.log(2)
    single = coins(OMITTED) + (1 - OMITTED) * math.log(2) + math.log(30)
    told = ONE_OMITTED + 2 * (1 - OMITTED - ONE_OMITTED)  # sizes in the mean caption of a pair
    pair = coins(OMITTED, ONE_OMITTED / 2, ONE_OMITTED / 2) + told * math.log(2) + math.log(4 * 30 * 30)
    expected = coins(SINGLES) + times + SINGLES * single + (1 - SINGLES) * pair
    assert caption_likelihood.entropy() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_the_entropy_is_what_a_walk_through_any_split_finds(split):
    nll = -caption_likelihood.log_prob("scenes", told(Scenes(8, split), torch.arange(4000)))
    error = float(nll.std()) / math.sqrt(len(nll))
    assert error < 0.035
    assert float(nll.mean()) == pytest.approx(caption_likelihood.entropy(), abs=4 * error)


def test_a_tiny_grammar_enumerated_has_these_probabilities_and_no_model_is_better(monkeypatch):
    """Every scene, order and telling of a world of two colours and one shape, one after another."""
    monkeypatch.setattr(grammar, "COLOURS", ("red", "blue"))
    monkeypatch.setattr(grammar, "SHAPES", ("ring",))
    rows = scenes_module.descriptions().tolist()
    singles = sum(row[1] == 0 for row in rows)
    assert (singles, len(rows)) == (8, 8 + 2 * 2 * 4 * 4)
    found = Counter()
    for row in rows:
        single = row[1] == 0
        share = SINGLES / singles if single else (1 - SINGLES) / (len(rows) - singles) / 2
        for swapped in (False,) if single else (False, True):
            for sizes, p in size_tellings(single).items():
                for timed, q in TIME_TELLINGS.items():
                    told = grammar.Telling(*sizes, *timed)
                    found[grammar.sentence(grammar.facts_from(row, swapped), told)] += share * p * q
    assert math.fsum(found.values()) == pytest.approx(1, abs=1e-12)
    for caption, p in found.items():
        assert caption_likelihood.scenes(caption) == pytest.approx(p, rel=1e-12), caption
    entropy = -math.fsum(p * math.log(p) for p in found.values())
    assert caption_likelihood.entropy() == pytest.approx(entropy, abs=1e-12)

    def cross_entropy(model):  # of a model's probabilities, under the captions that any split is measured on
        total = math.fsum(model.values())
        return -math.fsum(p * math.log(model[caption] / total) for caption, p in found.items())

    whole = {caption: p if len(caption.split()) >= 6 else p * 1e-3 for caption, p in found.items()}
    flat = dict.fromkeys(found, 1.0)
    assert cross_entropy(found) == pytest.approx(entropy, abs=1e-12)
    assert cross_entropy(whole) > entropy + 0.1 and cross_entropy(flat) > entropy + 0.1


def test_only_its_own_captions_are_judged():
    assert caption_likelihood.log_prob("scenes-rich", ["a red circle"]) is None
    with pytest.raises(UsageError, match="has no caption 'a red cat'"):
        caption_likelihood.log_prob("scenes", ["a red cat"])
    with pytest.raises(UsageError, match="has no caption 'red circle'"):  # understood, but never said so
        caption_likelihood.log_prob("scenes", ["a red circle", "red circle"])


def test_the_ratio_is_one_for_the_grammar_and_its_error_is_that_of_repeated_draws():
    captions = Scenes(8, "test").batch(torch.arange(500)).condition.caption
    best = caption_likelihood.log_prob("scenes", captions)
    words = torch.tensor([len(c.split()) + 1 for c in captions])
    assert over(best, best, words) == (1.0, 0.0)
    ratio, _ = over(best - 0.1 * words, best, words)
    assert ratio == pytest.approx(math.exp(0.1))
    tries = []
    for k in range(300):
        rng = Stream(k)
        length = 5 + rng.integers(8, 200)
        tries.append(over(-0.05 * length - rng.normal(200), torch.zeros(200), length))
    ratios, errors = torch.tensor(tries).unbind(1)
    assert float(errors.mean()) == pytest.approx(float(ratios.std()), rel=0.15)


def test_figures_of_text_come_with_the_ratio_where_the_grammar_is_known():
    words, best = torch.tensor([3, 2]), torch.tensor([-2.0, -1.0])
    evidence = Evidence(caption_log_prob=torch.tensor([-3.0, -2.0]), caption_words=words)
    (alone,) = measure(["perplexity"], evidence)
    assert alone.value == pytest.approx(math.e) and alone.better == "lower"
    both = measure(["perplexity"], Evidence(
        caption_log_prob=evidence.caption_log_prob, caption_words=words, caption_best=best))  # fmt: skip
    assert [f.name for f in both] == ["perplexity", "perplexity-over-grammar"]
    assert both[1].value == pytest.approx(math.exp(2 / 5)) and both[1].spread is not None


def test_evaluation_reads_held_out_captions():
    scenes = Scenes(8)
    lm = model(0.0, words=scenes.spec.words, longest=12)
    judged = Model("lm", lm, {"data": "scenes", "config": {}, "sha256": "", "images": 0}, "cpu")
    assert default_metrics(judged) == ("perplexity",)
    found = {f.name: f for f in evaluate(judged, samples=200)}
    assert found["perplexity"].value == pytest.approx(len(scenes.spec.words) + 1)
    assert found["perplexity"].samples == 200
    captions = Scenes(8, "test").told(held_out(Scenes(8, "test"), 200))
    nll = -float(caption_likelihood.log_prob("scenes", captions).sum()) / sum(len(c.split()) + 1 for c in captions)
    ratio = found["perplexity-over-grammar"].value
    assert ratio == pytest.approx((len(scenes.spec.words) + 1) / math.exp(nll)) and ratio > 5
    assert 0 < found["perplexity-over-grammar"].spread < 0.2
    with pytest.raises(Unsupported, match="cannot sample; it can: log_prob_caption, write"):
        judged.sample(1)
    with pytest.raises(Unsupported, match="'lm' is not conditioned on a caption") as refused:
        judged.sample(1, caption="a ring")
    assert "scenes" in str(refused.value) and "caption-lm" not in str(refused.value)  # it draws nothing
    with pytest.raises(Unsupported, match="needs captions, and 'terrain' has none"):
        evaluate(judged, data="terrain", metrics=["perplexity"], samples=10)
