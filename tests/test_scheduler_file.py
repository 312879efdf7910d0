"""A published scheduler's file: read as its own library reads it, and written so that it is read again."""

from __future__ import annotations

import inspect
import json
import math
from itertools import product
from typing import Any

import pytest
import torch
from published import SMALL

from zeuxis.diffusion.path import VariancePreserving
from zeuxis.diffusion.sampler import SAMPLERS
from zeuxis.diffusion.timesteps import chain_betas, published_levels
from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.knobs import COMMON
from zeuxis.pretrained.scheduler_file import (
    CLIP,
    EXPONENTIAL,
    IDLE,
    KARRAS,
    LAID,
    SCHEDULERS,
    STAND_INS,
    ZERO_SNR,
    read_scheduler,
    write_scheduler,
)
from zeuxis.systems.diffusion.stable_diffusion import ONE_MORE, StableDiffusion

DEFAULTS = {name: p.default for name, p in inspect.signature(StableDiffusion).parameters.items()}
SPACINGS = COMMON["spacing"].choices
SIGMAS = {"euler", "heun", "lms", "dpmpp-2m", "dpmpp-2m-sde", "unipc", "unipc-3"}  # with Karras' levels in public
NAMED = SIGMAS | {"ddim", "ancestral", "lcm"}


@pytest.mark.parametrize("sampler", sorted({*SAMPLERS, "lcm"}))
def test_every_file_that_is_written_is_read_as_what_was_written(sampler: str) -> None:
    """Or it is not written: no sampler, spacing or chain becomes another in silence."""
    for spacing, to_zero, offset, (predicts, zero_snr) in product(
        SPACINGS, (False, True), (0, 1), (("epsilon", False), ("v", False), ("v", True), ("x0", False))
    ):
        chain = {"chain": 500, "schedule": "linear", "beta_first": 0.0003, "beta_last": 0.013, "predicts": predicts}
        changed = {"sampler": sampler, "spacing": spacing, "to_zero": to_zero, "offset": offset, "zero_snr": zero_snr}
        config = {**DEFAULTS, **chain, **changed}
        named = sampler in NAMED and (spacing not in LAID.values() or sampler in SIGMAS)
        if not named or (zero_snr and sampler in ("heun", "lms")):
            with pytest.raises(Unsupported, match=f"sampler '{sampler}'"):
                write_scheduler(config)
            continue
        file = json.loads(json.dumps(write_scheduler(config)))
        read, notes = read_scheduler(file)
        assert read == {key: config[key] for key in read} and not notes, (file, config)


def test_the_published_shapes_come_back() -> None:
    for version, table in SMALL.items():
        config = {**DEFAULTS, **table}
        read, _ = read_scheduler(write_scheduler(config))
        assert read == {key: config[key] for key in read}, version


def test_what_has_no_public_name_is_not_written() -> None:
    for key, value in (("predicts", "x0-ish"), ("schedule", "cosine"), ("spacing", "consistency")):
        with pytest.raises(Unsupported, match=f"{key} '{value}' has no public name"):
            write_scheduler({**DEFAULTS, key: value})


def test_clipping_is_off_in_every_file_whose_scheduler_clips() -> None:
    """By itself it clips latents, which are no pixels."""
    for sampler, spacing in (("ddim", "leading"), ("ancestral", "leading"), ("heun", "linspace")):
        assert write_scheduler({**DEFAULTS, "sampler": sampler, "spacing": spacing})[CLIP] is False, sampler
    for name in ("DDIMScheduler", "DDPMScheduler"):
        assert any("does not say clip_sample" in note for note in read_scheduler({"_class_name": name})[1])
        assert not read_scheduler({"_class_name": name, CLIP: False})[1]
        with pytest.raises(Unsupported, match=r"clip_sample = True.*use False"):
            read_scheduler({"_class_name": name, CLIP: True})


def test_what_is_silent_is_the_scheduler_s_own_default() -> None:
    read, notes = read_scheduler({"_class_name": "PNDMScheduler", "beta_schedule": "scaled_linear"})
    assert read["sampler"] == "ddim" and not read["to_zero"] and "PNDM" in notes[0]
    read, notes = read_scheduler({"_class_name": "DPMSolverMultistepScheduler", KARRAS: True})
    assert (read["sampler"], read["spacing"], read["beta_last"]) == ("dpmpp-2m", "karras", 0.02) and not notes
    assert read_scheduler({"_class_name": "HeunDiscreteScheduler"})[0]["beta_last"] == 0.012


@pytest.mark.parametrize(
    ("name", "key", "value", "mend"),
    [
        ("UniPCMultistepScheduler", "predict_x0", False, "use True"),
        ("UniPCMultistepScheduler", "solver_order", 1, "solver_order = 2 or solver_order = 3"),
        ("UniPCMultistepScheduler", "disable_corrector", [0], r"use \[\]"),
        ("UniPCMultistepScheduler", "solver_type", "bh1", "bh1"),
        ("DPMSolverMultistepScheduler", "lambda_min_clipped", -5.1, "use -inf"),
        ("DPMSolverMultistepScheduler", "solver_order", 3, "solver_order = 2"),
        ("DPMSolverMultistepScheduler", "algorithm_type", "dpmsolver", r"dpmsolver\+\+"),
        ("DPMSolverMultistepScheduler", "euler_at_final", True, "use False"),
        ("EulerDiscreteScheduler", "sigma_max", 80.0, "use None"),
        ("DDPMScheduler", "variance_type", "fixed_large", "use 'fixed_small'"),
        ("LMSDiscreteScheduler", "trained_betas", [0.1], "use none"),
    ],
)
def test_what_would_be_another_chain_or_solver_is_refused(name: str, key: str, value: Any, mend: str) -> None:
    with pytest.raises(Unsupported, match=rf"its scheduler.*{key}.*{mend}"):
        read_scheduler({"_class_name": name, CLIP: False, key: value})


@pytest.mark.parametrize("key", ["num_train_timesteps", "steps_offset", "beta_start", "beta_end"])
def test_what_is_no_number_is_named(key: str) -> None:
    for value in ("x", None, [1], True, -1, math.nan, math.inf, 10**400):
        with pytest.raises(Unsupported, match=f"{key} = .*no number from") as found:
            read_scheduler({"_class_name": "LMSDiscreteScheduler", key: value})
        assert "\n" not in str(found.value) and len(str(found.value)) < 200
    if not key.startswith("beta"):
        with pytest.raises(Unsupported, match=rf"{key} = 1\.5, which is no "):
            read_scheduler({"_class_name": "LMSDiscreteScheduler", key: 1.5})
        assert read_scheduler({"_class_name": "LMSDiscreteScheduler", key: 500.0})  # as some programs write it


def test_what_means_nothing_is_read() -> None:
    file = {"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -math.inf, "variance_type": None}
    assert read_scheduler(file)[1] == ()
    with pytest.raises(UnknownName, match=r"timestep_spacing 'trailling': did you mean trailing"):
        read_scheduler({"_class_name": "LMSDiscreteScheduler", "timestep_spacing": "trailling"})


def test_what_another_class_left_there_is_passed_over_and_said() -> None:
    """As by the public library, whose DDIM knows no Karras levels, and whose UniPC no algorithm_type."""
    read, (note,) = read_scheduler({"_class_name": "DDIMScheduler", CLIP: False, KARRAS: True, "predict_x0": False})
    assert read["spacing"] == "leading" and KARRAS in note and "predict_x0" in note
    file = {"_class_name": "UniPCMultistepScheduler", "solver_order": 3, "algorithm_type": "dpmsolver++"}
    assert read_scheduler(file)[0]["sampler"] == "unipc-3"
    assert read_scheduler({"_class_name": "EulerDiscreteScheduler", CLIP: False, KARRAS: False})[1] == ()
    _, (note,) = read_scheduler({"_class_name": "EulerDiscreteScheduler", KARRAS: True, "timestep_spacing": "leading"})
    assert "span the whole chain" in note
    with pytest.raises(Unsupported, match=rf"both {KARRAS} and {EXPONENTIAL}"):
        read_scheduler({"_class_name": "EulerDiscreteScheduler", KARRAS: True, EXPONENTIAL: True})


@pytest.mark.parametrize("known", STAND_INS, ids=lambda known: known.name)
def test_a_solver_that_is_not_here_has_a_stand_in_upon_its_own_chain(known: Any) -> None:
    file = {"_class_name": known.name, "beta_start": 0.0009, "prediction_type": "v_prediction", KARRAS: True}
    read, (note, *_) = read_scheduler(file)
    assert (read["sampler"], read["spacing"], read["predicts"]) == (known.sampler, "karras", "v")
    assert read["beta_first"] == 0.0009 and read["beta_last"] == known.betas[1]
    assert f"{known.name} is not here: {known.sampler} stands in for it" in note and known.sampler in SAMPLERS
    with pytest.raises(Unsupported, match="use_beta_sigmas = True"):
        read_scheduler({**file, "use_beta_sigmas": True})


@pytest.mark.parametrize("known", SCHEDULERS, ids=lambda known: known.sampler)
def test_the_classes_are_those_of_the_public_library(known: Any) -> None:
    """What each has of the settings, and its defaults."""
    peers = pytest.importorskip("diffusers")
    own = {name: p.default for name, p in inspect.signature(getattr(peers, known.name)).parameters.items()}
    settings = {*IDLE, *LAID, ZERO_SNR, "solver_order", "algorithm_type"}
    assert known.knows == settings & own.keys()
    first = next(each for each in SCHEDULERS if each.name == known.name)
    assert {key: own[key] for key in first.settings} == first.settings
    assert all(own[key] in IDLE[key] for key in known.knows & IDLE.keys() - {CLIP})
    assert known.clips == own.get(CLIP, False) and known.to_zero == own.get("set_alpha_to_one", True)
    assert (own["beta_start"], own["beta_end"]) == known.betas and own["timestep_spacing"] == known.spacing
    assert own["num_train_timesteps"] == 1000 and own["beta_schedule"] == known.schedule and own["steps_offset"] == 0


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of the library
@pytest.mark.parametrize("sampler", sorted(NAMED - {"lcm"}))
def test_the_public_library_lays_the_same_levels_by_what_is_written(sampler: str) -> None:
    peers = pytest.importorskip("diffusers")
    path = VariancePreserving(chain_betas("scaled-linear", 1000, 0.00085, 0.012))
    for spacing in SPACINGS if sampler in SIGMAS else [name for name in SPACINGS if name not in LAID.values()]:
        file = write_scheduler({**DEFAULTS, "sampler": sampler, "spacing": spacing})
        theirs = getattr(peers, file["_class_name"]).from_config(file)
        theirs.set_timesteps(10)
        if file["_class_name"] in ("DDIMScheduler", "DDPMScheduler"):
            abar = theirs.alphas_cumprod[theirs.timesteps]
            levels = torch.cat([((1 - abar) / abar).sqrt(), torch.zeros(1)])
        else:
            levels = torch.unique_consecutive(torch.as_tensor(theirs.sigmas))  # Heun's are there twice
        more = {"one_more": sampler in ONE_MORE, "whole": sampler in {"ddim", *ONE_MORE}}
        ours = published_levels(path.sigmas, 10, spacing, offset=DEFAULTS["offset"], **more)
        torch.testing.assert_close(ours, levels.float(), atol=3e-5, rtol=0, msg=f"{sampler} {spacing}")


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [(1, [999]), (2, [999, 499]), (4, [999, 759, 499, 259]), (8, [999, 879, 759, 639, 499, 379, 259, 139])],
)
def test_latent_consistency_walks_steps_that_it_was_distilled_at(steps: int, wanted: list[int]) -> None:
    """As diffusers' LCMScheduler has them (0.42), unless a spacing is asked for; "leading" began at 751 of 4."""
    path = VariancePreserving(chain_betas("scaled-linear", 1000, 0.00085, 0.012))
    levels = published_levels(path.sigmas, steps, "consistency", offset=1)
    assert [round(path.time(float(level))) for level in levels[:-1]] == wanted and levels[-1] == 0
    with pytest.raises(UsageError, match=r"51 steps of latent consistency: .* distilled at 50"):
        published_levels(path.sigmas, 51, "consistency")
    assert len(published_levels(path.sigmas[:7], 7, "consistency")) == 8
