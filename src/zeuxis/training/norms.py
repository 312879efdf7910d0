"""Batch norm in an average of weights: its statistics are measured, for they are not the average of statistics.

The running statistics of the system belong to its last weights; those of the averaged weights are found by playing the
losses of some batches with them, and taking the plain mean (Izmailov et al. 2018, "Averaging weights leads to wider
optima and better generalization", 1803.05407, section 3.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from zeuxis.errors import TooFewPictures, UsageError
from zeuxis.game import System, Turn
from zeuxis.training.buffers import KeptBuffers
from zeuxis.training.precision import Precision, autocast

PICTURES, BATCHES = 1024, 16  # that the statistics are measured on: so many pictures, in at most so many batches


OF_BATCH_NORMS = "Expected more than 1 value per channel when training"  # what torch's say of one picture's one pixel


@contextmanager
def of_pictures(turn: Turn) -> Iterator[None]:
    """Where a loss is computed: what a batch norm, or a comparison of pictures, says of one alone gets its mend.

    Anything else that is wrong with a loss of one picture is raised as it is.
    """
    try:
        yield
    except ValueError as error:
        alone = isinstance(error, TooFewPictures) or str(error).startswith(OF_BATCH_NORMS)
        if len(turn.batch) > 1 or not alone:
            raise
        raise UsageError(
            f"one picture at a time is too few to learn from here ({error}): raise train.batch, so that every process, "
            "and each of train.accumulate parts, has 2 pictures or more"
        ) from error


def batch_norms(system: System) -> list[_BatchNorm]:
    """The batch norms of ``system`` that keep statistics and are not frozen."""
    frozen = {id(m) for part in system.frozen for m in part.modules()}
    norms = (m for m in system.modules() if isinstance(m, _BatchNorm) and m.track_running_stats)
    return [m for m in norms if id(m) not in frozen]


def statistics(norms: Sequence[_BatchNorm]) -> list[Tensor]:
    """Their buffers."""
    return [b for m in norms for b in m.buffers()]


def measure_norms(
    average: System,
    norms: Sequence[_BatchNorm],
    trained: Sequence[Tensor],
    turns: Iterable[Turn],
    precision: Precision,
) -> None:
    """Set the statistics of ``norms``, which are in ``average``, to the mean over ``turns`` of every move's batches.

    No weight moves, and no buffer but these; those of norms that no move reaches (of a critic that has not begun) stay.
    ``trained`` are the parameters of the average: a loss may ask for gradients with respect to them.
    """
    before = [[b.clone() for b in norm.buffers()] for norm in norms]
    momenta = [norm.momentum for norm in norms]
    others = KeptBuffers(average, without=norms)
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all calls
        norm.train()
    for p in trained:
        p.requires_grad_(True)
    try:
        for turn in turns:
            for move in average.moves():
                with of_pictures(turn), torch.enable_grad(), autocast(turn.batch.image.device, precision):
                    move.loss(turn)
            if not any(_reached(norm) for norm in norms):
                break
    finally:
        for p in trained:
            p.requires_grad_(False)
        for norm, momentum, buffers in zip(norms, momenta, before, strict=True):
            norm.momentum = momentum
            norm.eval()
            if not _reached(norm):
                for buffer, value in zip(norm.buffers(), buffers, strict=True):
                    buffer.copy_(value)
        others.put_back()


def _reached(norm: _BatchNorm) -> bool:
    return bool(norm.num_batches_tracked)
