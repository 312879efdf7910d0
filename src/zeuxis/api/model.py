"""A trained system by name: load it, sample it, encode and decode with it."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

import torch
from torch import Tensor

from zeuxis.api.devices import checked_device
from zeuxis.api.given import GivenPicture, Shown, condition_of, given, must_mark, plain_of, sha256_of
from zeuxis.api.given_codes import codes_given
from zeuxis.api.own_torch import own_torch
from zeuxis.api.pictures import Pictures
from zeuxis.api.prior import KINDS, prior_folder
from zeuxis.api.reporting import Report
from zeuxis.api.still import picture_of, size_of
from zeuxis.batch import Condition
from zeuxis.catalog.listing import entries, entry
from zeuxis.catalog.weights import load_system
from zeuxis.conditions import FIELDS, Field
from zeuxis.errors import TrainingStopped, UnknownName, Unsupported, UsageError
from zeuxis.escaping import word
from zeuxis.files import at_home
from zeuxis.game import System
from zeuxis.knobs import SHORT, Knob, Sampling, Value, always_recorded, checked
from zeuxis.nn.footprint import GIB, Footprint
from zeuxis.provenance.record import drawn_in, record
from zeuxis.recipe import load_recipe, recipe_paths
from zeuxis.rng import ImageRng
from zeuxis.signature import taking
from zeuxis.spec import MOST_SIDE, DataSpec, Size, height_width, in_bounds, spell_size
from zeuxis.systems.autoencoder.latent_prior import code_width
from zeuxis.training.memory import kept
from zeuxis.training.precision import HALVES, Precision, autocast, precision_of
from zeuxis.training.room import free_memory

EDITS = ("source", "mask")  # what a model that draws in steps is given by an edit, though it obeys neither
ALWAYS_TAKEN = ("negative",)  # fields that what accepts them obeys however it is built
MOST_IMAGES = 100_000  # in one call; more belong in several
BATCH = {"cpu": 16}  # pictures at a time: on a CPU few enough for its caches (twice as fast as 256 for a transformer)
BATCH_ELSEWHERE = 128
TILE = 64  # latents a side that are decoded at a time where a whole picture does not fit
ELSEWHERE = {  # keywords of other libraries, and what does it here
    "prompt": "caption",
    "negative_prompt": "negative",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "cfg_scale": "guidance",
    "scheduler": "sampler",
    "image": "source",
    "mask_image": "mask",
    "control_image": "control",
    "generator": "seed, a number,",
    "num_images_per_prompt": "n",
    "clip_skip": "knobs={'clip_skip': 1}",
    "guidance_rescale": "knobs={'guidance_rescale': 0.7}",
    "controlnet_conditioning_scale": "knobs={'control_strength': 0.5}",
    "height": "size=(rows, columns)",
    "width": "size=(rows, columns)",
}


@dataclass(frozen=True)
class DrawingMemory:
    """What drawing takes, and how many bytes are free; None where this system does not tell."""

    takes: Footprint
    free: int | None

    @property
    def fits(self) -> bool:
        """Whether there is room, as far as is known."""
        return self.free is None or self.takes.peak <= self.free

    def __str__(self) -> str:
        return str(self.takes) if self.free is None else f"{self.takes}; {self.free / GIB:.2g} GiB are free"


class Model:
    """A system with trained weights, and what its card says of them; it computes in ``precision`` on ``device``."""

    def __init__(
        self,
        name: str,
        system: System,
        card: dict[str, Any],
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        self.name, self.card = name, card
        self.system = system if card.get("staged") else system.to(device)  # its parts go there by themselves
        self.device, self.precision = device, precision
        self.size: Size | None = None  # of its pictures, where another was asked for than its own

    def with_prior(
        self,
        kind: str,
        data: str | None = None,
        report: Report = lambda message, fraction: None,
        *,
        apart: Path | None = None,
    ) -> Model:
        """The model that draws codes from the prior called ``kind`` and decodes them (see :mod:`zeuxis.api.prior`)."""
        folder = prior_folder(self.name, self.system, self.card, kind, data, report, apart=apart)
        return load(folder, self.device, self.precision)

    def at(self, size: Size | None) -> Model:
        """The model with pictures of another size (pixels a side, or height and width); itself for None.

        It draws best at the size that it was trained at. Raises :class:`Unsupported` for a model whose networks are of
        one size, :class:`UsageError` for sides that they cannot halve.
        """
        if size is None:
            return self
        (height, width), stride, own = height_width(size), self.system.stride, self.system.shape
        if stride is None and (height, width) == own[1:]:
            return self
        if stride is None:
            generator = not self.system.card.learns and height == width
            made = f", or make one that draws those: zeuxis train {self.system.card.id} --size {height}"
            raise Unsupported(
                f"'{self.name}' draws pictures of {own.width}x{own.height} alone: leave --size out{made * generator}"
            )
        if height % stride or width % stride or not in_bounds(size):
            near = [min(max(1, round(side / stride)), MOST_SIDE // stride) * stride for side in (width, height)]
            raise UsageError(
                f"--size {spell_size(size)}: '{self.name}' draws pictures whose sides are multiples of {stride}, at "
                f"most {MOST_SIDE}, such as {near[0]}x{near[1]}"
            )
        other = copy.copy(self.system)  # the same layers
        other.shape, other.spec = own.at(height, width), self.spec.at(size)
        model = Model(self.name, other, self.card, self.device, self.precision)
        model.size = size
        return model

    def memory(self, n: int = 1, how: Sampling = Sampling(), batch: int | None = None) -> DrawingMemory | None:
        """What drawing ``n`` pictures takes of memory, and what is free; None where it is not known, and small."""
        found = self.system.footprint(min(n, self.at_a_time(batch)), how)
        return None if found is None else DrawingMemory(found, free_memory(self.device))

    def fitted(self, how: Sampling, n: int, batch: int | None = None) -> Sampling:
        """``how`` as it is, or decoding in tiles where the whole picture would not fit into memory."""
        held = self.memory(n, how, batch)
        if held is None or held.fits or "tile" in how or "tile" not in self.knobs:
            return how
        return Sampling(**{**how, "tile": TILE})

    @property
    def verbs(self) -> Set[str]:
        """What it can do."""
        return self.system.can

    @property
    def knobs(self) -> Mapping[str, Knob]:
        """What may be turned when it draws, by name."""
        return self.system.knobs

    @property
    def needs(self) -> tuple[Field, ...]:
        """The fields without which it draws nothing: what it obeys, but for what may be left out."""
        asked = [FIELDS[name] for name in FIELDS if name in self.system.conditions - self.system.optional]
        return tuple(field for field in asked if given(field.name, self.spec, self.name).absent(1) is None)

    @property
    def spec(self) -> DataSpec:
        """What the data that it was trained on say of themselves."""
        return self.system.spec

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes of its labels."""
        return self.spec.class_names

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights file."""
        return str(self.card["sha256"])

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Where a verb of :attr:`system` is called: in the model's precision, and nothing is learnt."""
        with torch.inference_mode(), autocast(self.device, self.precision), kept(self.device):
            yield

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.system.shape))
        return (
            f"<{self.name}: {self.system.card.title}, {shape}, conditions: {sorted(self.system.conditions) or 'none'}>"
        )

    @own_torch()
    @taking({name: Any for name in (*FIELDS, *SHORT)})
    def sample(
        self,
        n: int = 1,
        seed: int = 0,
        *,
        knobs: Mapping[str, Value] | None = None,
        batch: int | None = None,
        prior: str | None = None,
        size: Size | None = None,
        **asked: Any,
    ) -> Pictures:
        """Make ``n`` pictures; picture k is that of seed ``seed + k``, whatever ``n`` and ``batch`` are.

        Sums over a batch of another size are rounded otherwise: now and then a value is one grey level apart, and
        where codes are drawn one by one another code may be, rarely. A record holds the batch, so that
        :func:`zeuxis.api.replay.replay` is exact.

        Args:
            knobs: values of any of :attr:`knobs`, by name.
            batch: pictures at a time; it changes the speed, and the pictures within rounding.
            prior: what codes are drawn from, for systems that code a picture as a vector: normal, gaussian,
                mixture or flow; fitted to the codes of the training data when it is first asked for.
            size: of the pictures, where it is not the model's own (see :meth:`at`).
            asked: the fields of :data:`zeuxis.conditions.FIELDS` that it obeys, once for all pictures or in a
                sequence, one for each: texts; classes by number or name (without any, all of them in turn);
                pictures as paths, Pillow, arrays or tensors (see :func:`zeuxis.api.still.picture_of`), several in the
                channels of one as a sequence of their own; factors by name. And the common knobs, ``steps``,
                ``guidance``, ``sampler`` and ``temperature``.

        What of a text it passes over, such as the end of a caption longer than it reads, stands in the records
        ("unread"), beside the whole text; :meth:`unread` tells it beforehand.

        Raises :class:`UsageError` for what it does not obey, cannot do without, or cannot read.
        """
        n, seed = whole("n", n), whole("seed", seed)
        for name in asked:
            if name in ELSEWHERE:
                raise UsageError(f"unknown keyword of sample '{name}': it is {ELSEWHERE[name]} here")
            if name not in FIELDS and name not in SHORT:
                raise UnknownName("keyword of sample", name, [*FIELDS, *SHORT], "(other knobs: knobs={name: value})")
        model = (self if prior is None else self.with_prior(prior)).at(size)
        steering = {name: value for name, value in asked.items() if name in FIELDS}
        model._refuse(steering)
        model._must("sample")
        condition = model.condition(n, **steering)
        how = _sampling({name: asked[name] for name in SHORT if name in asked}, knobs)
        model.check(how)
        how = model.fitted(how, n, batch)
        seeds = range(seed, seed + n)
        records = model.records(seeds, condition, how, batch)
        if "draw_steps" in model.verbs:
            drawn = model.draw_steps(condition, seeds, how, batch)
            return Pictures(drawn[:, -1], records, drawn)
        return Pictures(model.draw(condition, seeds, how, batch), records)

    @own_torch()
    def write(
        self, n: int = 1, seed: int = 0, *, temperature: float | None = None, knobs: Mapping[str, Value] | None = None
    ) -> tuple[str, ...]:
        """Write ``n`` captions; caption k is that of seed ``seed + k``, whatever ``n`` is."""
        n, seed = whole("n", n), whole("seed", seed)
        if not 1 <= n <= MOST_IMAGES:
            raise UsageError(f"cannot write {n} captions in one call: ask for 1 to {MOST_IMAGES}")
        how = _sampling({"temperature": temperature}, knobs)
        self.check(how)
        with self.computing():
            return self.system.write(ImageRng(range(seed, seed + n)), how)

    @own_torch()
    def encode(self, pictures: Any, batch: int | None = None) -> Tensor:
        """The codes ``(N, ...)`` on the CPU of one or several pictures: paths, Pillow, arrays, tensors, ``Pictures``.

        They are brought to the model's size, or where its networks are convolutions all through
        (``System.stride``) stay at their own if its factor divides that. Ranges are those of
        :func:`zeuxis.api.still.picture_of`.
        """
        self._must("encode")
        return self._map(self.system.encode, self._images(pictures), batch)

    @own_torch()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """The vectors ``(N, D)`` on the CPU of texts, of length 1, to be compared with those of :meth:`encode`."""
        self._must("encode_text")
        with self.computing():
            return self.system.encode_text(tuple(texts)).cpu()

    @own_torch()
    def classify(self, pictures: Any, batch: int | None = None) -> tuple[Tensor, ...]:
        """Logits ``(N, K_f)`` on the CPU for each factor that a classifier or a judge reads; pictures as `encode`."""
        self._must("classify")
        images = self._images(pictures).split(_some(batch) or BATCH.get(self.device, BATCH_ELSEWHERE))
        with self.computing():
            found = [self.system.classify(part.to(self.device)) for part in images]
        return tuple(torch.cat(head).float().cpu() for head in zip(*found, strict=True))

    def _images(self, pictures: Any) -> Tensor:
        """One or several pictures of a user's as the model takes them, ``(N, C, H, W)``."""
        shape, stride = self.system.shape, self.system.stride
        way = GivenPicture(Field("picture", "picture", "The picture to encode.", "PICTURE"), self.spec, self.name)
        images = []
        for value in way.each(pictures):
            what, size = way.label(value), (shape.width, shape.height)
            if stride is not None:
                own = size_of(value, what)
                size = size if own[0] % stride or own[1] % stride else own
            images.append(picture_of(value, shape.channels, size, what))
        if len({image.shape for image in images}) != 1:
            raise UsageError(f"'{self.name}' encodes pictures of one size at a time: here are several sizes, or none")
        return torch.stack(images)

    @own_torch()
    def decode_images(self, codes: Tensor, batch: int | None = None) -> Tensor:
        """The images ``(N, C, H, W)`` on the CPU of codes ``(N, ...)``."""
        self._must("decode")
        return self._map(self.system.decode, codes, batch).float()

    @own_torch()
    def draw_latents(
        self, condition: Condition, seeds: Sequence[int], how: Sampling = Sampling(), batch: int | None = None
    ) -> Tensor:
        """The latents ``(N, ...)`` on the CPU that :meth:`draw` decodes, one seed each."""
        self.check(how)
        self._must("draw_latents")
        return self._in_batches(self.system.draw_latents, condition, seeds, how, batch)

    def decoded_record(self, seed: int) -> dict[str, Any]:
        """The record of a picture that is decoded alone, without how its latent was made; ``seed`` is the first of
        those that that was drawn from."""
        return self.record_of({}, seed, drawn=drawn_in(1, 0, torch.get_num_threads(), instruction_set()))

    def decode(self, codes: Tensor, batch: int | None = None) -> Pictures:
        """The pictures of codes ``(N, ...)``, as :meth:`encode` gives them; their records hold the codes' hashes."""
        self._must("decode")
        codes = codes_given(codes, self.system, self.name, self.one_code())
        images = self.decode_images(codes, batch)
        held = [{"codes": {"sha256": sha256_of(code), "shape": list(code.shape)}} for code in codes]
        return Pictures(images, tuple(self.record_of(codes) for codes in held))

    def one_code(self) -> Tensor:
        """A code ``(...)`` of this model's: one that it draws, or where it draws none that of a grey picture."""
        if "draw_latents" in self.verbs:
            return self.draw_latents(self.condition(1), [0])[0]
        return self.encode(torch.zeros(1, *self.system.shape))[0]

    def _map(self, verb: Callable[[Tensor], Tensor], rows: Tensor, batch: int | None) -> Tensor:
        """``verb`` of ``rows``, some at a time."""
        parts = rows.split(_some(batch) or BATCH.get(self.device, BATCH_ELSEWHERE))
        with self.computing():
            return torch.cat([verb(part.to(self.device)).cpu() for part in parts])

    @own_torch()
    def draw(
        self, condition: Condition, seeds: Sequence[int], how: Sampling = Sampling(), batch: int | None = None
    ) -> Tensor:
        """The images ``(N, C, H, W)`` on the CPU for a ready condition, one seed each."""
        self.check(how)
        self._must("sample")
        return self._in_batches(self.system.sample, condition, seeds, how, batch)

    @own_torch()
    def draw_steps(
        self, condition: Condition, seeds: Sequence[int], how: Sampling = Sampling(), batch: int | None = None
    ) -> Tensor:
        """How :meth:`draw` comes to its images, ``(N, T, C, H, W)``, of models that draw in steps."""
        self.check(how)
        return self._in_batches(self.system.draw_steps, condition, seeds, how, batch)

    @own_torch()
    def draw_by(
        self,
        work: Callable[[Condition, ImageRng, Sampling], Tensor],
        condition: Condition,
        seeds: Sequence[int],
        how: Sampling = Sampling(),
        batch: int | None = None,
    ) -> Tensor:
        """As :meth:`draw`, by ``work``, which makes the images of some of the seeds, and not by the verb ``sample``."""
        self.check(how)
        return self._in_batches(work, condition, seeds, how, batch)

    def _in_batches(
        self,
        work: Callable[[Condition, ImageRng, Sampling], Tensor],
        condition: Condition,
        seeds: Sequence[int],
        how: Sampling,
        batch: int | None,
    ) -> Tensor:
        batch = self.at_a_time(batch)
        parts = []
        with self.computing():
            for start in range(0, len(seeds), batch):
                rows = slice(start, start + batch)
                given = condition[rows].only(self.system.conditions).to(self.device)
                parts.append(work(given, ImageRng(seeds[rows]), how).float().cpu())
        images = torch.cat(parts)
        if not torch.isfinite(images).all():
            whole = self.precision == "float32"
            mend = "its weights are damaged, train it again" if whole else "draw with --precision float32"
            raise TrainingStopped(f"'{self.name}' made pixels that are not finite in {self.precision}: {mend}")
        return images

    def at_a_time(self, batch: int | None = None) -> int:
        """How many pictures are drawn at a time where ``batch`` is asked for."""
        return _some(batch) or self.system.draw_batch or BATCH.get(self.device, BATCH_ELSEWHERE)

    def check(self, how: Sampling) -> None:
        """Refuse a knob that this model does not have, or a value that it does not take."""
        checked(f"'{self.system.card.id}'", self.knobs, how)

    @taking(dict.fromkeys(FIELDS, Any))
    def condition(self, n: int, **asked: Any) -> Condition:
        """The condition of ``n`` pictures from what a user gave, by field; see :meth:`sample`."""
        if not 1 <= n <= MOST_IMAGES:
            raise UsageError(f"cannot make {n} pictures in one call: ask for 1 to {MOST_IMAGES}")
        self._refuse(asked)
        made = condition_of(self.name, self.spec, self.system.conditions, self.system.optional, n, asked)
        if made.mask is not None:
            must_mark(made.mask)
        return made

    @taking(dict.fromkeys(FIELDS, Any))
    def unread(self, how: Sampling = Sampling(), **asked: Any) -> tuple[str, ...]:
        """What of the texts and pictures ``asked`` this model will pass over, a sentence each, such as the end of a
        long caption and the sides of a wide picture; ``how`` are the knobs that it will be turned by."""
        found: list[str] = []
        for name in sorted(self.system.conditions & asked.keys()):
            if asked[name] is None:
                continue
            way = given(name, self.spec, self.name)
            if isinstance(way, Shown):
                found += way.cut(way.each(asked[name]))
            elif FIELDS[name].kind == "text":
                found += self.system.unread(Condition(**{name: way.read(way.each(asked[name]))}), how)
        texts = " ".join(str(asked.get(name)) for name in ("caption", "negative"))
        idle = [one["token"] for one in self.card.get("added", ()) if one.get("token", "") not in texts]
        found += [
            f"no caption and no negative has '{token}', so that its --embedding counts for nothing" for token in idle
        ]
        return tuple(dict.fromkeys(found))

    def _refuse(self, asked: Mapping[str, Any]) -> None:
        """Refuse fields that it does not obey, naming recipes that do."""
        for name, value in asked.items():
            if name not in FIELDS:
                raise UnknownName("field of a condition", name, FIELDS)
            if value is not None and name not in self.system.conditions:
                raise Unsupported(f"'{self.name}' is not conditioned on {_a(name)}; {self._instead(name)}")

    def _instead(self, field: str) -> str:
        """What does what was meant by a ``field`` that this model does not obey."""
        if field in EDITS and self._edits():
            mask = " --mask PICTURE" if field == "mask" else ""
            return f"zeuxis edit {word(self.name)} PICTURE{mask} draws from a picture with it; {_who_obeys(field)}"
        return _who_obeys(field)

    def _edits(self) -> bool:
        """Whether :func:`zeuxis.api.edit.edit` takes it: it draws in steps, and no picture is given to it."""
        return "denoiser" in self.verbs and "sampler" in self.knobs and not {"source", "mask"} & self.system.conditions

    def _must(self, verb: str) -> None:
        if verb not in self.verbs:
            coded = verb == "sample" and _codes(self)
            mend = f" (with a prior over its codes also sample: --prior {'|'.join(KINDS)})" if coded else ""
            raise Unsupported(f"'{self.system.card.id}' cannot {verb}; it can: {', '.join(sorted(self.verbs))}{mend}")

    def records(
        self, seeds: Sequence[int], condition: Condition, how: Sampling, batch: int | None = None
    ) -> tuple[dict[str, Any], ...]:
        """How :meth:`draw` makes each picture of the same call: their records."""
        size, threads, instructions = self.at_a_time(batch), torch.get_num_threads(), instruction_set()
        held_too = Sampling(**{**always_recorded(self.knobs), **how})
        found = []
        for k, seed in enumerate(seeds):
            held = condition[slice(k, k + 1)].only(self.system.conditions)
            company = min(size, len(seeds) - k // size * size)  # the last batch may be a smaller one
            drawn = drawn_in(company, k % size, threads, instructions)
            made = self.record_of(plain_of(held, self.spec, self.name), seed, held_too, drawn)
            unread = list(self.system.unread(held, how))
            found.append({**made, "unread": unread} if unread else made)
        return tuple(found)

    def record_of(
        self,
        condition: dict[str, Any],
        seed: int = 0,
        how: Mapping[str, Value] | None = None,
        drawn: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The record of a picture that this model made of ``condition``; where nothing is drawn, of seed 0."""
        made = record(
            model=self.name,
            system=self.system.card.id,
            weights_sha256=self.weights_sha256,
            recipe=self.card.get("recipe"),
            data=self.card.get("data"),
            seed=seed,
            sampling=how or {},
            condition=condition,
            device=self.device,
            dtype=self.precision,
            drawn=drawn,
        )
        if added := self.card.get("added"):  # to a published model: the files of a LoRA, of a token, of a ControlNet
            made["added"] = [{k: one[k] for k in ("kind", "files", "scale", "token") if k in one} for one in added]
        return made if self.size is None else {**made, "size": list(height_width(self.size))}


def instruction_set() -> str:
    """The widest vector instructions that this processor computes with: "AVX2", "AVX512", "DEFAULT", ..."""
    return str(torch.backends.cpu.get_cpu_capability())


def whole(name: str, value: SupportsIndex) -> int:
    """``value`` as a plain whole number, also of numpy or a tensor; UsageError for what is none."""
    try:
        return operator.index(value)
    except TypeError:
        raise UsageError(f"{name} is {value!r}: give a whole number") from None


def _some(batch: int | None) -> int | None:
    """How many at a time, if it was said; UsageError for none."""
    if batch is not None and whole("batch", batch) < 1:
        raise UsageError(f"batch is {batch}: give 1 picture at a time or more")
    return batch


def _sampling(short: Mapping[str, Value | None], knobs: Mapping[str, Value] | None) -> Sampling:
    """What is asked of the knobs by keyword and by name; UsageError where both say something of one."""
    named = {name: value for name, value in short.items() if value is not None}
    for name in named.keys() & (knobs or {}).keys():
        raise UsageError(f"knob {name} is given twice, as {name}= and in knobs=: give it once")
    return Sampling(**{**named, **(knobs or {})})


def _codes(model: Model) -> bool:
    """Whether its codes are vectors of numbers, which a prior can be over."""
    try:
        return code_width(model.system) > 0
    except Unsupported:
        return False


def _a(name: str) -> str:
    """``a mask``, ``an instruction``."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _who_obeys(field: str) -> str:
    """Which recipes make something that obeys ``field``, for an error."""
    if field == "control":
        return (
            "a published Stable Diffusion is with --with CONTROLNET; a ControlNet that was trained here follows its "
            "--source or --layout"
        )
    recipes = [r for r in map(load_recipe, recipe_paths().values()) if r.system in entries()]
    drawn = [r for r in recipes if "sample" in entry(r.system).card.verbs]
    able = [r.name for r in drawn if field in (r.model.get("condition"), *entry(r.system).card.needs)]
    if field in ALWAYS_TAKEN:
        able += [r.name for r in drawn if field in entry(r.system).card.accepts]
    return f"recipes that are: {', '.join(able) or 'none yet'}"


@own_torch()
def load(
    name: str | Path,
    device: str | torch.device = "cpu",
    precision: str | torch.dtype = "float32",
    staged: bool | None = None,
) -> Model:
    """The model of a shipped name, a run folder or a model folder, ready to be used on ``device``; or a published one,
    from a folder in the hub's layout, a file of safetensors, or the name that it was pulled by.

    In ``precision`` "bfloat16" or "float16" its matrices are kept and multiplied in half the memory, which is faster
    where the processor has that precision natively, and slower elsewhere; its pictures differ a little. "auto" is
    bfloat16 in the first case and float32 in the second. ``staged`` says of a published model whether its parts are
    brought to ``device`` only while they compute; by default where they would not all fit.
    """
    name = at_home(name) if str(name).startswith("~") else name
    device = checked_device(device)
    kept = precision_of(precision, device)
    system, card = load_system(name, dtype=HALVES.get(kept), device=device, staged=staged)
    return Model(str(name), system, card, device, kept)
