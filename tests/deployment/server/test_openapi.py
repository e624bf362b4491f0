"""Fuzzing by the OpenAPI document: every response is as documented."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from served import running

from clinadapt.deployment.server.app import make_app
from clinadapt.deployment.server.limits import Limits
from clinadapt.deployment.server.models import Models

PATHS = [("/predict", "post"), *((f"/{name}", "get") for name in ("tasks", "metrics", "health"))]


@pytest.fixture(scope="module")
def document(served_bundles):
    """Document of a server with a real model and small limits, which are soon exceeded."""
    limits = Limits(notes=4, explained_notes=2, characters=100)
    with running(make_app(Models({"failure": served_bundles["failure"]}), limits)) as url:
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


@pytest.mark.parametrize(
    ("path", "method", "mode"),
    [*((*where, "positive") for where in PATHS), ("/predict", "post", "negative")],
)
def test_every_answer_is_a_documented_one(document, path, method, mode):
    """Status, schema and headers pass all schemathesis checks; only valid data is accepted."""
    statuses = set()

    @settings(
        max_examples=20 if path == "/predict" else 3,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=document[path][method].as_strategy(generation_mode=GenerationMode(mode)))
    def every(case):
        response = case.call()
        # No schema tells which words a model knows, nor what is white space to Python.
        reasons = ("nothing that the model can read", "the note is empty")
        unread = any(reason in response.text for reason in reasons) and mode == "positive"
        case.validate_response(response, excluded_checks=[positive_data_acceptance] * unread)
        if not unread:
            statuses.add(response.status_code)

    every()
    assert statuses <= ({200} if mode == "positive" else {200, 400, 422})
    assert mode == "positive" or 422 in statuses
