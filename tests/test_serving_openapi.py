"""A fuzzer over the OpenAPI document: what it promises holds, and nothing breaks."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

PATHS = [("/predict", "post"), *((f"/{name}", "get") for name in ("tasks", "metrics", "health"))]


@pytest.fixture(scope="module")
def document(server_url):
    return schemathesis.openapi.from_url(f"{server_url}/openapi.json")


@pytest.mark.parametrize(
    ("path", "method", "mode"),
    [*((*where, "positive") for where in PATHS), ("/predict", "post", "negative")],
)
def test_every_answer_is_a_documented_one(document, path, method, mode):
    """By all checks of schemathesis: status, shape and headers; good data taken, bad refused."""
    statuses = set()

    @settings(
        max_examples=25 if path == "/predict" else 3,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=document[path][method].as_strategy(generation_mode=GenerationMode(mode)))
    def every(case):
        statuses.add(case.call_and_validate().status_code)

    every()
    assert statuses <= ({200} if mode == "positive" else {200, 400, 422})
    assert mode == "positive" or 422 in statuses
