"""Responses, error responses and metrics of the ASGI application."""

import asyncio
import json
import logging
import threading
from shutil import copytree

import numpy as np
import pytest
from fitted_models import TEXTS
from prometheus_client.parser import text_string_to_metric_families
from served import Blocked, Echo, assert_problem, call, client_of

from clinadapt import load
from clinadapt.deployment.server.app import make_app
from clinadapt.deployment.server.limits import Limits
from clinadapt.deployment.server.models import Models
from clinadapt.explain.explain import explain
from clinadapt.models.bundle.record import fingerprint

CANARY = "zqxsecret"


@pytest.fixture(scope="module")
def models(served_bundles):
    return Models(served_bundles)


@pytest.fixture(scope="module")
def client(models):
    with client_of(make_app(models)) as client:
        yield client


# ---------------------------------------------------------------- answers


def test_answers_are_those_of_each_bundle(client, served_bundles):
    answer = client.post("/predict", json={"notes": TEXTS[:9]})
    assert answer.status_code == 200
    content = answer.json()
    assert [task["name"] for task in content["tasks"]] == list(served_bundles)
    for number, (name, folder) in enumerate(served_bundles.items()):
        alone, task = load(folder), content["tasks"][number]
        given = [note["answers"][number] for note in content["notes"]]
        assert {one["task"] for one in given} == {name}
        assert task["classes"] == [str(label) for label in alone.classes_]
        expected = alone.predict_proba(TEXTS[:9])
        found = [[one["probabilities"][label] for label in task["classes"]] for one in given]
        np.testing.assert_allclose(found, expected, atol=1e-12)
        carried = [[label in one["predicted"] for label in task["classes"]] for one in given]
        assert np.array_equal(carried, alone.predict_matrix(expected))
        value = alone.threshold_.value
        assert task["threshold"] == (None if np.isnan(value) else value)
        assert all(one["explanation"] is None for one in given)


def test_notes_in_which_a_model_reads_nothing(client):
    answer = client.post("/predict", json={"notes": [TEXTS[0], "\U0001f600 ...", "\0\0"]})
    problem = assert_problem(answer, 422, "invalid")
    told = {place.what.partition(" (")[0] for place in problem.problems}
    assert told == {f"note {at} has nothing that the model can read" for at in (1, 2)}
    assert {place.where for place in problem.problems} == {"notes"}


def test_many_clients_at_once_get_their_own_answers(client, served_bundles):
    expected = dict(zip(TEXTS, load(served_bundles["kind"]).predict_proba(TEXTS), strict=True))
    found = []

    def ask(start):
        for text in TEXTS[start::8]:
            body = {"notes": [text], "tasks": ["kind"]}
            answer = client.post("/predict", json=body).json()["notes"][0]["answers"]
            found.append((text, list(answer[0]["probabilities"].values())))

    threads = [threading.Thread(target=ask, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(TEXTS)
    for text, probabilities in found:
        # The rest of the batch changes the padding, and so the last digits.
        np.testing.assert_allclose(probabilities, expected[text], atol=5e-3)


def test_words_of_an_explanation(client, served_bundles):
    body = {"notes": [TEXTS[1]], "tasks": ["failure", "findings"], "explain": True}
    answers = client.post("/predict", json=body).json()["notes"][0]["answers"]
    for answer in answers:
        (expected,) = explain(load(served_bundles[answer["task"]]), [TEXTS[1]])
        found = answer["explanation"]
        assert found["target"] == expected.target
        assert found["logit"] == pytest.approx(expected.logit, abs=1e-5)
        assert [(word["start"], word["end"]) for word in found["words"]] == [
            (word.start, word.end) for word in expected.words
        ]
        total = sum(word["contribution"] or 0 for word in found["words"])
        parts = found["baseline"] + total + found["rest"] + found["gap"]
        assert parts == pytest.approx(found["logit"], abs=1e-6)


def test_a_version_is_of_the_bundles_content(client, served_bundles, tmp_path):
    version = client.get("/tasks").json()["tasks"][0]["version"]
    assert version == fingerprint(served_bundles["failure"])
    copy = copytree(served_bundles["failure"], tmp_path / "copy")
    assert fingerprint(copy) == version
    (copy / "bundle.json").write_text("{}")
    assert fingerprint(copy) != version


def test_calibration_of_a_study_is_reported(finished_study, served_bundles):
    record = json.loads((finished_study / "best" / "bundle.json").read_text())
    expected = record["provenance"]["metrics"]["ece"]["value"]
    (task,) = Models({"best": finished_study / "best"}).tasks
    assert 0 < expected < 1
    assert (task.calibration_error, task.synthetic) == (expected, True)
    (task,) = Models({"failure": served_bundles["failure"]}).tasks
    assert (task.calibration_error, task.synthetic, task.explains) == (None, False, True)


def test_health_ready_and_the_openapi_document(client):
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/ready").json() == {"status": "ready"}
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {"/predict", "/tasks", "/metrics", "/health", "/ready"}
    body = document["components"]["schemas"]["PredictRequest"]["properties"]
    assert body["notes"]["maxItems"] == Limits().notes
    assert body["notes"]["items"]["maxLength"] == Limits().characters
    for status, response in document["paths"]["/predict"]["post"]["responses"].items():
        shape = response["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert shape == ("PredictResponse" if status == "200" else "Problem")
    for path in ("/docs", "/redoc"):  # they would load scripts from other servers
        assert_problem(client.get(path), 404, "not_found")


def test_the_page_may_load_from_this_server_only(client):
    for path, kind in (
        ("/", "text/html"),
        ("/page/page.css", "text/css"),
        ("/page/page.js", "text/javascript"),
    ):
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["content-security-policy"].startswith("default-src 'none';")
        assert answer.headers["cache-control"] == "no-store"
        assert "://" not in answer.text
    assert_problem(client.get("/page/page.html"), 404, "not_found")


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("body", "where", "what"),
    [
        ({}, "notes", "Field required"),
        ({"notes": []}, "notes", "at least 1 item"),
        ({"notes": CANARY}, "notes", "valid list"),
        ({"notes": [{CANARY: CANARY}]}, "notes.0", "valid string"),
        ({"notes": ["a", " \n"]}, "notes.1", "the note is empty"),
        ({"notes": [CANARY * 10]}, "notes.0", "at most 80 characters"),
        ({"notes": ["a"] * 5}, "notes", "at most 4 items"),
        ({"notes": ["a"], "tasks": [CANARY]}, "tasks.0", "expected one of: fake"),
        ({"notes": ["a"], "tasks": []}, "tasks", "at least 1 item"),
        ({"notes": ["a"], "explain": CANARY}, "explain", "valid boolean"),
        ({"notes": ["a"], CANARY: 1}, "body", "unknown field"),
        ({"notes": ["a"] * 3, "explain": True}, "notes", "at most 2 notes with explain"),
        ([CANARY], "body", "a JSON object with notes, sent as Content-Type"),
        (CANARY, "body", "a JSON object with notes, sent as Content-Type"),
    ],
)
def test_errors_state_what_was_expected_and_never_repeat_input(body, where, what, caplog):
    caplog.set_level(logging.DEBUG)
    limits = Limits(notes=4, characters=80, explained_notes=2)
    with client_of(make_app(Echo(), limits)) as client:
        answer = client.post("/predict", json=body)
        problem = assert_problem(answer, 422, "invalid")
        assert problem.problems[0].where == where
        assert what in problem.problems[0].what
        assert CANARY not in answer.text + caplog.text + client.get("/metrics").text


@pytest.mark.parametrize(
    ("content", "status", "error"),
    [
        (f'{{"notes": ["{CANARY}'.encode(), 422, "invalid"),
        (f'["{CANARY}\xff"]'.encode("latin-1"), 400, "bad_request"),
        (b'{"notes": ["\\ud800"]}', 422, "invalid"),
        (b"[" * 100_000, 400, "bad_request"),
        (b"", 422, "invalid"),
    ],
)
def test_bodies_that_are_not_json(content, status, error, caplog):
    caplog.set_level(logging.DEBUG)
    with client_of(make_app(Echo())) as client:
        headers = {"content-type": "application/json"}
        answer = client.post("/predict", content=content, headers=headers)
        problem = assert_problem(answer, status, error)
        assert status == 400 or problem.problems[0].where in ("body", "notes.0")
        assert CANARY not in answer.text + caplog.text


def test_a_failing_model_is_reported_without_the_note(caplog):
    caplog.set_level(logging.DEBUG)
    with client_of(make_app(Echo())) as client:
        answer = client.post("/predict", json={"notes": [f"{CANARY} poison"]})
        assert_problem(answer, 500, "failed")
        assert CANARY not in answer.text + caplog.text + client.get("/metrics").text
        assert "/predict: RuntimeError at " in caplog.text
        assert "served.py:" in caplog.text
        assert client.post("/predict", json={"notes": ["fine"]}).status_code == 200


def test_unknown_paths_and_methods(client):
    assert_problem(client.get(f"/{CANARY}?note={CANARY}"), 404, "not_found")
    answer = client.get(f"/predict?note={CANARY}")
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    assert CANARY not in client.get("/metrics").text


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:8000", 200),
        ("10.0.0.5:8000", 200),
        ("elsewhere.example", 421),
        ("localhost.elsewhere.example:8000", 421),
        ("[", 421),
    ],
)
def test_pages_of_other_names_cannot_read_from_a_server_without_tokens(host, status):
    with client_of(make_app(Echo())) as client:
        answer = client.get("/tasks", headers={"Host": host})
        assert answer.status_code == status
        if status == 421:
            assert_problem(answer, 421, "misdirected")


def test_bodies_that_are_too_large_are_not_read():
    with client_of(make_app(Echo(), Limits(body_bytes=100))) as client:
        assert_problem(client.post("/predict", json={"notes": ["a" * 100]}), 413, "too_large")
        # A body without a content length.
        body = (b"a" * 10 for _ in range(20))
        assert_problem(client.post("/predict", content=body), 413, "too_large")


def test_busy_and_late():
    models = Blocked()
    limits = Limits(notes=1, queue_notes=1, seconds=0.2)
    with client_of(make_app(models, limits)) as client:
        found = []

        def ask():
            found.append(client.post("/predict", json={"notes": ["a"]}))

        first = threading.Thread(target=ask)
        first.start()
        assert models.entered.acquire(timeout=30)
        second = threading.Thread(target=ask)
        second.start()
        second.join()  # it exceeds the time limit, like the first
        assert_problem(found[-1], 504, "time_limit")
        first.join()
        models.released.set()
        assert client.post("/predict", json={"notes": ["a"]}).status_code == 200


def test_a_full_queue_is_refused_with_a_time_to_retry():
    models = Blocked()
    with client_of(make_app(models, Limits(notes=1, queue_notes=1))) as client:
        body = {"notes": ["a"]}
        found = []

        def ask():
            found.append(client.post("/predict", json=body))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads[:2]:  # each runs in its own batch
            thread.start()
            assert models.entered.acquire(timeout=30)
        for thread in threads[2:]:
            thread.start()
        while len(found) < 3:  # one waits, three are refused at once
            threads[0].join(0.01)
        models.released.set()
        for thread in threads:
            thread.join()
        statuses = sorted(answer.status_code for answer in found)
        assert statuses == [200, 200, 200, 503, 503, 503]
        for answer in found:
            if answer.status_code == 503:
                assert_problem(answer, 503, "busy")
                assert answer.headers["retry-after"] == "1"


def test_a_client_that_sends_nothing_times_out():
    async def never():
        await asyncio.get_running_loop().create_future()

    sent = call(make_app(Echo(), Limits(read_seconds=0.05)), never)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["error"] == "too_slow"


def test_a_client_that_disconnects_gets_no_response():
    async def gone():
        return {"type": "http.disconnect"}

    assert call(make_app(Echo()), gone) == []


# ---------------------------------------------------------------- counts


def test_metrics_count_and_hold_no_text():
    with client_of(make_app(Echo(), Limits(batch_milliseconds=0))) as client:
        for notes in ([CANARY], ["a", "b"], []):
            client.post("/predict", json={"notes": notes})
        text = client.get("/metrics").text
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["clinadapt_requests_total", "/predict", "200"] == 2
    assert found["clinadapt_requests_total", "/predict", "422"] == 1
    assert found["clinadapt_notes_total", "fake"] == 3
    assert found["clinadapt_batch_notes_count",] == 2
    assert found["clinadapt_batch_notes_sum",] == 3
    assert found["clinadapt_request_seconds_count", "/predict"] == 3
    assert found["clinadapt_queue_notes",] == 0
    assert found["clinadapt_task", "fake", "0" * 64] == 1
    assert CANARY not in text
