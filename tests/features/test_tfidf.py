"""Terms of notes without spaces, of very long ones, and of ones with nothing known."""

import random

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from clinadapt.core.errors import InputError
from clinadapt.features import tfidf
from clinadapt.features.tfidf import TfidfFeatures, Vectorizer, character_terms, word_terms

NOTES = ["fièvre et toux", "toux sèche", "genou douloureux", "fièvre, genou"] * 3
WORDS = ["a", "ab", "Fièvre", "été", "x1", "don't", "...", "发热", "İi", "ß", " ", "\n", "\t"]


@pytest.mark.parametrize(
    ("analyzer", "sizes", "terms"),
    [
        ("word", (1, 1), word_terms),
        ("word", (1, 2), word_terms),
        ("word", (2, 4), word_terms),
        ("char_wb", (3, 5), character_terms),
    ],
)
@pytest.mark.parametrize("at_once", [1, 2, 7, 10_000])
def test_terms_of_long_notes_are_those_of_scikit_learn(
    analyzer, sizes, terms, at_once, monkeypatch
):
    monkeypatch.setattr(tfidf, "WORDS_AT_ONCE", at_once)
    generator = random.Random(at_once)
    reference = TfidfVectorizer(analyzer=analyzer, ngram_range=sizes)
    analyze, prepare = reference.build_analyzer(), reference.build_preprocessor()
    for length in range(30):
        text = " ".join(generator.choices(WORDS, k=length))
        assert sorted(terms(prepare(text), *sizes)) == sorted(analyze(text))


@pytest.mark.parametrize("characters", [False, True])
def test_a_long_note_has_the_same_features(characters, monkeypatch):
    features = TfidfFeatures(2, characters).fit(NOTES)
    expected = features.transform(NOTES).toarray()
    monkeypatch.setattr(tfidf, "LONG", 3)
    np.testing.assert_array_equal(features.transform(NOTES).toarray(), expected)
    again = TfidfFeatures(2, characters).fit(NOTES)
    np.testing.assert_array_equal(again.transform(NOTES).toarray(), expected)


def test_megabytes_are_not_listed(monkeypatch):
    """scikit-learn's own analyzer, which lists all terms, does not see them."""
    features = TfidfFeatures(2, True).fit(NOTES)
    monkeypatch.setattr(tfidf, "LONG", 1_000)
    monkeypatch.setattr(TfidfVectorizer, "_word_ngrams", lambda *_: 1 / 0)
    monkeypatch.setattr(TfidfVectorizer, "_char_wb_ngrams", lambda *_: 1 / 0)
    assert features.transform(["fièvre " * 1_000]).nnz > 0


# ---------------------------------------------------------------- text without spaces


CHINESE = [f"发热三天伴咳嗽{n}" if n % 2 else f"右膝关节疼痛{n}" for n in range(12)]


def test_text_without_spaces_is_read_by_its_characters(tmp_path):
    features = TfidfFeatures(2, characters=True).fit(CHINESE)
    assert list(features.blocks) == ["characters"]
    features.save(tmp_path)
    again = TfidfFeatures(2, characters=True).load(tmp_path)
    assert list(again.blocks) == ["characters"]
    assert len(again) == len(features)
    assert (again.transform(CHINESE) != features.transform(CHINESE)).nnz == 0


def test_without_characters_it_is_said_what_to_do():
    with pytest.raises(InputError, match="characters = true"):
        TfidfFeatures(2, characters=False).fit(CHINESE)


# ---------------------------------------------------------------- nothing known


def test_a_note_is_readable_if_it_has_a_term():
    features = TfidfFeatures(2).fit(NOTES)
    texts = ["FIÈVRE!", "مريض", "... --", "😀", "\0\0", "a b c", "inconnu genou", "inconnu"]
    assert features.readable(texts).tolist() == [True, *[False] * 5, True, False]
    found = features.transform(texts)
    assert (found.getnnz(axis=1) > 0).tolist() == features.readable(texts).tolist()


def test_a_word_in_a_pair_or_a_part_of_a_word_is_enough():
    pairs = Vectorizer(ngram_range=(2, 2)).fit(NOTES)
    features = TfidfFeatures(2)
    features.blocks = {"words": pairs}
    assert features.readable(["toux sèche", "sèche toux"]).tolist() == [True, False]
    parts = TfidfFeatures(1, characters=True).fit(NOTES)
    assert parts.readable(["fièvres", "zzz"]).tolist() == [True, False]
