"""Distillation: agreement of student and teacher, and an unchanged teacher."""

import numpy as np
import polars as pl
import pytest
import torch
from folders import WORDS

from clinadapt import NoteClassifier, PretrainedModel
from clinadapt.core.errors import InputError
from clinadapt.features.encoders.pretrained import PretrainedEncoder, open_encoder
from clinadapt.pretraining.corpus import read_corpus
from clinadapt.pretraining.distillation import (
    DistilledTokens,
    correlation,
    load_teacher,
    same_tokens,
)
from clinadapt.pretraining.masked_lm import MaskedTokens
from clinadapt.pretraining.model_sizes import new_config
from clinadapt.pretraining.packing import pack
from clinadapt.pretraining.pretrain import make_encoder
from clinadapt.pretraining.special_tokens import open_tokenizer
from clinadapt.pretraining.trainer import PretrainingRecipe, Trainer

LENGTH = 32
FAST = PretrainingRecipe(batch_tokens=8 * LENGTH, learning_rate=3e-3, device="cpu")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus():
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, 20)) for _ in range(400)]
    return read_corpus(pl.DataFrame({"text": texts}))


@pytest.fixture(scope="module")
def teacher(encoder_folders):
    return open_encoder(str(encoder_folders["bert"]))


@pytest.fixture(scope="module")
def tokenizer(teacher):
    return open_tokenizer(teacher, LENGTH)


@pytest.fixture(scope="module")
def student(encoder_folders, corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("student") / "encoder"
    record = make_encoder(
        corpus, out, length=LENGTH, recipe=FAST, steps=25, teacher=str(encoder_folders["bert"])
    )
    return out, record


def test_correlation_by_hand():
    one = torch.tensor([[[1.0, 5.0, 1.0], [2.0, 6.0, 1.0], [3.0, 7.0, 1.0]]])
    other = torch.tensor([[[2.0, -1.0, 1.0], [1.0, -2.0, 2.0], [3.0, -3.0, 3.0]]])
    # By dimension: 1 / 2, -1, and one that does not vary.
    assert float(correlation(one, other)) == pytest.approx((0.5 - 1 + 0) / 3)


@pytest.mark.parametrize("name", ["bert", "camembert", "new"])
def test_a_student_that_equals_its_teacher_agrees(name, encoder_folders, tokenizer):
    from transformers import AutoModelForMaskedLM

    torch.manual_seed(0)
    if name == "new":
        model = AutoModelForMaskedLM.from_config(new_config("mini", tokenizer, LENGTH))
    else:
        model = AutoModelForMaskedLM.from_pretrained(encoder_folders[name])
    objective = DistilledTokens(model, tokenizer, model.base_model).eval()
    torch.nn.init.eye_(objective.map.weight)
    ids = torch.randint(5, len(tokenizer), (8, LENGTH))
    with torch.no_grad():
        measures = objective(ids, torch.Generator().manual_seed(0))
        assert float(measures["agreement"]) == pytest.approx(1, abs=1e-4)
        if model.config.vocab_size == len(tokenizer):  # the same masks
            alone = MaskedTokens(model, tokenizer).eval()(ids, torch.Generator().manual_seed(0))
            assert float(measures["loss"]) == pytest.approx(float(alone["loss"]), abs=1e-3)
            assert measures["accuracy"] == alone["accuracy"]


def test_the_teacher_is_neither_changed_nor_stored(corpus, teacher, tokenizer, tmp_path):
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_config(new_config("mini", tokenizer, LENGTH))
    teaching = load_teacher(teacher, CPU)
    before = {name: weight.clone() for name, weight in teaching.state_dict().items()}
    objective = DistilledTokens(model, tokenizer, teaching)
    texts = pack(corpus.train, tokenizer, LENGTH, tmp_path / "tokens")
    Trainer(objective, texts, texts[:0], FAST, tmp_path).run(1, steps=3)
    assert not teaching.training
    assert all(torch.equal(weight, before[name]) for name, weight in teaching.state_dict().items())
    assert all(weight.grad is None for weight in teaching.parameters())
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["weights"]
    trained = [*model.parameters(), objective.map.weight]
    assert [weight.shape for weight in kept] == [weight.shape for weight in trained]
    assert objective.map.weight.shape == (teacher.width, model.config.hidden_size)


def test_the_students_agreement_increases(student, encoder_folders):
    _, record = student
    log = record["log"]
    assert log[-1]["agreement"] > log[0]["agreement"] + 0.1
    assert log[-1]["held_out_loss"] < log[0]["held_out_loss"]
    folder = encoder_folders["bert"]
    assert record["teacher"] == {
        "name": folder.name,
        "fingerprint": PretrainedEncoder(folder).fingerprint,
    }
    assert (record["objective"], record["size"], record["vocabulary"]) == (
        "distilled",
        "mini",
        None,
    )
    assert record["memory"]["peak_memory_bytes"] > 0


def test_the_student_is_an_encoder_like_any_other(student, encoder_folders, small_table):
    from transformers import AutoModel, AutoTokenizer

    out, record = student
    model = AutoModel.from_pretrained(out)
    assert sum(weight.numel() for weight in model.parameters()) == record["parameters"]
    text = "enfant admis, transfert"
    assert (
        AutoTokenizer.from_pretrained(out)(text).input_ids
        == PretrainedEncoder(out).tokenizer.encode(text).ids
        == PretrainedEncoder(encoder_folders["bert"]).tokenizer.encode(text).ids
    )
    texts, labels = small_table["text"].to_list()[:60], small_table["label"].to_list()[:60]
    classifier = NoteClassifier(PretrainedModel(str(out), max_tokens=LENGTH, epochs=1))
    assert classifier.fit(texts, labels).predict(texts[:3]).shape == (3,)


def test_an_existing_student_needs_the_teachers_tokenizer(
    student, corpus, encoder_folders, tmp_path
):
    bert = str(encoder_folders["bert"])
    record = make_encoder(
        corpus, tmp_path / "more", start=str(student[0]), teacher=bert, length=LENGTH,
        recipe=FAST, steps=2,
    )  # fmt: skip
    assert record["result"]["agreement"] > 0
    with pytest.raises(InputError, match="with the tokenizer of its teacher"):
        make_encoder(
            corpus, tmp_path / "x", start=str(encoder_folders["camembert"]), teacher=bert,
            length=LENGTH, steps=1,
        )  # fmt: skip


def test_tokenizers_of_one_vocabulary_may_differ(tokenizer, corpus):
    from tokenizers import normalizers

    assert same_tokens(tokenizer, tokenizer, corpus.train)
    other = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer)
    other.backend_tokenizer.normalizer = normalizers.Replace("e", "a")
    assert other.get_vocab() == tokenizer.get_vocab()
    assert not same_tokens(tokenizer, other, corpus.train)


def test_settings_incompatible_with_a_teacher_are_refused(encoder_folders, corpus, tmp_path):
    bert, out = str(encoder_folders["bert"]), tmp_path / "x"
    with pytest.raises(InputError, match="leave one out") as caught:
        make_encoder(corpus, out, objective="masked", teacher=bert, add_words=5)
    assert any("give --from" in problem for problem in caught.value.problems)
    assert any("does not know added words" in problem for problem in caught.value.problems)
    with pytest.raises(InputError, match="reads at most 64 tokens at once, got --length 65"):
        make_encoder(corpus, out, teacher=bert, length=65)
    with pytest.raises(InputError, match="has no mask, cls, sep, pad token"):
        make_encoder(corpus, out, teacher=str(encoder_folders["modernbert"]), length=LENGTH)


def test_texts_are_tokenized_as_in_studies(encoder_folders):
    """transformers' own class for BERT's layers would read AliBERT's sub-words as unknown."""
    encoder = PretrainedEncoder(encoder_folders["unigram_bert"])
    text = "enfant admis pour une insuffisance cardiaque"
    ids = open_tokenizer(encoder, LENGTH)(text).input_ids
    assert ids == encoder.tokenizer.encode(text).ids
    assert encoder.tokenizer.token_to_id("[UNK]") not in ids[1:-1]
