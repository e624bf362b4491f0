"""Pre-training: texts, masks, learning, and the resumption of a killed training."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy.special import log_softmax
from typer.testing import CliRunner

from clinadapt import NoteClassifier, PretrainedModel
from clinadapt.cli.main import app
from clinadapt.core.errors import InputError
from clinadapt.data.synthetic.generator import generate
from clinadapt.data.text_store import Texts
from clinadapt.features.encoders.pretrained import PretrainedEncoder
from clinadapt.pretraining.bag_of_words import BagOfWords, bags_of, inverse_frequency
from clinadapt.pretraining.corpus import Excluded, read_corpus, read_excluded
from clinadapt.pretraining.masked_lm import IGNORED, MaskedTokens, Masking
from clinadapt.pretraining.model_sizes import new_config
from clinadapt.pretraining.packing import pack
from clinadapt.pretraining.pretrain import make_encoder
from clinadapt.pretraining.special_tokens import open_tokenizer
from clinadapt.pretraining.tokenizer_training import learn_vocabulary
from clinadapt.pretraining.trainer import PretrainingRecipe, Trainer, share_of_rate

LENGTH = 32
FAST = PretrainingRecipe(batch_tokens=8 * LENGTH, learning_rate=2e-3)
STEPS = 150
NUMBERS = "un deux trois quatre cinq six sept huit neuf dix onze douze"


def frame(*texts):
    return pl.DataFrame({"text": list(texts)})


# ---------------------------------------------------------------- texts


def test_a_segment_is_used_once():
    corpus = read_corpus(
        frame(
            "Patient admis pour une douleur thoracique. Pas de fièvre ce jour.",
            "PATIENT admis  pour une douleur thoracique.\nSortie demain matin avec une ordonnance.",
            "Pas de fièvre. Pas de fièvre.",
        )
    )
    assert sorted([*corpus.train, *corpus.held_out]) == [
        "Pas de fièvre. Pas de fièvre.",  # too short to count as a repetition
        "Patient admis pour une douleur thoracique. Pas de fièvre ce jour.",
        "Sortie demain matin avec une ordonnance.",
    ]
    assert corpus.repeated == 1
    assert corpus.words == 11 + 6 + 6


def test_notes_of_a_test_part_are_excluded_and_named():
    excluded = Excluded.of(
        ["a", "b"],
        [
            "Le patient a reçu du furosémide hier. Son état reste stable depuis ce matin.",
            "Une tout autre note sans rien de commun. Avec encore deux phrases de plus.",
        ],
    )
    corpus = read_corpus(
        frame(
            "Avant tout le contexte est le suivant. Le patient a reçu du furosémide hier.",
            "Rien de tout cela ne se trouve ailleurs.",
        ),
        excluded=excluded,
    )
    assert "furosémide" not in " ".join([*corpus.train, *corpus.held_out])
    assert (corpus.excluded, corpus.contained) == (1, ["a"])


def test_notes_of_two_tables_are_excluded():
    one = Excluded.of(["a"], ["Le patient a reçu du furosémide hier."])
    other = Excluded.of(
        ["b", "c"], ["Son état reste stable ce matin.", "Jamais vue nulle part ici."]
    )
    both = one + other
    corpus = read_corpus(
        frame(
            "Le patient a reçu du furosémide hier. Son état reste stable ce matin. Encore du texte."
        ),
        excluded=both,
    )
    assert corpus.contained == ["a", "b"]
    assert (one.sizes, other.sizes) == ([1], [1, 1])


def test_excluded_notes_are_those_not_for_training():
    notes = pl.DataFrame(
        {
            "text": [
                "une phrase de cinq mots",
                "une autre de cinq mots",
                "encore une de cinq mots",
            ],
            "part": ["train", "dev", "Test"],
        }
    )
    assert read_excluded(notes, split="part").ids == ["row 2", "row 3"]
    assert read_excluded(notes).ids == ["row 1", "row 2", "row 3"]
    with pytest.raises(InputError, match="no column 'fold'"):
        read_excluded(notes, split="fold")
    with pytest.raises(InputError, match="has no text"):
        read_corpus(frame(" ", None))


# ---------------------------------------------------------------- sequences, masks and losses


@pytest.fixture(scope="module")
def notes():
    return generate(n_notes=300, n_patients=90, n_positive=100)


@pytest.fixture(scope="module")
def corpus(notes):
    return read_corpus(notes)


@pytest.fixture(scope="module")
def tokenizer(corpus):
    return learn_vocabulary(corpus.train, 500, LENGTH)


def test_packed_sequences_are_the_concatenated_texts(corpus, tokenizer, tmp_path):
    texts = Texts.of(list(corpus.train)[:40])
    packed = pack(texts, tokenizer, LENGTH, tmp_path / "tokens")
    assert (packed[:, 0] == tokenizer.cls_token_id).all()
    stream = packed[:, 1:].ravel().tolist()
    whole = [i for text in texts for i in [*tokenizer(text, add_special_tokens=False).input_ids,
                                           tokenizer.sep_token_id]]  # fmt: skip
    assert stream == whole[: len(stream)]
    assert 0 <= len(whole) - len(stream) < LENGTH - 1
    assert (tmp_path / "tokens").stat().st_mode & 0o077 == 0
    assert len(pack(Texts.of(["a"]), tokenizer, LENGTH, tmp_path / "few")) == 0


def test_the_share_of_masks_is_as_documented_and_never_of_special_tokens(tokenizer):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(10, len(tokenizer), (200, 100), generator=generator)
    ids[:, 0] = tokenizer.sep_token_id
    shown, labels = Masking(tokenizer)(ids, generator)
    masked = labels != IGNORED
    assert not masked[:, 0].any()
    assert masked[:, 1:].float().mean() == pytest.approx(0.3, abs=0.01)
    assert (labels[masked] == ids[masked]).all()
    assert (shown[~masked] == ids[~masked]).all()
    assert (shown[masked] == tokenizer.mask_token_id).float().mean() == pytest.approx(0.8, abs=0.02)
    assert (shown[masked] == ids[masked]).float().mean() == pytest.approx(0.1, abs=0.02)


def test_bags_are_tf_idf_that_adds_up_to_one():
    sequences = np.array([[1, 2, 2, 2], [1, 3, 3, 0], [1, 0, 0, 0]], dtype=np.uint16)
    rarity = inverse_frequency(sequences, 5)
    # Of three sequences 2 contain the first id, 3 the second, 1 the next two, none the last.
    assert rarity == pytest.approx(np.log([4 / 3, 4 / 4, 4 / 2, 4 / 2, 4 / 1]))
    bags = bags_of(torch.from_numpy(sequences.astype(np.int64)), torch.tensor(rarity)).numpy()
    assert bags[0] == pytest.approx([0, 0, 1, 0, 0])  # what all contain has no weight
    once, twice = np.log(4 / 3), (1 + np.log(2)) * np.log(2)
    assert bags[1] == pytest.approx(np.array([once, 0, 0, twice, 0]) / (once + twice))
    assert (bags_of(torch.ones(1, 4, dtype=torch.int64), torch.zeros(5)) == 0).all()


def test_the_bag_is_predicted_from_the_mean_of_the_features(tokenizer):
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_config(new_config("mini", tokenizer, LENGTH))
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, len(tokenizer), (6, LENGTH), generator=generator)
    objective = BagOfWords(model, tokenizer, ids.numpy())
    both = objective(ids, generator.manual_seed(1))["loss"]
    masked = objective.masked(ids, generator.manual_seed(1))["loss"]
    with torch.no_grad():
        pooled = objective.bag(objective.features.mean(dim=1))
        scores = (pooled @ model.get_output_embeddings().weight.T).double().numpy()
    bags = bags_of(ids, objective.rarity).numpy()
    by_hand = -(bags * log_softmax(scores, axis=1)).sum(axis=1).mean()
    assert float((both - masked).detach()) == pytest.approx(by_hand, rel=1e-4)
    (both - masked).backward()
    assert model.get_input_embeddings().weight.grad.abs().sum() > 0


def test_the_rate_rises_and_falls():
    rates = [share_of_rate(step, 100) for step in range(100)]
    assert rates[5] == 1.0 == max(rates)
    assert rates[:6] == sorted(rates[:6])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] < 0.001
    # Half-way down it is half the maximum, since the cosine is symmetric.
    assert rates[6 + 47] == pytest.approx(0.5)


@pytest.fixture(scope="module")
def counting():
    """Texts that count to twelve from any number, so that the next word is predictable."""
    cycle = NUMBERS.split()
    starts = np.random.default_rng(0).integers(12, size=1500)
    return read_corpus(
        frame(*(" ".join([*cycle[start:], *cycle[:start]] * 2) for start in starts.tolist()))
        .with_row_index()
        .select(pl.concat_str(pl.lit("note "), "index", pl.lit(" : "), "text").alias("text"))
    )


@pytest.fixture(scope="module", params=["bag", "masked"])
def made(request, counting, tmp_path_factory):
    out = tmp_path_factory.mktemp("encoder") / request.param
    record = make_encoder(
        counting,
        out,
        objective=request.param,
        vocabulary=100,
        length=LENGTH,
        recipe=FAST,
        steps=STEPS,
    )
    return out, record


def test_it_learns(made):
    _, record = made
    log = record["log"]
    assert log[-1]["step"] == STEPS
    assert log[-1]["held_out_loss"] < 0.7 * log[0]["held_out_loss"]
    assert log[-1]["held_out_accuracy"] > max(0.5, log[0]["held_out_accuracy"] + 0.05)
    assert log[-1]["tokens"] == STEPS * 8 * LENGTH


def test_the_folder_is_an_encoder_like_any_other(made, notes):
    from transformers import AutoModel, AutoTokenizer

    out, record = made
    model = AutoModel.from_pretrained(out)
    assert sum(weight.numel() for weight in model.parameters()) == record["parameters"]
    assert {str(weight.dtype) for weight in model.parameters()} == {"torch.bfloat16"}
    assert AutoTokenizer.from_pretrained(out)("fièvre").input_ids[0] == model.config.cls_token_id
    assert not (out / "training").exists()  # it would contain tokens of the texts
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"{record['parameters']:,} weights (new, of size mini)" in card
    assert f"| {STEPS * 8 * LENGTH:,} |" in card  # the last evaluation
    texts, labels = notes["text"].to_list()[:60], notes["label"].to_list()[:60]
    classifier = NoteClassifier(PretrainedModel(str(out), max_tokens=LENGTH, epochs=1))
    assert classifier.fit(texts, labels).predict(texts[:3]).shape == (3,)


def test_no_text_is_left_in_the_folder(corpus, tmp_path):
    out = tmp_path / "encoder"
    make_encoder(corpus, out, vocabulary=500, length=LENGTH, recipe=FAST, steps=2)
    content = b"".join(path.read_bytes() for path in out.iterdir() if path.is_file()).lower()
    for text in list(corpus.train)[:50]:
        words = text.lower().split()
        assert " ".join(words[:6]).encode() not in content


def test_continuing_from_an_encoder(made, corpus, tmp_path):
    out, _ = made
    record = make_encoder(
        corpus, tmp_path / "more", start=str(out), length=LENGTH, recipe=FAST, steps=3
    )
    assert record["start"] == out.name
    assert (tmp_path / "more" / "config.json").is_file()


def test_mistakes_are_reported(made, corpus, tmp_path):
    out, _ = made
    with pytest.raises(InputError, match="expected an objective among") as caught:
        make_encoder(corpus, out, objective="replaced")
    assert any("already contains an encoder" in problem for problem in caught.value.problems)
    with pytest.raises(InputError, match="expected a size among mini, small, medium"):
        make_encoder(corpus, tmp_path / "x", size="giant", vocabulary=500)
    few = read_corpus(frame("une seule phrase de six mots"))
    with pytest.raises(InputError, match="at least 4096 tokens"):
        make_encoder(few, tmp_path / "y", vocabulary=100, length=4096)


# ---------------------------------------------------------------- killed


KILLED = """
import sys
from pathlib import Path
from clinadapt.pretraining import trainer
from clinadapt.pretraining.bag_of_words import BagOfWords, bags_of, inverse_frequency
from clinadapt.pretraining.corpus import read_corpus
from clinadapt.pretraining.pretrain import make_encoder
from clinadapt.pretraining.model_sizes import new_config
from clinadapt.pretraining.trainer import PretrainingRecipe
trainer.CHECKPOINT_SECONDS = 0.2
corpus = read_corpus(sys.argv[1])
recipe = PretrainingRecipe(batch_tokens=8 * 32, learning_rate=2e-3)
make_encoder(corpus, Path(sys.argv[2]), start=sys.argv[3], length=32, recipe=recipe, steps=40)
"""


def test_a_killed_training_reaches_the_same_losses(notes, tmp_path):
    notes.write_parquet(tmp_path / "notes.parquet")
    corpus = read_corpus(tmp_path / "notes.parquet")
    # Both start from one encoder, because two trained vocabularies may differ slightly.
    begun = str(tmp_path / "begun")
    make_encoder(corpus, Path(begun), vocabulary=500, length=32, recipe=FAST, steps=1)
    whole = make_encoder(corpus, tmp_path / "whole", start=begun, length=32, recipe=FAST, steps=40)
    out = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, str(tmp_path / "notes.parquet"), str(out), begun]
    kills = 0
    while not (out / "config.json").is_file():
        process = subprocess.Popen(command)
        if kills < 2:
            began = out / "training" / "checkpoint.pt"
            before = began.stat().st_mtime_ns if began.is_file() else 0
            while process.poll() is None and (
                not began.is_file() or began.stat().st_mtime_ns == before
            ):
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            kills += 1
        assert process.wait() in (0, -signal.SIGKILL)
    killed = json.loads((out / "pretraining.json").read_text())
    for one, other in zip(whole["log"], killed["log"], strict=True):
        assert one["step"] == other["step"]
        for name in ("loss", "held_out_loss"):
            assert one[name] == pytest.approx(other[name], rel=1e-3)
    assert kills == 2


def test_dropout_does_not_depend_on_earlier_random_numbers(corpus, encoder_folders, tmp_path):
    """A killed training of an encoder with dropout therefore reaches the same losses, too."""
    from transformers import AutoModelForMaskedLM

    encoder = PretrainedEncoder(encoder_folders["bert"])
    assert encoder.config.hidden_dropout_prob > 0
    tokenizer = open_tokenizer(encoder, LENGTH)
    train = pack(corpus.train, tokenizer, LENGTH, tmp_path / "tokens")
    losses = []
    for seed in (1, 2):
        model = AutoModelForMaskedLM.from_pretrained(encoder.folder)
        (tmp_path / str(seed)).mkdir()
        objective = MaskedTokens(model, tokenizer)
        trainer = Trainer(objective, train, train[:0], FAST, tmp_path / str(seed))
        torch.manual_seed(seed)
        trainer.run(1, steps=3)
        losses.append([entry["loss"] for entry in trainer.log()])
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 3


def test_a_training_is_not_resumed_with_another_corpus(corpus, tmp_path):
    make_encoder(corpus, tmp_path / "a", vocabulary=500, length=LENGTH, recipe=FAST, steps=2)
    begun = tmp_path / "b" / "training"
    begun.mkdir(parents=True)
    settings = {"start": None, "objective": "masked", "size": "mini", "length": 64, "corpus": {}}
    (begun / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="other texts or settings"):
        make_encoder(corpus, tmp_path / "b", vocabulary=500, length=LENGTH, steps=2)


def test_the_command(notes, tmp_path):
    notes.write_csv(tmp_path / "texts.csv")
    notes.head(5).write_csv(tmp_path / "test.csv")
    command = ["pretrain", str(tmp_path / "texts.csv"), "--out", str(tmp_path / "encoder")]
    command += ["--minutes", "0.1", "--vocabulary", "500", "--length", "32", "--offline"]
    command += ["--exclude", str(tmp_path / "test.csv")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    expected = "at least half of each of 5 such notes was present"
    assert expected in " ".join(done.output.split())
    record = json.loads((tmp_path / "encoder" / "pretraining.json").read_text())
    assert 3 < record["result"]["seconds"] < 20
    shutil.rmtree(tmp_path / "encoder")
    assert np.isfinite(record["result"]["held_out_loss"])
