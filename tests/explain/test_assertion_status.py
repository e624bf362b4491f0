"""Contexts of words, on sentences written by hand."""

import pytest

from clinadapt.explain.assertion_status import CUES, LEXICON, fold, kinds, sentences
from clinadapt.explain.words import spans

SENTENCES = [
    # French
    ("Pas de signe d'*insuffisance* cardiaque.", ["negated"]),
    ("Absence d'*oedème* des membres.", ["negated"]),
    ("Sans *dyspnée* ni *toux*", ["negated"]),
    ("*Myocardite* éliminée par l'échographie", ["negated"]),
    ("*MYOCARDITE* ELIMINEE", ["negated"]),
    ("*myocardite* suspectée, non confirmée à l'ETT", ["negated"]),
    ("Antécédents : *insuffisance* cardiaque à 3 mois", ["historical"]),
    ("ATCD d'*asthme*, guéri", ["historical"]),
    ("*Bronchiolite* il y a deux ans", ["historical"]),
    ("Antécédents familiaux : *cardiopathie*", ["family"]),
    ("Mère : *diabète*", ["family"]),
    ("Une *cardiomyopathie* chez sa grand-mère", ["family"]),
    ("*Cardiomyopathie* connue chez un oncle paternel", ["family"]),
    ("Pas de *cardiopathie* dans la famille", ["negated", "family"]),
    ("Sœur : pas d'*asthme*", ["negated", "family"]),
    ("*Insuffisance* cardiaque aiguë sévère", []),
    # A sentence ends the reach, and so does a word such as "mais"; six words do, too.
    ("Pas de fièvre. *Insuffisance* cardiaque", []),
    ("Pas de fièvre ; *dyspnée*", []),
    ("Pas de fièvre\r\n*dyspnée*", []),
    ("Pas de myocardite mais *insuffisance* cardiaque", []),
    ("Créatinine à 3.5 sans *oedème*", ["negated"]),
    ("Pas un deux trois quatre cinq *six*", ["negated"]),
    ("Pas un deux trois quatre cinq six *sept*", []),
    ("*six* cinq quatre trois deux un éliminée", ["negated"]),
    ("*sept* six cinq quatre trois deux un éliminée", []),
    # What only looks like a cue.
    ("Sans doute une *myocardite*", []),
    ("Une *myocardite* n'est pas exclue", []),
    ("Non seulement une *myocardite*", []),
    ("Histoire de la maladie : *dyspnée*", []),
    # English
    ("No evidence of *pneumonia*", ["negated"]),
    ("Patient denies chest *pain*", ["negated"]),
    ("*Pneumonia* was ruled out", ["negated"]),
    ("*Pneumonia* is not ruled out", []),
    ("No edema, but severe *dyspnea*", []),
    ("History of heart *failure*", ["historical"]),
    ("h/o *asthma*", ["historical"]),
    ("*Asthma*, resolved years ago", ["historical"]),
    ("Family history of *stroke*", ["family"]),
    ("*Stroke* in his father", ["family"]),
    ("Her mother had *stroke* without *seizures*", ["negated", "family"]),
    ("History of present illness: *fever*", []),
]  # fmt: skip


@pytest.mark.parametrize(("marked", "expected"), SENTENCES, ids=[text for text, _ in SENTENCES])
def test_kinds(marked, expected):
    text, wanted, end = "", [], 0
    for number, piece in enumerate(marked.split("*")):
        text += piece
        if number % 2:
            wanted.append((end, end + len(piece)))
        end += len(piece)
    assert set(wanted) <= set(spans(text))
    assert kinds(text, wanted) == expected


def test_only_the_words_asked_for_count():
    text = "Pas de fièvre, bon état. Dyspnée."
    first, last = text.index("fièvre"), text.index("Dyspnée")
    assert kinds(text, [(first, first + 6)]) == ["negated"]
    assert kinds(text, [(last, last + 7)]) == []
    assert kinds(text, []) == []


def test_sentences_split_all_words():
    text = "Poids 3.5 kg. Vu ce jour\nSortie ? Oui; fin"
    found = [[text[a:b] for a, b in sentence] for sentence in sentences(text)]
    assert found == [["Poids", "3", "5", "kg"], ["Vu", "ce", "jour"], ["Sortie"], ["Oui"], ["fin"]]


def test_cues_are_folded():
    assert fold("Éliminée SŒUR aiguë") == "eliminee soeur aigue"
    for phrases in CUES.values():
        for phrase in phrases.split(";"):
            folded = fold(phrase)
            assert tuple(folded[a:b] for a, b in spans(folded)) in LEXICON
