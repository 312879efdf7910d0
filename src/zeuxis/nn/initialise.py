"""Initial weights that are not torch's own."""

from __future__ import annotations

from torch import nn

from zeuxis.nn.attention import CrossAttention, SelfAttention


def variance_scaling(network: nn.Module) -> None:
    """Uniform weights of variance 2 / (fan in + fan out) (Glorot & Bengio 2010), and no biases.

    What Ho et al.'s code (2006.11239) and its descendants start from. Where as many come in as go out, torch's own have
    a third of that variance. Queries, keys and values, which share a layer here, count as layers of their own.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, SelfAttention):
            _apart(module.qkv, 3)
        elif isinstance(module, CrossAttention):
            _apart(module.kv, 2)


def _apart(layer: nn.Linear, maps: int) -> None:
    for part in layer.weight.detach().chunk(maps):
        nn.init.xavier_uniform_(part)
