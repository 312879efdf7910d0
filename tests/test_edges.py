"""Edges: the detector's loss and network, Canny for all thresholds at once, and the F-measure of boundaries."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from zeuxis.api.evaluate import default_metrics, evaluate
from zeuxis.api.features import Judges
from zeuxis.api.model import Model, load
from zeuxis.catalog.build import build
from zeuxis.cli import main
from zeuxis.data.library import open_source
from zeuxis.data.pairing import outlines
from zeuxis.degrade.canny import canny, joined
from zeuxis.errors import Unsupported, UsageError
from zeuxis.losses.balanced import balanced_cross_entropy
from zeuxis.metrics.boundaries import Boundaries, _matches, ridges
from zeuxis.nn.holistic import HolisticNet
from zeuxis.provenance.record import read_record
from zeuxis.rng import Stream
from zeuxis.spec import DataSpec, Shape
from zeuxis.systems.recognition.edge_detector import EdgeDetector


def line(column: int, side: int = 16, strength: float = 1.0) -> Tensor:
    """A vertical line one pixel wide, ``(1, 1, side, side)``."""
    found = torch.zeros(1, 1, side, side)
    found[..., column] = strength
    return found


def score(edges: Tensor, target: Tensor) -> tuple[float, float, float]:
    counted = Boundaries()
    counted.add(edges, target)
    best = counted.best()
    return best.value, best.precision, best.recall


# -- outlines and the loss ----------------------------------------------------------------------------


def test_outlines_are_one_pixel_wide_and_exact() -> None:
    layout = torch.zeros(1, 5, 5, dtype=torch.int64)
    layout[0, 1:4, 1:4] = 2
    wanted = torch.tensor([[0, 1, 1, 1, 0], [1, 0, 0, 1, 0], [1, 0, 0, 1, 0], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0]])
    assert torch.equal(outlines(layout)[0, 0], wanted.float())
    assert not outlines(torch.full((2, 4, 4), 3)).any()


def test_the_loss_is_the_published_sum() -> None:
    logits = Stream(0, "loss").normal(2, 1, 3, 4)
    target = torch.zeros(2, 1, 3, 4)
    target[0, 0, 0], target[1, 0, 1, 2] = 1, 1
    total = 0.0
    for x, y in zip(logits, target, strict=True):
        beta = float((y == 0).sum()) / 12
        p = torch.sigmoid(x)
        total += float(-beta * p[y == 1].log().sum() - (1 - beta) * (1 - p[y == 0]).log().sum())
    assert float(balanced_cross_entropy(logits, target)) == pytest.approx(total / 24, rel=1e-5)


def test_rare_edges_weigh_as_much_as_all_else() -> None:
    target = line(3)
    nothing = torch.zeros(1, 1, 16, 16, requires_grad=True)  # p = 1/2 everywhere
    balanced_cross_entropy(nothing, target).backward()
    assert nothing.grad is not None
    edge, rest = nothing.grad[target == 1].abs().sum(), nothing.grad[target == 0].abs().sum()
    torch.testing.assert_close(edge, rest)


# -- the network --------------------------------------------------------------------------------------


def test_every_stage_answers_at_the_size_of_the_picture_and_the_last_answer_fuses_them() -> None:
    net = HolisticNet(3, widths=(4, 6, 8), depths=(1, 2, 1))
    found = net(Stream(0, "x").normal(2, 3, 21, 33))
    assert [tuple(each.shape) for each in found] == [(2, 1, 21, 33)] * 4
    torch.testing.assert_close(found[-1], torch.stack(found[:-1]).mean(0), atol=1e-6, rtol=1e-5)  # as it begins


@pytest.mark.parametrize("size", [(57, 61), (64, 50), (49, 64)])
def test_coarse_answers_lie_where_they_were_made_in_pictures_of_any_size(size: tuple[int, int]) -> None:
    """What lies beyond the far borders changes nothing of what is far from them: coarse maps are not squeezed."""
    net = HolisticNet(1, widths=(2, 3, 4, 4), depths=(1, 1, 1, 1))
    for value in net.parameters():
        value.data = Stream(3, "net", *value.shape).normal(*value.shape)
    image = Stream(0, "image").normal(1, 1, 64, 64)
    cut = image[:, :, : size[0], : size[1]]
    for whole, part in zip(net(image), net(cut), strict=True):
        assert part.shape == cut.shape
        torch.testing.assert_close(part[..., :16, :16], whole[..., :16, :16], rtol=1e-4, atol=1e-4)


def test_the_detector_learns_an_outline_that_is_no_step_and_passes_over_a_step_that_is_none() -> None:
    """What no filter can: of two steps alike in strength, one between other colours, one is an outline."""
    system = EdgeDetector(Shape(3, 16, 16), layout_names=("a", "b"), widths=(8, 8), depths=(2, 1), averaged=False)
    image, layout = torch.full((1, 3, 16, 16), -0.5), torch.zeros(1, 16, 16, dtype=torch.int64)
    image[:, 0, :, 5:], image[:, 1, :, 11:] = 0.5, 0.5  # a red step, then a green one
    layout[..., 11:] = 1
    optimiser = torch.optim.Adam(system.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        sum(balanced_cross_entropy(each, outlines(layout)) for each in system.network(image)).backward()  # type: ignore[union-attr]
        optimiser.step()
    edges = system.detect_edges(image)[0, 0, 4:-4]
    assert edges[:, 10].min() > 0.7 and edges[:, 4].max() < 0.3
    filtered = canny(image)[0, 0, 4:-4]
    assert filtered[:, 4:6].amax() > 0.2 and filtered[:, 10:12].amax() > 0.2


def test_a_detector_needs_a_layout() -> None:
    with pytest.raises(UsageError, match="layout"):
        EdgeDetector(Shape(3, 16, 16))
    with pytest.raises(UsageError, match="for a stage"):
        EdgeDetector(Shape(3, 16, 16), layout_names=("a", "b"), widths=(8,), depths=(1, 1))


# -- Canny --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("high", [0.2, 0.5, 0.8])
def test_one_answer_holds_hysteresis_at_every_threshold(high: float) -> None:
    strength = Stream(0, "canny").uniform(1, 1, 24, 24)
    strength = strength * (strength > 0.3)
    ratio = 0.6
    groups, _ = ndimage.label(strength[0, 0].numpy() >= ratio * high, np.ones((3, 3)))
    kept = np.unique(groups[strength[0, 0].numpy() >= high])
    wanted = np.isin(groups, kept[kept > 0])
    assert wanted.any() and not wanted.all()
    assert np.array_equal(joined(strength, ratio)[0, 0].numpy() >= high, wanted)


def test_canny_finds_a_step_once_and_nothing_in_a_slope() -> None:
    image = torch.full((1, 3, 16, 16), -1.0)
    image[..., 8:] = 1.0
    found = canny(image)[0, 0, 4:-4] > 0.1
    assert (found.sum(1) == 1).all()
    slope = torch.linspace(-0.2, 0.2, 16).expand(1, 3, 16, 16)
    assert not (canny(slope) > 0.1).any()


# -- the measure --------------------------------------------------------------------------------------


def test_edges_in_their_place_score_one_and_elsewhere_nothing() -> None:
    assert score(line(5), line(5)) == (1.0, 1.0, 1.0)
    assert score(line(6), line(5)) == (1.0, 1.0, 1.0)  # within the tolerance
    assert score(line(8), line(5))[0] == 0.0
    assert score(torch.zeros(1, 1, 16, 16), line(5))[0] == 0.0


def test_an_edge_matches_one_pixel_alone() -> None:
    two = line(4) + line(6)  # both within reach of the one in the middle
    value, precision, recall = score(two, line(5))
    assert (precision, recall) == (0.5, 1.0) and value == pytest.approx(2 / 3)


def test_as_many_pairs_are_made_as_there_can_be() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        near = [sorted(rng.choice(5, rng.integers(0, 3), replace=False).tolist()) for _ in range(4)]
        most = max(sum(k in near[i] for i, k in enumerate(order)) for order in permutations(range(5), 4))
        assert _matches(near) == most


def test_the_threshold_is_one_for_all_pictures() -> None:
    """Each picture alone has a threshold at which it is perfect, and the two have none in common."""
    faint = torch.maximum(line(5, strength=0.3), line(12, strength=0.1))  # 0.3 is an edge, 0.1 none
    bold = torch.maximum(line(5, strength=0.9), line(12, strength=0.6))  # 0.9 is an edge, 0.6 none
    each = [score(edges, line(5))[0] for edges in (faint, bold)]
    assert each == [1.0, 1.0] and score(torch.cat([faint, bold]), line(5).expand(2, -1, -1, -1))[0] < 0.9


def test_thick_edges_are_thinned_and_thin_ones_stay() -> None:
    at = torch.arange(16.0)
    thick = (-((at - 7) ** 2) / 8).exp().expand(1, 1, 16, 16).contiguous()
    assert torch.equal(ridges(thick) > 0, line(7) > 0)
    aslant = torch.eye(16)[None, None]
    assert torch.equal(ridges(aslant), aslant)
    with pytest.raises(UsageError, match="want both"):
        Boundaries().add(aslant[0], aslant[0])


def test_it_is_measured_against_exact_outlines() -> None:
    model = load("canny")
    (whole, precision, recall, threshold) = evaluate(model, metrics=["edge-f"], samples=6)
    p, r = precision.value, recall.value
    assert whole.value == pytest.approx(2 * p * r / (p + r)) and 0.4 < whole.value < 1 and 0 < threshold.value < 1
    assert whole.samples == 6
    with pytest.raises(Unsupported, match="cannot judge"):
        evaluate(load("segmenter-scenes"), metrics=["edge-f"], samples=2)


def test_a_detector_reads_what_another_model_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it would what a ControlNet draws of edges: where one ships for the data, pictures are held against layouts."""
    spec = open_source("scenes", 32, split="test").spec
    reader = build("edge-detector", spec, {"widths": [4, 4], "depths": [1, 1]}, 0).eval()
    asked = []

    def of(judges: Judges, data: str, verb: str, shape: tuple[int, ...]) -> Model | None:
        asked.append((data, verb, shape))
        return Model("reader", reader, {})

    monkeypatch.setattr(Judges, "of", of)
    found = evaluate(load("last-frame"), data="scenes | edges", metrics=["edge-f"], samples=2)
    assert asked == [("scenes | edges", "detect_edges", (3, 32, 32))]
    assert found[0].name == "edge-f" and found[0].samples == 2 and 0 <= found[0].value <= 1


# -- the command --------------------------------------------------------------------------------------


def test_the_command_draws_edges_at_the_pictures_own_size(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    photo = tmp_path / "photo.png"
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, 15:] = 255
    Image.fromarray(pixels).save(photo)
    assert main(["classify", "canny", str(photo)]) == 0
    made = tmp_path / "photo-edges.png"
    edges = np.asarray(Image.open(made))
    assert edges.shape == (20, 30) and (edges > 60).any(0).nonzero()[0].tolist() in ([14], [15])
    assert read_record(made)["condition"]["source"]["file"] == "photo.png" and read_record(made)["synthetic"]
    assert main(["classify", "features-digits", str(photo), "--out", str(tmp_path)]) == 2
    assert "draws nothing" in capsys.readouterr().err
    assert main(["classify", "canny", str(photo), "--out", str(photo)]) == 2  # the original is in the way


def test_a_built_detector_reads_pictures_of_any_size() -> None:
    spec = DataSpec(Shape(3, 32, 32), layout_names=("a", "b", "c"), provides=frozenset({"layout"}))
    system = build("edge-detector", spec, {"widths": [4, 4], "depths": [1, 1]}, 0)
    assert default_metrics(Model("untrained", system, {})) == ("edge-f",)
    with torch.no_grad():
        found = system.detect_edges(torch.zeros(1, 3, 19, 45))
    assert found.shape == (1, 1, 19, 45) and 0 <= float(found.min()) <= float(found.max()) <= 1
