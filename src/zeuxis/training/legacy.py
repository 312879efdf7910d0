"""What older versions of the library called things, so that their models and checkpoints still load.

A card without a ``format`` is of format 1. Its constructor's keywords and its tensors are renamed as they are
read; nothing is written back. The rules below hold for every system of that format, but for those of
``KEYWORDS_OF``, whose old names mean other things elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from zeuxis.data.entries import ENTRIES, clean_name
from zeuxis.recipe import FORMER
from zeuxis.spec import DataSpec

FORMAT = 2  # of the cards and checkpoints that are written now

V = TypeVar("V")

KEYWORDS: Mapping[str, str] = {  # of constructors, format 1 -> 2
    "moving": "ema",
    "revive": "restart_dead",
    "relight": "color_jitter",
    "grain": "gaussian_noise",
    "trust": "coverage",
    "solver": "sampler",
}
KEYWORDS_OF: Mapping[str, Mapping[str, str]] = {  # of one system's constructor
    "align-draw": {"reader": "text_encoder"},
    "consistency": {"depth": "blocks"},
    "ddpm": {"depth": "blocks"},
    "ebm": {"spread": "data_noise", "calm": "energy_l2"},
    "maf": {"spread": "data_std"},
    "maskgit": {"choice": "choice_temperature"},
}
TENSORS: tuple[tuple[re.Pattern[str], str], ...] = tuple(  # format 1 -> 2
    (re.compile(rf"(?<![^./]){old}(?![^.])"), new)  # whole components of the dotted name, which may follow system/
    for old, new in (
        (r"reader(?=\.(?:token|lstm)\.)", "text_encoder"),  # align-draw's
        (r"told", "conditioning"),
        (r"pixels", "tokeniser"),
        (r"reading", "cross_attention"),
        (r"enter", "proj_in"),
        (r"leave", "proj_out"),
        (r"near([12])\.around", r"conv\1.depthwise"),
        (r"place", "pos_embed"),
        (r"seen", "rounds_seen"),
        (r"looker", "glimpse"),
        (r"limit", "ood_threshold"),
        # Of diffusion models: their conditioner, and the blocks of their U-Net.
        (r"reader(?=\.(?:embedding|tower|pool|sketch)\.)", "conditioner"),
        (r"target_reader", "target_conditioner"),
        (r"(down|up)\.(\d+)\.stages\.(\d+)\.block", r"\1_levels.\2.blocks.\3.resblock"),
        (r"(down|up)\.(\d+)\.stages\.(\d+)\.reader", r"\1_levels.\2.blocks.\3.transformer"),
        (r"middle\.0\.reader", "middle_blocks.0.transformer"),
        (r"(down|up)\.(\d+)\.stages", r"\1_levels.\2.blocks"),
        (r"(down|up)\.(\d+)\.resample", r"\1_levels.\2.resample"),
        (r"middle\.(\d+)\.block(?=\.)", r"middle_blocks.\1.resblock"),
        (r"middle\.0\.attention(?=\.(?:norm|attention)\.)", "middle_blocks.0.attention"),
    )
)


PLAYED: Mapping[str, Mapping[str, Any]] = {  # fields of players whose defaults were others in format 1
    "cyclegan": {"translators": {"decay": "linear"}, "critics": {"decay": "linear"}},
}
BEFORE: Mapping[str, Mapping[str, Any]] = {  # what a system did before it had the keyword, which older cards lack
    "image-gpt": {"gelu": "tanh"},
    "maf": {"degrees": "cyclic"},
}
PLAYERS: Mapping[str, str] = {"reader": "network", "drawer": "autoencoder"}  # format 1 -> 2


def format_of(facts: Mapping[str, Any]) -> int:
    """The format of a card or of a checkpoint's facts."""
    return int(facts.get("format", 1))


def derived_spec(card: Mapping[str, Any]) -> DataSpec:
    """The facts of the data that a card without a ``spec`` speaks of.

    Its constructor's arguments state them, and so do its ``class_names``, which may be those of the labels or of a
    layout. What neither states is taken from the dataset of that name, where there is one.
    """
    stated = DataSpec.of_arguments(card["config"])
    names = tuple(card.get("class_names", ()))
    entry = ENTRIES.get(clean_name(str(card.get("data"))))
    known = stated if entry is None else entry.spec.at(stated.size)
    labelled = "label" in entry.provides if entry is not None else not names or names != stated.layout_names
    return replace(
        known,
        shape=stated.shape,
        class_names=(names or known.class_names) if labelled else (),
        layout_names=stated.layout_names or known.layout_names,
        words=stated.words,
        factors=stated.factors,
    )


def upgraded_config(system: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor's arguments in a card of format 1, as they are called now; those of given systems too."""
    names = {**KEYWORDS, **KEYWORDS_OF.get(system, {})}
    new = {
        names.get(key, key): upgraded_card(dict(value)) if _is_system(value) else value for key, value in config.items()
    }
    return RESHAPED[system](new) if system in RESHAPED else new


def upgraded_card(card: dict[str, Any]) -> dict[str, Any]:
    """A model's card as it would be written now."""
    card = _completed(card if format_of(card) >= FORMAT else _upgraded(card))
    return card if "spec" in card else {**card, "spec": derived_spec(card).as_dict()}


def upgraded_recipe(run: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe in a run folder's ``run.json``, as it would be written now."""
    recipe: dict[str, Any] = run["recipe"]
    if format_of(run) >= FORMAT:
        return recipe
    model, tiny = recipe.get("model", {}), recipe.get("tiny", {})
    return recipe | {
        "model": upgraded_config(recipe["system"], model),
        "tiny": upgraded_config(recipe["system"], {**model, **tiny}) if tiny else {},
        "players": {**PLAYED.get(recipe["system"], {})}
        | {PLAYERS.get(player, player): fields for player, fields in recipe.get("players", {}).items()},
        "train": {FORMER.get(key, key): value for key, value in recipe.get("train", {}).items()},
    }


def upgraded_facts(facts: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's facts as they would be written now: the place in the data was called ``stream``."""
    if format_of(facts) >= FORMAT or "stream" not in facts:
        return facts
    return {("batches" if key == "stream" else key): value for key, value in facts.items()}


def upgraded_tensors(tensors: Mapping[str, V], format: int) -> dict[str, V]:
    """Tensors by the names that they have now; ``format`` is that of the card beside them."""
    return dict(tensors) if format >= FORMAT else {_renamed(name): tensor for name, tensor in tensors.items()}


def _completed(card: Mapping[str, Any]) -> dict[str, Any]:
    """The card with the keywords that came later, here and in the systems that are given to it."""
    config = {key: _completed(value) if _is_system(value) else value for key, value in card["config"].items()}
    return {**card, "config": {**BEFORE.get(card["system"], {}), **config}}


def _upgraded(card: Mapping[str, Any]) -> dict[str, Any]:
    return {**card, "config": upgraded_config(card["system"], card["config"])}


def _renamed(name: str) -> str:
    for player, now in PLAYERS.items():
        name = name.replace(f"optimiser/{player}/", f"optimiser/{now}/")
    for old, new in TENSORS:
        name = old.sub(new, name)
    return name


def _parts(config: dict[str, Any]) -> dict[str, Any]:
    """Flow matching's network and text encoder had flat keywords, of which each choice used some.

    A card has all of them; a recipe, those that differ from the defaults.
    """
    kind = config.get("network", "dit")
    if isinstance(kind, Mapping):
        return config  # as it is called now
    flat = {old for keys in _NETWORK.values() for old in keys} | set(_TEXT)
    new = {key: value for key, value in config.items() if key not in flat}
    new["network"] = {"kind": kind} | {new: config[old] for old, new in _NETWORK[kind].items() if old in config}
    text = {new: config[old] for old, new in _TEXT.items() if old in config}
    if text:
        new["text"] = text if config.get("condition") == "caption" else None
    return new


_TEXT = {f"text_{key}": key for key in ("width", "depth", "heads", "length")} | {"sketch": "sketch"}
_NETWORK: Mapping[str, Mapping[str, str]] = {
    "dit": {key: key for key in ("patch", "width", "depth", "heads")},
    "unet": {key: key for key in ("width", "multiples", "attention", "heads")} | {"depth": "blocks"},
    "uvit": {key: key for key in ("patch", "fine", "fine_depth", "width", "depth", "heads")},
}
RESHAPED: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {  # by system, format 1 -> 2
    "flow-matching": _parts,
}


def _is_system(value: Any) -> bool:
    return isinstance(value, Mapping) and {"system", "config"} <= value.keys()
