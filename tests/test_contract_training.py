"""What the contract promises of training, in a file of its own: two processes share the contract's seconds."""

from __future__ import annotations

import pytest
from contracted import TRAINING, checked, on

from zeuxis.testing.case import Case
from zeuxis.testing.contract import Check


@pytest.mark.parametrize(("check", "case"), checked(TRAINING))
def test_contract(check: Check, case: Case, device: str) -> None:
    check.run(on(case, device))
