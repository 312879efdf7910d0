"""A published scheduler's file, ``scheduler_config.json``, as keywords of :class:`StableDiffusion`; and back.

What a file does not say is that scheduler's own default. What it says and is not known here is refused, never passed
over: a chain that is not the one the network was trained on makes noise, or worse, pictures that are a little wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from zeuxis.errors import WeightsError, lookup


@dataclass(frozen=True)
class SchedulerClass:
    """One class of schedulers: the sampler that it is here, and its defaults."""

    sampler: str
    spacing: str
    to_zero: bool = True


CLASSES: Mapping[str, SchedulerClass] = MappingProxyType(
    {
        "DDIMScheduler": SchedulerClass("ddim", "leading"),
        "PNDMScheduler": SchedulerClass("ddim", "leading", to_zero=False),
        "DDPMScheduler": SchedulerClass("ancestral", "leading"),
        "EulerDiscreteScheduler": SchedulerClass("euler", "linspace"),
        "EulerAncestralDiscreteScheduler": SchedulerClass("ancestral", "linspace"),
        "HeunDiscreteScheduler": SchedulerClass("heun", "linspace"),
        "LMSDiscreteScheduler": SchedulerClass("lms", "linspace"),
        "DPMSolverMultistepScheduler": SchedulerClass("dpmpp-2m", "linspace"),
        "UniPCMultistepScheduler": SchedulerClass("unipc", "linspace"),
    }
)
SCHEDULES = MappingProxyType({"scaled_linear": "scaled-linear", "linear": "linear"})
PREDICTIONS = MappingProxyType({"epsilon": "epsilon", "v_prediction": "v", "sample": "x0"})
SPACINGS = frozenset({"leading", "trailing", "linspace"})
# Of what changes the chain or the prediction, the values that mean that nothing is done; others are not known here.
IDLE: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "trained_betas": (None,),
        "clip_sample": (False,),
        "thresholding": (False,),
        "use_exponential_sigmas": (None, False),
        "use_beta_sigmas": (None, False),
        "use_flow_sigmas": (None, False),
        "use_lu_lambdas": (None, False),
        "sigma_min": (None,),
        "sigma_max": (None,),
        "timestep_type": ("discrete",),
        "interpolation_type": ("linear",),
        "final_sigmas_type": ("zero",),
        "algorithm_type": ("dpmsolver++", "sde-dpmsolver++"),
        "solver_type": ("midpoint", "bh2"),
    }
)
VARIANTS = MappingProxyType(  # samplers that differ in a setting of one class: algorithm_type and solver_order
    {("dpmpp-2m", "sde-dpmsolver++", 2): "dpmpp-2m-sde", ("unipc", "None", 3): "unipc-3"}
)


def read_scheduler(file: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The constructor's keywords that a scheduler's file tells, and what is to be said of them.

    Raises :class:`WeightsError` for what is not known here.
    """
    name = str(file.get("_class_name", "DDIMScheduler"))
    known = lookup("scheduler", name, CLASSES)
    for key, idle in IDLE.items():
        if key in file and file[key] not in idle:
            raise WeightsError(f"its scheduler has {key} = {file[key]!r}, which is not known here: use {idle[0]!r}")
    order = int(file.get("solver_order", 2))
    if order != 2 and (known.sampler, "None", order) not in VARIANTS:
        raise WeightsError(f"its scheduler {name} has solver_order = {order}, which is not known here: use 2")
    notes = []
    if name == "PNDMScheduler":
        notes.append("its scheduler PNDM is not here: DDIM stands in for it, with the same chain and steps")
    sampler = VARIANTS.get((known.sampler, str(file.get("algorithm_type")), order), known.sampler)
    predicts = lookup("prediction_type", str(file.get("prediction_type", "epsilon")), PREDICTIONS)
    zero_snr = bool(file.get("rescale_betas_zero_snr", False))
    if zero_snr and predicts != "v":
        raise WeightsError(f"its scheduler has zero terminal SNR with a prediction of {predicts}: only v can have that")
    spacing = str(file.get("timestep_spacing", known.spacing))
    if spacing not in SPACINGS:
        raise WeightsError(f"its scheduler has timestep_spacing '{spacing}': known are {', '.join(sorted(SPACINGS))}")
    return {
        "chain": int(file.get("num_train_timesteps", 1000)),
        "schedule": lookup("beta_schedule", str(file.get("beta_schedule", "linear")), SCHEDULES),
        "beta_first": float(file.get("beta_start", 0.0001)),
        "beta_last": float(file.get("beta_end", 0.02)),
        "zero_snr": zero_snr,
        "predicts": predicts,
        "spacing": "karras" if file.get("use_karras_sigmas") else spacing,
        "offset": int(file.get("steps_offset", 0)),
        "to_zero": bool(file.get("set_alpha_to_one", known.to_zero)),
        "sampler": sampler,
    }, tuple(notes)


def write_scheduler(config: Mapping[str, Any]) -> dict[str, Any]:
    """The file of a system's constructor keywords: the inverse of :func:`read_scheduler`, but for PNDM."""
    classes = {known.sampler: name for name, known in reversed(tuple(CLASSES.items()))} | {"ddim": "DDIMScheduler"}
    name = classes.get(config["sampler"], "DDIMScheduler")
    schedules, predictions = ({v: k for k, v in table.items()} for table in (SCHEDULES, PREDICTIONS))
    karras = config["spacing"] == "karras"
    file = {
        "_class_name": name,
        "num_train_timesteps": config["chain"],
        "beta_schedule": schedules[config["schedule"]],
        "beta_start": config["beta_first"],
        "beta_end": config["beta_last"],
        "prediction_type": predictions[config["predicts"]],
        "timestep_spacing": "leading" if karras else config["spacing"],
        "steps_offset": config["offset"],
        "rescale_betas_zero_snr": config["zero_snr"],
    }
    if karras:
        file["use_karras_sigmas"] = True
    if name == "DDIMScheduler":
        file |= {"set_alpha_to_one": config["to_zero"], "clip_sample": False}
    return file
