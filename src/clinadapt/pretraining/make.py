"""Make an encoder: from nothing, or from one that is there."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from clinadapt import cost
from clinadapt.context import Progress, no_progress
from clinadapt.encoders.pretrained import open_encoder, quiet
from clinadapt.errors import InputError
from clinadapt.machine import environment, pick_device
from clinadapt.pretraining.corpus import Corpus
from clinadapt.pretraining.distilled import DistilledTokens, load_teacher, same_tokens
from clinadapt.pretraining.extension import extend
from clinadapt.pretraining.masked import MaskedTokens
from clinadapt.pretraining.opened import open_tokenizer
from clinadapt.pretraining.packed import pack
from clinadapt.pretraining.replaced import ReplacedTokens
from clinadapt.pretraining.sizes import new_config
from clinadapt.pretraining.trainer import Recipe, Trainer
from clinadapt.pretraining.vocabulary import learn_vocabulary

OBJECTIVES = {"masked": MaskedTokens, "replaced": ReplacedTokens}
RECORD = "pretraining.json"


def make_encoder(
    corpus: Corpus,
    out: Path,
    minutes: float = 60.0,
    start: str | None = None,
    objective: str = "masked",
    size: str = "mini",
    vocabulary: int = 8192,
    length: int = 128,
    recipe: Recipe | None = None,
    steps: int | None = None,
    progress: Progress = no_progress,
    teacher: str | None = None,
    add_words: int = 0,
) -> dict[str, Any]:
    """Pre-train an encoder and write it as a folder that ``transformers.AutoModel`` opens.

    Parameters
    ----------
    corpus : Corpus
    out : Path
        The encoder's folder. A training that was killed goes on from what it left there.
    minutes : float
        Of training on this machine.
    start : str, optional
        Known name, hub id or folder of an encoder to go on from, with its tokenizer; default: a new
        one of `size` with a tokenizer learned on the texts.
    objective : {"masked", "replaced"}
    size : str
        See `clinadapt.pretraining.sizes.SIZES`.
    vocabulary : int
        Sub-words of a new tokenizer.
    length : int
        Tokens of a sequence.
    recipe : Recipe, optional
    steps : int, optional
        Instead of `minutes`.
    progress : callable
    teacher : str, optional
        Known name, hub id or folder of an encoder to agree with, see
        `clinadapt.pretraining.distilled`. A new encoder takes its tokenizer; one that is gone on
        from has it already.
    add_words : int
        At most, as tokens of their own, to the tokenizer of the encoder that is gone on from, see
        `clinadapt.pretraining.extension`.

    Returns
    -------
    dict
        What ``pretraining.json`` holds: settings, counts, pace, losses, and the peak of memory
        since this call began.

    Raises
    ------
    InputError
        Unknown settings, too little text, or a folder that holds something else.
    """
    recipe = recipe or Recipe()
    new_words = start is None and teacher is None
    settings = {
        "start": None if start is None else Path(start).name,
        "objective": objective,
        "size": None if start else size,
        "vocabulary": vocabulary if new_words else None,
        "teacher": None if teacher is None else _identity(teacher),
        "add_words": add_words,
        "seed": recipe.seed,
        "length": length,
        "corpus": corpus.to_json(),
    }
    _refuse(out, objective, settings)
    work = out / "training"
    fresh = not work.is_dir()
    work.mkdir(parents=True, exist_ok=True)
    (work / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    import torch

    cost.reset_peak_memory()
    torch.manual_seed(recipe.seed)
    try:
        with quiet():
            tokenizer, model, extension = _begin(
                corpus, work, start, size, vocabulary, length, teacher, add_words
            )
    except InputError:
        if fresh:  # or the right command would be taken for another training
            shutil.rmtree(work)
        raise
    if pick_device(recipe.device).type == "cpu":
        # The fused kernel's backward pass took a third of a training step there.
        model.set_attn_implementation("eager")
    files = {name: work / f"{name}.tokens" for name in ("train", "held_out")}
    train = pack(corpus.train, tokenizer, length, files["train"])
    held_out = pack(corpus.held_out, tokenizer, length, files["held_out"])
    if not len(train):
        raise InputError(
            f"expected texts of at least {length} tokens in all, got {corpus.words} words: give "
            "more text, or a smaller --length"
        )
    if teacher is not None:
        teaching = load_teacher(open_encoder(teacher), pick_device(recipe.device))
        asked: Any = DistilledTokens(model, tokenizer, teaching)
    else:
        asked = OBJECTIVES[objective](model, tokenizer)
    trainer = Trainer(asked, train, held_out, recipe, work, progress)
    found = trainer.run(minutes, steps)
    record = {
        "strength": "full",
        **settings,
        "extension": extension,
        "result": found,
        "log": trainer.log(),
        "parameters": sum(weight.numel() for weight in model.base_model.parameters()),
        "memory": cost.peak_memory(),
        "environment": environment(),
    }
    with quiet():
        _write(model, tokenizer, record, out)
    shutil.rmtree(work)
    return record


def _identity(teacher: str) -> dict[str, str]:
    return {"name": Path(teacher).name, "fingerprint": open_encoder(teacher).fingerprint}


def _refuse(out: Path, objective: str, settings: dict[str, Any]) -> None:
    problems = []
    if objective not in OBJECTIVES:
        problems.append(f"expected an objective among {', '.join(OBJECTIVES)}, got {objective!r}")
    if settings["teacher"] and objective == "replaced":
        problems.append("a teacher goes with --objective masked, got replaced: leave one out")
    if settings["add_words"] and settings["start"] is None:
        problems.append(
            "--add-words extends the tokenizer of an encoder that is there: give --from, or for a "
            "new one a larger --vocabulary"
        )
    if settings["add_words"] and settings["teacher"]:
        problems.append(
            "a teacher does not know added words: distil without --add-words, and add them "
            "afterwards with --from"
        )
    if (out / "config.json").is_file():
        problems.append(f"{out} holds an encoder already: choose another --out, or delete it")
    begun = out / "training" / "settings.json"
    if begun.is_file() and json.loads(begun.read_text(encoding="utf-8")) != settings:
        problems.append(
            f"{out} holds a training of other texts or settings: finish it with the same command, "
            "choose another --out, or delete it"
        )
    if problems:
        raise InputError(problems)


def _begin(
    corpus: Corpus,
    work: Path,
    start: str | None,
    size: str,
    vocabulary: int,
    length: int,
    teacher: str | None,
    add_words: int,
) -> tuple[Any, Any, dict[str, Any] | None]:
    """Tokenizer and masked language model, new or opened, and how the tokenizer was extended."""
    import torch
    from transformers import AutoModelForMaskedLM, PreTrainedTokenizerFast

    kept = work / "tokenizer"
    taught = None if teacher is None else open_tokenizer(open_encoder(teacher), length)
    if start is not None:
        encoder = open_encoder(start)
        tokenizer = open_tokenizer(encoder, length)
        if taught is not None and not same_tokens(tokenizer, taught, corpus.train):
            raise InputError(
                f"expected an encoder with the tokenizer of its teacher {teacher}, got {start}, "
                "which cuts texts otherwise: their states are of other tokens. Leave --from out, "
                "and a new encoder takes the teacher's tokenizer"
            )
        model = AutoModelForMaskedLM.from_pretrained(
            encoder.folder, local_files_only=True, dtype=torch.float32
        )
        if not add_words:
            return tokenizer, model, None
        tokenizer, extension = extend(tokenizer, model, corpus.train, add_words, kept)
        return tokenizer, model, extension
    if taught is not None:
        tokenizer = taught
    elif kept.is_dir():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(kept)
    else:
        tokenizer = learn_vocabulary(corpus.train, vocabulary, length)
        tokenizer.save_pretrained(work / "tokenizer.tmp")
        os.replace(work / "tokenizer.tmp", kept)
    return tokenizer, AutoModelForMaskedLM.from_config(new_config(size, tokenizer, length)), None


def _write(model: Any, tokenizer: Any, record: dict[str, Any], out: Path) -> None:
    """The encoder in 16 bit; ``config.json`` is written last, and makes it one."""
    import torch

    partial = out / "encoder.tmp"
    shutil.rmtree(partial, ignore_errors=True)
    model.to("cpu", torch.bfloat16).save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    text = json.dumps(record, ensure_ascii=False, indent=1)
    (partial / RECORD).write_text(text, encoding="utf-8")
    names = sorted(
        (path.name for path in partial.iterdir()), key=lambda name: name == "config.json"
    )
    for name in names:
        os.replace(partial / name, out / name)
    partial.rmdir()
