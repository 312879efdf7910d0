"""Names of files that are made of what users write."""

from __future__ import annotations

from zeuxis.api.naming import slug


def test_names_keep_their_hyphens_and_lose_what_is_no_name() -> None:
    wanted = {
        "scenes | style:flat->threed": "scenes-style-flat-threed",
        "a -> b": "a-b",
        "a--b_c.d": "a--b_c.d",
        "-- ": "",
        "zürich": "zürich",
    }
    assert {text: slug(text) for text in wanted} == wanted


def test_a_long_row_of_hyphens_is_looked_at_once() -> None:
    """A pattern that began anew at each of them would take hours."""
    row = "-" * 1_000_000
    assert slug(f"a{row}b") == f"a{row}b" and slug(f"a{row}|{row}b") == "a-b"
