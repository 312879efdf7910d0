"""A trained system by name: load it, sample it, draw a picture again from its record."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zeuxis.api.latents import code_width
from zeuxis.api.pictures import Pictures
from zeuxis.api.prior import KINDS, Prior, Report, prior_of
from zeuxis.batch import Condition
from zeuxis.catalog.listing import entries, entry
from zeuxis.catalog.weights import load_system
from zeuxis.errors import DataError, TrainingStopped, UnknownName, Unsupported, UsageError
from zeuxis.game import System
from zeuxis.knobs import COMMON, Sampling
from zeuxis.provenance.record import record, versions
from zeuxis.recipe import load_recipe, recipe_paths
from zeuxis.rng import ImageRng

MOST_IMAGES = 100_000  # in one call; more belong in several
BATCH = {"cpu": 16}  # pictures at a time: on a CPU few enough for its caches (twice as fast as 256 for a transformer)
BATCH_ELSEWHERE = 128
BATCH_CODED = 256  # with a prior: a flow takes as many passes for one code as for many


class Model:
    """A system with trained weights, and what its card says of them; perhaps with a prior over its codes."""

    def __init__(
        self, name: str, system: System, card: dict[str, Any], device: str = "cpu", prior: Prior | None = None
    ) -> None:
        self.name, self.system, self.card, self.device = name, system.to(device), card, device
        self.prior = prior

    def with_prior(self, kind: str, data: str | None = None, report: Report = lambda message, fraction: None) -> Model:
        """The same model, drawing codes from the prior called ``kind`` (see :mod:`zeuxis.api.prior`)."""
        prior = prior_of(self.name, self.system, self.card, kind, data, report)
        return Model(self.name, self.system, self.card, self.device, prior)

    @property
    def verbs(self) -> Set[str]:
        """What it can do: with a prior, also sample."""
        return self.system.can | ({"sample"} if self.prior else set())

    @property
    def knobs(self) -> Set[str]:
        """The fields of ``Sampling`` that it honours: with a prior, that of the prior."""
        return {"temperature"} if self.prior else set(self.system.knobs)

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights file."""
        return str(self.card["sha256"])

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.system.shape))
        return (
            f"<{self.name}: {self.system.card.title}, {shape}, conditions: {sorted(self.system.conditions) or 'none'}>"
        )

    def sample(
        self,
        n: int = 1,
        seed: int = 0,
        *,
        caption: str | Sequence[str] | None = None,
        label: int | str | Sequence[int | str] | None = None,
        source: Tensor | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        sampler: str | None = None,
        temperature: float | None = None,
        batch: int | None = None,
        prior: str | None = None,
    ) -> Pictures:
        """Make ``n`` pictures; picture k is that of seed ``seed + k``, whatever ``n`` and ``batch`` are.

        Args:
            caption: one text for all, or one for each.
            label: a class (number or name) for all, or one for each; without it, a system conditioned on
                labels goes through the classes in turn.
            source: ``(n, C, H, W)`` or ``(1, C, H, W)`` in [-1, 1], for systems that translate.
            steps, guidance, sampler, temperature: see :class:`zeuxis.verbs.Sampling`.
            batch: pictures at a time; it changes the speed, not the pictures.
            prior: what codes are drawn from, for systems that code a picture as a vector: normal, gaussian,
                mixture or flow; fitted to the codes of the training data when it is first asked for.
        """
        model = self if prior is None else self.with_prior(prior)
        condition = self.condition(n, caption=caption, label=label, source=source)
        how = Sampling(steps=steps, guidance=guidance, sampler=sampler, temperature=temperature)
        seeds = range(seed, seed + n)
        records = tuple(model.record(seed + k, condition[slice(k, k + 1)], how) for k in range(n))
        if "draw_steps" in model.verbs:
            drawn = model.draw_steps(condition, seeds, how, batch)
            return Pictures(drawn[:, -1], records, drawn)
        return Pictures(model.draw(condition, seeds, how, batch), records)

    def write(self, n: int = 1, seed: int = 0, *, temperature: float | None = None) -> tuple[str, ...]:
        """Write ``n`` captions; caption k is that of seed ``seed + k``, whatever ``n`` is."""
        if not 1 <= n <= MOST_IMAGES:
            raise UsageError(f"cannot write {n} captions in one call: ask for 1 to {MOST_IMAGES}")
        how = Sampling(temperature=temperature)
        self.check(how)
        with torch.inference_mode():
            return self.system.write(ImageRng(range(seed, seed + n)), how)

    def draw(
        self, condition: Condition, seeds: Sequence[int], how: Sampling = Sampling(), batch: int | None = None
    ) -> Tensor:
        """The images ``(N, C, H, W)`` on the CPU for a ready condition, one seed each."""
        self.check(how)
        if "sample" not in self.verbs:
            mend = f" (with a prior over its codes also sample: --prior {'|'.join(KINDS)})" if _codes(self) else ""
            raise Unsupported(f"'{self.system.card.id}' cannot sample; it can: {', '.join(sorted(self.verbs))}{mend}")
        return self._in_batches(self._drawn, condition, seeds, how, batch)

    def draw_steps(
        self, condition: Condition, seeds: Sequence[int], how: Sampling = Sampling(), batch: int | None = None
    ) -> Tensor:
        """How :meth:`draw` comes to its images, ``(N, T, C, H, W)``, of models that draw in steps."""
        self.check(how)
        return self._in_batches(self.system.draw_steps, condition, seeds, how, batch)

    def _in_batches(
        self,
        work: Callable[[Condition, ImageRng, Sampling], Tensor],
        condition: Condition,
        seeds: Sequence[int],
        how: Sampling,
        batch: int | None,
    ) -> Tensor:
        batch = batch or (BATCH.get(self.device, BATCH_ELSEWHERE) if self.prior is None else BATCH_CODED)
        parts = []
        with torch.inference_mode():
            for start in range(0, len(seeds), batch):
                rows = slice(start, start + batch)
                given = condition[rows].only(self.system.conditions).to(self.device)
                parts.append(work(given, ImageRng(seeds[rows]), how).float().cpu())
        images = torch.cat(parts)
        if not torch.isfinite(images).all():
            raise TrainingStopped(
                f"'{self.name}' made pixels that are not finite: its weights are damaged, train it again"
            )
        return images

    def _drawn(self, condition: Condition, rng: ImageRng, how: Sampling) -> Tensor:
        if self.prior is None:
            return self.system.sample(condition, rng, how)
        return self.system.decode(self.prior.draw(rng, how, self.system.device)).clamp(-1, 1)

    def check(self, how: Sampling) -> None:
        """Refuse a knob that this system does not have."""
        for knob in how:
            if knob not in self.knobs:
                known = ", ".join(sorted(self.knobs)) or "none"
                raise Unsupported(f"'{self.system.card.id}' has no knob '{knob}'; it has: {known}")

    def condition(
        self,
        n: int,
        *,
        caption: str | Sequence[str] | None = None,
        label: int | str | Sequence[int | str] | None = None,
        source: Tensor | None = None,
    ) -> Condition:
        """The condition of ``n`` pictures from what a user wrote."""
        if not 1 <= n <= MOST_IMAGES:
            raise UsageError(f"cannot make {n} pictures in one call: ask for 1 to {MOST_IMAGES}")
        wants, given = self.system.conditions, {"caption": caption, "label": label, "source": source}
        for field, value in given.items():
            if value is not None and field not in wants:
                raise Unsupported(f"'{self.name}' is not conditioned on a {field}; {_who_obeys(field)}")
        if "source" in wants and source is None:
            raise UsageError(f"'{self.name}' translates a picture: give it one (--source FILE)")
        if "caption" in wants and caption is None:
            raise UsageError(f"'{self.name}' draws from a caption: give it one (--caption \"...\")")
        return Condition(
            label=self._labels(label, n) if "label" in wants else None,
            caption=_spread("caption", [caption] if isinstance(caption, str) else caption, n),
            source=None if source is None else source.expand(n, *source.shape[1:]) if len(source) == 1 else source,
        )

    def _labels(self, label: int | str | Sequence[int | str] | None, n: int) -> Tensor:
        classes = int(self.card["config"].get("classes", 0))
        if label is None:
            return torch.arange(n) % classes
        wanted = _spread("label", [label] if isinstance(label, (int, str)) else label, n) or ()
        return torch.tensor([self._class(x, classes) for x in wanted])

    def _class(self, label: int | str, classes: int) -> int:
        names: list[str] = self.card.get("class_names", [])
        if isinstance(label, str) and label in names:
            return names.index(label)
        try:
            number = int(label)
        except ValueError:
            raise UnknownName("class", str(label), names or map(str, range(classes))) from None
        if not 0 <= number < classes:
            raise UsageError(f"label {number} is outside the {classes} classes of '{self.name}' (0 to {classes - 1})")
        return number

    def record(self, seed: int, condition: Condition, how: Sampling) -> dict[str, Any]:
        """How the picture of ``seed`` under ``condition`` (of one image) is made: its record."""
        said: dict[str, Any] = {}
        if condition.caption is not None and "caption" in self.system.conditions:
            said["caption"] = condition.caption[0]
        if condition.label is not None and "label" in self.system.conditions:
            said["label"] = int(condition.label[0])
        if condition.source is not None:
            said["source"] = "a picture that the user gave"
        made = record(
            model=self.name,
            system=self.system.card.id,
            weights_sha256=self.weights_sha256,
            recipe=self.card.get("recipe"),
            data=self.card.get("data"),
            seed=seed,
            sampling=dict(how),
            condition=said,
            device=self.device,
        )
        return made if self.prior is None else {**made, "prior": self.prior.record()}


def _codes(model: Model) -> bool:
    """Whether its codes are vectors of numbers, which a prior can be over."""
    try:
        return code_width(model.system) > 0
    except Unsupported:
        return False


def _spread(what: str, values: Sequence[Any] | None, n: int) -> tuple[Any, ...] | None:
    """One value for each of ``n`` pictures."""
    if values is None:
        return None
    if len(values) not in (1, n):
        raise UsageError(f"{len(values)} values of {what} for {n} pictures: give one, or one for each")
    return tuple(values) * (n if len(values) == 1 else 1)


def _who_obeys(field: str) -> str:
    """Which recipes make something that obeys ``field``, for an error."""
    recipes = [r for r in map(load_recipe, recipe_paths().values()) if r.system in entries()]
    drawn = [r for r in recipes if "sample" in entry(r.system).card.verbs]
    able = [r.name for r in drawn if field in (r.model.get("condition"), *entry(r.system).card.needs)]
    return f"recipes that are: {', '.join(able) or 'none yet'}"


def load(name: str | Path, device: str = "cpu") -> Model:
    """The model of a shipped name, a run folder or a model folder, ready to be used."""
    system, card = load_system(name)
    return Model(str(name), system, card, device)


def replay(made: dict[str, Any], device: str = "cpu") -> tuple[Pictures, list[str]]:
    """Draw a picture again from its record; also says what is not as it was then."""
    model = load(made["model"], device)
    if "source" in made["condition"]:
        raise Unsupported(
            "this picture was translated from another, which its record does not hold: sample with --source"
        )
    strange = (set(made["condition"]) - {"label", "caption"}) | (set(made["sampling"]) - set(COMMON) - {"sampler"})
    if strange:
        raise Unsupported(
            f"this picture's record holds {', '.join(sorted(strange))}: only pictures of zeuxis sample are replayed"
        )
    differs = [
        f"{name} was {made['versions'].get(name)}, is {now}"
        for name, now in versions().items()
        if made["versions"].get(name) != now
    ]
    if made["weights_sha256"] != model.weights_sha256:
        differs.append(f"the weights of '{model.name}' are not the ones that drew it")
    match made.get("prior"):
        case None:
            pass
        case {"kind": str(kind), "data": str() | None as data} as prior:
            model = model.with_prior(kind, data)
            if model.prior is None or model.prior.record() != prior:
                differs.append(f"the prior '{kind}' over its codes is not the one that drew it")
        case _:
            raise DataError("this picture's record is damaged: its prior has no kind, or no data")
    if made["device"] != device:
        differs.append(f"device was {made['device']}, is {device}")
    return model.sample(1, made["seed"], **made["condition"], **made["sampling"]), differs
