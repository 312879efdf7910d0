"""What is wrong with a training: each failure is found where it is, and none is where it is not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command, toy_source
from PIL import Image

from zeuxis.api import classifiers, synthetic
from zeuxis.api import diagnose as api
from zeuxis.api.evaluate import evaluate
from zeuxis.api.functions import train
from zeuxis.api.model import load
from zeuxis.api.symptoms import Symptoms
from zeuxis.api.symptoms_learnt import average_never_used, not_converging, too_high_a_rate, vanishing_gradients
from zeuxis.api.symptoms_made import mode_collapse, wrong_value_range
from zeuxis.catalog.build import build
from zeuxis.data.library import open_source
from zeuxis.data.source import ArraySource, Source
from zeuxis.data.worlds.points import CENTRES, STD
from zeuxis.errors import TrainingStopped, Unsupported, UsageError, WeightsError
from zeuxis.knobs import Sampling
from zeuxis.metrics.modes import modes
from zeuxis.metrics.neighbours import memorised
from zeuxis.metrics.synthetic import TrainedOnSynthetic
from zeuxis.recipe import Recipe, load_recipe
from zeuxis.rng import Stream
from zeuxis.training.checkpoint import write_model
from zeuxis.training.log import read_log

QUICK = {"train.preview_minutes": 60, "train.save_minutes": 60}


def symptoms(
    *entries: Mapping[str, Any], recipe: Recipe | None = None, source: Source | None = None, rounds: int = 1000
) -> Symptoms:
    return Symptoms(recipe, [dict(e) for e in entries], None, source, None, 50, Sampling(), {"round": rounds})


# -- the data -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", CENTRES)
def test_points_lie_around_their_centres_and_all_modes_are_found(world: str) -> None:
    batch = open_source(world).batch(torch.arange(3000))
    points = batch.image.flatten(1)
    label = batch.condition.label
    assert label is not None and label.max() == len(CENTRES[world]()) - 1
    around = points - CENTRES[world]()[label]
    assert float(around.std()) == pytest.approx(STD, rel=0.05) and abs(float(around.mean())) < 0.002
    found = modes(points, CENTRES[world](), STD)
    assert found.found == found.known and found.near > 0.98
    assert torch.equal(open_source(world, 1).batch(torch.tensor([7])).image, batch.image[7:8])
    with pytest.raises(Unsupported, match="which have no size"):
        open_source(world, 32)


def test_a_stray_point_is_no_mode() -> None:
    centres = CENTRES["ring"]()
    points = torch.cat([centres[:3].repeat(50, 1), centres[5:6], torch.zeros(9, 2)])
    found = modes(points, centres, STD)
    assert (found.found, found.known) == (3, 8) and found.near == pytest.approx(151 / 160)


def test_copies_are_told_from_blurred_pictures() -> None:
    rng = Stream(0, "pictures")
    training, unseen = rng.normal(60, 16), rng.normal(20, 16)
    assert memorised(training[:10] + 0.05 * rng.normal(10, 16), training) == 1
    assert memorised(unseen, training) == 0
    assert memorised(training.mean(0).expand(5, 16), training) == 0  # near to all, a copy of none


# -- each check ---------------------------------------------------------------------------------------


def game(k: int, gradient: float, real: float, fake: float) -> dict[str, float]:
    losses = {"loss/generator": 1.0, "loss/discriminator": 1.0}
    return {"round": k, **losses, "gradient/generator": gradient, "real": real, "fake": fake}


def test_gradients_vanish_where_the_critic_tells_all_and_they_are_weak() -> None:
    gone = symptoms(*(game(k, 1.0 if k == 0 else 1e-5, 0.99, 0.01) for k in range(12)))
    found = vanishing_gradients(gone)
    assert found is not None and "by 0.98 of 1" in found.evidence and "non-saturating" in found.mend
    for sound in (
        (game(k, 1.0, 0.99, 0.01) for k in range(12)),  # it learns from being found out
        (game(k, 1e-5, 0.55, 0.45) for k in range(12)),  # there is nothing left to learn
    ):
        assert vanishing_gradients(symptoms(*sound)) is None


def test_a_rate_is_too_high_where_what_was_learnt_is_lost() -> None:
    def losses(*values: float) -> Symptoms:
        return symptoms(*({"round": k, "loss/network": v} for k, v in enumerate(values)))

    down, back = [10 - k for k in range(9)], [2, 5, 8, 9, 9, 9, 9, 9]
    assert too_high_a_rate(losses(*down)) is None
    assert too_high_a_rate(losses(*down, *[1.2, 0.9, 1.1, 1.3] * 3)) is None
    lost = too_high_a_rate(losses(*down, *back))
    assert lost is not None and "lost" in lost.evidence
    nothing = too_high_a_rate(losses(1, *range(3, 12)))
    assert nothing is not None and "nothing was learnt" in nothing.evidence
    bad = too_high_a_rate(symptoms({"round": 3, "loss/network": 1.0, "bad_steps": 4.0}))
    assert bad is not None and "4 steps were not finite" in bad.evidence


def test_a_game_diverges_or_goes_round() -> None:
    def critic(values: list[float]) -> Symptoms:
        return symptoms(*({"round": k, "loss/critic": v, "loss/generator": 1.0} for k, v in enumerate(values)))

    away = not_converging(critic([-0.1 * 2.0**k for k in range(16)]))
    assert away is not None and "diverging" in away.evidence
    assert not_converging(critic([-0.5] * 16)) is None
    source = toy_source(1, 8, 16)
    deviation = float(source.batch(torch.arange(16)).image.flatten(1).std(0).square().mean().sqrt())
    system = build("ns-gan", source.spec, {"nz": 4, "width": 2})

    def moving(share: float) -> Symptoms:
        looks = [{"round": k, "made/change": share, "made/spread": deviation} for k in range(32)]
        s = symptoms(*looks, source=source)
        s.model = type("Made", (), {"system": system})()  # of which the players' rates are asked alone
        return s

    round_and_round = not_converging(moving(1.2))
    assert round_and_round is not None and "orbiting" in round_and_round.evidence
    assert not_converging(moving(0.1)) is None


def test_an_average_that_is_still_the_initial_weights() -> None:
    plan = load_recipe("ns-gan")

    def average(ema: float, warm: bool, rounds: int) -> Any:
        train_ = plan.train.model_copy(update={"ema": ema, "ema_warmup": warm})
        return average_never_used(symptoms(recipe=plan.model_copy(update={"train": train_}), rounds=rounds))

    found = average(0.9999, False, 300)
    assert found is not None and "97% of the average" in found.evidence
    assert average(0.9999, True, 300) is None and average(0.999, False, 20_000) is None and average(0, False, 9) is None


def test_pictures_that_were_divided_by_255() -> None:
    bits = np.random.default_rng(0).integers(0, 2, (40, 1, 8, 8)).astype(np.uint8)
    found = wrong_value_range(symptoms(source=ArraySource("own", bits)))
    assert found is not None and "divided by 255" in found.mend
    assert wrong_value_range(symptoms(source=ArraySource("own", bits * 255))) is None


# -- runs ---------------------------------------------------------------------------------------------


def test_a_run_is_diagnosed_from_its_folder(tmp_path: Path, command: Command) -> None:
    run = train("gan-ring", iterations=40, out=tmp_path / "run", settings=QUICK, quiet=True)
    log = read_log(run.folder / "log.jsonl")
    assert next(e["round"] for e in log if "loss/generator" in e) == 1  # what all later ones are compared with
    norms = [e["gradient/generator"] for e in log if "gradient/generator" in e]
    assert norms and all(norm > 0 for norm in norms)
    looks = [e for e in log if "made/spread" in e]
    assert looks and all(-1 <= e["made/low"] <= e["made/high"] <= 1 for e in looks)
    code, said, _ = command("diagnose", run.folder, "--samples", 100, "--json")
    found = json.loads(said)
    assert code == 0 and [f["name"] for f in found["findings"]] == ["too short to tell"]
    assert found["figures"]["modes_known"] == 8
    with pytest.raises(UsageError, match="give other --data"):
        api.diagnose("cvae", data="scenes")
    code, said, _ = command("diagnose", run.folder, "--samples", 100)
    assert "of 8 modes are found" in said and "a training of 40 iterations is plainly too short" in said
    assert "'gan-ring' asks for 4,000" in said and "mend: train on" in said


@pytest.mark.parametrize(("pictures", "beside"), [(20, "held-out ones"), (5, "of training, none being held out,")])
def test_a_training_that_shows_no_failure_yet_is_not_called_healthy(
    tmp_path: Path, command: Command, pictures: int, beside: str
) -> None:
    folder, draw = tmp_path / "pictures", np.random.default_rng(0)
    folder.mkdir()
    for k in range(pictures):
        Image.fromarray(draw.integers(0, 255, (8, 8), dtype=np.uint8)).save(folder / f"{k}.png")
    train("dcgan", str(folder), size=8, iterations=6, out=tmp_path / "run", quiet=True,
          settings={**QUICK, "model.ngf": 4, "model.ndf": 4, "train.ema": 0.1})  # fmt: skip
    code, said, _ = command("diagnose", tmp_path / "run", "--samples", 50)
    assert code == 0 and said.startswith("too short to tell: none of the usual failures is seen yet")
    found = api.diagnose(tmp_path / "run", samples=50)
    assert f" {beside} of " in found.looked_at[-1]
    assert found.looked_at[-1].endswith("too few to tell a mode collapse by")


@pytest.mark.parametrize(("rounds", "name"), [(199, "too short to tell"), (200, "mode collapse"), (0, "mode collapse")])
def test_a_collapse_is_told_of_a_training_that_was_long_enough(rounds: int, name: str) -> None:
    s = symptoms(recipe=load_recipe("gan-ring") if rounds else None, source=open_source("ring"), rounds=rounds)
    s.model = load("cvae")  # it is not asked
    one = CENTRES["ring"]()[:1].unflatten(1, (2, 1, 1)).repeat(200, 1, 1, 1)
    s.drawn = one, open_source("ring", split="test").batch(torch.arange(50)).image
    found = mode_collapse(s)
    assert found is not None and found.name == name and found.evidence.startswith("1 of 8 modes")


def test_a_training_that_failed_is_diagnosed_without_a_model(tmp_path: Path) -> None:
    settings = {**QUICK, "data": "digits", "size": 8, "model.widths": [4], "players.autoencoder.lr": 1e30}
    with pytest.raises(TrainingStopped):
        train("vae", iterations=40, out=tmp_path / "run", settings=settings, quiet=True)
    found = api.diagnose(tmp_path / "run")
    assert [f.name for f in found.findings] == ["too high a rate"]
    assert "training ended" in found.findings[0].evidence and "1e+30" in found.findings[0].evidence
    with pytest.raises(WeightsError, match="holds no model yet"):
        api.diagnose(tmp_path)


# -- what made pictures are worth ---------------------------------------------------------------------


def test_train_on_synthetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "SIZES", (20, 100_000))
    monkeypatch.setattr(synthetic, "MADE", 30)
    monkeypatch.setattr(classifiers, "TRAIN", classifiers.TRAIN.model_copy(update={"iterations": 60, "batch": 16}))
    spec = open_source("digits", 8).spec
    settings = {"latent": 2, "widths": [4], "hidden": 8}
    write_model(tmp_path / "model", build("cvae", spec, settings).eval(), {"data": "digits"})
    alone, *parts = evaluate(load(tmp_path), metrics=["train-on-synthetic"], samples=60)
    assert [p.name for p in parts] == [f"train-on-synthetic/20 real{more}" for more in ("", " and 30 made")]
    assert alone.samples == 60 and 0 <= alone.value < 0.4 < parts[0].value  # made of noise, against 20 digits
    write_model(tmp_path / "plain" / "model", build("vae", spec, {"widths": [4]}).eval(), {"data": "digits"})
    with pytest.raises(Unsupported, match="no pictures of a class that is asked for"):
        evaluate(load(tmp_path / "plain"), metrics=["train-on-synthetic"], samples=60)


def test_the_parts_of_train_on_synthetic() -> None:
    found = TrainedOnSynthetic(0.5, {100: 0.6, 500: 0.8}, {100: 0.7, 500: 0.85}, 2000, 60)
    assert found.parts == {
        "100 real": 0.6, "100 real and 2000 made": 0.7, "500 real": 0.8, "500 real and 2000 made": 0.85,
    }  # fmt: skip
    assert len(found) == 60
