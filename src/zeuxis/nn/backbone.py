"""What the networks of diffusion models have in common: the same question, whatever is inside."""

from __future__ import annotations

from torch import Tensor, nn

from zeuxis.nn.embed import LabelEmbedding, TimeEmbedding


class Backbone(nn.Module):
    """Images ``(B, C, H, W)`` at times ``(B,)`` to ``(B, C_out, H, W)``, by a vector and perhaps by text.

    A subclass sets ``time``, ``labels`` (None without classes) and ``reads`` (whether it attends to text),
    and implements :meth:`forward`, which asks :meth:`vector` first.
    """

    time: TimeEmbedding
    labels: LabelEmbedding | None
    reads: bool

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        label: Tensor | None = None,
        text: Tensor | None = None,
        text_mask: Tensor | None = None,
    ) -> Tensor:
        """Predict ``(B, C_out, H, W)`` in ``x``'s dtype.

        ``time`` ``(B,)`` is on the scale of 0 to 1000. ``label`` ``(B, D)`` is a vector added to the time's:
        ``self.labels(classes)``, a pooled text, or an embedding of the caller's own; without one a
        class-conditional model takes its null class. ``text`` ``(B, T, E)`` and ``text_mask`` ``(B, T)`` bool
        (true for words, at least one a row) are given exactly when the model was built with ``text_width``.
        """
        raise NotImplementedError

    def vector(self, time: Tensor, label: Tensor | None, text: Tensor | None) -> Tensor:
        """The vector ``(B, D)`` of times and labels; ValueError if text is missing, or given in vain."""
        if (text is None) == self.reads:
            raise ValueError("text is given exactly when the model was built with text_width")
        c: Tensor = self.time(time)
        if label is None and self.labels is not None:
            label = self.labels.null(len(time))
        return c if label is None else c + label
