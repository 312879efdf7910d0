"""What a method says of itself: read by the catalogue as text, so that listing imports no torch.

A card must therefore be written with literals only: ``card = Card("dcgan", title="...", ...)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from zeuxis.knobs import Knob, knob_table

VERBS = frozenset(
    {"sample", "draw_steps", "encode", "decode", "log_prob", "denoiser", "classify", "segment", "verify", "write"}
    | {"in_distribution", "log_prob_caption", "encode_text", "inner_features", "draw_latents", "latent_weights"}
    | {"detect_edges"}
)
LatentKind = Literal["numbers", "styles", "entries"]


@dataclass(frozen=True)
class Card:
    """The identity of a system.

    ``needs`` are the fields of ``Condition`` without which it can neither train nor sample;
    ``accepts`` those it can be built to obey; ``knobs`` what may be turned when it draws, common ones by name.
    ``latents`` says what a system that decodes decodes: real numbers; a style code for each layer; or entries of a
    table, between which nothing lies. ``learns`` is false of generators that follow rules alone.
    ``departures`` are one sentence for every deliberate difference from the paper.
    """

    id: str
    title: str
    family: str
    year: int
    paper: str  # an arXiv number, or a citation
    verbs: Set[str] = frozenset({"sample"})
    needs: Set[str] = frozenset()
    accepts: Set[str] = frozenset()
    knobs: tuple[str | Knob, ...] = ()
    latents: LatentKind = "numbers"
    learns: bool = True  # False for a generator, which can be sampled untrained
    departures: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for name in ("verbs", "needs", "accepts"):
            object.__setattr__(self, name, frozenset(getattr(self, name)))
        if not self.verbs <= VERBS:
            raise ValueError(f"card '{self.id}': unknown verbs {sorted(self.verbs - VERBS)}; known: {sorted(VERBS)}")
        if self.latents not in get_args(LatentKind):
            known = ", ".join(get_args(LatentKind))
            raise ValueError(f"card '{self.id}': latents '{self.latents}' are of no kind; known: {known}")

    @property
    def knob_table(self) -> Mapping[str, Knob]:
        """The knobs by name."""
        return knob_table(self.knobs)

    def knobs_as_built(self, config: Mapping[str, Any]) -> dict[str, Knob]:
        """The knobs by name, those without a default of their own with the constructor's argument of that name."""
        return {
            name: replace(knob, default=config.get(name)) if knob.default is None else knob
            for name, knob in self.knob_table.items()
        }
