"""How well a language model predicts text: its perplexity, and the ratio of that to the best possible.

Perplexity is exp of the mean negative log-likelihood of a word (Jelinek, Mercer, Bahl & Baker 1977): that of a choice
between so many equally likely words. A caption's end is predicted like a word and counted as one.
"""

from __future__ import annotations

from torch import Tensor


def perplexity(log_prob: Tensor, words: Tensor) -> float:
    """exp of -``log_prob`` (N,) in nats, summed, over ``words`` (N,), the ends among them, summed."""
    return float((-log_prob.double().sum() / words.sum()).exp())


def over(log_prob: Tensor, best: Tensor, words: Tensor) -> tuple[float, float]:
    """The perplexity under ``log_prob`` (N,) over that under ``best`` (N,), of the same captions; its standard error.

    ``best`` must be under the distribution that they were drawn from. Then the expected logarithm of the ratio is the
    divergence, a word: no model is below 1 but by chance, within the error, and one that is has been compared with
    another distribution. Both are of the same captions, hence their sampling noise mostly cancels, and the error is far
    below that of either.
    """
    extra = best.double() - log_prob.double()  # (N,) nats
    rate = extra.sum() / words.sum()
    ratio = rate.exp()
    error = ratio * (extra - rate * words).std() / words.double().mean() / len(words) ** 0.5  # the delta method
    return float(ratio), float(error)
