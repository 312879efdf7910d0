"""The kinds of published checkpoint that are known, in the order in which a file is tried against them.

A new kind is one record here and, where its names and shapes need functions of their own, one file beside this one.
A denoiser that is a plain row of convolutions, ``model.0``, ``model.2``, ... (DnCNN), would be::

    Kind(
        name="dncnn",
        system="dncnn",
        marks=("model.0.weight", "model.2.weight"),
        config=...,  # depth: the number of convolutions; width and channels: the shape of model.0.weight
        rename=...,  # layer k of ours is model.{2 k} of theirs
        published={"dncnn-25": ...},
    )

**Look-alikes.** A checkpoint belongs to the first kind whose marks are all there. So a kind whose marks are among
another's stands below it (the KL autoencoder below the VQGAN, which has a codebook besides), and a kind with marks
that any network might have, such as the one above, stands last.
"""

from __future__ import annotations

from typing import Any

from zeuxis.errors import UnknownName
from zeuxis.pretrained.first_stage import FIRST_STAGES
from zeuxis.pretrained.kind import CheckpointKind
from zeuxis.pretrained.translators import TRANSLATORS

KINDS: tuple[CheckpointKind[Any], ...] = (*FIRST_STAGES, *TRANSLATORS)


def kinds_called(name: str) -> tuple[CheckpointKind[Any], ...]:
    """The kinds of that name, or those that become the system of that name.

    Raises :class:`UnknownName` when there is none.
    """
    found = tuple(kind for kind in KINDS if name in (kind.name, kind.system))
    if not found:
        known = {kind.system for kind in KINDS} | {kind.name for kind in KINDS}
        raise UnknownName("kind of published checkpoint", name, known)
    return found
