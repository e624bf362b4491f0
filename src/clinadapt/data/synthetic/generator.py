"""Generate the built-in notes, in the style of a French paediatric intensive care unit.

The label states whether the child has cardiac failure ("insuffisance cardiaque") at the time of the
note. No real note was used; the proportions are those of the published corpus.

Every note, whatever its label, makes the same kinds of statement: some condition is present, others
are absent, suspected but not confirmed, resolved, feared, or a relative's. The label decides only
*which* condition fills *which* statement:

- in a positive note, cardiac failure is present ("pas de myocardite mais IC"), or it is not named
  but implied by at least four unexplained signs, including a low ejection fraction ("FEVG
  effondrée", gallop, hepatomegaly, furosemide, milrinone);
- in a negative note, cardiac failure is absent, suspected but not confirmed, or not mentioned, and
  its signs, except for at most one, are absent or have another cause ("furosémide pour balance
  positive").

A relative's cardiac failure and a resolved one belong to the patient and occur under both labels.
Therefore the same words occur in both classes, which differ by the order of words, the scope of
negations, the section, the person and the time. Exactly a share `LABEL_NOISE` of the notes
contradicts its label. Typing errors are added, but a number or a short word loses at most the space
after it.

The constants are set so that logistic regression on single words and word pairs has an F1 of about
.85 on the notes of unseen patients.
"""

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import polars as pl

from clinadapt.data.synthetic import phrases

LABEL_NOISE = 0.01
"""Share of the notes whose text contradicts their label."""

_NAMED = 0.68  # share of the positive notes that name cardiac failure
_DENIED = 0.7  # share of the negative notes that name it to rule it out
_CONTRASTED = 0.4  # share of such statements that contrast it with another condition
_CARDIAC_REASON = {True: 0.45, False: 0.35}  # share of cardiac reasons, by "has cardiac failure"
_CARDIAC_RELATIVE, _CARDIAC_PAST = 0.3, 0.25  # share of the patients
_PATIENT_WEIGHT = 1.0  # standard deviation of the patient's severity, where that of a note is 1
_SIGN_COUNTS = {  # minimum and maximum number of signs, by how the note states cardiac failure
    "named": {"found": (2, 4), "absent": (0, 1), "explained": (0, 1)},
    "implied": {"found": (4, 6), "absent": (0, 1), "explained": (0, 1)},
    "none": {"found": (0, 1), "absent": (0, 3), "explained": (0, 2)},
}
_LENGTH_MU, _LENGTH_SIGMA = 4.43, 0.42  # of the logarithm of the number of words
_ERROR_RATES = (0.0, 0.01, 0.02, 0.05)  # typing errors per word; each note has one of these rates
_NO_ACCENTS = 0.2  # share of the notes without any accent
_LAYOUTS = (  # between statements, after a title, between sections
    (". ", " : ", "\n"),
    (", ", ": ", "\n"),
    (" ; ", " - ", ". "),
    (". ", " : ", ". "),
)
_WITHOUT_ACCENT = str.maketrans("àâçéèêëîïôùûÀÉÈÊ", "aaceeeeiiouuAEEE")
_SYNTAX = re.compile(r"([{|}])")
_WORD = re.compile(r"\S+\s*")
_RANGE = re.compile(r"(\d+(?:\.\d+)?)\.\.(\d+(?:\.\d+)?)")
_ELISION = re.compile(r"\b([dl]|qu)[ea] (?=[aeiouyàâéèêœ]|h(?!a|er))", re.IGNORECASE)

Slots = dict[str, str]
Statement = tuple[str, str]  # (section, text)


def generate(
    n_notes: int = 5444, n_patients: int = 1386, n_positive: int = 1941, seed: int = 0
) -> pl.DataFrame:
    """Generate a corpus of French notes like those of intensive care, labelled for cardiac failure.

    Parameters
    ----------
    n_notes : int
        Number of notes. This and `n_positive` default to the corpus of arXiv 2407.19299.
    n_patients : int
        Number of patients, each with at least one note. The default is the number in the same
        laboratory's other papers on these notes.
    n_positive : int
        Number of notes labelled "positive".
    seed : int
        Seed of all randomness; the same arguments give the same table.

    Returns
    -------
    polars.DataFrame
        One row per note, in random order, with the string columns `id`, `patient`, `text` and
        `label` ("negative" or "positive").

    Raises
    ------
    ValueError
        The numbers contradict each other.
    """
    _check_numbers(n_notes, n_patients, n_positive)
    rng = random.Random(seed)
    owners = _share_out(n_notes, n_patients, rng)
    labels = _draw_labels(owners, n_positive, rng)
    mistaken = set(rng.sample(range(n_notes), round(LABEL_NOISE * n_notes)))
    patients = [_draw_patient(rng) for _ in range(n_patients)]
    texts = [
        _write_note(patients[owner], positive != (note in mistaken), rng)
        for note, (owner, positive) in enumerate(zip(owners, labels, strict=True))
    ]
    return pl.DataFrame(
        {
            "id": [f"synthetic-{note:05d}" for note in range(1, n_notes + 1)],
            "patient": [f"patient-{owner + 1:04d}" for owner in owners],
            "text": texts,
            "label": ["positive" if positive else "negative" for positive in labels],
        }
    )


def _check_numbers(n_notes: int, n_patients: int, n_positive: int) -> None:
    if not 1 <= n_patients <= n_notes:
        raise ValueError(
            f"expected 1 <= n_patients <= n_notes, since each patient has a note; got "
            f"n_patients={n_patients} and n_notes={n_notes}: change n_patients or n_notes"
        )
    if not 0 <= n_positive <= n_notes:
        raise ValueError(
            f"expected 0 <= n_positive <= n_notes; got n_positive={n_positive} and "
            f"n_notes={n_notes}: give an n_positive within these bounds"
        )


# --- Patients and labels ---------------------------------------------------------------------


def _share_out(n_notes: int, n_patients: int, rng: random.Random) -> list[int]:
    """Return the patient of each note: one note for each patient, and the rest unevenly."""
    stays = [rng.gammavariate(1, 1) for _ in range(n_patients)]
    owners = [
        *range(n_patients),
        *rng.choices(range(n_patients), weights=stays, k=n_notes - n_patients),
    ]
    rng.shuffle(owners)
    return owners


def _draw_labels(owners: Sequence[int], n_positive: int, rng: random.Random) -> list[bool]:
    """Label the `n_positive` most severe notes positive; severity is part patient, part chance."""
    patient_severity = {owner: rng.gauss(0, _PATIENT_WEIGHT) for owner in sorted(set(owners))}
    severity = [patient_severity[owner] + rng.gauss(0, 1) for owner in owners]
    ranked = sorted(range(len(owners)), key=severity.__getitem__, reverse=True)
    positive = set(ranked[:n_positive])
    return [note in positive for note in range(len(owners))]


@dataclass(frozen=True)
class _Patient:
    """Content that all notes of a patient share."""

    slots: Slots
    background: tuple[Statement, ...]  # history and family, with the same words in each note


def _draw_patient(rng: random.Random) -> _Patient:
    slots = _person_slots(round(min(rng.lognormvariate(2.8, 1.3), 210)), rng)
    past = phrases.CARDIAC_FAILURE if rng.random() < _CARDIAC_PAST else phrases.OTHER_CONDITIONS
    relative = (
        phrases.CARDIAC_FAILURE if rng.random() < _CARDIAC_RELATIVE else phrases.FAMILY_CONDITIONS
    )
    background = (
        _state(phrases.PAST, slots, rng, rng.choice(past)),
        _state(phrases.FAMILY, slots, rng, rng.choice(relative)),
    )
    return _Patient(slots, background)


def _person_slots(months: int, rng: random.Random) -> Slots:
    """Return slots that describe a child of this age, as templates expanded at each use."""
    girl = rng.random() < 0.45
    years = months // 12
    if months < 2:
        age = f"{rng.randint(3, 55)} {{jours|j}}"
        past = "{en anténatal|à la naissance|à J{1..3}}"
    elif years < 2:
        age = f"{months} {{mois|m}}"
        past = f"à {{{{2..7}} semaines|{{1..{months - 1}}} mois}} de vie"
    else:
        age = f"{years} ans"
        past = f"{{en {{{2021 - years}..2020}}|il y a {{2..{years}}} ans|à {{2..{years}}} ans}}"
    weight = 3.4 + 0.6 * months if months < 12 else 8 + 2.2 * months / 12
    return {
        "age": age,
        "past": past,
        "kg": f"{weight * rng.uniform(0.8, 1.15):.1f}".replace(".", ","),
        "fc": "{112..178}" if years < 2 else "{72..139}",
        "e": "e" if girl else "",
        "il": "elle" if girl else "il",
        "enfant": "{fille|fillette|patiente}" if girl else "{garçon|patient|enfant}",
        "patient": "{patiente|fille|F}" if girl else "{patient|garçon|M}",
        "un_enfant": "une {fille|patiente}" if girl else "un {garçon|enfant}",
    }


# --- Content of a note -----------------------------------------------------------------------


def _write_note(patient: _Patient, failing: bool, rng: random.Random) -> str:
    """Write a note about a child who has cardiac failure now (`failing`) or does not."""
    slots = patient.slots
    named = rng.random() < (_NAMED if failing else _DENIED)
    story = ("named" if named else "implied") if failing else "none"
    must = [_admission(failing, slots, rng)]
    if named:
        must.append(_verdict(failing, slots, rng))
    signs = _signs(story, slots, rng)
    if story == "implied":
        must.extend(signs)
        signs = []
    may = [*signs, *_asides(failing, slots, rng), *patient.background]
    rng.shuffle(may)
    n_words = max(26.0, min(rng.lognormvariate(_LENGTH_MU, _LENGTH_SIGMA), 260.0))
    return _mistype(_lay_out(_fill_up(must, chain(may, _fillers(slots, rng)), n_words), rng), rng)


def _admission(failing: bool, slots: Slots, rng: random.Random) -> Statement:
    cardiac = rng.random() < _CARDIAC_REASON[failing]
    reasons = phrases.CARDIAC_REASONS if cardiac else phrases.GENERAL_REASONS
    slots = slots | {"reason": rng.choice(reasons)}
    return "motif", _expand(rng.choice(phrases.ADMISSION), slots, rng)


def _verdict(failing: bool, slots: Slots, rng: random.Random) -> Statement:
    """Make a statement that names cardiac failure as present or absent."""
    failure, other = rng.choice(phrases.CARDIAC_FAILURE), rng.choice(phrases.OTHER_CONDITIONS)
    if rng.random() < _CONTRASTED:
        c, o = (failure, other) if failing else (other, failure)
        return _state(phrases.CONTRAST, slots, rng, c, o)
    return _state(phrases.PRESENT if failing else phrases.ABSENT, slots, rng, failure)


def _signs(story: str, slots: Slots, rng: random.Random) -> list[Statement]:
    """Make statements about signs of cardiac failure: some found, some absent, some explained."""
    signs = rng.sample(phrases.SIGNS, len(phrases.SIGNS))
    if story == "implied":
        signs.sort(key=lambda sign: sign is not phrases.EJECTION_FRACTION)
    states = [
        state for state, bounds in _SIGN_COUNTS[story].items() for _ in range(rng.randint(*bounds))
    ]
    statements = []
    for sign, state in zip(signs, states, strict=False):
        if sign is phrases.EJECTION_FRACTION and story == "none" and state == "found":
            state = "explained"  # a low ejection fraction alone would imply cardiac failure
        statements.append((sign.section, _expand(rng.choice(getattr(sign, state)), slots, rng)))
    return statements


def _asides(failing: bool, slots: Slots, rng: random.Random) -> Iterator[Statement]:
    """Yield statements about other conditions, of the kinds used for cardiac failure."""
    other = phrases.OTHER_CONDITIONS
    if rng.random() < _CONTRASTED:
        yield _state(phrases.CONTRAST, slots, rng, *rng.sample(other, 2))
    for bank in (phrases.PRESENT, phrases.ABSENT, phrases.ABSENT):
        if rng.random() < 0.5:
            yield _state(bank, slots, rng, rng.choice(other))
    if rng.random() < 0.3:
        cardiac = not failing and rng.random() < 0.5
        names = phrases.CARDIAC_FAILURE if cardiac else other
        yield _state(phrases.WATCHED, slots, rng, rng.choice(names))


def _fillers(slots: Slots, rng: random.Random) -> Iterator[Statement]:
    """Yield statements that are independent of the label, in random order."""
    pool = [(section, text) for section, texts in phrases.FILLERS.items() for text in texts]
    for section, text in sorted(pool, key=lambda _: rng.random()):  # faster than rng.shuffle
        yield section, _expand(text, slots, rng)


def _fill_up(
    statements: list[Statement], more: Iterable[Statement], n_words: float
) -> list[Statement]:
    """Append statements from `more` until there are `n_words` words."""
    filled = list(statements)
    missing = n_words - sum(len(text.split()) for _, text in filled)
    for section, text in more:
        if missing <= 0:
            break
        filled.append((section, text))
        missing -= len(text.split())
    return filled


# --- From templates to text ------------------------------------------------------------------


def _state(bank: phrases.Bank, slots: Slots, rng: random.Random, c: str, o: str = "") -> Statement:
    """Make a statement from `bank` about the condition `c`, and about `o` if it needs two."""
    section = rng.choice(bank.sections)
    return section, _expand(rng.choice(bank.phrases), slots | {"c": c, "o": o}, rng)


def _expand(template: str, slots: Slots, rng: random.Random) -> str:
    """Replace the braces of a template by their content."""
    if "{" not in template:
        return template
    return "".join(
        piece if isinstance(piece, str) else _resolve(piece, slots, rng)
        for piece in _parse(template)
    )


def _resolve(alternatives: Sequence[str], slots: Slots, rng: random.Random) -> str:
    name = alternatives[0]
    if len(alternatives) > 1:
        chosen = _pick(alternatives, rng)
    elif name in slots:
        chosen = slots[name]
    elif number := _RANGE.fullmatch(name):
        return _draw_number(number[1], number[2], rng)
    else:
        chosen = _pick(phrases.COMMON[name], rng)
    return _expand(chosen, slots, rng)


@lru_cache(maxsize=10_000)  # there are hundreds of phrases, and a few more for each patient
def _parse(template: str) -> tuple[str | tuple[str, ...], ...]:
    """Split a template into plain text and the alternatives of each outermost pair of braces."""
    pieces: list[str | tuple[str, ...]] = []
    parts = [""]
    depth = 0
    for token in _SYNTAX.split(template):
        depth += (token == "{") - (token == "}")
        if token == "{" and depth == 1:
            pieces.append(parts[0])
            parts = [""]
        elif token == "}" and depth == 0:
            pieces.append(tuple(parts))
            parts = [""]
        elif token == "|" and depth == 1:
            parts.append("")
        else:
            parts[-1] += token
    return (*pieces, parts[0])


def _draw_number(low: str, high: str, rng: random.Random) -> str:
    if "." in low:
        return f"{rng.uniform(float(low), float(high)):.1f}".replace(".", ",")
    return str(rng.randint(int(low), int(high)))


def _pick(options: Sequence[str], rng: random.Random) -> str:
    return options[int(rng.random() * len(options))]  # three times as fast as rng.choice


def _lay_out(statements: Sequence[Statement], rng: random.Random) -> str:
    """Join the statements in the order of sections, under titles or as prose, with elisions."""
    titled = rng.random() < 0.6
    between, after_title, after_section = rng.choice(_LAYOUTS)
    sections = []
    for section, titles in phrases.SECTIONS.items():
        texts = [text for where, text in statements if where == section]
        if not texts:
            continue
        rng.shuffle(texts)
        body = between.join(texts)
        if titled or section in phrases.TITLED_SECTIONS:
            body = rng.choice(titles) + after_title + body
        sections.append(body[0].upper() + body[1:])
    return _ELISION.sub(r"\1'", after_section.join(sections) + ".")


def _mistype(text: str, rng: random.Random) -> str:
    """Add typing errors: swapped, doubled and missing letters, missing accents and spaces."""
    if rng.random() < _NO_ACCENTS:
        text = text.translate(_WITHOUT_ACCENT)
    words = _WORD.findall(text)
    for position in rng.sample(range(len(words)), round(rng.choice(_ERROR_RATES) * len(words))):
        words[position] = _misspell(words[position], rng)
    return "".join(words)


def _misspell(word: str, rng: random.Random) -> str:
    """Make one error in a word, which is given with its trailing spaces."""
    n_letters = len(word.rstrip())
    if n_letters < 4 or not word[:n_letters].isalpha():  # numbers and "pas" keep their meaning
        return word.rstrip(" ")
    at = rng.randrange(1, n_letters - 1)
    before, letter, after = word[:at], word[at], word[at + 1 :]
    return rng.choice(
        (
            word.translate(_WITHOUT_ACCENT),
            word.rstrip(" "),
            before + after,
            before + letter + letter + after,
            before + after[0] + letter + after[1:],
        )
    )
