"""Notes are truncated as documented; a learned vocabulary knows its own texts only."""

from itertools import pairwise

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from clinadapt.features.tokenization import learn_tokenizer, special_ids, tokenize

CLS, SEP, WORD0 = 2, 3, 4


@pytest.fixture(scope="module")
def tokenizer():
    """Word w0 has id 4, w1 has id 5, …; [CLS] precedes a text and [SEP] follows it."""
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": CLS, "[SEP]": SEP}
    vocabulary |= {f"w{number}": WORD0 + number for number in range(40)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    return made


def text(length):
    return " ".join(f"w{number}" for number in range(length))


def words(sequence):
    """Check the special tokens of a sequence, and return the numbers of its words."""
    assert (sequence[0], sequence[-1]) == (CLS, SEP)
    return (sequence[1:-1] - WORD0).tolist()


@pytest.mark.parametrize(
    ("truncation", "length", "expected"),
    [
        ("head", 9, [[0, 1, 2, 3, 4]]),
        ("tail", 9, [[4, 5, 6, 7, 8]]),
        ("head+tail", 9, [[0, 1, 2, 7, 8]]),
        ("windows", 9, [[0, 1, 2, 3, 4], [4, 5, 6, 7, 8]]),
        ("windows", 10, [[0, 1, 2, 3, 4], [4, 5, 6, 7, 8], [8, 9]]),
        ("windows", 6, [[0, 1, 2, 3, 4], [4, 5]]),
        *(
            (truncation, 5, [[0, 1, 2, 3, 4]])
            for truncation in ("head", "tail", "head+tail", "windows")
        ),
        *((truncation, 1, [[0]]) for truncation in ("head", "tail", "head+tail", "windows")),
    ],
)
def test_what_is_kept_of_a_note(tokenizer, truncation, length, expected):
    tokens = tokenize(tokenizer, [text(length)], max_tokens=7, truncation=truncation)
    assert [words(tokens.sequence(number)) for number in range(len(tokens.lengths))] == expected
    assert tokens.truncated == (length > 5)


@pytest.mark.parametrize("max_tokens", [3, 4, 6, 10, 18])
@pytest.mark.parametrize("length", [1, 2, 7, 16, 17, 39, 40])
def test_windows_lose_nothing_and_overlap_by_a_quarter(tokenizer, max_tokens, length):
    tokens = tokenize(tokenizer, [text(length)], max_tokens, "windows")
    room = max_tokens - 2
    windows = [words(tokens.sequence(number)) for number in range(len(tokens.lengths))]
    assert sorted({word for window in windows for word in window}) == list(range(length))
    assert all(len(window) == room for window in windows[:-1])
    assert 1 <= len(windows[-1]) <= room
    for before, after in pairwise(windows):
        assert len(set(before) & set(after)) == room // 4
        assert not set(after) <= set(before)


@pytest.mark.parametrize("truncation", ["head", "tail", "head+tail", "windows"])
def test_sequences_are_concatenated_in_the_order_of_the_notes(tokenizer, truncation):
    lengths = [3, 20, 0, 5, 6]
    tokens = tokenize(
        tokenizer, [text(length) for length in lengths], max_tokens=7, truncation=truncation
    )
    assert tokens.truncated == 2
    assert tokens.lengths.max() <= 7
    assert tokens.starts[-1] == len(tokens.ids) == tokens.lengths.sum()
    assert (np.diff(tokens.first) >= 1).all()
    assert tokens.first[-1] == len(tokens.lengths)
    for note, length in enumerate(lengths):
        alone = tokenize(tokenizer, [text(length)], max_tokens=7, truncation=truncation)
        mine = range(tokens.first[note], tokens.first[note + 1])
        assert len(mine) == len(alone.lengths)
        for number, sequence in enumerate(mine):
            np.testing.assert_array_equal(tokens.sequence(sequence), alone.sequence(number))


def test_an_empty_note_is_its_special_tokens(tokenizer):
    assert tokenize(tokenizer, [""]).ids.tolist() == [CLS, SEP]


def test_a_note_that_fits_is_not_truncated(tokenizer):
    tokens = tokenize(tokenizer, [text(38), text(38)], max_tokens=40)
    assert tokens.truncated == 0
    assert tokens.sequence(1).tolist() == tokenizer.encode(text(38)).ids


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("[CLS] $A [SEP]", ([CLS], [SEP])),
        ("$A [SEP]", ([], [SEP])),
        ("[CLS] [SEP] $A", ([CLS, SEP], [])),
        (None, ([], [])),
    ],
)
def test_special_ids(template, expected):
    made = Tokenizer(models.WordLevel({"[UNK]": 1, "[CLS]": CLS, "[SEP]": SEP}, unk_token="[UNK]"))
    if template:
        made.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
        )
    assert special_ids(made) == expected


@pytest.mark.parametrize(("max_tokens", "fits"), [(1, False), (2, False), (3, True)])
def test_special_tokens_must_leave_room_for_text(tokenizer, max_tokens, fits):
    if fits:
        assert tokenize(tokenizer, [text(9)], max_tokens).ids.tolist() == [CLS, WORD0, SEP]
        return
    with pytest.raises(ValueError, match=f"max_tokens={max_tokens} leaves no room"):
        tokenize(tokenizer, [text(9)], max_tokens)


# ---------------------------------------------------------------- learned tokenizers


TRAINING = ["Le patient tousse.", "La patiente a de la fièvre ; elle tousse."] * 20


def test_a_learned_tokenizer_knows_the_training_texts_only():
    made = learn_tokenizer(TRAINING)
    assert (made.token_to_id("[PAD]"), made.token_to_id("[UNK]")) == (0, 1)
    known = made.get_vocab()
    assert {"tousse", "fièvre"} <= known.keys()
    assert "dyspnée" not in known
    assert made.encode("dyspnée").tokens != ["dyspnée"]
    assert "dyspnée" in learn_tokenizer([*TRAINING, *["dyspnée"] * 20]).get_vocab()


def test_it_lowers_case_keeps_accents_and_adds_no_special_token():
    made = learn_tokenizer(TRAINING)
    assert made.encode("FIÈVRE").tokens == ["fièvre"]
    assert made.encode("fie\u0300vre").tokens == ["fièvre"]
    assert special_ids(made) == ([], [])
    assert made.decode(made.encode("La patiente tousse.").ids) == "la patiente tousse."


def test_the_same_texts_give_the_same_tokenizer(small_table):
    texts = small_table["text"].head(60).to_list()
    made = learn_tokenizer(texts, 400).to_str()
    assert all(learn_tokenizer(texts, 400).to_str() == made for _ in range(3))
    assert learn_tokenizer(texts[1:], 400).to_str() != made


def test_marks_within_a_note_are_plain_text():
    made = learn_tokenizer(["##e et ##a, la [rue]"] * 5)
    assert made.decode(made.encode("la rue").ids) == "la rue"
    assert made.encode("##e").tokens == ["#", "#", "e"]


def test_the_vocabulary_is_no_larger_than_asked():
    words = [f"mot{number}" for number in range(500)] * 2
    assert 100 < learn_tokenizer(words, 150).get_vocab_size() <= 150
