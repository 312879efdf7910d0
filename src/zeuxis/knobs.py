"""What may be turned when a model draws: typed knobs, the same for cards, recipes, command line, records and studio.

A card names its knobs: those of :data:`COMMON` by name alone, its own as ``Knob(...)``. What is asked of a sampler is
a :class:`Sampling`, a value for some of them; :meth:`zeuxis.verbs.Verbs.settings` gives a value for all of them, the
default where nothing was asked. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from types import MappingProxyType
from typing import Literal

from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.sampler_names import meant, meant_spacing

Value = bool | int | float | str


@dataclass(frozen=True)
class Knob:
    """One knob: its name, type, range, default and meaning.

    Without a ``default`` it is what the system was built with: the constructor's argument of the same name.
    """

    name: str
    type: Literal["int", "float", "choice", "switch"]
    meaning: str
    default: Value | None = None
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    beside: bool = False  # on a card: these choices, and those of the common knob of its name
    aliases: tuple[tuple[str, str], ...] = ()  # former names of choices, which old records hold, and those of now
    before: Value | None = None  # what it was before there was such a knob; records of now always hold one that has it

    def __post_init__(self) -> None:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError(f"knob '{self.name}': choices go with type 'choice', and with it alone")

    def parse(self, text: str) -> Value:
        """The value that a user wrote; raises :class:`UsageError` with the range or the choices."""
        match self.type:
            case "switch":
                if text.lower() not in _SWITCH:
                    raise self.refusal(text)
                return self.check(_SWITCH[text.lower()])
            case "choice":
                return self.check(text)
            case "int" | "float":
                try:
                    return self.check(int(text) if self.type == "int" else float(text))
                except ValueError:
                    raise self.refusal(text) from None

    def check(self, value: Value) -> Value:
        """``value`` as its type has it; raises :class:`UsageError` unless it is one that the knob takes."""
        if self.type == "float" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not _TYPES[self.type]:
            raise self.refusal(value)
        if isinstance(value, str):
            value = dict(self.aliases).get(value, value)
            if value not in self.choices:
                if self.name in OTHER_NAMES and (said := OTHER_NAMES[self.name](value, self.choices)) is not None:
                    raise UsageError(f"unknown {self.name} '{value}': {said}")
                raise UnknownName(self.name, value, self.choices)
        elif not isinstance(value, bool):
            low, high = -math.inf if self.least is None else self.least, math.inf if self.most is None else self.most
            if not low <= value <= high or not math.isfinite(value):
                raise self.refusal(value)
        return value

    @property
    def description(self) -> str:
        """``"a whole number of 1 or more, by default 10: network evaluations"``."""
        return f"{self.range}, by default {self.default_text}: {self.meaning}"

    @property
    def default_text(self) -> str:
        """The default in words."""
        return "what the model was built with" if self.default is None else str(self.default)

    def as_dict(self) -> dict[str, Value | None]:
        """Type, range, default and meaning, ready for JSON."""
        return {"type": self.type, "range": self.range, "default": self.default, "meaning": self.meaning}

    @property
    def range(self) -> str:
        """What it takes, in words: ``"a whole number of 1 or more"``, ``"euler or heun"``."""
        if self.type == "choice":
            return " or ".join([", ".join(self.choices[:-1]), self.choices[-1]] if self.choices[1:] else self.choices)
        if self.type == "switch":
            return "true or false"
        kind = "a whole number" if self.type == "int" else "a number"
        match self.least, self.most:
            case None, None:
                return kind
            case low, None:
                return f"{kind} of {low:g} or more"
            case None, high:
                return f"{kind} of at most {high:g}"
            case low, high:
                return f"{kind} from {low:g} to {high:g}"

    def refusal(self, value: object) -> UsageError:
        """The error that says why ``value`` is not taken."""
        return UsageError(f"{self.name} {value}: {self.range} is wanted ({self.meaning})")


_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_TYPES: Mapping[str, type] = {"int": int, "float": float, "choice": str, "switch": bool}

COMMON: Mapping[str, Knob] = MappingProxyType(
    {
        knob.name: knob
        for knob in (
            Knob("steps", "int", "network evaluations along the path, roughly", least=1, most=100_000),
            Knob("guidance", "float", "scale of classifier-free guidance; 1 is none", least=-100, most=1000),
            Knob(
                "sampler",
                "choice",
                "how the reverse process is solved",
                choices=(
                    "euler",
                    "heun",
                    "midpoint",
                    "ddim",
                    "ancestral",
                    "dpmpp-2s",
                    "dpmpp-sde",
                    "dpmpp-2m",
                    "dpmpp-2m-sde",
                    "unipc",
                    "unipc-3",
                    "lms",
                ),
            ),
            Knob(
                "spacing",
                "choice",
                "how the levels of fewer steps than the chain has are laid between its own",
                choices=("karras", "uniform-log-snr", "trailing", "leading", "linspace"),
                aliases=(("exponential", "uniform-log-snr"),),
            ),
            Knob("strength", "float", "share of the steps that an edit of a source takes", least=0, most=1),
            Knob(
                "temperature", "float", "scale of the latent's deviation; below 1 less varied", 1.0, least=0, most=1000
            ),
            Knob(
                "truncation",
                "float",
                "psi: the share of a code's distance from the mean code; below 0 its opposite",
                1.0,
                least=-2,
                most=2,
            ),
            Knob(
                "eta",
                "float",
                "share of the noise that samplers with eta draw afresh in each step: 1 is all of it",
                0.0,
                least=0,
                most=1,
            ),
            Knob(
                "churn", "float", "S_churn: noise that Heun's method adds before its steps", 0.0, least=0, most=10_000
            ),
        )
    }
)


SHORT: Mapping[str, str] = MappingProxyType(  # those with a flag and a keyword of their own, and what they mean
    {name: COMMON[name].meaning for name in ("steps", "guidance", "strength", "temperature")}
    | {"sampler": "how it steps; each model has its own"}
)


# What to say of a choice that another program has, by knob.
OTHER_NAMES: Mapping[str, Callable[[str, Sequence[str]], str | None]] = MappingProxyType(
    {"sampler": meant, "spacing": meant_spacing}
)
ELSEWHERE: Mapping[str, str] = MappingProxyType(  # whose a common knob is that a model lacks
    {"strength": ", which is an edit's (zeuxis edit MODEL PICTURE --strength SHARE)"}
)


def find(owner: str, knobs: Mapping[str, Knob], name: str) -> Knob:
    """The knob ``name`` of ``owner``; raises :class:`Unsupported` naming those that there are."""
    if name not in knobs:
        known = "; ".join(f"{each} ({knob.description})" for each, knob in knobs.items())
        built = "none (what it is built with is set in training: zeuxis train, --set model.NAME=VALUE)"
        raise Unsupported(f"{owner} has no knob '{name}'{ELSEWHERE.get(name, '')}; it has: {known or built}")
    return knobs[name]


def checked(owner: str, knobs: Mapping[str, Knob], values: Mapping[str, Value]) -> dict[str, Value]:
    """``values`` as the knobs have them; raises as :func:`find` and :meth:`Knob.check`."""
    return {name: find(owner, knobs, name).check(value) for name, value in values.items()}


def parsed(owner: str, knobs: Mapping[str, Knob], texts: Iterable[tuple[str, str]]) -> Sampling:
    """What a user wrote for some knobs, by name; raises as :func:`find` and :meth:`Knob.parse`."""
    values: dict[str, Value] = {}
    for name, text in texts:
        knob = find(owner, knobs, name)
        if name in values:
            raise UsageError(f"knob {name} is given twice, {values[name]} and {text}: give it once")
        values[name] = knob.parse(text)
    return Sampling(**values)


def split_knob(text: str) -> tuple[str, str]:
    """Name and value of ``name=value``; raises :class:`UsageError` for what has another form."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--knob {text} is not of the form name=value, e.g. --knob steps=20")
    return name.strip(), value.strip()


def knob_table(knobs: Iterable[str | Knob]) -> Mapping[str, Knob]:
    """Knobs by name, from what a card says; KeyError for a name that is not :data:`COMMON`."""
    named = [COMMON[knob] if isinstance(knob, str) else _whole(knob) for knob in knobs]
    return MappingProxyType({knob.name: knob for knob in sorted(named, key=lambda knob: knob.name)})


def _whole(knob: Knob) -> Knob:
    """With the common choices too, of one that says so."""
    if not knob.beside:
        return knob
    return replace(knob, choices=(*knob.choices, *COMMON[knob.name].choices), beside=False)


def always_recorded(knobs: Mapping[str, Knob]) -> dict[str, Value]:
    """The defaults of those that a record holds whether they were turned or not: see ``Knob.before``."""
    return {name: knob.default for name, knob in knobs.items() if knob.before is not None and knob.default is not None}


def as_recorded(knobs: Mapping[str, Knob], recorded: Mapping[str, Value]) -> dict[str, Value]:
    """What a record says was asked, and what was so when it was written and nothing could be said of it."""
    return {name: knob.before for name, knob in knobs.items() if knob.before is not None} | dict(recorded)


def _plain(value: Value) -> Value:
    """``value`` as Python has it; what is no number stays, for :meth:`Knob.check` to judge."""
    if isinstance(value, (bool, str)):
        return value
    return int(value) if isinstance(value, Integral) else float(value) if isinstance(value, Real) else value


class Sampling(Mapping[str, Value]):
    """Values asked of some knobs, by name; ``None`` asks nothing. Numbers of numpy are numbers."""

    def __init__(self, **values: Value | None) -> None:
        self._values = {name: _plain(value) for name, value in values.items() if value is not None}

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Sampling({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"
