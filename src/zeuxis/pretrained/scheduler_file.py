"""A published scheduler's file, ``scheduler_config.json``, as keywords of :class:`StableDiffusion`; and back.

What a file does not say is that scheduler's own default. What it says and is not known here is refused, never passed
over: a chain that is not the one the network was trained on makes noise, or worse, pictures that are a little wrong.
A setting that its class does not have (left there by another) is passed over, as the public library does, and named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from zeuxis.diffusion.timesteps import CONSISTENT
from zeuxis.errors import Unsupported, lookup

CLIP, KARRAS, ZERO_SNR = "clip_sample", "use_karras_sigmas", "rescale_betas_zero_snr"
EXPONENTIAL = "use_exponential_sigmas"
LAID = MappingProxyType({KARRAS: "karras", EXPONENTIAL: "uniform-log-snr"})  # spacings by a setting that asks for them
_SIGMAS = frozenset({*LAID, "use_beta_sigmas"})
_SOLVER = _SIGMAS | {
    ZERO_SNR, "thresholding", "solver_order", "solver_type", "final_sigmas_type", "use_flow_sigmas",
    "use_dynamic_shifting",
}  # fmt: skip
_FLOWS = _SIGMAS | {"thresholding", "use_flow_sigmas", "use_dynamic_shifting"}
_DPM = _SOLVER | {"algorithm_type", "use_lu_lambdas", "euler_at_final", "lambda_min_clipped", "variance_type"}
_UNIPC = _SOLVER | {"predict_x0", "disable_corrector", "solver_p", "sigma_min", "sigma_max", "shift_terminal"}


@dataclass(frozen=True)
class PublicScheduler:
    """A public class of schedulers, with some settings: the sampler that it is here, and its defaults."""

    name: str
    sampler: str
    spacing: str
    knows: frozenset[str] = frozenset()  # which of the settings of :data:`IDLE` and of those below it has
    settings: Mapping[str, Any] = field(default_factory=dict)  # under which it is this sampler; of the first, by itself
    betas: tuple[float, float] = (0.0001, 0.02)
    schedule: str = "linear"
    to_zero: bool = True
    clips: bool = False  # whether it clips where a file is silent
    spans: bool = False  # whether the levels of :data:`LAID` span its whole chain, whatever the spacing


SCHEDULERS = (  # of one sampler that one is written whose own spacing it is, otherwise the first
    PublicScheduler("DDIMScheduler", "ddim", "leading", frozenset({CLIP, ZERO_SNR, "thresholding"}), clips=True),
    PublicScheduler("PNDMScheduler", "ddim", "leading", to_zero=False),
    PublicScheduler(
        "DDPMScheduler",
        "ancestral",
        "leading",
        frozenset({CLIP, ZERO_SNR, "thresholding", "variance_type"}),
        clips=True,
    ),
    PublicScheduler(
        "EulerDiscreteScheduler",
        "euler",
        "linspace",
        _SIGMAS | {ZERO_SNR, "interpolation_type", "sigma_min", "sigma_max", "timestep_type", "final_sigmas_type"},
    ),
    PublicScheduler("EulerAncestralDiscreteScheduler", "ancestral", "linspace", frozenset({ZERO_SNR})),
    PublicScheduler("HeunDiscreteScheduler", "heun", "linspace", _SIGMAS | {CLIP}, betas=(0.00085, 0.012)),
    PublicScheduler("LMSDiscreteScheduler", "lms", "linspace", _SIGMAS),
    PublicScheduler(
        "DPMSolverMultistepScheduler",
        "dpmpp-2m",
        "linspace",
        _DPM,
        {"algorithm_type": "dpmsolver++", "solver_order": 2},
        spans=True,
    ),
    PublicScheduler(
        "DPMSolverMultistepScheduler",
        "dpmpp-2m-sde",
        "linspace",
        _DPM,
        {"algorithm_type": "sde-dpmsolver++", "solver_order": 2},
        spans=True,
    ),
    PublicScheduler(
        "LCMScheduler",
        "lcm",
        "leading",
        frozenset({CLIP, ZERO_SNR, "thresholding", "original_inference_steps", "timestep_scaling"}),
        betas=(0.00085, 0.012),
        schedule="scaled_linear",
    ),
    PublicScheduler("UniPCMultistepScheduler", "unipc", "linspace", _UNIPC, {"solver_order": 2}, spans=True),
    PublicScheduler("UniPCMultistepScheduler", "unipc-3", "linspace", _UNIPC, {"solver_order": 3}, spans=True),
)
# Of solvers that are not here: what walks the same chain in their place, to a picture that differs in detail.
STAND_INS = (
    PublicScheduler("DEISMultistepScheduler", "dpmpp-2m", "linspace", _FLOWS, spans=True),
    PublicScheduler("DPMSolverSinglestepScheduler", "dpmpp-2s", "linspace", _FLOWS, spans=True),
    PublicScheduler("DPMSolverSDEScheduler", "dpmpp-sde", "linspace", _SIGMAS, betas=(0.00085, 0.012)),
    PublicScheduler("KDPM2DiscreteScheduler", "heun", "linspace", _SIGMAS, betas=(0.00085, 0.012)),
    PublicScheduler("KDPM2AncestralDiscreteScheduler", "ancestral", "linspace", _SIGMAS, betas=(0.00085, 0.012)),
)
MOST_STEPS = 1_000_000  # of a chain: published ones have a thousand
BETAS = 0.0, 0.999  # a variance of 1 would leave nothing of the picture
SCHEDULES = MappingProxyType({"scaled_linear": "scaled-linear", "linear": "linear"})
PREDICTIONS = MappingProxyType({"epsilon": "epsilon", "v_prediction": "v", "sample": "x0"})
SPACINGS = MappingProxyType({name: name for name in ("leading", "trailing", "linspace")})
# Of what changes the chain or the prediction, the values that mean that nothing is done; others are not known here.
IDLE: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        CLIP: (False,),
        "thresholding": (False,),
        "use_beta_sigmas": (False, None),
        "use_flow_sigmas": (False, None),
        "use_lu_lambdas": (False, None),
        "use_dynamic_shifting": (False, None),
        "shift_terminal": (None,),
        "sigma_min": (None,),
        "sigma_max": (None,),
        "timestep_type": ("discrete",),
        "interpolation_type": ("linear",),
        "final_sigmas_type": ("zero",),
        "solver_type": ("midpoint", "bh2"),
        "euler_at_final": (False,),
        "lambda_min_clipped": (-math.inf, None),
        "variance_type": ("fixed_small", None),
        "predict_x0": (True,),
        "disable_corrector": ([], None),
        "solver_p": (None,),
        "original_inference_steps": (CONSISTENT,),
        "timestep_scaling": (10.0,),  # by whose boundary condition all but steps near 0 answer with the picture itself
    }
)


def read_scheduler(file: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The constructor's keywords that a scheduler's file tells, and what is to be said of them.

    Raises :class:`Unsupported` for what is not known here.
    """
    name = str(file.get("_class_name", "DDIMScheduler"))
    known = _variant(lookup("scheduler", name, {each.name: each.name for each in (*SCHEDULERS, *STAND_INS)}), file)
    if file.get("trained_betas") is not None:
        raise Unsupported("its scheduler has trained_betas, a chain of its own, which is not known here: use none")
    for key in sorted(known.knows & IDLE.keys() & file.keys()):
        if file[key] not in IDLE[key]:
            raise Unsupported(f"its scheduler has {key} = {file[key]!r}, which is not known here: use {IDLE[key][0]!r}")
    predicts = lookup("prediction_type", str(file.get("prediction_type", "epsilon")), PREDICTIONS)
    zero_snr = ZERO_SNR in known.knows and bool(file.get(ZERO_SNR, False))
    if zero_snr and predicts != "v":
        raise Unsupported(f"its scheduler has zero terminal SNR with a prediction of {predicts}: only v can have that")
    spacing = lookup("timestep_spacing", str(file.get("timestep_spacing", known.spacing)), SPACINGS)
    asked = [key for key in LAID if key in known.knows and file.get(key)]
    if len(asked) > 1:
        raise Unsupported(f"its scheduler has both {' and '.join(asked)}: leave one of them, they lay the same levels")
    laid = LAID[asked[0]] if asked else spacing
    chain = _whole(file, "num_train_timesteps", 1000, 1, MOST_STEPS)
    return {
        "chain": chain,
        "schedule": lookup("beta_schedule", str(file.get("beta_schedule", known.schedule)), SCHEDULES),
        "beta_first": _number(file, "beta_start", known.betas[0], *BETAS),
        "beta_last": _number(file, "beta_end", known.betas[1], *BETAS),
        "zero_snr": zero_snr,
        "predicts": predicts,
        "spacing": laid,
        "offset": _whole(file, "steps_offset", 0, 0, chain - 1),
        "to_zero": bool(file.get("set_alpha_to_one", known.to_zero)),
        "sampler": known.sampler,
    }, tuple(_notes(known, file, bool(asked) and spacing != "linspace"))


def _number(file: Mapping[str, Any], key: str, usual: float, least: float, most: float) -> float:
    """What the file has under ``key``."""
    value = file.get(key, usual)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise Unsupported(
            f"its scheduler has {key} = {repr(value)[:80]}, which is no number from {least:,} to {most:,}"
        )
    return float(value)


def _whole(file: Mapping[str, Any], key: str, usual: int, least: int, most: int) -> int:
    """The same of whole numbers."""
    value = _number(file, key, usual, least, most)
    if not value.is_integer():
        raise Unsupported(f"its scheduler has {key} = {value!r}, which is no whole number")
    return int(value)


def _variant(name: str, file: Mapping[str, Any]) -> PublicScheduler:
    """The scheduler of that name with the file's settings."""
    variants = [each for each in (*SCHEDULERS, *STAND_INS) if each.name == name]
    asked = {key: file.get(key, usual) for key, usual in variants[0].settings.items()}
    for each in variants:
        if each.settings == asked:
            return each
    told, *others = (
        ", ".join(f"{key} = {value!r}" for key, value in table.items())
        for table in (asked, *(each.settings for each in variants))
    )
    raise Unsupported(f"its scheduler {name} has {told}, which is not known here: use {' or '.join(others)}")


def _notes(known: PublicScheduler, file: Mapping[str, Any], narrower: bool) -> list[str]:
    """What a user should know of how the file was read."""
    notes = []
    if known.name == "PNDMScheduler":
        notes.append("its scheduler PNDM is not here: DDIM stands in for it, with the same chain and steps")
    if known in STAND_INS:
        notes.append(f"its scheduler {known.name} is not here: {known.sampler} stands in for it, with the same chain")
    if known.clips and CLIP not in file:
        notes.append(f"its scheduler {known.name} does not say {CLIP}, so that it clips: latents are not clipped here")
    if narrower and not known.spans:
        notes.append(
            f"its scheduler {known.name} lays Karras' or even levels between those of its timestep_spacing: here they "
            "span the whole chain"
        )
    left = [
        key
        for key, idle in {**IDLE, **dict.fromkeys((*LAID, ZERO_SNR), (False, None))}.items()
        if key in file and key not in known.knows and file[key] not in idle
    ]
    # What other classes left there is common (SDXL's own file has some), and harmless where it says nothing.
    if left:
        notes.append(f"its scheduler {known.name} has no {', '.join(left)}: passed over, as its own library does")
    return notes


def write_scheduler(config: Mapping[str, Any]) -> dict[str, Any]:
    """The file of a system's constructor keywords: the inverse of :func:`read_scheduler`.

    Raises :class:`Unsupported` for a sampler without a public name, and for what the public scheduler of its name does
    not have.
    """
    sampler, chosen = str(config["sampler"]), {key: config["spacing"] == spacing for key, spacing in LAID.items()}
    able = [each for each in SCHEDULERS if each.sampler == sampler]
    if not able:
        names = ", ".join(dict.fromkeys(each.sampler for each in SCHEDULERS))
        raise Unsupported(f"sampler '{sampler}' has no public scheduler: those that have one are {names}")
    known = next((each for each in able if each.spacing == config["spacing"]), able[0])
    chosen |= {CLIP: False, ZERO_SNR: config["zero_snr"]}
    for key, what in (*((key, f"spacing '{spacing}'") for key, spacing in LAID.items()), (ZERO_SNR, "zero_snr")):
        if chosen[key] and key not in known.knows:
            others = ", ".join(dict.fromkeys(each.sampler for each in SCHEDULERS if key in each.knows))
            raise Unsupported(f"{what} with sampler '{sampler}': {known.name} does not have that; {others} do")
    file = {
        "_class_name": known.name,
        "num_train_timesteps": config["chain"],
        "beta_schedule": _public("schedule", config, SCHEDULES),
        "beta_start": config["beta_first"],
        "beta_end": config["beta_last"],
        "prediction_type": _public("predicts", config, PREDICTIONS),
        # Such levels span the whole chain here: "linspace", from its last step to its first, has them do so there.
        "timestep_spacing": "linspace" if any(chosen[key] for key in LAID) else _public("spacing", config, SPACINGS),
        "steps_offset": config["offset"],
        "set_alpha_to_one": config["to_zero"],  # DDIM's alone; others keep it for the user who takes DDIM after all
        **known.settings,
    }
    return file | {key: value for key, value in chosen.items() if key in known.knows}


def _public(key: str, config: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The public word for what ``config`` has under ``key``."""
    found = {ours: theirs for theirs, ours in names.items()}
    if config[key] not in found:
        raise Unsupported(f"{key} '{config[key]}' has no public name: those that have one are {', '.join(found)}")
    return found[config[key]]
