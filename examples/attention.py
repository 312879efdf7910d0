"""Look into an attention layer and steer it: the seam that prompt editing uses, on a layer alone.

``control`` receives the probabilities (B, heads, queries, keys) and returns those that are used.
"""

import torch
from torch import Tensor

from zeuxis.nn.attention import CrossAttention
from zeuxis.rng import Stream

WIDTH, CONTEXT, HEADS, WORDS = 32, 16, 4, 5


def main() -> tuple[Tensor, Tensor, Tensor]:
    """What the layer gives, what it gives when word 2 counts three times as much, and the map of where it looked."""
    rng = Stream(0)
    layer = CrossAttention(WIDTH, CONTEXT, HEADS).requires_grad_(False)
    picture, words = rng.normal(1, 64, WIDTH), rng.normal(1, WORDS, CONTEXT)  # 8 x 8 places, 5 words
    kept = []

    def store(p: Tensor) -> Tensor:
        kept.append(p)
        return p

    def reweight(p: Tensor) -> Tensor:
        scale = torch.ones(WORDS)
        scale[2] = 3
        return p * scale / (p * scale).sum(-1, keepdim=True)

    layer.control = store
    plain = layer(picture, words)
    layer.control = reweight
    steered = layer(picture, words)
    layer.control = None
    where = kept[0].mean(1)[0].T.reshape(WORDS, 8, 8)  # over the heads: a map of the picture for each word
    return plain, steered, where


if __name__ == "__main__":
    plain, steered, where = main()
    print(f"the output changed by {float((steered - plain).abs().mean()):.4f} on average")
    print("where word 2 is looked at, in percent of each place's attention:")
    print((100 * where[2]).round().int())
