"""What translation is worth to a classifier that has labels on one side alone: unsupervised domain adaptation.

Bousmalis et al. 2017, "Unsupervised pixel-level domain adaptation with generative adversarial networks"
(arXiv:1612.05424), and Hoffman et al. 2018, CyCADA (arXiv:1711.03213), with CycleGAN as the translator: a classifier
learns from pictures of the source that were translated, with the source's labels, and is tested on the target.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DomainAdaptation:
    """Shares in [0, 1] of ``tested`` pictures of the target that classifiers predict right.

    Each was trained on ``learnt`` pictures: of the source ``translated``, of the source ``untranslated``, and of the
    ``target`` with its own labels.
    """

    translated: float
    untranslated: float
    target: float
    learnt: int
    tested: int

    def __len__(self) -> int:
        return self.tested

    @property
    def parts(self) -> dict[str, float]:
        """What is to be beaten, and what could be reached at best."""
        return {"untranslated": self.untranslated, "target's own labels": self.target}
