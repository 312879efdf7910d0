"""What Stable Diffusion's U-Net is told: the text, and in XL six sizes beside its pooled vector.

Podell et al. 2023 (arXiv:2307.01952), section 2.2: c_size, c_crop and c_ar are the first, second and third pair.

Axes: E width of the context, P width of the pooled text, V width of the added vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.errors import UsageError
from zeuxis.nn.clip_reader import ClipReader, clip_reader
from zeuxis.nn.embed import sinusoid
from zeuxis.nn.prompt_syntax import PromptWeights, told_marks


class Prompt(nn.Module):
    """Captions and sizes to ``context`` (B, T, E) and, where ``added`` is not 0, ``vector`` (B, V), V being that.

    ``text`` has a table for each tower, with the keys of :func:`zeuxis.nn.clip_reader.clip_reader`; their contexts lie
    side by side.
    """

    def __init__(self, text: Sequence[Mapping[str, Any]], added: int = 0) -> None:
        super().__init__()
        readers = [clip_reader(**table) for table in text]
        self.readers = nn.ModuleList(readers)
        self.width = sum(reader.width for reader in readers)  # E
        pooled = sum(reader.vector_width for reader in readers)  # P
        self.added, self.size_width = added, (added - pooled) // 6
        if added and (self.size_width < 2 or pooled + 6 * self.size_width != added):
            raise UsageError(f"an added vector of {added} numbers is not {pooled} of pooled text and six sizes")

    def forward(
        self,
        captions: Sequence[str],
        sizes: Sequence[int],
        *,
        zeros: Tensor | None = None,
        reading: PromptWeights = "none",
        skip: int = 0,
        windows: int = 1,
    ) -> dict[str, Tensor]:
        """``sizes``: rows and columns before the crop, rows and columns cut off, rows and columns of the picture.

        Where ``zeros`` (B,) bool is true the text is all zeros, which is what XL takes for no text; the sizes stay.
        ``reading`` says in which captions marks are weights of words, ``skip`` how many more blocks of each tower are
        left out, ``windows`` how many windows of a caption are read.
        """
        read = [reader(captions, reading, skip, windows) for reader in self.readers]
        context = torch.cat([layer for layer, _ in read], -1)  # (B, T, E)
        gone = torch.zeros(len(context), dtype=torch.bool) if zeros is None else zeros
        gone = gone.to(context.device)
        given = {"context": context.masked_fill(gone[:, None, None], 0)}
        if self.added:
            pooled = torch.cat([vector for _, vector in read if vector is not None], -1)  # (B, P)
            six = torch.tensor(sizes, dtype=torch.float32, device=pooled.device)
            numbers = sinusoid(six, self.size_width).flatten().expand(len(pooled), -1)
            text = pooled.masked_fill(gone[:, None], 0)
            given["vector"] = torch.cat([text, numbers.to(text.dtype)], -1)
        return given

    def both(
        self,
        captions: Sequence[str],
        negatives: Sequence[str] | None,
        picture: Shape,
        knobs: SimpleNamespace,
        zero_null: bool,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What is given under ``captions``, and under ``negatives`` or none: with ``zero_null`` none is all zeros.

        ``knobs`` has ``prompt_weights``, ``clip_skip`` and ``long_captions``, and with an added vector those of the
        sizes, where 0 is the picture's own. All are read in as many windows as the longest of them.
        """
        height, width = picture.height, picture.width
        sizes = [height, width, 0, 0, height, width]
        if self.added:
            sizes[:2] = knobs.original_height or height, knobs.original_width or width
            sizes[2:4] = knobs.crop_top, knobs.crop_left
        zeros = torch.full((len(captions),), zero_null and negatives is None)
        nulls = negatives or ("",) * len(captions)
        windows = 1
        if knobs.long_captions == "windows":
            every = [cast(ClipReader, reader) for reader in self.readers]
            windows = max(reader.needed([*captions, *nulls], knobs.prompt_weights) for reader in every)
        read = partial(self, sizes=sizes, reading=knobs.prompt_weights, skip=knobs.clip_skip, windows=windows)
        return read(captions), read(nulls, zeros=zeros)

    def too_long(self, captions: Sequence[str]) -> list[bool]:
        """Which of ``captions`` some tower does not read all of."""
        cuts = [cast(ClipReader, reader).cut(captions) for reader in self.readers]
        return [any(rests) for rests in zip(*cuts, strict=True)]

    def unread(self, condition: Condition, knobs: SimpleNamespace, *, marks_asked: bool) -> tuple[str, ...]:
        """A sentence for each caption and negative of which a tower does not read all, for marks of other programs'
        prompts in them, and for negatives that count for nothing at that guidance.

        ``knobs`` has ``guidance``, ``long_captions`` and ``prompt_weights``, of which last ``marks_asked`` says whether
        anyone set it.
        """
        found, readers = [], [cast(ClipReader, reader) for reader in self.readers]
        reading = knobs.prompt_weights
        for what, captions in (("caption", condition.caption), ("negative", condition.negative)):
            for caption in captions or ():
                cuts = [(reader.cut([caption], reading)[0], reader.longest) for reader in readers]
                rest, longest = max(cuts, key=lambda cut: len(cut[0]))
                if rest and knobs.long_captions == "cut":
                    found.append(
                        f"of the {what} the model reads {longest} tokens: '{rest}' is left out (--knob "
                        "long_captions=windows reads it too)"
                    )
                marks = told_marks(caption, reading if marks_asked else None)
                found += [f"in the {what} {mark}" for mark in marks]
        if knobs.guidance == 1 and any(condition.negative or ()):
            found.append("the negative caption counts for nothing at guidance 1: raise that, or leave the caption out")
        return tuple(dict.fromkeys(found))
