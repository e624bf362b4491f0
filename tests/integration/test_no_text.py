"""No written file contains a passage of a note: raw, encoded, compressed, or as token ids."""

import base64
import gzip
import io
import json
import re
import zlib

import folders
import numpy as np
import polars as pl
import pytest

from clinadapt import NoteClassifier
from clinadapt.data.synthetic.generator import generate
from clinadapt.models.registry import BUILT_IN, build

WORDS = 5
NAME = "Quillévéré"
SENTENCE = f"Madame {NAME} habite au douze rue des Lilas avec son chien Biscotte"
LATIN = re.compile(r"[a-z0-9à-öø-ÿœ]+")
BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
URL_SAFE = bytes.maketrans(b"-_", b"+/")
SETTINGS = {
    "tfidf-logistic": {"characters": True},
    "tfidf-mlp": {"epochs": 1, "inner": 4},
    "tfidf-autoencoder": {"epochs": 1, "pretrain_epochs": 1, "inner": 8, "code": 4},
    "transformer": {"epochs": 1, "vocabulary": 400, "max_tokens": 32},
    "moe": {"epochs": 1, "vocabulary": 400, "max_tokens": 32},
    "pretrained": {"epochs": 1, "max_tokens": 48, "tuned_layers": 1},
    "stacked": {"max_tokens": 48, "encoder_options": {"epochs": 1}},
    "attention": {"epochs": 1, "max_tokens": 48},
    "private": {"epochs": 1, "max_tokens": 48, "delta": 1e-3},
    "sklearn": {"estimator": "pipelines:words"},
}


def stretches(text):
    """Return every sequence of five words, in lower case."""
    words = LATIN.findall(text.lower())
    return {" ".join(words[at : at + WORDS]) for at in range(len(words) - WORDS + 1)}


def forms(content, depth=2):
    """Yield bytes as they are, decompressed, and decoded from base64."""
    yield content
    if not depth:
        return
    if content[:2] == b"\x1f\x8b":
        yield from forms(zlib.decompressobj(31).decompress(content), depth - 1)
    if content[:4] == b"PAR1":
        table = pl.read_parquet(io.BytesIO(content))
        columns = [
            column.cast(pl.String).drop_nulls() for column in table.select(pl.col(pl.String))
        ]
        yield "\n".join(text for column in columns for text in column).encode()
    for match in re.finditer(rb"x[\x01\x5e\x9c\xda]", content[: 2**20]):
        try:
            yield zlib.decompressobj().decompress(content[match.start() :], 2**22)
        except zlib.error:
            continue
    for blob in BASE64.findall(content):
        for shift in range(4):
            piece = blob[shift:].rstrip(b"=").translate(URL_SAFE)
            yield from forms(base64.b64decode(piece[: len(piece) // 4 * 4]), depth - 1)


def texts_in(content):
    for form in forms(content):
        yield form.decode("utf-8", "ignore")
        for shift in range(2):
            for coding in ("utf-16-le", "utf-16-be"):
                yield form[shift:].decode(coding, "ignore")


def holding(files, wanted):
    """Return files that contain one of the passages, with that passage."""
    holders, first = {}, {stretch.partition(" ")[0] for stretch in wanted}
    for path in files:
        for text in texts_in(path.read_bytes()):
            words = LATIN.findall(text.lower())
            begun = (" ".join(words[at : at + WORDS]) for at, w in enumerate(words) if w in first)
            shared = next((stretch for stretch in begun if stretch in wanted), None)
            if shared is not None:
                holders[path] = shared
                break
    return holders


def files_of(*folders):
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def ids_in(content, ids):
    """Return whether bytes contain token ids, at any integer width."""
    return any(np.array(ids, dtype=kind).tobytes() in content for kind in ("<i2", "<i4", "<i8"))


def test_the_search_finds_every_form_of_a_text(tmp_path):
    raw = f"xx {SENTENCE} yy".encode()
    hidden = {
        "raw": raw,
        "utf-16": raw.decode().encode("utf-16"),
        "base64": b"data:" + base64.b64encode(b"z" + raw),
        "gzip": gzip.compress(raw),
        "base64 of gzip": base64.b64encode(gzip.compress(raw)),
        "zlib": b"head" + zlib.compress(raw),
    }
    for name, content in hidden.items():
        (tmp_path / name).write_bytes(content)
    pl.DataFrame({"text": [raw.decode()]}).write_parquet(tmp_path / "parquet", compression="zstd")
    (tmp_path / "innocent").write_bytes(b"Madame habite au douze. Lilas")
    holders = holding(files_of(tmp_path), stretches(SENTENCE))
    assert {path.name for path in holders} == {*hidden, "parquet"}
    ids = [7, 300, 12, 5, 9]
    assert ids_in(b"a" + np.array(ids, dtype="<i4").tobytes(), ids)


@pytest.mark.parametrize("name", BUILT_IN)
def test_no_stretch_of_a_note_is_in_a_bundle_or_cache(name, tmp_path):
    notes = generate(n_notes=120, n_patients=40, n_positive=50)
    texts = notes["text"].to_list()
    for row in (3, 4, 5, 6):  # frequent enough for every vocabulary
        texts[row] = f"{SENTENCE}. {texts[row]}"
    settings = dict(SETTINGS[name])
    if name in ("pretrained", "stacked", "attention", "private"):
        settings["encoder"] = str(folders.camembert(tmp_path / "encoder"))
    classifier = NoteClassifier(build(name, settings), cache=tmp_path / "cache")
    classifier.fit(texts, notes["label"].to_list(), notes["patient"].to_list())
    bundle = classifier.save(tmp_path / "bundle")
    files = files_of(bundle, tmp_path / "cache") if "encoder" in settings else files_of(bundle)
    wanted = set().union(*map(stretches, texts))
    assert holding(files, wanted) == {}
    for part in (classifier.model_, getattr(classifier.model_, "encoder_", None)):
        tokenizer = getattr(part, "tokenizer_", getattr(part, "tokenizer", None))
        if tokenizer is None:
            continue
        ids = tokenizer.encode(SENTENCE, add_special_tokens=False).ids
        assert len(ids) > WORDS
        assert not any(ids_in(path.read_bytes(), ids[:6]) for path in files)


def test_no_stretch_of_a_note_is_in_a_studys_folder(finished_study, small_table):
    files = files_of(finished_study)
    assert any(path.suffix == ".parquet" for path in files)
    assert any("cache" in path.parts for path in files)
    predicted = [path for path in files if path.name == "predictions.parquet"]
    assert predicted
    assert all(path.stat().st_mode & 0o077 == 0 for path in predicted)
    assert holding(files, set().union(*map(stretches, small_table["text"]))) == {}


def test_terms_are_of_two_words_and_of_so_many_notes(tmp_path):
    """A vocabulary contains words, and so names, of at least `min_notes` notes."""
    notes = generate(n_notes=120, n_patients=40, n_positive=50)
    texts = notes["text"].to_list()
    for row in range(0, 24, 2):
        texts[row] = f"{SENTENCE}. {texts[row]}"
    kept = {}
    for least in (2, 30):
        model = build("tfidf-logistic", {"min_notes": least})
        folder = NoteClassifier(model).fit(texts, notes["label"].to_list()).save(tmp_path / "b")
        terms = json.loads((folder / "model" / "terms.json").read_text(encoding="utf-8"))["words"]
        assert max(len(term.split()) for term in terms) == 2
        kept[least] = f"madame {NAME.lower()}" in terms
    assert kept == {2: True, 30: False}
