"""The service as OpenAPI describes it: no request that fits the description, or nearly does, is answered by a 5xx."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from _pytest.assertion.rewrite import AssertionRewritingHook
from hypothesis import HealthCheck, Phase, given, settings
from serving import ADDRESS, Served

from zeuxis.studio.app import PARTS

KNOWN = ("method", "url", "headers", "params", "json", "data", "files")
BOUNDED = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path / "runs", most_jobs=1000)


def test_no_request_breaks_it(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:  # pytest would rewrite the assertions of all of it, as of a plugin
        patch.setattr(sys, "meta_path", [one for one in sys.meta_path if not isinstance(one, AssertionRewritingHook)])
        import schemathesis  # which takes seconds, of every process that collects the tests

    tried = set()

    def sent(case: schemathesis.Case) -> None:
        told = {name: value for name, value in case.as_transport_kwargs(base_url=ADDRESS).items() if name in KNOWN}
        answer = served.client.request(**told)
        assert answer.status_code < 500, (case.method, case.path, answer.status_code, answer.text)
        tried.add((case.method, case.path))

    with served.working(), served.client:  # which has one loop for all requests within it
        operations = [found.ok() for found in schemathesis.openapi.from_dict(served.app.openapi()).get_all_operations()]
        for operation in operations:
            BOUNDED(given(operation.as_strategy())(sent))()
    assert len(tried) == len(operations) > 30


def test_every_route_is_described(served: Served) -> None:
    described = served.app.openapi()["paths"]
    paths = {route.path.replace(":path", "") for part in PARTS for route in part.routes}  # type: ignore[attr-defined]
    assert paths == set(described)
    for path, methods in described.items():
        for method, told in methods.items():
            assert told.get("description"), (method, path)
