"""The service as OpenAPI describes it: no request that fits, or nearly fits, the description is answered by a 5xx."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from serving import ADDRESS, Served

EXAMPLES = 6


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("runs"), most_jobs=1000)
    with made.working():
        yield made


@pytest.fixture(scope="module")
def described(served: Served) -> object:
    return schemathesis.openapi.from_dict(served.app.openapi())


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_breaks_it(case: schemathesis.Case, served: Served) -> None:
    sent = case.as_transport_kwargs(base_url=ADDRESS)
    answer = served.client.request(**{name: value for name, value in sent.items() if name in KNOWN})
    assert answer.status_code < 500, (case.method, case.path, answer.status_code, answer.text)


KNOWN = ("method", "url", "headers", "params", "json", "data", "files", "cookies")


def test_every_route_is_described(served: Served) -> None:
    described = served.app.openapi()["paths"]
    routes = {route.path for route in served.app.routes} - {"/", "/assets/{name}", "/api/openapi.json"}  # type: ignore[attr-defined]
    assert routes <= set(described)
    for path, methods in described.items():
        for method, told in methods.items():
            assert told.get("summary") or told.get("description"), (method, path)
