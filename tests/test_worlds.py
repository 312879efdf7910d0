"""What every world owes, whatever it draws."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from zeuxis.batch import Batch
from zeuxis.counter import uniforms
from zeuxis.data.entries import ENTRIES
from zeuxis.data.library import WORLDS, open_source
from zeuxis.data.worlds.points import CENTRES
from zeuxis.data.worlds.world import ATTEMPTS, draw_split, in_split


def tensors(batch: Batch) -> dict[str, Tensor]:
    found = {name: getattr(batch.condition, name) for name in batch.condition.given}
    return {"image": batch.image} | {name: value for name, value in found.items() if isinstance(value, Tensor)}


@pytest.mark.parametrize("name", WORLDS)
def test_what_a_world_gives_is_what_its_entry_says(name: str) -> None:
    source, entry = open_source(name), ENTRIES[name]
    batch = source.batch(torch.arange(3))
    assert batch.condition.given == source.spec.provides == set(entry.provides)
    assert batch.image.shape[1:] == source.spec.shape
    given = batch.condition.source
    assert (None if given is None else given.shape[1:]) == source.spec.source_shape
    # Words and factors are known by opening alone; all else stands in the table of entries.
    assert replace(source.spec, words=(), factors=()) == entry.spec
    assert len(source.spec.class_names) > 0 or "label" not in source.spec.provides
    assert bool(source.spec.layout_names) == ("layout" in source.spec.provides)
    assert batch.image.min() >= -1 and batch.image.max() <= 1 and batch.image.std() > 0.05
    factors, layout = batch.condition.factors, batch.condition.layout
    assert factors is None or factors.shape == (3, len(source.spec.factors))
    assert layout is None or layout.shape == (3, *source.spec.shape[1:])


@pytest.mark.parametrize("name", WORLDS)
def test_a_world_draws_where_its_index_is(name: str) -> None:
    """Whatever it makes without naming the index's device would be made on "meta" here, and fail to mix."""
    source = open_source(name, None if name in CENTRES else 32)
    index = torch.arange(12)
    usual = tensors(source.batch(index))
    with torch.device("meta"):
        there = tensors(source.batch(index))
    for field, value in usual.items():
        assert there[field].device == index.device and torch.equal(there[field], value), field


@pytest.mark.parametrize("name", WORLDS)
def test_a_world_says_which_examples_it_has(name: str) -> None:
    source = open_source(name, None if name in CENTRES else 32)
    with pytest.raises(IndexError, match=name):
        source.batch(torch.tensor([len(source)]))


@pytest.mark.parametrize("length", [1, 40])
def test_a_row_is_that_of_the_first_attempt_that_is_of_its_split(length: int) -> None:
    """However many attempts are made at once, as one after the other would find it."""
    sizes, key, index = [30, 40], 7, torch.arange(5, 5 + length)

    def draw(u: Tensor) -> Tensor:
        return (u * torch.tensor(sizes)).long()

    wanted, attempt = torch.full((length, 2), -1), 0
    while (wanted < 0).any():
        drawn = draw(uniforms(key + attempt, index, 2))
        new = in_split(drawn, sizes, "test") & (wanted[:, 0] < 0)
        wanted[new] = drawn[new]
        attempt += 1
    assert torch.equal(draw_split(key, index, draw, 2, sizes, "test"), wanted)


def test_rows_of_a_split_that_are_never_drawn_are_an_error() -> None:
    only = torch.tensor([next(k for k in range(100) if in_split(torch.tensor([[k]]), [100], "test"))])
    tried = list[int]()

    def draw(u: Tensor) -> Tensor:
        tried.append(len(u))
        return only.expand(len(u), 1)

    with pytest.raises(RuntimeError, match="3 rows of 'train' were not found in 1000 attempts"):
        draw_split(0, torch.arange(3), draw, 1, [100], "train")
    assert sum(tried) == 3 * ATTEMPTS
