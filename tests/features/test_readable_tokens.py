"""What counts as a text in which a tokenizer finds something."""

import pytest
from folders import WORDS

from clinadapt.features import readable_tokens
from clinadapt.features.encoders.pretrained import PretrainedEncoder
from clinadapt.features.tokenization import learn_tokenizer

NOTHING = ["\0\0", "\u200b\u200b", "  \n", "\ufeff", "\u0301", "\u2060 \u00ad", "\ue000"]
UNKNOWN = ["مريض", "😀😀"]
SOMETHING = ["enfant", "enfant admis", "中 enfant", f"{'😀 ' * 90}enfant"]


@pytest.fixture(scope="module")
def tokenizers(encoder_folders):
    names = ("bert", "unigram_bert", "camembert", "roberta")
    made = {name: PretrainedEncoder(encoder_folders[name]).tokenizer for name in names}
    return made | {"learned": learn_tokenizer([" ".join(WORDS)] * 3, 200)}


@pytest.mark.parametrize("truncation", ["head", "tail", "head+tail", "windows"])
@pytest.mark.parametrize("kind", ["bert", "unigram_bert", "camembert", "learned"])
def test_only_unknown_tokens_are_nothing(tokenizers, kind, truncation):
    texts = [*NOTHING, *UNKNOWN, *SOMETHING]
    found = readable_tokens.readable(tokenizers[kind], texts, 400, truncation)
    assert found.tolist() == [False] * len(NOTHING + UNKNOWN) + [True] * len(SOMETHING)


def test_a_byte_level_tokenizer_reads_every_visible_character(tokenizers):
    texts = [*NOTHING, *UNKNOWN]
    found = readable_tokens.readable(tokenizers["roberta"], texts, 400, "head")
    assert found.tolist() == [False] * len(NOTHING) + [True] * len(UNKNOWN)


@pytest.mark.parametrize(("truncation", "expected"), [("head", False), ("tail", True)])
def test_only_tokens_that_are_read_count(tokenizers, truncation, expected):
    text = "😀 " * 30 + "enfant"
    found = readable_tokens.readable(tokenizers["bert"], [text], 12, truncation)
    assert found.tolist() == [expected]


def test_special_tokens_written_in_a_note_say_nothing(tokenizers):
    assert not readable_tokens.readable(tokenizers["bert"], ["[SEP] [MASK]"], 12, "head").any()
    assert readable_tokens.readable(tokenizers["bert"], [], 12, "head").tolist() == []
