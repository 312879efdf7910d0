"""Evaluation goes through the pictures a chunk at a time: the same figures, the memory of a chunk, any shape."""

from __future__ import annotations

import json
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zeuxis.api import evaluate as module
from zeuxis.api.evaluate import _values_of_data, chunk_size, evaluate, held_out, held_out_order, seed_of
from zeuxis.api.measurable import enough
from zeuxis.api.model import Model, load
from zeuxis.batch import Batch, Condition, Shape
from zeuxis.card import Card
from zeuxis.data.source import ArraySource
from zeuxis.distributions.dequantise import LEVEL
from zeuxis.errors import Unsupported, UsageError
from zeuxis.game import System
from zeuxis.knobs import Sampling
from zeuxis.metrics.likelihood import bits_per_dim
from zeuxis.metrics.table import CALLED, METRICS, Evidence, unknown_metric
from zeuxis.rng import ImageRng, Rng, Stream
from zeuxis.spec import DataSpec
from zeuxis.verbs import Likelihood

ALIVE: list[weakref.ref[Tensor]] = []  # the pictures that were given out or generated

REAL = pytest.mark.skipif("ZEUXIS_DATA" not in os.environ, reason="set ZEUXIS_DATA to a folder of datasets")


def remembered(images: Tensor) -> Tensor:
    ALIVE.append(weakref.ref(images))
    return images


class Averages(System):
    """Generates noise, and codes a picture as the means of its 4x4 squares."""

    card = Card(
        "averages",
        title="Averages",
        family="density",
        year=2000,
        paper="none",
        verbs={"sample", "encode", "decode", "log_prob"},
    )

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        self.weight = nn.Parameter(torch.ones(()))

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling) -> Tensor:
        return remembered(rng.normal(len(rng), *self.shape))

    def encode(self, image: Tensor) -> Tensor:
        return F.avg_pool2d(image, 4)

    def decode(self, latent: Tensor) -> Tensor:
        return remembered(F.interpolate(latent, scale_factor=4))

    def log_prob(self, image: Tensor, rng: Rng) -> Tensor:
        return -image.square().flatten(1).sum(1)


class Counted(ArraySource):
    """A source that remembers, weakly, the pictures it gave out."""

    most = 0

    def batch(self, index: Tensor) -> Batch:
        self.most = max(self.most, sum(ref() is not None for ref in ALIVE))
        batch = super().batch(index)
        remembered(batch.image)
        return batch


def stub(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int, int], n: int) -> tuple[Counted, list[Any]]:
    """A source of ``n`` random pictures that every name opens, and the sizes it was opened with."""
    pixels = np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)
    source, sizes = Counted("stub", pixels), []

    def opened(name: str, size: object, split: str, fit: str) -> Counted:
        sizes.append(size)
        return source

    monkeypatch.setattr("zeuxis.data.library.open_source", opened)
    ALIVE.clear()
    return source, sizes


def averages(shape: tuple[int, int, int]) -> Model:
    return Model("averages", Averages(Shape(*shape)), {"data": "stub", "config": {}, "sha256": ""})


def test_no_more_than_a_chunk_of_pictures_is_alive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shape, n = (3, 64, 64), 48
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path))  # nothing is known of the reference yet
    monkeypatch.setattr("zeuxis.api.reference.CHUNK", 4)
    source, _ = stub(monkeypatch, shape, n)
    monkeypatch.setattr(module, "CHUNK", 4)
    wanted = ("frechet", "precision", "recall", "rebuilt-frechet", "psnr", "bits-per-dim")
    kept: list[Evidence] = []
    compute = module.measure

    def spied(names: Any, evidence: Evidence, **rest: Any) -> Any:
        kept.append(evidence)
        return compute(names, evidence, **rest)

    monkeypatch.setattr(module, "measure", spied)
    figures = evaluate(averages(shape), metrics=wanted, samples=n, features="pixels-8")
    assert [f.name for f in figures] == list(wanted) and {f.samples for f in figures} == {n}
    assert len(ALIVE) == 4 * n // 4 and source.most == 0, "no picture outlives its chunk"
    values = [getattr(kept[0], name) for name in kept[0].given - {"psnr"}]
    assert sum(x.numel() for x in values if isinstance(x, Tensor)) == 3 * n * 3 * 8 * 8 + n, "features and likelihoods"


def test_chunks_are_smaller_where_pictures_are_larger() -> None:
    assert chunk_size(Shape(3, 64, 64)) == chunk_size(Shape(1, 8, 8)) == 256
    assert chunk_size(Shape(3, 512, 512)) == 5 and chunk_size(Shape(3, 4096, 4096)) == 1


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        pytest.param("vqgan", ("rebuilt-frechet", "psnr", "codes-used"), marks=REAL),
        ("segmenter-scenes", ("miou", "recognised")),
        ("identity-faces", ("verification", "same-person")),
        ("judge-scenes", ("agreement",)),
        pytest.param("cvae", ("frechet", "accuracy", "kernel"), marks=REAL),
    ],
)
def test_figures_do_not_depend_on_the_chunk(
    name: str, metrics: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, whole = load(name), {}
    for chunk in (40, 7):
        monkeypatch.setattr(module, "CHUNK", chunk)
        found = {f.name: f for f in evaluate(model, metrics=metrics, samples=40)}
        whole = whole or found
        assert found.keys() == whole.keys() and {f.samples for f in found.values()} == {40}
        assert [f.value for f in found.values()] == pytest.approx(
            [f.value for f in whole.values()], rel=1e-4, abs=1e-6, nan_ok=True
        )


@pytest.mark.parametrize(("shape", "size"), [((3, 24, 32), (24, 32)), ((1, 16, 12), (16, 12)), ((3, 24, 24), 24)])
def test_a_model_is_measured_at_its_own_shape(
    shape: tuple[int, int, int], size: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, sizes = stub(monkeypatch, shape, 20)
    figures = evaluate(averages(shape), samples=20)
    assert sizes == [size, size]  # held-out pictures, and those of training for the floors
    assert {"frechet", "psnr", "bits-per-dim"} <= {f.name for f in figures}


def test_held_out_pictures_are_the_first_of_a_fixed_order() -> None:
    source = ArraySource("ramp", np.arange(30, dtype=np.uint8)[:, None, None, None])
    order = held_out_order(source, 100)
    assert sorted(order.tolist()) == list(range(30)) and order.tolist() != list(range(30))
    assert torch.equal(held_out_order(source, 7), order[:7])
    assert held_out(source, 7).index is not None and torch.equal(held_out(source, 7).index, order[:7])


def test_every_metric_that_scores_pictures_needs_its_own_scores() -> None:
    images = Stream(0).normal(2, 3, 16, 16)
    for name, metric in METRICS.items():
        assert (metric.scored or name == "consistency") == (name in metric.needs)  # a degradation's own
        if metric.score is not None:
            assert metric.score(images, images.flip(0)).shape == (2,)


def test_evaluations_of_different_seeds_share_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    shape, n = (1, 4, 4), 50
    stub(monkeypatch, shape, n)
    drawn: dict[int, list[bytes]] = {}
    for seed in range(3):
        model = averages(shape)
        draw, found = model.draw, drawn.setdefault(seed, [])

        def spied(*args: Any, draw: Any = draw, found: list[bytes] = found) -> Tensor:
            images = draw(*args)
            found += [image.numpy().tobytes() for image in images]
            return images

        monkeypatch.setattr(model, "draw", spied)
        evaluate(model, metrics=("frechet-grain",), samples=n, seed=seed)
    assert [len(set(found)) for found in drawn.values()] == [n] * 3
    assert len(set().union(*drawn.values())) == 3 * n
    # A generator reads 32 bits of its seed.
    seeds = [{seed_of(seed, k) % 2**32 for k in range(5000)} for seed in range(5)]
    assert len(set().union(*seeds)) == 5 * 5000


def test_the_spread_over_seeds_is_that_of_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of disjoint sets of noise: not the hundredth part that shifted seeds gave."""
    shape, n = (1, 4, 4), 40
    stub(monkeypatch, shape, n)
    asked = {"metrics": ("frechet",), "samples": n, "features": "pixels-8"}
    values = [evaluate(averages(shape), seed=seed, **asked)[0].value for seed in range(6)]  # type: ignore[arg-type]
    independent = [evaluate(averages(shape), seed=100 * seed, **asked)[0].value for seed in range(6)]  # type: ignore[arg-type]
    assert 0.3 < np.std(values) / np.std(independent) < 3


def test_the_reference_is_computed_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path))
    shape, n = (1, 16, 16), 40
    source, _ = stub(monkeypatch, shape, n)
    batches: list[int] = []
    batch = source.batch
    monkeypatch.setattr(source, "batch", lambda index: (batches.append(len(index)), batch(index))[1])
    asked = ("frechet", "frechet-grain", "frechet-untrained", "kernel", "precision", "two-sample", "copied")
    first = evaluate(averages(shape), metrics=asked, samples=n)
    count, batches[:] = len(batches), []
    again = evaluate(averages(shape), metrics=asked, samples=n)
    assert [(f.value, f.floor) for f in again] == [(f.value, f.floor) for f in first]
    assert len(batches) == 2 < count  # held-out pictures, and the training pictures that new ones are compared with
    floors = {f.name: f.floor for f in first}
    assert floors["frechet"] == pytest.approx(0, abs=1e-6)  # here the training pictures are the held-out ones
    assert floors["precision"] == 1 and floors["two-sample"] == 0.5


def test_every_figure_names_its_own_feature_space(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, (1, 16, 16), 20)
    figures = evaluate(averages((1, 16, 16)), metrics=("frechet", "frechet-grain", "frechet-untrained"), samples=20)
    assert [str(f.features).rpartition("-")[0] for f in figures] == ["pixels", "grain", "untrained"]


@pytest.mark.parametrize(
    ("of", "as_they_are", "level"),
    [
        (Likelihood.DENSITY, False, LEVEL),
        (Likelihood.DENSITY_OF_LEVELS, True, LEVEL),
        (Likelihood.GREY_LEVELS, True, 1.0),
    ],
)
def test_a_likelihood_is_given_the_pictures_that_it_is_of(
    of: Likelihood, as_they_are: bool, level: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = stub(monkeypatch, (1, 4, 4), 10)
    model = averages((1, 4, 4))
    seen: list[Tensor] = []
    monkeypatch.setattr(type(model.system), "likelihood_of", of)
    monkeypatch.setattr(
        type(model.system), "log_prob", lambda self, image, rng: seen.append(image) or image.sum((1, 2, 3))
    )
    found = evaluate(model, metrics=("bits-per-dim",), samples=10)[0].value
    image = source.batch(held_out_order(source, 10)).image
    assert torch.equal(torch.cat(seen), image) is as_they_are
    torch.testing.assert_close(torch.cat(seen), image, rtol=0, atol=LEVEL / 2 + 1e-6)
    assert found == pytest.approx(float(bits_per_dim(torch.cat(seen).sum((1, 2, 3)).double(), 16, level).mean()))


def test_what_is_padding_is_known_of_sets_that_are_padded() -> None:
    assert _values_of_data("fashion-mnist", Shape(1, 32, 32)) == 784
    assert _values_of_data("fashion-mnist", Shape(1, 28, 28)) is None
    assert _values_of_data("scenes", Shape(3, 32, 32)) is None and _values_of_data("own", Shape(1, 32, 32)) is None


@pytest.mark.parametrize("metric", [
    "frechet", "kernel", "frechet-grain", "frechet-untrained", "two-sample", "rebuilt-frechet", "precision", "recall",
    "density", "coverage", "classifier-score", "verification", "equal-error",
])  # fmt: skip
def test_what_too_few_pictures_cannot_give_is_said_before_any_is_drawn(
    metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    least = METRICS[metric].least
    assert least > 1
    stub(monkeypatch, (3, 16, 16), least - 1)
    model = averages((3, 16, 16))
    monkeypatch.setattr(Model, "draw", lambda *_, **__: pytest.fail("a picture was drawn"))
    with pytest.raises(UsageError, match=rf"{least - 1} pictures? (is|are) too few for {metric}, which needs {least}"):
        evaluate(model, metrics=[metric])


def test_one_picture_to_measure_on_leaves_metrics_out_and_says_which() -> None:
    assert enough(("frechet", "psnr", "precision"), 1) == (
        ("psnr",),
        "left out, for 1 picture is too few: frechet (from 2), precision (from 4)",
    )
    assert enough(("frechet", "psnr"), 2) == (("frechet", "psnr"), None)


class Told(Averages):
    """The same, told a class."""

    conditions = frozenset({"label"})

    def sample(self, condition: Condition, rng: ImageRng, how: Sampling) -> Tensor:
        return condition.required("label").float()[:, None, None, None].expand(-1, *self.shape)


@pytest.mark.parametrize(
    ("known", "held", "fits"),
    [
        (("ant", "bee", "cow"), ("ant", "bee", "cow"), True),
        (("ant", "bee", "cow"), ("ant", "bee"), True),
        (("ant", "bee", "cow"), ("bee", "cow"), False),  # 0 is the ant of the one and the bee of the other
        (("ant", "bee"), ("bee", "ant"), False),
        (("ant", "bee"), ("ant", "bee", "cow"), False),
        (("0", "1", "2"), ("ant", "bee", "cow"), True),  # of a network's file, which has numbers alone
        (("0", "1"), ("ant", "bee", "cow"), False),
        (("0", "1", "2"), ("00", "01"), True),
        (("1", "2", "3"), ("0", "1", "2"), False),  # folders 1 to 3, and a file that counts from 0
        (("0", "1", "2"), ("1", "2"), False),
    ],
)
def test_a_class_is_not_taken_for_another_of_its_number(
    known: tuple[str, ...], held: tuple[str, ...], fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.zeros((8, 3, 16, 16), np.uint8)
    labelled = ArraySource("other", pixels, fields={"label": np.arange(8) % len(held)}, class_names=held)
    monkeypatch.setattr("zeuxis.data.library.open_source", lambda *_: labelled)
    system = Told(Shape(3, 16, 16))
    system.spec = DataSpec(system.shape, class_names=known)
    model = Model("told", system, {"data": "stub", "config": {}, "sha256": ""})
    if fits:
        assert evaluate(model, data="other", metrics=["kernel"], samples=8)
    else:
        with pytest.raises(UsageError, match=r"'told' has the classes .*, in this order, and 'other' "):
            evaluate(model, data="other", metrics=["kernel"], samples=8)


def test_a_model_that_is_told_something_is_not_measured_on_data_that_do_not_tell_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = ArraySource("plain", np.zeros((8, 3, 16, 16), np.uint8))
    monkeypatch.setattr("zeuxis.data.library.open_source", lambda *_: plain)
    model = Model("told", Told(Shape(3, 16, 16)), {"data": "stub", "config": {}, "sha256": ""})
    with pytest.raises(Unsupported, match="'told' draws what it is told, and 'plain' has no label to tell"):
        evaluate(model, data="plain", metrics=["kernel"], samples=8)


@pytest.mark.parametrize("name", sorted(CALLED))
def test_what_others_call_a_metric_is_told_by_its_name_here(name):
    assert CALLED[name] in METRICS and name not in METRICS
    assert f"unknown metric '{name}': it is {CALLED[name]} here" in str(unknown_metric(name))


def test_metrics_with_commas_between_them_are_told_how_to_be_given():
    assert str(unknown_metric("fid, kid")).endswith("an option of its own: --metric fid --metric kid")


def test_all_metrics_are_listed(command):
    code, out, _ = command("evaluate", "--metrics", "--json")
    assert code == 0 and {row["name"] for row in json.loads(out)} == set(METRICS)
    code, out, _ = command("evaluate", "--metrics")
    assert code == 0 and all(f"\n{name} " in out for name in METRICS)
    code, _, err = command("evaluate")
    assert code == 2 and "say which model" in err
