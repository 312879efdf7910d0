"""Every metric against a well-kept library, a brute force or a closed form, on the same numbers."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zeuxis.distributions.dequantise import LEVEL
from zeuxis.errors import UnknownName, UsageError
from zeuxis.metrics.adaptation import DomainAdaptation
from zeuxis.metrics.boundaries import Boundaries
from zeuxis.metrics.codes import CodeUsage
from zeuxis.metrics.colourfulness import colour_gap, colourfulness
from zeuxis.metrics.distance import BLOCK, blocks, nearest, nearest_squared
from zeuxis.metrics.evidence import Compared
from zeuxis.metrics.frechet import Moments, frechet
from zeuxis.metrics.kernel import kernel, mmd2
from zeuxis.metrics.likelihood import bits_per_dim, bits_without_padding, nats
from zeuxis.metrics.neighbours import neighbours
from zeuxis.metrics.oracle import UNSAID, accuracy, agreement
from zeuxis.metrics.precision import precision_recall
from zeuxis.metrics.probe import Probe
from zeuxis.metrics.record import FEW, Figure, fingerprint
from zeuxis.metrics.score import classifier_score
from zeuxis.metrics.segmentation import Confusion, Overlap
from zeuxis.metrics.similarity import cropped, psnr, sharpness, ssim
from zeuxis.metrics.synthetic import TrainedOnSynthetic
from zeuxis.metrics.table import METRICS, Evidence, measure
from zeuxis.metrics.two_sample import auroc
from zeuxis.metrics.verification import equal_error, same_person, verification
from zeuxis.metrics.zero_shot import Answers, ZeroShot
from zeuxis.rng import Stream


class Same(nn.Module):
    """A feature network that hands its input back, so that a peer sees our features."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.num_features = dims

    def forward(self, x: Tensor) -> Tensor:
        return x


def two_clouds(n: int = 700, m: int = 650, dims: int = 24) -> tuple[Tensor, Tensor]:
    """Correlated features of unequal means, spreads and counts."""
    rng = Stream(0, "clouds")
    mix = rng.normal(dims, dims) / dims**0.5
    return rng.normal(n, dims) @ mix, 0.3 + 1.2 * rng.normal(m, dims) @ mix.T


def pictures(n: int = 4, channels: int = 3, size: int = 32) -> tuple[Tensor, Tensor]:
    rng = Stream(1, "pictures")
    clean = (rng.normal(n, channels, size, size).cumsum(-1) / 6).clamp(-1, 1)
    return clean, (clean + 0.2 * rng.normal(*clean.shape)).clamp(-1, 1)


# -- Fréchet --------------------------------------------------------------------------------------


def test_frechet_agrees_with_the_matrix_square_root() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    a, b = (x.double().numpy() for x in two_clouds())
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(s @ t)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * root.real)
    assert frechet(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(expected, rel=1e-9)


def test_frechet_agrees_with_torchmetrics() -> None:
    fid = pytest.importorskip("torchmetrics.image.fid")
    a, b = two_clouds()
    peer = fid.FrechetInceptionDistance(feature=Same(a.shape[1]), input_img_size=(24,))
    peer.set_dtype(torch.float64)
    peer.update(a.double(), real=True)
    peer.update(b.double(), real=False)
    assert frechet(a, b) == pytest.approx(float(peer.compute()), rel=1e-3)


def test_frechet_of_gaussians_has_its_closed_form() -> None:
    """Diagonal covariances: the sum of squared differences of means and of deviations."""
    a = Moments(10, torch.zeros(3).double(), torch.diag(torch.tensor([1.0, 4.0, 9.0]).double()))
    b = Moments(10, torch.ones(3).double(), torch.diag(torch.tensor([4.0, 4.0, 0.0]).double()))
    assert frechet(a, b) == pytest.approx(3 + 1 + 0 + 9, rel=1e-12)


def test_frechet_survives_singular_covariances() -> None:
    """Fewer samples than dimensions: nothing with itself, and what a rotation into the common span gives."""
    rng = Stream(2)
    a, b = rng.normal(20, 100), rng.normal(15, 100)
    assert abs(frechet(a, a)) < 1e-9
    basis = torch.linalg.qr(torch.cat([a, b]).double().T).Q  # the 35 dimensions in which all of them lie
    assert frechet(a, b) == pytest.approx(frechet(a.double() @ basis, b.double() @ basis), rel=1e-9)
    assert frechet(a, b) == pytest.approx(frechet(Moments.of(a), Moments.of(b)), rel=1e-9)
    assert frechet(torch.ones(5, 8), torch.zeros(5, 8)) == pytest.approx(8)
    assert frechet(torch.ones(3, 8), torch.zeros(4, 8)) == pytest.approx(8)
    with pytest.raises(UsageError, match="not finite"):
        frechet(a, b * float("nan"))


def test_frechet_takes_moments_and_refuses_other_features() -> None:
    a, b = two_clouds()
    assert frechet(Moments.of(a), b) == frechet(a, Moments.of(b)) == frechet(a, b)
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-12)
    with pytest.raises(UsageError, match="24 and 23 dimensions"):
        frechet(a, b[:, 1:])
    with pytest.raises(UsageError, match="N >= 2"):
        Moments.of(a[:1])


def test_frechet_is_no_less_than_nothing_and_takes_counts() -> None:
    a = Stream(3).normal(200, 64)
    assert all(frechet(a * s + t, a * s + t) >= 0 for s, t in ((1, 0), (1e-6, 0), (1e4, 1e5)))
    counts = (10 * a).round()
    assert frechet(counts.long(), counts[:50].int()) == pytest.approx(frechet(counts, counts[:50]), rel=1e-6)


# -- kernel distance ------------------------------------------------------------------------------


def test_kernel_agrees_with_torchmetrics() -> None:
    kid = pytest.importorskip("torchmetrics.image.kid")
    a, b = (x[:300] for x in two_clouds())
    peer = kid.KernelInceptionDistance(feature=Same(a.shape[1]), subsets=3, subset_size=300)
    peer.update(a, real=True)
    peer.update(b, real=False)
    # The peer's subsets are as large as the sets: each is the whole set, and the order cannot matter.
    assert float(mmd2(a, b)) == pytest.approx(float(peer.compute()[0]), rel=1e-3)


def test_kernel_is_unbiased_and_seeded() -> None:
    a, b = two_clouds()
    assert kernel(a, b, Stream(3), 10, 100) == kernel(a, b, Stream(3), 10, 100)
    assert kernel(a, b, Stream(3), 10, 100) != kernel(a, b, Stream(4), 10, 100)
    assert kernel(a, b, Stream(3), subsets=2).subset == 325
    rng = Stream(5)
    same = torch.stack([mmd2(rng.normal(50, 4), rng.normal(50, 4)) for _ in range(200)])
    assert abs(float(same.mean())) < 4 * float(same.std()) / 200**0.5
    assert kernel(a, b, Stream(3), subsets=5).value > 0.1


# -- precision and recall -------------------------------------------------------------------------


def test_precision_and_recall_agree_with_brute_force() -> None:
    a, b = (x[:40].double() for x in two_clouds())
    k = 3

    def share_inside(points: Tensor, manifold: Tensor) -> float:
        """Word for word: a point is inside when some ball reaches it."""
        radii = [
            sorted(math.dist(x, y) for j, y in enumerate(manifold) if j != i)[k - 1] for i, x in enumerate(manifold)
        ]
        inside = [any(math.dist(q, x) <= r for x, r in zip(manifold, radii, strict=True)) for q in points]
        return sum(inside) / len(inside)

    ours = precision_recall(a, b, k)
    assert 0 < ours.precision < 1 and 0 < ours.recall < 1
    assert (ours.precision, ours.recall) == pytest.approx((share_inside(b, a), share_inside(a, b)), rel=1e-6)


def test_every_share_of_the_support_agrees_with_its_definition() -> None:
    rng = Stream(6)
    a, b = rng.normal(BLOCK + 150, 6), 0.5 + 0.8 * rng.normal(BLOCK + 80, 6)  # more than one block of each
    exact = "donot_use_mm_for_euclid_dist"
    for k in (3, 5):
        radius_a, radius_b = (
            torch.cdist(x.double(), x.double(), compute_mode=exact).sort(1).values[:, k] for x in (a, b)
        )
        cross = torch.cdist(a.double(), b.double(), compute_mode=exact)
        in_a, in_b = cross <= radius_a[:, None], cross <= radius_b[None]
        ours = precision_recall(a, b, k)
        assert ours.precision == pytest.approx(float(in_a.any(0).double().mean()), rel=1e-3)
        assert ours.recall == pytest.approx(float(in_b.any(1).double().mean()), rel=1e-3)
        assert ours.density == pytest.approx(float(in_a.sum(0).double().mean() / k), rel=1e-3)
        assert ours.coverage == pytest.approx(float(in_a.any(1).double().mean()), rel=1e-3)


def test_precision_and_recall_tell_dropped_modes_from_bad_pictures() -> None:
    rng = Stream(7)
    real = torch.cat([rng.normal(150, 4), 20 + rng.normal(150, 4)])
    one_mode, noise = rng.normal(300, 4), torch.cat([real, 100 + 50 * rng.normal(300, 4)])
    dropped, bad = precision_recall(real, one_mode), precision_recall(real, noise)
    assert dropped.precision > 0.8 and dropped.recall < 0.6 and dropped.coverage < 0.6
    assert bad.precision == pytest.approx(0.5, abs=0.02) and bad.recall > 0.9
    with pytest.raises(UsageError, match="too few for k = 3"):
        precision_recall(real[:3], noise)


# -- pairs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_and_ssim_agree_with_torchmetrics(channels: int) -> None:
    peer = pytest.importorskip("torchmetrics.functional.image")
    clean, noisy = pictures(channels=channels)
    expected = peer.peak_signal_noise_ratio(noisy, clean, dim=(1, 2, 3), data_range=2.0, reduction="none")
    torch.testing.assert_close(psnr(noisy, clean).float(), expected, rtol=1e-3, atol=0)
    # The peer's mean runs over a reflected border as well: its map is compared where the window lies inside.
    _, everywhere = peer.structural_similarity_index_measure(
        (noisy + 1) / 2, (clean + 1) / 2, data_range=1.0, reduction="none", return_full_image=True
    )
    expected = everywhere[..., 5:-5, 5:-5].flatten(1).mean(1)
    torch.testing.assert_close(ssim(noisy, clean).float(), expected, rtol=1e-3, atol=0)


def test_psnr_and_ssim_follow_the_stated_range_and_their_limits() -> None:
    clean, noisy = pictures()
    halved = [(x + 1) / 2 for x in (noisy, clean)]
    torch.testing.assert_close(psnr(*halved, data_range=1.0), psnr(noisy, clean), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ssim(*halved, data_range=1.0, black=0.0), ssim(noisy, clean), rtol=1e-5, atol=1e-5)
    # A constant error of a tenth of the range is exactly 20 dB.
    torch.testing.assert_close(psnr(clean + 0.2, clean), torch.full((4,), 20.0).double(), rtol=1e-5, atol=0)
    assert torch.isinf(psnr(clean, clean)).all()
    torch.testing.assert_close(ssim(clean, clean), torch.ones(4).double())
    assert (ssim(noisy, clean) < 0.95).all() and (ssim(noisy, clean) > ssim(noisy.flip(0), clean)).all()
    with pytest.raises(UsageError, match="11 pixels"):
        ssim(clean[..., :8], clean[..., :8])
    with pytest.raises(UsageError, match="cannot be compared"):
        psnr(clean, clean[:2])


def test_bytes_have_the_range_of_bytes() -> None:
    clean, noisy = ((x.clamp(-1, 1) * 127.5 + 127.5).round() for x in pictures())
    assert torch.equal(psnr(noisy.byte(), clean.byte(), 255), psnr(noisy, clean, 255))
    assert torch.equal(ssim(noisy.byte(), clean.byte(), 255, 0), ssim(noisy, clean, 255, 0))
    for score in (psnr, ssim, sharpness):
        with pytest.raises(UsageError, match="data_range=255"):
            score(noisy.byte(), clean.byte())


def test_a_border_leaves_something() -> None:
    image = torch.zeros(1, 3, 8, 9)
    assert cropped(image, 3).shape == (1, 3, 2, 3) and cropped(image, 0) is not None
    with pytest.raises(UsageError, match="9x8 pixels without a border of 4"):
        cropped(image, 4)


# -- likelihood -----------------------------------------------------------------------------------


def test_a_uniform_density_costs_eight_bits() -> None:
    dims = 3 * 32 * 32
    width = 256 * LEVEL  # 256 grey levels side by side
    uniform = torch.tensor([-dims * math.log(width)], dtype=torch.float64)
    torch.testing.assert_close(bits_per_dim(uniform, dims), torch.tensor([8.0]).double())
    of_integers = torch.tensor([-dims * math.log(256)], dtype=torch.float64)
    torch.testing.assert_close(bits_per_dim(of_integers, dims, level=1), torch.tensor([8.0]).double())
    torch.testing.assert_close(nats(bits_per_dim(uniform, dims), dims), uniform)


# -- neighbours, score, oracle --------------------------------------------------------------------


def test_neighbours_are_those_of_a_full_search() -> None:
    rng = Stream(9)
    bank, made = rng.normal(BLOCK + 300, 1, 4, 4), rng.normal(20, 1, 4, 4)
    made[3] = bank[BLOCK + 7]
    found = neighbours(made, bank, k=4)
    exact = torch.cdist(made.flatten(1).double(), bank.flatten(1).double()).sort(1)
    assert torch.equal(found.index, exact.indices[:, :4])
    torch.testing.assert_close(found.distance, exact.values[:, :4], rtol=1e-6, atol=1e-6)
    assert found.index[3, 0] == BLOCK + 7 and found.distance[3, 0] < 1e-6
    with pytest.raises(UsageError, match="shapes must agree"):
        neighbours(made, bank.flatten(1))
    with pytest.raises(UsageError, match="ask for 1 to"):
        neighbours(made, bank, k=0)


def test_classifier_score_agrees_with_torchmetrics_and_its_limits() -> None:
    inception = pytest.importorskip("torchmetrics.image.inception")
    logits = 2 * Stream(10).normal(200, 7)
    peer = inception.InceptionScore(feature=Same(7), splits=1)
    peer.update(logits)
    assert classifier_score(logits, splits=1)[0] == pytest.approx(float(peer.compute()[0]), rel=1e-3)
    sure = 50 * torch.eye(5).repeat(40, 1)
    assert classifier_score(sure)[0] == pytest.approx(5, rel=1e-6)
    assert classifier_score(torch.zeros(40, 5)) == (1.0, 0.0)
    with pytest.raises(UsageError, match="cannot be split"):
        classifier_score(sure[:3])


def test_agreement_counts_what_the_caption_says() -> None:
    names = ("shape", "colour", "size")
    wanted = torch.tensor([[0, 1, 2], [1, 1, UNSAID], [2, UNSAID, 0], [0, 0, 0]])
    found = torch.tensor([[0, 1, 0], [1, 1, 1], [2, 3, 0], [1, 0, 0]])
    result = agreement(found, wanted, names, leave_out=("size",))
    assert result.factor == pytest.approx({"shape": 3 / 4, "colour": 1.0, "size": 2 / 3})
    assert (result.whole, result.all_factors) == (3 / 4, 2 / 4)
    assert result.left_out == ("size",) and result.samples == 4 and result.recognised is None
    extras = agreement(found, wanted, names, ("size",), torch.tensor([True, False, True, True]))
    assert extras.recognised == 2 / 4 and extras.whole == 3 / 4, "right in what the caption says, with something else"
    assert extras.parts == extras.factor | {"recognised": 2 / 4}
    with pytest.raises(UsageError, match="cannot leave out weight"):
        agreement(found, wanted, names, leave_out=("weight",))
    with pytest.raises(UsageError, match="under 2 names"):
        agreement(found, wanted, names[:2])


def test_accuracy_is_of_what_is_said() -> None:
    wanted = torch.tensor([[0, UNSAID], [1, 1]])
    assert accuracy(torch.tensor([[0, 0], [1, 0]]), wanted) == pytest.approx(2 / 3)
    with pytest.raises(UsageError, match="0 of them stated"):
        accuracy(wanted, torch.full_like(wanted, UNSAID))


def overlap(prediction: Tensor, target: Tensor, names: tuple[str, ...]) -> Overlap:
    found = Confusion(names)
    found.add(prediction, target)
    return found.overlap()


def test_overlap_leaves_out_what_occurs_nowhere() -> None:
    target = torch.tensor([[[0, 0], [1, 1]], [[0, 0], [0, 0]]])
    prediction = torch.tensor([[[0, 1], [1, 1]], [[0, 0], [0, 2]]])
    result = overlap(prediction, target, ("a", "b", "c", "d"))
    assert result.union == pytest.approx({"a": 4 / 6, "b": 2 / 3, "c": 0.0})  # c was predicted where there was none
    assert result.mean == pytest.approx(4 / 9) and result.pixels == 6 / 8
    parts = Confusion(("a", "b", "c", "d"))
    for k in range(2):
        parts.add(prediction[k : k + 1].to(torch.uint8), target[k : k + 1])
    assert parts.overlap() == result and len(parts) == 2
    assert parts.counts.tolist() == [[4, 1, 1, 0], [0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    with pytest.raises(UsageError, match="has class 2, outside the 2"):
        overlap(prediction, target, ("a", "b"))
    with pytest.raises(UsageError, match="want both"):
        overlap(prediction[:1], target, ("a", "b", "c"))


def test_code_usage_is_counted_over_chunks() -> None:
    usage = CodeUsage(4)
    for latent in (torch.tensor([[0, 2]]), torch.tensor([[2, 0], [2, 2]])):
        usage.add(latent)
    assert (usage.counts.tolist(), usage.used, len(usage)) == ([2, 0, 4, 0], 0.5, 3)
    with pytest.raises(UsageError, match="codes from 1 to 4 are outside a codebook of 4"):
        usage.add(torch.tensor([[1, 4]]))


def test_equal_error_balances_both_kinds_and_ignores_the_threshold() -> None:
    rng = Stream(12)
    same, different = 1 + rng.normal(40_000), -1 + rng.normal(30_000)
    rate, threshold = equal_error(same, different)
    assert rate == pytest.approx(0.1587, abs=0.004) and threshold == pytest.approx(0, abs=0.03)  # Phi(-1)
    moved = verification(same + 5, different + 5)
    assert moved.equal_error == pytest.approx(rate, abs=1e-6) and moved.refused < 0.01 < moved.accepted == 1
    assert moved.accuracy == (moved.accepted + moved.refused) / 2 < verification(same, different).accuracy
    assert equal_error(torch.tensor([2.0, 3.0]), torch.tensor([0.0, 1.0])) == (0.0, 2.0)
    assert same_person(torch.tensor([-1.0, 0.0, 2.0, -3.0])) == 0.5
    for wrong in (lambda: equal_error(same, same[:0]), lambda: same_person(same[:0])):
        with pytest.raises(UsageError):
            wrong()


def test_few_recognised_pictures_are_warned_of_beside_the_figures() -> None:
    target = torch.zeros(100, 1, dtype=torch.int64)
    facts = Evidence(prediction=target, target=target, factor_names=("shape",))
    assert [f.name for f in measure(["agreement"], facts)] == ["agreement", "agreement/shape"]
    for inside, warned in ((91, False), (89, True)):
        figures = measure(["agreement", "accuracy"], replace(facts, in_distribution=torch.arange(100) < inside))
        names = ["agreement", "agreement/shape", "agreement/recognised", "recognised", "accuracy"]
        assert [f.name for f in figures] == names
        assert figures[3].value == inside / 100 and (figures[3].warning is not None) is warned
        assert [f.warning for f in figures if f.name != "recognised"] == [None] * 4
    assert "only 89.0% of the pictures are recognised" in str(figures[3].warning)


# -- figures --------------------------------------------------------------------------------------


def test_a_figure_carries_what_it_must_be_read_with() -> None:
    a, b = two_clouds()
    names = ["frechet", "kernel", "precision", "recall", "density", "coverage"]
    evidence = Evidence(fake=b, real=a, floors={"frechet": 0.25})
    figures = measure(names, evidence, features="f", reference="r", resize="bicubic")
    assert [f.name for f in figures] == names
    assert [f.floor for f in figures] == [0.25, *[None] * 5]
    assert figures[0].value == pytest.approx(frechet(a, b), rel=1e-12) and figures[1].spread is not None
    assert all(f.samples == len(b) and f.features == "f" and f.resize == "bicubic" for f in figures)
    assert all((str(FEW) in str(f.warning)) is (f.name != "kernel") for f in figures)
    assert "not biased, but uncertain by" in str(figures[1].warning)
    assert json.loads(json.dumps(figures[0].as_dict()))["warning"] == figures[0].warning
    enough = Figure("frechet", 1.0, FEW, "lower", of_distribution=True)
    assert enough.warning is None
    clean, noisy = pictures()
    assert measure(["psnr"], Evidence(scores={"psnr": psnr(noisy, clean)}))[0].warning is None
    assert "not a number" in str(measure(["psnr"], Evidence(scores={"psnr": psnr(clean, clean)}))[0].warning)


def test_every_metric_can_be_asked_for_by_name() -> None:
    a, b = two_clouds(60, 60, 8)
    clean, noisy = pictures()
    factors = torch.tensor([[0, 1], [1, 1]])
    usage, maps = CodeUsage(4), Confusion(("sky", "ground"))
    usage.add(torch.tensor([[0, 2], [2, 0]]))
    maps.add(factors[:, None], factors.flip(0)[:, None])
    edges = Boundaries()
    edges.add(torch.eye(8)[None, None], torch.eye(8)[None, None])
    evidence = Evidence(
        fake=b,
        real=a,
        grain=Compared(b, Moments.of(a), "grain-0", "none"),
        untrained=Compared(b, Moments.of(a), "untrained-0", "none"),
        imagenet=Compared(b, Moments.of(a), "imagenet-0", "to 224"),
        fake_views=torch.zeros(8, 1, 8, 8, dtype=torch.uint8),
        real_views=torch.zeros(8, 1, 8, 8, dtype=torch.uint8),
        fake_to_training=torch.tensor([1.0, 3.0]),
        real_to_training=torch.tensor([2.0, 4.0]),
        scores={name: metric.score(noisy, clean) for name, metric in METRICS.items() if metric.score is not None}
        | {"consistency": torch.tensor([30.0, 32.0]), "perceptual": torch.tensor([0.25, 0.5])},
        maps="maps-0",
        path_lengths=torch.tensor([3.0, 5.0], dtype=torch.float64),
        reconstructed=b,
        code_usage=usage,
        log_prob=torch.tensor([-10.0, -30.0]),
        dims=10,
        logits=a,
        prediction=factors,
        target=factors.flip(0),
        factor_names=("shape", "colour"),
        leave_out=("shape",),
        in_distribution=torch.tensor([True, False]),
        confusion=maps,
        boundaries=edges,
        genuine=torch.tensor([0.5, -0.1]),
        impostor=torch.tensor([-0.5, -0.3]),
        caption_log_prob=torch.tensor([-3.0, -2.0]),
        caption_words=torch.tensor([3, 2]),
        caption_best=torch.tensor([-3.0, -2.0]),
        zero_shot=ZeroShot({"text": Answers(torch.tensor([0, 2]), torch.tensor([4, 4]))}, 2),
        linear_probe=Probe({"label": 0.75}, 20, 4, 8),
        linear_probe_pixels=Probe({"label": 0.5}, 20, 4, 8),
        linear_probe_untrained=Probe({"label": 0.25}, 20, 4, 8),
        synthetic=TrainedOnSynthetic(0.5, {10: 0.25}, {10: 0.75}, 20, 4),
        adaptation=DomainAdaptation(0.5, 0.25, 0.75, 20, 4),
    )
    figures = {f.name: f for f in measure(list(METRICS), evidence)}
    parts = {"agreement/shape": 0.0, "agreement/colour": 1.0, "miou/sky": 0.0, "miou/ground": 0.5}
    parts |= {"agreement/recognised": 0.5, "verification/accepted": 0.5, "verification/refused": 1.0}
    parts |= {"edge-f/precision": 1.0, "edge-f/recall": 1.0, "edge-f/threshold": 1 / 51}
    parts |= {"train-on-synthetic/10 real": 0.25, "train-on-synthetic/10 real and 20 made": 0.75}
    parts |= {"domain-adaptation/untranslated": 0.25, "domain-adaptation/target's own labels": 0.75}
    assert {name: figures.pop(name).value for name in parts} == parts
    assert set(figures) == set(METRICS) and all(math.isfinite(f.value) for f in figures.values())
    assert figures["nll"].value == 20
    assert figures["zero-shot"].value == 0.5 and figures["zero-shot-chance"].value == 0.25
    assert [figures[f"linear-probe{of}"].value for of in ("", "-pixels", "-untrained")] == [0.75, 0.5, 0.25]
    assert figures["frechet-grain"].value == figures["frechet-untrained"].value == figures["frechet"].value
    assert figures["frechet-grain"].features == "grain-0" and figures["frechet"].features is None
    assert figures["frechet-imagenet"].value == figures["frechet"].value
    assert (figures["frechet-imagenet"].features, figures["frechet-imagenet"].resize) == ("imagenet-0", "to 224")
    assert figures["perceptual"].value == 0.375 and figures["perceptual"].features == "maps-0"
    assert figures["two-sample"].value == figures["copied"].value == 0.5
    assert figures["nearer-to-training"].value == 0.75
    assert figures["codes-used"].value == 0.5 and figures["rebuilt-frechet"].value == figures["frechet"].value
    assert figures["bits-per-dim"].value == pytest.approx((2 - math.log(LEVEL)) / math.log(2))
    assert (figures["accuracy"].value, figures["agreement"].value) == (0.5, 1.0)
    assert (figures["miou"].value, figures["pixel-accuracy"].value) == (0.25, 0.5)
    assert (figures["verification"].value, figures["equal-error"].value, figures["same-person"].value) == (0.75, 0, 0.5)
    assert figures["perplexity"].value == pytest.approx(math.e) and figures["perplexity-over-grammar"].value == 1
    assert figures["frechet"].value == measure(["frechet"], Evidence(fake=b, moments=Moments.of(a)))[0].value


def test_a_metric_that_cannot_be_computed_says_what_it_lacks() -> None:
    a, b = two_clouds()
    with pytest.raises(UsageError, match=r"'psnr' needs scores\['psnr'\] .*; what is here can give: frechet, kernel"):
        measure(["psnr"], Evidence(fake=b, real=a))
    with pytest.raises(UnknownName, match="did you mean frechet"):
        measure(["frechett"], Evidence(fake=b, real=a))


def test_only_what_compares_distributions_is_biased() -> None:
    told = {"samples": 10, "better": "lower"}
    assert not Figure("psnr", 1.0, **told).as_dict()["biased"]  # type: ignore[arg-type]
    assert Figure("frechet", 1.0, of_distribution=True, **told).as_dict()["biased"]  # type: ignore[arg-type]


def test_fingerprints_follow_contents_and_nothing_else() -> None:
    a, b = two_clouds()
    assert fingerprint({"a": a, "b": b}) == fingerprint({"b": b.clone(), "a": a})
    assert len({fingerprint(a), fingerprint(b), fingerprint(a.double()), fingerprint(a[None])}) == 4
    assert fingerprint(a.bfloat16()) != fingerprint(a) and fingerprint(torch.tensor(1.0)) != fingerprint(a)


# -- copies, constants, few and broken features ------------------------------------------------------


def test_a_copy_lies_at_no_distance_and_its_ball_holds_copies_alone() -> None:
    """As the definition has it, by brute force over differences: products would leave it to rounding."""
    rng = Stream(20)
    base = 5 + 3 * rng.normal(12, 40)
    real, fake = base.repeat(4, 1), torch.cat([base[:6].repeat(3, 1), 5 + 3 * rng.normal(10, 40)])
    ours = precision_recall(real, fake, 3)

    def brute(points: Tensor, manifold: Tensor, k: int = 3) -> Tensor:
        d = (points[:, None].double() - manifold[None].double()).square().sum(2)
        own = (manifold[:, None].double() - manifold[None].double()).square().sum(2).fill_diagonal_(torch.inf)
        return d <= own.sort(1).values[:, k - 1]  # (points, balls)

    of_fake, of_real = brute(fake, real), brute(real, fake)
    assert ours.precision == float(of_fake.any(1).double().mean()) == 18 / 28
    assert ours.density == float(of_fake.double().sum(1).mean() / 3)
    assert ours.coverage == float(of_fake.any(0).double().mean()) == 0.5
    assert ours.recall == float(of_real.any(1).double().mean())


def test_what_lies_at_the_border_is_inside() -> None:
    """Fakes that are the reals: every ball holds its k neighbours and its centre, whatever the rounding."""
    real = Stream(21).normal(200, 64) * 100 + 1000
    for k in (1, 3, 5):
        ours = precision_recall(real, real.clone(), k)
        assert (ours.precision, ours.recall, ours.coverage) == (1, 1, 1) and ours.density == (k + 1) / k


def test_nearest_rows_are_exact_among_copies_and_across_blocks() -> None:
    rng = Stream(22)
    bank = rng.normal(BLOCK + 500, 30) + 50
    bank[BLOCK + 20 : BLOCK + 40] = bank[:20]
    distance, index = nearest(bank[:40], bank, 3, skip_self=True)
    squared, same = nearest_squared(bank[:40], blocks(bank, 300), 3, len(bank), skip_self=True)
    assert torch.equal(squared.sqrt(), distance) and torch.equal(same, index)
    assert (distance[:20, 0] == 0).all() and torch.equal(index[:20, 0], torch.arange(20) + BLOCK + 20)
    exact = torch.cdist(bank[:40].double(), bank.double(), compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(distance, exact.sort(1).values[:, 1:4], rtol=1e-6, atol=0)


def test_constant_features_and_two_pictures() -> None:
    same, other = torch.full((6, 5), 3.0), torch.full((6, 5), 4.0)
    assert frechet(same, same) == 0 and frechet(same, other) == pytest.approx(5)
    assert kernel(same, same, Stream(0)).value == pytest.approx(0, abs=1e-9)
    assert kernel(same, other, Stream(0)).value == pytest.approx(10**3 + 17**3 - 2 * 13**3, rel=1e-6)
    support = precision_recall(same, same)
    assert (support.precision, support.recall, support.coverage, support.density) == (1, 1, 1, 2)
    assert precision_recall(same, other).precision == 0
    pair = Stream(1).normal(2, 5)
    assert frechet(pair, pair) == pytest.approx(0, abs=1e-9)
    assert kernel(pair, pair + 1, Stream(0)).spread is None, "one subset has no deviation"
    whole = measure(["kernel"], Evidence(fake=pair, real=pair + 1))[0]
    assert whole.spread is None and whole.warning is not None


def test_kernel_subsets_differ_and_their_deviation_says_something() -> None:
    a, b = two_clouds(400, 400)
    found = kernel(a, b, Stream(3), subsets=50)
    assert found.subset == 200 and found.spread is not None and found.spread > 1e-3 * abs(found.value)
    assert found.value == pytest.approx(float(mmd2(a, b)), abs=4 * found.spread)


def test_kernel_agrees_with_subsets_taken_one_by_one() -> None:
    """The definition in float64, subset by subset, where the sums are taken from one matrix for all."""
    a, b = two_clouds(90, 70, 12)
    rng, values = Stream(5), []
    picks = [[rng.permutation(n)[:35] for _ in range(8)] for n in (90, 70)]

    def k(x: Tensor, y: Tensor) -> Tensor:
        return (x.double() @ y.double().T / 12 + 1) ** 3

    for i, j in zip(*picks, strict=True):
        x, y = a[i], b[j]
        inner = sum(float(k(z, z).sum() - k(z, z).diagonal().sum()) for z in (x, y))
        values.append(inner / (35 * 34) - 2 * float(k(x, y).mean()))
    ours = kernel(a, b, Stream(5), subsets=8)
    assert ours.value == pytest.approx(np.mean(values), rel=1e-7)
    assert ours.spread == pytest.approx(np.std(values), rel=1e-5)


def test_the_classifier_score_survives_certainty() -> None:
    """A class that is 2,000 nats less likely in every picture of a split has a probability of 0."""
    logits = torch.zeros(40, 3)
    logits[:, 2] = -2000
    assert classifier_score(logits) == (1.0, 0.0)
    logits[::2, 0], logits[1::2, 1] = 1000, 1000
    assert classifier_score(logits)[0] == pytest.approx(2, rel=1e-9)
    assert classifier_score(torch.zeros(20, 1)) == (1.0, 0.0)


def test_features_that_are_not_finite_are_refused() -> None:
    a, b = two_clouds(30, 30, 4)
    for bad in (torch.nan, torch.inf):
        broken = a.clone()
        broken[3, 1] = bad
        for measured in (
            lambda x: frechet(x, b),
            lambda x: kernel(x, b, Stream(0)),
            lambda x: precision_recall(b, x),
            lambda x: classifier_score(x),
            lambda x: auroc(x[:, 1], b[:, 1]),
        ):
            with pytest.raises(UsageError, match="1 of 30 rows are not finite"):
                measured(broken)


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    high, low = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([2.0, 0.0])
    assert auroc(high, low)[0] == (2 + 1 + 1.5) / 6
    rng = Stream(23)
    apart = [auroc(1 + rng.normal(200), rng.normal(300))[0] for _ in range(60)]
    assert np.mean(apart) == pytest.approx(0.7602, abs=0.01)  # Phi(1 / sqrt 2)
    assert auroc(1 + rng.normal(200), rng.normal(300))[1] == pytest.approx(np.std(apart), rel=0.35)


def test_moments_are_those_of_numpy_at_any_width() -> None:
    x = Stream(24).normal(BLOCK + 30, 600) + 3  # wide enough to be halved
    found = Moments.of(x)
    expected = np.cov(x.double().numpy(), rowvar=False)
    np.testing.assert_allclose(found.covariance.numpy(), expected, rtol=1e-10, atol=1e-12)
    assert torch.equal(found.covariance, found.covariance.T)
    torch.testing.assert_close(found.root @ found.root, found.covariance, rtol=1e-9, atol=1e-10)


def test_bits_say_what_they_are_not_comparable_with() -> None:
    padded = Evidence(log_prob=torch.full((4,), -1000.0), dims=1024, data_dims=784, level=1.0)
    figure = measure(["bits-per-dim"], padded)[0]
    assert figure.value == pytest.approx(1000 / math.log(2) / 1024)
    assert f"at most {1000 / math.log(2) / 784:.3f}" in str(figure.warning)
    assert measure(["bits-per-dim"], replace(padded, data_dims=1024))[0].warning is None
    assert bits_without_padding(2.0, 1024, 784) * 784 == pytest.approx(2 * 1024)


def test_colourfulness_is_that_of_opponents_and_grey_has_none() -> None:
    """Hasler and Süsstrunk's M, by hand: of one red and one green pixel, and of an even blue."""
    halves = torch.tensor([[255.0, 0.0], [0.0, 255.0], [0.0, 0.0]]).view(1, 3, 1, 2) / 127.5 - 1
    # rg is 255 and -255: deviation 255, mean 0; yb is 127.5 twice: deviation 0, mean 127.5
    assert colourfulness(halves).item() == pytest.approx(255 + 0.3 * 127.5)
    blue = torch.tensor([0.0, 0.0, 255.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4) / 127.5 - 1
    assert colourfulness(blue).item() == pytest.approx(0.3 * 255)
    grey = torch.rand(3, 1, 8, 8).expand(3, 3, 8, 8)
    assert torch.allclose(colourfulness(grey), torch.zeros(3, dtype=torch.float64), atol=1e-9)
    assert colour_gap(grey[:1], blue).item() == pytest.approx(76.5)
    with pytest.raises(UsageError, match="3 channels, and these have 1"):
        colourfulness(grey[:, :1])
