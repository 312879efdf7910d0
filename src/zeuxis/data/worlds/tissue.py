"""The physics of the phantoms: tissues, and how bright a spin-echo sequence shows them.

Relaxation times and proton densities are those of the BrainWeb simulator at 1.5 T: Kwan, Evans and Pike 1999, "MRI
simulation-based evaluation of image-processing and classification methods" (doi:10.1109/42.816072), on the phantom of
Collins et al. 1998, "Design and construction of a realistic digital brain phantom" (doi:10.1109/42.712135); its double
echo (TR 3300 ms, TE 35 and 120 ms) gives the PD- and T2-weighted pictures, a short one the T1-weighted ones. BrainWeb
has no deep grey: here it lies between grey and white matter, its T2 near white matter's because of its iron.

Symbols -> code: T1, T2 (ms), PD (of water's) -> the columns of TISSUES; TR, TE (ms) -> Sequence.tr, Sequence.te;
S = PD (1 - exp(-TR / T1)) exp(-TE / T2) -> spin_echo.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from zeuxis.data.worlds.exact import decay


class Tissue(NamedTuple):
    """What a spin echo sees of a tissue: times in ms, the density of protons as a share of water's."""

    t1: float
    t2: float
    pd: float


class Sequence(NamedTuple):
    """A spin-echo sequence: repetition and echo times in ms, and the signal that is shown white."""

    tr: float
    te: float
    white: float


FLUID = Tissue(2569, 329, 1.0)
SILENT = Tissue(1000, 50, 0.0)  # no protons that an echo could catch: the times do not matter
TISSUES: dict[str, Tissue] = {
    "background": SILENT,
    "scalp": Tissue(350, 70, 1.0),  # fat
    "skull": SILENT,
    "fluid": FLUID,
    "grey matter": Tissue(833, 83, 0.86),
    "white matter": Tissue(500, 70, 0.77),
    "deep grey": Tissue(690, 73, 0.82),
    "ventricle": FLUID,
    "lesion": Tissue(752, 237, 0.76),
}
"""The classes of the layout, in the order in which they are painted."""

CONTRASTS: dict[str, Sequence] = {
    "T1": Sequence(500, 15, 0.75),
    "T2": Sequence(3300, 120, 0.60),
    "PD": Sequence(3300, 35, 0.78),
}

VARIATION = Tissue(0.05, 0.05, 0.03)  # from subject to subject, as a share of the value, either way
NUMBERS = 3 * len(TISSUES)  # uniform numbers that a subject's tissues take


def spin_echo(tissue: Tensor, sequence: Sequence) -> Tensor:
    """The signal S, float64, of tissues (..., 3): T1, T2, PD. 1 is that of water with neither relaxation."""
    t1, t2, pd = tissue.double().unbind(-1)
    return pd * (1 - decay(sequence.tr / t1)) * decay(sequence.te / t2)


def signals(u: Tensor) -> Tensor:
    """The signals ``(B, 3, tissues)``, float32, of subjects' tissues in each of ``CONTRASTS``.

    ``u`` (B, NUMBERS) are uniform numbers. The ventricles hold the same fluid as what surrounds the brain.
    """
    mean = torch.tensor(list(TISSUES.values()), dtype=torch.float64, device=u.device)
    spread = torch.tensor(VARIATION, dtype=torch.float64, device=u.device)
    own = mean * (1 + spread * (2 * u.view(len(u), len(TISSUES), 3).double() - 1))  # (B, tissues, 3)
    names = list(TISSUES)
    own[:, names.index("ventricle")] = own[:, names.index("fluid")]
    return torch.stack([spin_echo(own, sequence) for sequence in CONTRASTS.values()], 1).float()
