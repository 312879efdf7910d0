"""What a picture costs, by networks whose multiply-adds are known; and which differences count."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from zeuxis.api.cost import multiply_adds
from zeuxis.metrics.verdict import better_of, by_chance, verdicts


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_multiply_adds_are_those_of_the_layers(mode: type[torch.no_grad]) -> None:
    with mode():
        assert multiply_adds(lambda: nn.Linear(4, 5)(torch.randn(3, 4))) == 3 * 4 * 5
        assert multiply_adds(lambda: nn.Conv2d(3, 5, 3)(torch.randn(2, 3, 8, 8))) == 2 * 6 * 6 * 5 * 3 * 9
        assert multiply_adds(lambda: torch.randn(3, 4) @ torch.randn(4, 2)) == 3 * 4 * 2
        q, k, v = torch.randn(2, 3, 7, 4), torch.randn(2, 3, 9, 4), torch.randn(2, 3, 9, 4)
        assert multiply_adds(lambda: scaled_dot_product_attention(q, k, v)) == 2 * 3 * 7 * 9 * (4 + 4)


def test_a_method_is_better_where_no_seed_of_the_other_reaches_it() -> None:
    assert better_of([1.0, 1.2], [1.3, 2.0], "lower") == 1 and better_of([1.3, 2.0], [1.0, 1.2], "lower") == -1
    assert better_of([1.0, 1.4], [1.3, 2.0], "lower") == 0 and better_of([1.0, 1.2], [1.3, 2.0], "higher") == -1
    assert better_of([1.0], [1.0], "lower") == 0, "a tie is no verdict"
    assert by_chance(2, 2) == pytest.approx(1 / 3) and by_chance(3, 3) == pytest.approx(1 / 10)


def test_verdicts_name_every_pair() -> None:
    told = verdicts({"a": [1.0, 1.2, 1.1], "b": [1.15, 1.3, 1.2], "c": [5.0, 6.0, 7.0]}, "lower")
    assert told[:2] == ["a is better than c.", "b is better than c."]
    assert told[2] == "No verdict, their seeds overlap: a and b." and "10%" in told[3]
    (alone,) = verdicts({"a": [1.0], "b": [2.0]}, "lower")
    assert "not known" in alone
