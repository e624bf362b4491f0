"""FHIR documents in, MEDS predictions out."""

import json
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from documents import attachment, document
from scored import SECRET, aside_of, assert_probabilities, texts

from clinadapt import NoteClassifier
from clinadapt.core.errors import InputError
from clinadapt.deployment.scoring import fhir_documents, fhir_source, meds
from clinadapt.deployment.scoring.interfaces import EMPTY, NAMELESS, REPEATED
from clinadapt.deployment.scoring.job import Prediction

LATIN = "text/plain; charset=ISO-8859-1"
DOCUMENTS = [
    (document("plain", attachment("toux fébrile")), "toux fébrile", None),
    (document("latin", attachment("fièvre", LATIN, "latin-1")), "fièvre", None),
    (document("two", attachment("toux"), attachment("fièvre")), "toux\n\nfièvre", None),
    (document("same", attachment("toux"), attachment("toux", LATIN, "latin-1")), "toux", None),
    (document("html", attachment("<p>", "text/html"), attachment("\ufefftoux")), "toux", None),
    (document("pdf", attachment("%PDF", "application/pdf")), None, fhir_documents.NO_PLAIN_TEXT),
    (document("none"), None, fhir_documents.NO_PLAIN_TEXT),
    (document("untyped", {"attachment": {"data": "dG91eA=="}}), None, fhir_documents.NO_PLAIN_TEXT),
    (document("odd", attachment("toux"), "x", {"attachment": 3}), "toux", None),
    (document("empty", attachment("  ")), None, EMPTY),
    (
        document("linked", {"attachment": {"contentType": "text/plain", "url": "Binary/1"}}),
        None,
        fhir_documents.NOT_INCLUDED,
    ),
    (
        document("bad64", {"attachment": {"contentType": "text/plain", "data": "dG9*"}}),
        None,
        fhir_documents.NOT_BASE64,
    ),
    (
        document("halved", attachment("toux"), {"attachment": {"contentType": LATIN, "data": 7}}),
        None,
        fhir_documents.NOT_BASE64,
    ),
    (
        document("wrong", attachment("fièvre", charset="latin-1")),
        None,
        fhir_documents.OTHER_CHARSET,
    ),
    (
        document("what", attachment("t", "text/plain; charset=klingon")),
        None,
        fhir_documents.UNKNOWN_CHARSET,
    ),
    (
        document("rot", attachment("t", "text/plain; charset=rot13")),
        None,
        fhir_documents.UNKNOWN_CHARSET,
    ),
    (document(None, attachment("toux")), None, NAMELESS),
    (document("plain", attachment("toux")), None, REPEATED),
    ({"resourceType": "Patient", "id": "p"}, None, fhir_source.NOT_DOCUMENT),
    (1, None, fhir_source.NOT_DOCUMENT),
]


def test_documents_of_fhir(tfidf_bundle, tmp_path):
    lines = [json.dumps(resource) for resource, _, _ in DOCUMENTS]
    path, out = tmp_path / "DocumentReference.ndjson", tmp_path / "p.parquet"
    path.write_text("\n\n".join(lines) + f"\n{{'id': {SECRET}\n" + "[" * 100_000)
    state = Prediction(tfidf_bundle.folder, [str(path)], out, fhir=True).run()
    scored = {resource["id"]: text for resource, text, _ in DOCUMENTS if text is not None}
    assert_probabilities(pl.read_parquet(out), tfidf_bundle.classifier, scored)
    reasons = {row[1]: row[2] for row in aside_of(tmp_path / "p.aside.csv")}
    expected = {
        f"{path.name}:{2 * at + 1}": reason
        for at, (_, _, reason) in enumerate(DOCUMENTS)
        if reason is not None
    }
    last = 2 * len(DOCUMENTS)
    expected |= {f"{path.name}:{line}": fhir_source.INVALID for line in (last, last + 1)}
    assert reasons == expected
    assert state.read == len(DOCUMENTS) + 2 == state.scored + state.aside
    assert SECRET not in (tmp_path / "p.aside.csv").read_text()


def test_reading_resumes_after_a_line(tmp_path):
    path = tmp_path / "d.ndjson"
    lines = [json.dumps(document(f"d{at}", attachment("toux"))) for at in range(5)]
    path.write_text("\n\n".join(lines))
    source = fhir_source.FhirNotes([path])
    assert source.count() == 5
    (batch,) = source.read({"file": 0, "line": 5})
    assert batch.notes["id"].to_list() == ["d3", "d4"]
    assert list(source.read(batch.position)) == []


MEDS = {
    "subject_id": pl.Int64,
    "prediction_time": pl.Datetime("us"),
    "boolean_value": pl.Boolean,
    "predicted_boolean_value": pl.Boolean,
    "predicted_boolean_probability": pl.Float64,
}


def test_meds_predictions_of_a_table(tfidf_bundle, tmp_path):
    notes, out = tmp_path / "notes.csv", tmp_path / "p.parquet"
    notes.write_text(
        "who,when,text\n7,2024-05-01T12:00:00+02:00,toux fievre\n8,2024-05-02,apyretique\n"
        "x,2024-05-02,toux\n9,yesterday,toux\n9,2024-05-02,\n"
    )
    asked = Prediction(
        tfidf_bundle.folder, [str(notes)], out, meds=True, subject="who", time="when"
    )
    state = asked.run()
    frame = pl.read_parquet(out)
    assert dict(frame.schema) == MEDS
    assert frame["subject_id"].to_list() == [7, 8]
    assert frame["prediction_time"].to_list() == [datetime(2024, 5, 1, 10), datetime(2024, 5, 2)]
    probabilities = tfidf_bundle.classifier.predict_proba(["toux fievre", "apyretique"])
    np.testing.assert_allclose(frame["predicted_boolean_probability"], probabilities[:, 1])
    assert frame["predicted_boolean_value"].to_list() == [True, False]
    reasons = [row[2] for row in aside_of(tmp_path / "p.aside.csv")]
    assert reasons == [meds.NO_SUBJECT, meds.NO_TIME, EMPTY]
    assert (state.scored, state.aside) == (2, 3)


def test_meds_predictions_of_fhir(tfidf_bundle, tmp_path):
    notes, out = tmp_path / "d.ndjson", tmp_path / "p.parquet"
    known = {"subject": {"reference": "Patient/12"}, "date": "2024-05-01T12:00:00Z"}
    documents = [document("a", attachment("toux"), **known), document("b", attachment("toux"))]
    notes.write_text("\n".join(map(json.dumps, documents)))
    assert Prediction(tfidf_bundle.folder, [str(notes)], out, fhir=True, meds=True).run().aside == 1
    row = pl.read_parquet(out).row(0, named=True)
    assert (row["subject_id"], row["prediction_time"]) == (12, datetime(2024, 5, 1, 12))


def test_meds_supports_binary_tasks_only(tmp_path):
    labels = [at % 3 for at in range(60)]
    bundle = NoteClassifier().fit(texts(60), labels).save(tmp_path / "bundle")
    with pytest.raises(InputError, match="binary tasks only, this bundle's task is multiclass"):
        Prediction(bundle, ["x.csv"], meds=True, subject="a", time="b").run()
