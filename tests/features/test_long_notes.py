"""An excerpt of a very long note has the tokens to keep, and no more than is needed."""

import random

import numpy as np
import pytest
from folders import WORDS
from tokenizers import Tokenizer

from clinadapt.features import long_notes, tokenization
from clinadapt.features.encoders.pretrained import PretrainedEncoder
from clinadapt.features.long_notes import Excerpt, excerpt
from clinadapt.features.tokenization import learn_tokenizer, tokenize

TRUNCATIONS = ("head", "tail", "head+tail")
KINDS = ("bert", "unigram_bert", "camembert", "roberta")
# A word of 150 letters is unknown to WordPiece; zero-width spaces and accents may be deleted.
PIECES = [
    *WORDS,
    "é",
    "a\u0301",
    "\u200b",
    "\n",
    "\u00a0",
    "12",
    "3,4",
    "😀",
    "发热",
    "x" * 150,
    "##e",
]
STRETCHES = {
    "spaces": " ",
    "line ends": "\n ",
    "zero-width": "\u200b",
    "one word": "ab",
    "no spaces": "发热咳嗽",
    "accents": "\u0301",
}


@pytest.fixture(scope="module")
def tokenizers(encoder_folders):
    made = {name: PretrainedEncoder(encoder_folders[name]).tokenizer for name in KINDS}
    return made | {"learned": learn_tokenizer([" ".join(WORDS)] * 3, 200)}


def note_of(generator, characters):
    parts, length = [], 0
    while length < characters:
        parts.append(generator.choice(PIECES) + generator.choice([" ", " ", " ", "\n", "", "  "]))
        length += len(parts[-1])
    return "".join(parts)


def whole_and_excerpt(tokenizer, note, truncation, monkeypatch):
    short = tokenize(tokenizer, [note], 12, truncation)
    with monkeypatch.context() as patched:
        patched.setattr(tokenization, "excerpt_of", lambda tokenizer, text, *_: Excerpt.of(text))
        return tokenize(tokenizer, [note], 12, truncation), short


@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("kind", [*KINDS, "learned"])
def test_the_kept_tokens_are_those_of_the_whole_note(tokenizers, kind, truncation, monkeypatch):
    generator = random.Random(f"{kind}{truncation}")
    for _ in range(6):
        note = note_of(generator, generator.choice([2_000, 8_000, 20_000]))
        if generator.random() < 0.5:
            at, character = (
                generator.randrange(len(note)),
                generator.choice([" ", "\u200b", "a", "热"]),
            )
            note = note[:at] + character * generator.randrange(20_000) + note[at:]
        whole, short = whole_and_excerpt(tokenizers[kind], note, truncation, monkeypatch)
        np.testing.assert_array_equal(short.ids, whole.ids)
        assert short.truncated == whole.truncated


@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("stretch", STRETCHES.values(), ids=STRETCHES)
@pytest.mark.parametrize("kind", [*KINDS, "learned"])
def test_words_around_a_stretch_without_any(tokenizers, kind, stretch, truncation, monkeypatch):
    tokenizer = tokenizers[kind]
    note = f"enfant admis {stretch * (15_000 // len(stretch))} pas de fievre"
    whole, short = whole_and_excerpt(tokenizer, note, truncation, monkeypatch)
    np.testing.assert_array_equal(short.ids, whole.ids)


@pytest.mark.parametrize("stretch", [" ", "\u200b \n", "enfant admis ", "a"])
@pytest.mark.parametrize("truncation", TRUNCATIONS)
def test_megabytes_are_not_tokenised(tokenizers, stretch, truncation, monkeypatch):
    seen = []

    class Counting:
        def __getattr__(self, name):
            return getattr(tokenizers["bert"], name)

        def encode(self, text, **options):
            seen.append(len(text))
            return tokenizers["bert"].encode(text, **options)

        def encode_batch_fast(self, texts, **options):
            seen.extend(map(len, texts))
            return tokenizers["bert"].encode_batch_fast(texts, **options)

    tokenize(Counting(), [stretch * (3_000_000 // len(stretch))], 12, truncation)
    assert sum(seen) < 60_000


def test_a_note_of_usual_length_is_taken_whole(tokenizers):
    note = "enfant admis " * 100
    assert excerpt(tokenizers["bert"], note, 254, True, False) == Excerpt(note, ((0, len(note)),))


def test_places_in_the_note():
    note = "0123456789" * 3
    part = Excerpt.of(note, (0, 4), (10, 12), (25, 30))
    assert part.text == "01230156789"
    for start in range(len(part.text)):
        where, end = part.place(start, start + 1)
        assert note[where:end] == part.text[start]
    assert part.place(3, 5) == (3, 11)  # over a seam


def test_stretches_are_cut_and_all_else_is_kept():
    note = "a b" + " " * 50 + "c" * 30 + " d"
    passages = long_notes._without_long_stretches(note, 10)
    assert Excerpt.of(note, *passages).text == "a b" + " " * 10 + "c" * 10 + " d"


def test_windows_read_all_of_a_note(tokenizers):
    note = "enfant " * 5_000
    tokens = tokenize(tokenizers["bert"], [note], 12, "windows")
    assert tokens.lengths.sum() > 5_000


def test_a_tokenizer_is_learned_from_the_beginning_of_a_very_long_note(monkeypatch):
    monkeypatch.setattr(tokenization, "MOST_LEARNED", 50)
    made = learn_tokenizer(["enfant " * 10 + "z" * 10] * 4, 100)
    assert isinstance(made, Tokenizer)
    assert "z" not in "".join(made.get_vocab())
