"""What other programs call the samplers and how steps are laid, and what they are here. Imports no torch.

Names are compared by letters and numbers alone (``+`` is a p), so that those of the web UI ("DPM++ 2M Karras"), of
ComfyUI (``dpmpp_2m_sde_gpu``), k-diffusion (``k_euler_ancestral``) and diffusers (``DPMSolverMultistepScheduler``) are
one table. Some of them also say how noise is drawn afresh, or how the steps are laid.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class CalledSampler:
    """A sampler here, with the knobs that a name of another program says beside it."""

    sampler: str
    eta: float | None = None
    spacing: str | None = None

    @property
    def knobs(self) -> dict[str, str | float]:
        """Values by knob."""
        told = {"sampler": self.sampler, "eta": self.eta, "spacing": self.spacing}
        return {name: value for name, value in told.items() if value is not None}

    @property
    def words(self) -> str:
        """``"dpmpp-2m here, with --knob spacing=karras"``."""
        beside = [f"--knob {name}={value}" for name, value in self.knobs.items() if name != "sampler"]
        return f"{self.sampler} here" + (f", with {' and '.join(beside)}" if beside else "")


_NAMES = MappingProxyType(
    {
        **dict.fromkeys(("eulera", "eulerancestral", "ddpm"), CalledSampler("ancestral")),
        **dict.fromkeys(("euler",), CalledSampler("euler")),
        **dict.fromkeys(("heun",), CalledSampler("heun")),
        **dict.fromkeys(("lms",), CalledSampler("lms")),
        **dict.fromkeys(("ddim",), CalledSampler("ddim")),
        **dict.fromkeys(("lcm",), CalledSampler("lcm")),
        **dict.fromkeys(("dpmpp2m", "dpmsolverpp", "dpmsolver", "dpmsolverpp2m"), CalledSampler("dpmpp-2m")),
        **dict.fromkeys(("dpmpp2msde",), CalledSampler("dpmpp-2m-sde")),
        **dict.fromkeys(("dpmpp2s", "dpmsolversinglestep"), CalledSampler("dpmpp-2s")),
        **dict.fromkeys(("dpmpp2sa", "dpmpp2sancestral"), CalledSampler("dpmpp-2s", eta=1.0)),
        **dict.fromkeys(("dpmppsde", "dpmsolversde"), CalledSampler("dpmpp-sde")),
        **dict.fromkeys(("unipc", "unipcbh2"), CalledSampler("unipc")),
    }
)
_LAID = MappingProxyType(  # how steps are laid; within one of the chain's steps of theirs where they round otherwise
    {
        "karras": "karras",
        **dict.fromkeys(("exponential", "polyexponential"), "uniform-log-snr"),
        **dict.fromkeys(("uniform", "normal", "discrete"), "linspace"),
        **dict.fromkeys(("simple", "sgmuniform"), "trailing"),
        **dict.fromkeys(("ddim", "ddimuniform"), "leading"),
    }
)
_SPACINGS = MappingProxyType({"karras": "karras", "exponential": "uniform-log-snr"})  # at the end of a name
_FILLING = re.compile(r"^(sample|k)(?=euler|heun|lms|dpm)|(discrete|multistep)?(scheduler)?$|gpu$")
# Of others, which no sampler here is: what is spelt like them must not be taken in their place.
_ELSEWHERE = frozenset(
    ("plms", "pndm", "ipndm", "deis", "dpm2", "dpm2a", "dpm2ancestral", "kdpm2", "kdpm2ancestral", "dpmfast",
     "dpmadaptive", "dpmpp3msde", "heunpp2", "restart", "tcd", "edmeuler", "flowmatcheuler", "ddpmwuerstchen")
)  # fmt: skip


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold().replace("+", "p"))


def called(name: str) -> CalledSampler | None:
    """The sampler that other programs call ``name``; None where none of ours is that."""
    letters = _letters(name)
    spacing = next((word for word in _SPACINGS if letters.endswith(word) and letters != word), None)
    letters = letters.removesuffix(spacing or "")
    for form in (letters, _FILLING.sub("", letters)):
        if (found := _NAMES.get(form)) is not None:
            return found if spacing is None else CalledSampler(found.sampler, found.eta, _SPACINGS[spacing])
    return None


def meant(name: str, choices: Sequence[str]) -> str | None:
    """What to say of a sampler's ``name`` that is none of ``choices``, the samplers that there are; None where no other
    program has one of that name."""
    known = f"known: {', '.join(sorted(choices))}"
    if (found := called(name)) is not None:
        if found.sampler in choices:
            return f"it is {found.words}"
        return f"{'other models have it' if found.sampler == name else f'that is {found.words}'}, and not this; {known}"
    if {_letters(name), _FILLING.sub("", _letters(name))} & _ELSEWHERE:
        return f"there is none of that kind here; {known}"
    return None


def laid(name: str) -> str | None:
    """The spacing that other programs call the scheduler ``name``; None where none of ours is that."""
    return _LAID.get(_letters(name))


def meant_spacing(name: str, choices: Sequence[str]) -> str | None:
    """What to say of a ``name`` of how steps are laid that is none of ``choices``; None where ours has no such one."""
    found = laid(name)
    return f"it is {found} here" if found in choices else None
