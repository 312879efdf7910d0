"""What a reader finds in pictures, against what was asked of them: factors or labels, layouts, identities.

The reader is the model itself where it reads, or the shipped one that reads the data, where the model makes pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from zeuxis.api.features import reader_of
from zeuxis.api.model import Model
from zeuxis.batch import Batch
from zeuxis.data.source import WORD
from zeuxis.data.worlds import caption_likelihood
from zeuxis.errors import Unsupported
from zeuxis.metrics.table import Evidence

CHUNK = 256


def read(evidence: Evidence, model: Model, real: Batch, made: Tensor | None, data: str) -> Evidence:
    """Labels or factors found and asked for."""
    reader = _reader(model, made, data, "classify")
    pictures = real.image if made is None else made
    with torch.inference_mode():
        heads = [reader.system.classify(x) for x in chunks(pictures, reader)]
    logits = [torch.cat(head).cpu() for head in zip(*heads, strict=True)]  # per factor (N, K_f)
    found = torch.stack([head.argmax(1) for head in logits], 1)  # (N, F)
    factors, label = real.condition.factors, real.condition.label
    asked = factors if len(logits) > 1 else None if label is None else label[:, None]
    names = tuple(name for name, _ in reader.system.spec.factors) if len(logits) > 1 else ("label",)
    sizes = tuple(n for n in names if n.startswith("size"))  # see zeuxis.metrics.oracle.agreement
    found_so = replace(evidence, logits=logits[0], found=found, asked=asked, names=names, leave_out=sizes)
    return _known(found_so, reader, pictures)


def segmented(evidence: Evidence, model: Model, real: Batch, made: Tensor | None, data: str) -> Evidence:
    """Layouts found and asked for."""
    reader = _reader(model, made, data, "segment")
    pictures = real.image if made is None else made
    with torch.inference_mode():
        maps = [reader.system.segment(x).argmax(1).to(torch.uint8).cpu() for x in chunks(pictures, reader)]
    names = reader.system.spec.layout_names
    found_so = replace(evidence, mapped=torch.cat(maps), layout=real.condition.layout, layout_names=names)
    return _known(found_so, reader, pictures)


def verified(evidence: Evidence, model: Model, real: Batch, made: Tensor | None, data: str) -> Evidence:
    """How alike each picture (a made one, where the model makes any) and its source are, and the next one's source."""
    source = real.condition.source
    if source is None:
        raise Unsupported(f"'{data}' has no second picture of each subject: choose data that gives source")
    reader = _reader(model, made, data, "verify")
    pictures = real.image if made is None else made
    known = _known(evidence, reader, pictures)
    return replace(known, alike=_scores(reader, pictures, source), unlike=_scores(reader, pictures, source.roll(1, 0)))


def recognised(evidence: Evidence, model: Model, real: Batch, made: Tensor | None, data: str) -> Evidence:
    """Which pictures a reader knows, when nothing else is asked of it."""
    return _known(evidence, _reader(model, made, data, "in_distribution"), real.image if made is None else made)


def captions(evidence: Evidence, model: Model, real: Batch, made: Tensor | None, data: str) -> Evidence:
    """How likely the model finds the captions, and how likely the world does that told them, where that is known."""
    told = real.condition.caption
    if told is None:
        raise Unsupported(f"'{data}' has no captions: choose data that gives caption")
    with torch.inference_mode():
        parts = [model.system.log_prob_caption(told[k : k + CHUNK]).cpu() for k in range(0, len(told), CHUNK)]
    words = torch.tensor([len(WORD.findall(caption)) + 1 for caption in told])
    best = caption_likelihood.log_prob(data, told)
    return replace(evidence, caption_log_prob=torch.cat(parts), caption_words=words, caption_best=best)


def chunks(images: Tensor, model: Model) -> Iterator[Tensor]:
    """``images``, some at a time, where the model is."""
    return (part.to(model.device) for part in images.split(CHUNK))


def _reader(model: Model, made: Tensor | None, data: str, verb: str) -> Model:
    if made is None:
        if verb not in model.system.card.verbs:
            able = ", ".join(sorted(model.system.card.verbs))
            raise Unsupported(f"'{model.name}' does not read its data so ({verb}); it can: {able}")
        return model
    reader = reader_of(data, verb, tuple(model.system.shape))
    if reader is None:
        raise Unsupported(f"no shipped network reads '{data}' ({verb}): this figure needs one")
    if tuple(reader.system.shape) != tuple(model.system.shape):
        raise Unsupported(
            f"'{reader.name}' reads pictures of {tuple(reader.system.shape)}, '{model.name}' makes "
            f"{tuple(model.system.shape)}: this figure needs both to be equal"
        )
    return reader


def _known(evidence: Evidence, reader: Model, pictures: Tensor) -> Evidence:
    """With what the reader knows of the pictures, where it can tell; of several readers, what all of them know."""
    if "in_distribution" not in reader.system.card.verbs:
        return evidence
    with torch.inference_mode():
        known = torch.cat([reader.system.in_distribution(x).cpu() for x in chunks(pictures, reader)])
    return replace(evidence, known=known if evidence.known is None else evidence.known & known)


def _scores(reader: Model, one: Tensor, other: Tensor) -> Tensor:
    with torch.inference_mode():
        pairs = zip(chunks(one, reader), chunks(other, reader), strict=True)
        return torch.cat([reader.system.verify(a, b).cpu() for a, b in pairs])
