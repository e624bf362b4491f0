"""A run that is killed at random times and restarted scores each note once."""

import random
import signal

import polars as pl
import pytest
from forked import CONTEXT
from omop import OMOP, add_notes, execute

from clinadapt.deployment.scoring import database_source, loop
from clinadapt.deployment.scoring.job import Prediction


def score_in_a_process(asked, batches):
    """Score in small transactions, reporting each, so that a kill can come at many moments."""
    database_source.ROWS_AT_ONCE = loop.NOTES_AT_ONCE = 40
    asked.run(lambda stage, done, total: batches.send(done))


@pytest.mark.parametrize("into", ["own", "note_nlp", None])
def test_killed_at_random_each_note_is_scored_once(url, tfidf_bundle, tmp_path, into):
    notes, chance = 2000, random.Random()
    execute(url, *OMOP.strip().rstrip(";").split(";\n"))
    by_key = add_notes(url, 0, notes)
    out, aside = tmp_path / "p.parquet", tmp_path / "aside.csv"
    asked = Prediction(tfidf_bundle.folder, out=out, database=url, into=into, aside=aside)
    for _ in range(4):
        ours, theirs = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=score_in_a_process, args=(asked, theirs))
        process.start()
        theirs.close()  # so that ours is closed if the process fails
        for _ in range(chance.randint(2, 6)):
            ours.recv()
        process.join(chance.uniform(0, 0.03))  # at any moment of a batch
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        process.close()
        ours.close()
        if into is None:
            assert out.with_name("p.parquet.partial").exists()
        else:
            ((count,),) = execute(url, f"SELECT count(*) FROM {into}")
            assert 0 < count < notes
    state = asked.run()
    assert (state.read, state.scored, state.aside) == (notes, notes, 0)
    if into is None:
        ids = [int(id) for id in pl.read_parquet(out)["id"]]
    else:
        ids = [id for (id,) in execute(url, f"SELECT note_id FROM {into} ORDER BY note_id")]
    assert ids == sorted(by_key)
