"""Patients as units: documents, labels, splits."""

from dataclasses import replace

import numpy as np
import pytest
from patients import one_telling, read

from clinadapt import patient_documents
from clinadapt.core.errors import InputError
from clinadapt.data.labels import from_sets, from_single
from clinadapt.data.patients import (
    COUNT,
    MARK,
    SEVERAL,
    notes_of,
    of_notes,
    patient_labels,
    patients_of,
)
from clinadapt.data.split import make_split
from clinadapt.data.text_store import Texts

CLUSTERS = np.array([0, 1, 0, 2])


def test_documents_return_their_notes():
    texts = ["toux", f"a{MARK}b\n", "fièvre\n\n", "x"]
    patients, documents = patient_documents(texts, ["b", "a", "b", "c"])
    assert patients == ["a", "b", "c"]
    notes, owner = notes_of(documents)
    assert notes == ["a b\n", "toux", "fièvre\n\n", "x"]
    assert owner.tolist() == [0, 1, 1, 2]
    assert notes_of(["a single note"])[0] == ["a single note"]


def test_as_many_groups_as_texts():
    with pytest.raises(InputError, match="2 texts, 1 groups"):
        patient_documents(["a", "b"], ["p"])


def test_notes_that_agree_give_their_label():
    labels = patient_labels(from_single(["c", "a", "c", "b"]), CLUSTERS)
    assert labels.decode().tolist() == ["c", "a", "b"]


def test_binary_labels_that_differ_need_a_rule():
    labels = from_single(["no", "no", "yes", "no"], positive="yes")
    with pytest.raises(InputError, match=r"1 of 3 patients .* differ.*--group-label any"):
        patient_labels(labels, CLUSTERS)
    assert patient_labels(labels, CLUSTERS, "any").decode().tolist() == ["yes", "no", "no"]


def test_several_labels_are_united():
    labels = from_sets([{"a"}, {"b"}, {"c"}, set()])
    with pytest.raises(InputError, match="every label of any of its notes"):
        patient_labels(labels, CLUSTERS)
    assert patient_labels(labels, CLUSTERS, "any").decode().tolist() == [("a", "c"), ("b",), ()]


@pytest.mark.parametrize("rule", [None, "any"])
def test_classes_that_exclude_each_other_have_no_rule(rule):
    labels = from_single(["a", "b", "c", "a"])
    with pytest.raises(InputError, match="1 of 3 patients have notes whose labels differ"):
        patient_labels(labels, CLUSTERS, rule)


def test_patients_of_notes():
    notes = read(one_telling(30, 3))
    wards = Texts.of(
        "north" if group == "p1" else name[-1]
        for group, name in zip(notes.groups, notes.ids, strict=True)
    )
    notes = replace(notes, characteristics={"ward": wards})
    patients = patients_of(notes)
    assert list(patients.ids) == sorted(set(notes.groups))
    assert np.array_equal(patients.clusters, np.arange(30))
    at = list(patients.ids).index("p1")
    own = [text for text, group in zip(notes.texts, notes.groups, strict=True) if group == "p1"]
    assert notes_of([patients.texts[at]])[0] == own
    assert patients.characteristics[COUNT][at] == str(len(own))
    assert patients.characteristics["ward"][at] == "north"
    assert SEVERAL in list(patients.characteristics["ward"])


def test_notes_without_patients():
    with pytest.raises(InputError, match="--group"):
        patients_of(replace(read(one_telling(10, 2)), groups=None))


def test_a_split_balances_patients_not_notes():
    """A class whose patients have many notes gets its share of patients in each part."""
    table = one_telling(60, 2)
    notes = read(table)
    patients = patients_of(notes)
    split = of_notes(make_split(patients, 0.3, 0.2, 0), notes)
    seen = [set(notes.clusters[rows]) for rows in split.parts().values()]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 60
    test = patients_of(notes.take(split.test))
    assert len(test) == 18
    assert test.labels.matrix[:, 1].sum() == 9


def test_a_split_of_patients_with_one_note_is_that_of_their_notes():
    notes = read(one_telling(80, 2).unique("patient", keep="first", maintain_order=True))
    one, other = make_split(notes), of_notes(make_split(patients_of(notes)), notes)
    assert all(np.array_equal(one.parts()[name], other.parts()[name]) for name in one.parts())
