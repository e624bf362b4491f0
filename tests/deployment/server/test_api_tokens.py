"""Tokens: missing, wrong and expired ones, the rate limit, and the token file."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from served import Echo, assert_problem, call, client_of

from clinadapt.core.errors import InputError
from clinadapt.deployment.server import api_tokens as tokens_module
from clinadapt.deployment.server.api_tokens import ApiTokens
from clinadapt.deployment.server.app import make_app
from clinadapt.deployment.server.limits import Limits


@pytest.fixture
def guarded():
    """Client of a server with three tokens, one of them expired, and the tokens."""
    tokens = ApiTokens([])
    secrets = {name: tokens.add(name, days) for name, days in (("a", 1), ("b", 1), ("old", 0))}
    with client_of(make_app(Echo(), Limits(per_minute=3), tokens)) as client:
        yield client, secrets


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_requests_without_a_valid_token_are_refused(guarded):
    client, secrets = guarded
    body = {"notes": ["a"]}
    wrong = [
        {},
        bearer(""),
        bearer("wrong"),
        bearer(secrets["a"][:-1]),
        bearer(secrets["a"] + "x"),
        bearer(secrets["old"]),
        {"Authorization": secrets["a"]},
        {"Authorization": f"Basic {secrets['a']}"},
        {"Authorization": b"Bearer \xff\xfe"},
    ]
    for headers in wrong:
        for answer in (
            client.post("/predict", json=body, headers=headers),
            client.get("/tasks", headers=headers),
            client.get("/metrics", headers=headers),
            client.get("/no-such-path", headers=headers),
        ):
            assert_problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
    assert client.post("/predict", json=body, headers=bearer(secrets["a"])).status_code == 200
    for path in ("/health", "/ready", "/", "/page/page.js", "/openapi.json"):
        assert client.get(path).status_code == 200
    document = client.get("/openapi.json").json()
    assert document["paths"]["/predict"]["post"]["security"] == [{"HTTPBearer": []}]
    assert set(document["components"]["securitySchemes"]) == {"HTTPBearer"}


def test_the_body_of_a_request_without_a_token_is_not_read():
    async def unread():
        raise AssertionError("the body was read")

    sent = call(make_app(Echo(), tokens=ApiTokens([])), unread)
    assert sent[0]["status"] == 401


def test_requests_a_minute_are_counted_by_token(guarded):
    client, secrets = guarded
    statuses = [client.get("/tasks", headers=bearer(secrets["a"])).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    answer = client.get("/tasks", headers=bearer(secrets["a"]))
    assert_problem(answer, 429, "too_many_requests")
    assert 1 <= int(answer.headers["retry-after"]) <= 20
    assert client.get("/tasks", headers=bearer(secrets["b"])).status_code == 200


def test_every_token_is_compared_whichever_is_right(monkeypatch):
    tokens = ApiTokens([])
    secrets = [tokens.add(str(number), 1) for number in range(5)]
    compared = []
    compare = tokens_module.hmac.compare_digest

    def counting(one, other):
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(tokens_module.hmac, "compare_digest", counting)
    entries = [tokens.find(secret) for secret in (*secrets, "wrong", "")]
    assert [entry.name if entry else None for entry in entries] == [*"01234", None, None]
    assert compared == [(64, 64)] * 5 * 7  # all hashes, of equal length, each time


def test_the_file_keeps_hashes_and_is_its_owners(tmp_path):
    file = tmp_path / "tokens.json"
    tokens = ApiTokens([])
    secret = tokens.add("ward", 30)
    tokens.write(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.json"]
    assert secret not in file.read_text()
    (entry,) = json.loads(file.read_text())["tokens"]
    assert entry["name"] == "ward"
    left = datetime.fromisoformat(entry["expires"]) - datetime.now(UTC)
    assert timedelta(days=29.9) < left <= timedelta(days=30)
    assert ApiTokens.read(file).find(secret).name == "ward"
    with pytest.raises(InputError, match="there is already a token called 'ward'"):
        tokens.add("ward", 1)
    again = tokens.add("other", 1)
    assert again != secret
    assert tokens.entries[0].salt != tokens.entries[1].salt


def entry_with(**wrong):
    """Return a token file of one entry with errors."""
    entry = {"name": "a", "salt": "00", "sha256": "00" * 32, "expires": "2030-01-01T00:00Z"}
    return json.dumps({"tokens": [entry | wrong]})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"tokens": [{}]}',
        entry_with(salt="zz"),
        entry_with(sha256="00"),
        entry_with(sha256="é" * 64),
        entry_with(expires="2030-01-01"),
        entry_with(expires=2030),
    ],
)
def test_files_that_hold_no_tokens(content, tmp_path):
    file = tmp_path / "tokens.json"
    with pytest.raises(InputError, match="no such file"):
        ApiTokens.read(file)
    file.write_text(content)
    file.chmod(0o640)
    with pytest.raises(InputError, match="other users can read"):
        ApiTokens.read(file)
    file.chmod(0o600)
    with pytest.raises(InputError, match="is not a token file"):
        ApiTokens.read(file)
    file.write_text(entry_with())
    assert ApiTokens.read(file).find("a") is None
