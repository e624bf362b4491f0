"""A fuzzer over the OpenAPI document: what it promises holds, and nothing breaks."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings


@pytest.fixture(scope="module")
def document(server_url):
    return schemathesis.openapi.from_url(f"{server_url}/openapi.json")


schema = schemathesis.pytest.from_fixture("document")


@schema.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_a_documented_one(case):
    response = case.call()
    assert response.status_code < 500
    case.validate_response(response)
