"""Resources in files of every form."""

import gzip
import json

import polars as pl
import pytest
from documents import attachment, document

from clinadapt.core.errors import InputError
from clinadapt.deployment.scoring.fhir_files import NOT_JSON, Binaries, read_resources
from clinadapt.deployment.scoring.fhir_source import FhirNotes
from clinadapt.deployment.scoring.job import Prediction

DOCUMENTS = [document(f"d{at}", attachment("toux")) for at in range(3)]
BUNDLE = {"resourceType": "Bundle", "entry": [{"resource": one} for one in DOCUMENTS]}


def ids(path):
    return [found.resource["id"] for found in read_resources(path)]


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(map(json.dumps, DOCUMENTS)),
        "\r\n\r\n".join(map(json.dumps, DOCUMENTS)),
        json.dumps(BUNDLE),
        "\n\n" + json.dumps(BUNDLE, indent=1),
        json.dumps(DOCUMENTS),
        json.dumps(DOCUMENTS, indent=2),
        "\n".join(json.dumps(one, indent=2) for one in DOCUMENTS),
        "\ufeff" + json.dumps(BUNDLE, indent="\t"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_forms(content, pack, tmp_path):
    path = tmp_path / "d.json"
    path.write_bytes(pack(content.encode()))
    assert ids(path) == ["d0", "d1", "d2"]


def test_nothing(tmp_path):
    path = tmp_path / "d.ndjson"
    for content in ("", "\n \n", '{"resourceType": "Bundle"}'):
        path.write_text(content)
        assert list(read_resources(path)) == []


def test_what_cannot_be_parsed_is_not_lost(tmp_path):
    path = tmp_path / "d.json"
    path.write_text(json.dumps(DOCUMENTS[0], indent=1) + "\n{broken")
    assert [found.resource is NOT_JSON for found in read_resources(path)] == [False, True]
    path.write_text("{broken\n" + json.dumps(DOCUMENTS[0]))
    assert [found.resource is NOT_JSON for found in read_resources(path)] == [True, False]


def test_a_damaged_gzip_file(tmp_path):
    whole = gzip.compress("\n".join(map(json.dumps, DOCUMENTS * 100)).encode())
    path = tmp_path / "d.ndjson.gz"
    for damaged in (whole[:-9], whole[:40] + b"0" * 20 + whole[60:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged gzip file"):
            list(read_resources(path))


def test_reading_goes_on_within_a_bundle(tmp_path):
    path = tmp_path / "d.ndjson"
    path.write_text(f"{json.dumps(BUNDLE)}\n{json.dumps(document('last', attachment('toux')))}")
    source = FhirNotes([path])
    assert source.count() == 4
    (batch,) = source.read({"file": 0, "line": 1, "entry": 2})
    assert batch.notes["id"].to_list() == ["d2", "last"]
    assert batch.notes["place"].to_list() == ["d.ndjson:1, entry 3", "d.ndjson:2"]
    (batch,) = source.read({"file": 0, "line": 1})  # of version 0.1
    assert batch.notes["id"].to_list() == ["last"]


def test_binaries_beside_and_within(tmp_path, tfidf_bundle):
    def linked(url):
        return {"attachment": {"contentType": "text/plain", "url": url}}

    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": "dG91eA=="}
    within = [
        document("a", linked("Binary/x")),
        document("b", linked("https://host/fhir/Binary/y/_history/3")),
        document("c", linked("urn:uuid:7")),
        document("d", linked("Binary/\ud800")),
        {**binary, "id": "x"},
    ]
    entries = [{"resource": binary, "fullUrl": "urn:uuid:7"}]
    (tmp_path / "DocumentReference.ndjson").write_text(
        "\n".join(map(json.dumps, [*within, {"resourceType": "Bundle", "entry": entries}]))
    )
    beside = gzip.compress(json.dumps({**binary, "id": "y"}).encode())
    (tmp_path / "Binary.ndjson.gz").write_bytes(beside)
    assert Binaries([tmp_path / "DocumentReference.ndjson"]).others == 4
    notes, out = str(tmp_path / "DocumentReference.ndjson"), tmp_path / "p.csv"
    state = Prediction(tfidf_bundle.folder, [notes], out, fhir=True).run()
    assert pl.read_csv(out)["id"].to_list() == ["a", "b", "c"]
    assert (state.scored, state.aside) == (3, 1)
