"""Sub-word vectors: counts, information, similarity, and models that start from them."""

import json
from itertools import combinations

import numpy as np
import polars as pl
import pytest
import torch
from fitted_models import LABELS, TEXTS, fitted
from safetensors.numpy import load_file, save_file
from scipy import sparse
from studies import results_of
from tokenizers import Tokenizer, models, pre_tokenizers
from typer.testing import CliRunner

from clinadapt import Study, load
from clinadapt.cli.main import app
from clinadapt.core.errors import InputError
from clinadapt.data.synthetic.generator import generate
from clinadapt.data.text_store import Texts
from clinadapt.models.bundle.save import save_bundle
from clinadapt.models.from_scratch import ScratchModel
from clinadapt.pretraining import subword_vectors as module
from clinadapt.pretraining.corpus import read_corpus
from clinadapt.pretraining.subword_vectors import (
    VECTORS_FILE,
    WINDOW,
    Vectors,
    count_pairs,
    factor,
    make_vectors,
    positive_information,
)
from clinadapt.study.design import expand, load_design

WIDTH = 40
SMALL = {"max_tokens": 16, "epochs": 1}


@pytest.fixture(scope="module")
def notes():
    return generate(n_notes=200, n_patients=60, n_positive=80)


@pytest.fixture(scope="module")
def corpus(notes):
    return read_corpus(notes)


@pytest.fixture(scope="module")
def made(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("vectors") / "made"
    return out, make_vectors(corpus, out, vocabulary=400, width=WIDTH)


@pytest.fixture(scope="module")
def tokenizer(made):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(made[0])


# ---------------------------------------------------------------- counts and factors


@pytest.mark.parametrize("tokens_at_once", [1, 2**20])
def test_counts_equal_those_of_each_pair_by_itself(corpus, tokenizer, monkeypatch, tokens_at_once):
    monkeypatch.setattr(module, "TEXTS_AT_ONCE", 3)
    monkeypatch.setattr(module, "TOKENS_AT_ONCE", tokens_at_once)
    texts = Texts.of(["a", "", *list(corpus.train)[:6]])
    expected = np.zeros((len(tokenizer), len(tokenizer)))
    tokens = 0
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        tokens += len(ids)
        for one, other in combinations(range(len(ids)), 2):
            weight = max(0, WINDOW + 1 - (other - one))
            expected[ids[one], ids[other]] += weight
            expected[ids[other], ids[one]] += weight
    counts, read = count_pairs(texts, tokenizer)
    assert read == tokens > 200
    assert (counts.toarray() == expected).all()


def test_information_by_hand():
    counts = sparse.csr_matrix(np.array([[0, 12, 4], [12, 0, 0], [4, 0, 0]]))
    information = positive_information(counts).toarray()
    # Counts of the three: 16, 12, 4; smoothed: 16^.75 = 8, 12^.75 = 6.4474, 4^.75 = 2.8284.
    whole = 8 + 6.4474 + 2.8284
    expected = [
        [0, np.log(12 * whole / (16 * 6.4474)), np.log(4 * whole / (16 * 2.8284))],
        [np.log(12 * whole / (12 * 8)), 0, 0],
        [np.log(4 * whole / (4 * 8)), 0, 0],
    ]
    assert information == pytest.approx(np.array(expected), rel=1e-4)
    # A pair that occurs less often than by chance counts as one that does not occur.
    counts = sparse.csr_matrix(np.array([[100, 1], [1, 100]]))
    assert (positive_information(counts).toarray() > 0).tolist() == [[True, False], [False, True]]


def test_factors_are_those_of_the_full_decomposition():
    rng = np.random.default_rng(0)
    dense = np.triu(rng.random((30, 30)) * (rng.random((30, 30)) < 0.4)).astype(np.float32)
    dense += dense.T
    dense[7] = 0  # never occurred
    vectors = factor(sparse.csr_matrix(dense), 6, seed=0)
    left, singular, _ = np.linalg.svd(dense.astype(np.float64))
    expected = left[:, :6] * np.sqrt(singular[:6])
    # The sign of a dimension is arbitrary.
    assert vectors @ vectors.T == pytest.approx(expected @ expected.T, abs=1e-4)
    assert np.linalg.norm(vectors, axis=0) ** 2 == pytest.approx(singular[:6], rel=1e-4)
    assert not vectors[7].any()


def words_tokenizer(*words):
    from transformers import PreTrainedTokenizerFast

    numbers = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")


def test_words_of_similar_contexts_have_similar_vectors():
    rng = np.random.default_rng(0)
    drugs, signs = ["aspirin", "heparin", "digoxin"], ["fever", "cough", "oedema"]
    frames = "we gave {} twice daily by mouth", "there was no {} seen on admission"
    texts = [
        frames[number % 2].format(rng.choice((drugs, signs)[number % 2])) for number in range(600)
    ]
    tokenizer = words_tokenizer(*sorted(set(" ".join(texts).split())))
    counts, _ = count_pairs(Texts.of(texts), tokenizer)
    vectors = factor(positive_information(counts), 6, seed=0)
    vectors = vectors[tokenizer.convert_tokens_to_ids([*drugs, *signs])]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = vectors @ vectors.T
    alike = np.kron(np.eye(2), np.ones((3, 3))) == 1
    assert cosine[alike].min() > 0.9
    assert cosine[~alike].max() < 0.1


# ---------------------------------------------------------------- the folder


def test_the_folder(made, corpus, tokenizer):
    out, record = made
    opened = Vectors(out)
    assert opened.shape == (record["vocabulary"], WIDTH)
    assert len(tokenizer) == record["vocabulary"]
    stored = load_file(out / VECTORS_FILE)["vectors"]
    assert stored.dtype == np.float16
    counts, tokens = count_pairs(corpus.train, tokenizer)
    assert record["result"]["tokens"] == tokens
    assert stored == pytest.approx(factor(positive_information(counts), WIDTH, seed=0), abs=2e-3)
    assert json.loads((out / "pretraining.json").read_text()) == record
    assert record["corpus"] == corpus.to_json()
    content = b"".join(path.read_bytes() for path in out.iterdir()).lower()
    for text in list(corpus.train)[:50]:
        assert " ".join(text.lower().split()[:6]).encode() not in content


def test_mistakes_are_reported(made, corpus, tmp_path, monkeypatch):
    out, _ = made
    with pytest.raises(InputError, match="was not written by clinadapt"):
        make_vectors(corpus, out)
    with pytest.raises(InputError, match="got 400 for"):
        make_vectors(corpus, tmp_path / "wide", vocabulary=200, width=400)
    few = read_corpus(pl.DataFrame({"text": ["fever"]}))
    monkeypatch.setattr(module, "learn_vocabulary", lambda *asked: words_tokenizer("fever"))
    with pytest.raises(InputError, match="no text has two sub-words"):
        make_vectors(few, tmp_path / "few", vocabulary=100, width=2)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"tokenizer.json and vectors.safetensors missing"):
        Vectors(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "tokenizer.json").write_bytes((out / "tokenizer.json").read_bytes())
    for broken in (b"nothing", None):
        if broken is not None:
            (other / VECTORS_FILE).write_bytes(broken)
        else:
            save_file({"vectors": np.zeros((3, 2), np.float16)}, other / VECTORS_FILE)
        with pytest.raises(InputError, match="do not match"):
            Vectors(other)


def test_the_command(notes, tmp_path):
    notes.write_csv(tmp_path / "texts.csv")
    command = ["pretrain", str(tmp_path / "texts.csv"), "--strength", "fast", "--offline"]
    command += ["--out", str(tmp_path / "vectors")]
    runner = CliRunner()
    refused = runner.invoke(app, [*command, "--minutes", "3", "--from", "x", "--size", "mini"])
    assert [name in str(refused.exception) for name in ("--minutes", "--from", "--size", "--width")]
    assert isinstance(refused.exception, InputError)
    assert len(refused.exception.problems) == 3
    full = ["pretrain", str(tmp_path / "texts.csv"), "--width", "64"]
    with pytest.raises(InputError, match="--width does not apply to --strength full"):
        runner.invoke(app, full, catch_exceptions=False)
    notes.head(5).write_csv(tmp_path / "test.csv")
    command += ["--width", "8", "--vocabulary", "300", "--exclude", str(tmp_path / "test.csv")]
    done = runner.invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "at least half of each of 5 such notes was present" in " ".join(done.output.split())
    assert Vectors(tmp_path / "vectors").shape[1] == 8


# ---------------------------------------------------------------- models that start from them


@pytest.mark.parametrize("encoder", ["transformer", "moe"])
def test_first_token_embeddings_are_the_vectors(made, corpus, tokenizer, encoder):
    out, _ = made
    model = ScratchModel(encoder, vectors=str(out), learning_rate=1e-12, **SMALL)
    embedding = fitted(model, "binary").model_.network_.encoder.embedding.token.weight.detach()
    stored = torch.from_numpy(load_file(out / VECTORS_FILE)["vectors"].astype(np.float32))
    width = embedding.shape[1]
    occurring = stored.any(dim=1)
    # Special tokens and pieces that occur in no text stay random.
    read = {
        i for ids in tokenizer(list(corpus.train), add_special_tokens=False).input_ids for i in ids
    }
    assert set(occurring.nonzero().ravel().tolist()) == read
    assert (embedding[~occurring].any(dim=1)).all()
    # One factor scales all vectors, so that directions and relative lengths are kept.
    ratio = embedding[occurring] / stored[occurring][:, :width]
    assert ratio.std() < 1e-4 * ratio.mean()
    # Uniform numbers between -.05 and .05 have a standard deviation of .05 / sqrt(3).
    assert embedding[occurring].std() == pytest.approx(0.05 / 3**0.5, rel=0.02)


def test_the_bundle_needs_no_vectors(made, tmp_path):
    out, _ = made
    moved = tmp_path / "vectors"
    moved.mkdir()
    for path in out.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    classifier = fitted(ScratchModel(vectors=str(moved), **SMALL), "binary")
    before = classifier.predict_proba(TEXTS)
    save_bundle(classifier, tmp_path / "bundle")
    for path in moved.iterdir():
        path.unlink()
    moved.rmdir()
    again = load(tmp_path / "bundle")
    assert (again.predict_proba(TEXTS) == before).all()
    assert again.model_.vectors == "vectors"  # a name, not a path of this machine
    assert str(tmp_path) not in (tmp_path / "bundle" / "bundle.json").read_text()


def test_invalid_settings_are_reported(made, tmp_path):
    out, _ = made
    for values, message in (
        ({"vectors": str(tmp_path / "none")}, "no vectors in .*none"),
        ({"vectors": str(out), "vocabulary": 60}, "leave it out"),
        ({"vectors": str(out), "encoder_options": {"width": 64}}, "vectors of width 40 are too"),
    ):
        with pytest.raises(InputError, match=message):
            ScratchModel(**values).fit(TEXTS, LABELS["binary"])
        design = {"name": "x", "configurations": [{"model": "moe", **values}]}
        with pytest.raises(InputError, match=f"configuration 1: .*{message}"):
            expand(load_design(design))


def test_a_study_identifies_vectors_by_their_content(made, corpus, small_notes, tmp_path):
    folder = tmp_path / "mine"
    configurations = [{"model": "transformer", **SMALL, "vectors": str(folder)}]
    design = {"name": "x", "resamples": 100, "configurations": configurations}
    make_vectors(corpus, folder, vocabulary=300, width=32)

    def plan():
        return Study(small_notes, design, tmp_path / "out")

    first = plan()
    first.run()
    (result,) = results_of(tmp_path / "out").values()
    assert result["status"] == "done"
    assert result["configuration"].startswith("Transformer from scratch (")
    assert "vectors=mine" in result["configuration"]
    assert result["vectors_sha256"] == Vectors(folder).fingerprint
    assert plan().folders.id(plan().runs[0]) == result["id"]
    stored = load_file(folder / VECTORS_FILE)["vectors"]
    save_file({"vectors": stored * np.float16(2)}, folder / VECTORS_FILE)
    assert plan().folders.id(plan().runs[0]) != result["id"]


def test_its_memory_is_planned(made, small_notes, tmp_path):
    from clinadapt.study.planning.plan import make_plan

    configurations = [{"model": "transformer", **SMALL, "vectors": str(made[0])}]
    design = {"name": "x", "resamples": 100, "configurations": configurations}
    study = Study(small_notes, design, tmp_path / "out", memory=2**31)
    (forecast,) = make_plan(study).forecasts.values()
    assert forecast.reason is None
    assert forecast.fits
    assert forecast.bundle_bytes > made[1]["vocabulary"] * 32 * 4  # token embeddings in fp32
