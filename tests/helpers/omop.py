"""Notes in the database tables of OMOP."""

import random

import sqlalchemy as sa
from scored import texts

from clinadapt.deployment.scoring.database import connect

# From the OHDSI DDL of CDM 5.4.
OMOP = """
CREATE TABLE note (note_id integer NOT NULL, person_id integer NOT NULL, note_date date NOT NULL,
 note_datetime timestamp NULL, note_type_concept_id integer NOT NULL, note_title varchar(250) NULL,
 note_text text NOT NULL, PRIMARY KEY (note_id));
CREATE TABLE note_nlp (note_nlp_id integer NOT NULL, note_id integer NOT NULL,
 section_concept_id integer NULL, snippet varchar(250) NULL, "offset" varchar(50) NULL,
 lexical_variant varchar(250) NOT NULL, note_nlp_concept_id integer NULL,
 note_nlp_source_concept_id integer NULL, nlp_system varchar(250) NULL, nlp_date date NOT NULL,
 nlp_datetime timestamp NULL, term_exists varchar(1) NULL, term_temporal varchar(50) NULL,
 term_modifiers varchar(2000) NULL, PRIMARY KEY (note_nlp_id));
"""


def execute(url, *statements, rows=None):
    """Run statements, the last one with rows; return the rows of its result."""
    engine = connect(url)
    with engine.begin() as connection:
        for statement in statements[:-1]:
            connection.execute(sa.text(statement))
        result = connection.execute(sa.text(statements[-1]), rows)
        return [tuple(row) for row in result] if result.returns_rows else []


def add_notes(url, first, last, step=7):
    """Insert notes in random order, with gaps between their keys; return them by key."""
    keys = list(range(first * step, last * step, step))
    rows = [
        {"id": key, "text": text, "time": f"2024-01-01 00:00:{at % 60:02}"}
        for at, (key, text) in enumerate(zip(keys, texts(last)[first:], strict=True))
    ]
    random.Random(0).shuffle(rows)
    columns = "note_id, person_id, note_date, note_datetime, note_type_concept_id, note_text"
    insert = f"INSERT INTO note ({columns}) VALUES (:id, 1, '2024-01-01', :time, 0, :text)"
    execute(url, insert, rows=rows)
    return dict(zip(keys, texts(last)[first:], strict=True))
