"""Notes in which a model finds nothing to read are told by every kind of model, and set aside."""

import numpy as np
import polars as pl
import pytest
from fitted_models import QUICK, build, fitted

from clinadapt.core.errors import NothingDoneError
from clinadapt.deployment.scoring.job import Prediction
from clinadapt.explain.explanation_files import explain_table
from clinadapt.models.shared_encoder import Together

UNREADABLE = ["\0\0\0", "\u200b\u200b", "😀😀", "مريض"]


@pytest.fixture(scope="module")
def classifiers(encoder_folders):
    return {name: fitted(build(name, encoder_folders), "binary") for name in QUICK}


@pytest.mark.parametrize("name", QUICK)
def test_every_model_says_which_notes_it_can_read(classifiers, name):
    model = classifiers[name].model_
    texts = ["enfant admis avec fievre", *UNREADABLE]
    assert model.readable(texts).tolist() == [True, *[False] * len(UNREADABLE)]


@pytest.mark.parametrize("name", QUICK)
def test_their_probabilities_are_missing_and_no_others_change(classifiers, name):
    together = Together({name: classifiers[name]})
    texts = [UNREADABLE[0], "enfant admis", *UNREADABLE[1:], "pas de dyspnee"]
    found = together.predict_proba(texts)[name]
    assert np.isnan(found).all(axis=1).tolist() == [True, False, True, True, True, False]
    alone = classifiers[name].predict_proba(["enfant admis", "pas de dyspnee"])
    np.testing.assert_allclose(found[[1, 5]], alone, atol=1e-3)


@pytest.mark.parametrize("name", ["tfidf-logistic", "transformer", "pretrained", "stacked"])
def test_they_are_set_aside_by_predict_and_left_out_by_explain(classifiers, tmp_path, name):
    bundle = classifiers[name].save(tmp_path / "bundle")
    texts = ["enfant admis", *UNREADABLE]
    table = pl.DataFrame({"id": [f"n{number}" for number in range(len(texts))], "text": texts})
    table.write_parquet(tmp_path / "notes.parquet")
    state = Prediction(bundle, [str(tmp_path / "notes.parquet")], tmp_path / "p.csv", id="id").run()
    assert (state.scored, state.aside) == (1, len(UNREADABLE))
    count, left_out, _ = explain_table(bundle, table, tmp_path / "e.jsonl", id="id")
    assert (count, left_out) == (1, len(UNREADABLE))
    with pytest.raises(NothingDoneError, match="nothing that it can read"):
        explain_table(bundle, table[1:], tmp_path / "f.jsonl", id="id")
