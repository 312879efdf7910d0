"""The public network files of ProGAN and the style-based generators, and which of our systems they are.

A file of StyleGAN2's later programs and of StyleGAN3 holds a generator, its average and a discriminator, objects whose
program lies beside their tensors; one of the TensorFlow programs a tuple of the same, networks of named variables.
Neither program is run: what the package ``unpickle`` read of them is tensors and settings. Settings that no system
here has are refused by name; of tensors, every one has its place, or is known to need none
(:mod:`~zeuxis.pretrained.style_names`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from zeuxis.errors import WeightsError
from zeuxis.pretrained.style_flow import flow_parts, of_flow
from zeuxis.pretrained.style_settings import READ, StyleFile
from zeuxis.pretrained.style_torch import of_torch, torch_parts

SYSTEMS = ("progan", "stylegan", "stylegan2", "stylegan2-ada", "stylegan3-t", "stylegan3-r")


def is_style_file(facts: Any) -> bool:
    """Whether a file of these facts is a network file of one of the two programs, of whatever version."""
    return torch_parts(facts) is not None or flow_parts(facts) is not None


def read_style_file(facts: Any, tensors: Mapping[str, Tensor], what: str) -> StyleFile:
    """What the file ``what`` holds, of which ``facts`` and ``tensors`` were read.

    Raises :class:`WeightsError` for networks that no system here is.
    """
    if (parts := torch_parts(facts)) is not None:
        return of_torch(facts, parts, tensors, what)
    if (networks := flow_parts(facts)) is not None:
        return of_flow(networks, tensors, what)
    raise WeightsError(f"{what} is no network file: {READ}")
