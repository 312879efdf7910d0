"""The public network files of ProGAN and the style-based generators, and which of our systems they are.

A file of StyleGAN2's later programs and of StyleGAN3 holds a generator, its average and a discriminator, objects whose
program lies beside their tensors; one of the TensorFlow programs a tuple of the same, networks of named variables; one
of stylegan2-pytorch the same as plain tensors. No program is run: what the package ``unpickle`` read is tensors and
settings. Settings that no system here has are refused by name; of tensors, every one has its place, or is known to
need none (:mod:`~zeuxis.pretrained.style_names`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from zeuxis.errors import WeightsError
from zeuxis.pretrained.style_flow import flow_parts, of_flow
from zeuxis.pretrained.style_settings import READ, StyleFile
from zeuxis.pretrained.style_states import generator_place, of_states
from zeuxis.pretrained.style_torch import of_torch, torch_parts

SYSTEMS = ("progan", "stylegan", "stylegan2", "stylegan2-ada", "stylegan3-t", "stylegan3-r")


def is_style_file(facts: Any, keys: Iterable[str]) -> bool:
    """Whether a file of these facts and of tensors called ``keys`` is of one of the programs, of whatever version."""
    return torch_parts(facts) is not None or flow_parts(facts) is not None or generator_place(keys) is not None


def read_style_file(facts: Any, tensors: Mapping[str, Tensor], what: str) -> StyleFile:
    """What the file ``what`` holds, of which ``facts`` and ``tensors`` were read.

    Raises :class:`WeightsError` for networks that no system here is.
    """
    if (parts := torch_parts(facts)) is not None:
        return of_torch(facts, parts, tensors, what)
    if (networks := flow_parts(facts)) is not None:
        return of_flow(networks, tensors, what)
    if generator_place(tensors) is not None:
        return of_states(facts, tensors, what)
    raise WeightsError(f"{what} is no network file: {READ}")
