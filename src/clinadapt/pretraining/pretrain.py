"""Pre-training of an encoder, new or continued from an existing one."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clinadapt.core import resources
from clinadapt.core.atomic_files import atomic_path
from clinadapt.core.device import environment, pick_device
from clinadapt.core.errors import InputError
from clinadapt.core.machine_faults import PARTIAL
from clinadapt.core.output_guard import Output, check_outputs, json_with
from clinadapt.core.permissions import close_to_others, private_folder
from clinadapt.core.rng import local_randomness
from clinadapt.core.run_context import Progress, no_progress
from clinadapt.features.encoders.pretrained import open_encoder, quiet
from clinadapt.pretraining.bag_of_words import BagOfWords
from clinadapt.pretraining.corpus import Corpus
from clinadapt.pretraining.distillation import DistilledTokens, load_teacher
from clinadapt.pretraining.encoder_card import encoder_card
from clinadapt.pretraining.initialisation import Beginning
from clinadapt.pretraining.masked_lm import MaskedTokens
from clinadapt.pretraining.packing import pack
from clinadapt.pretraining.trainer import PretrainingRecipe, Sequences, Trainer

OBJECTIVES = ("bag", "masked")
DEFAULT_OBJECTIVE = "bag"
RECORD, CARD = "pretraining.json", "README.md"


def make_encoder(
    corpus: Corpus,
    out: Path,
    minutes: float = 60.0,
    start: str | None = None,
    objective: str | None = None,
    size: str = "mini",
    vocabulary: int = 8192,
    length: int = 128,
    recipe: PretrainingRecipe | None = None,
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
        Folder of the encoder. A training that was killed is resumed from its files there.
    minutes : float
        Training time on this machine.
    start : str, optional
        Known name, hub id or folder of an encoder to continue from, with its tokenizer; default: a
        new one of `size` with a tokenizer trained on the texts.
    objective : {"bag", "masked"}, optional
        Default "bag". Not allowed with a teacher, which is an objective of its own.
    size : str
        Size of a new encoder, see `clinadapt.pretraining.model_sizes.SIZES`.
    vocabulary : int
        Number of sub-words of a new tokenizer.
    length : int
        Number of tokens of a sequence.
    recipe : Recipe, optional
    steps : int, optional
        Number of steps, instead of `minutes`.
    progress : callable
    teacher : str, optional
        Known name, hub id or folder of an encoder to agree with, see
        `clinadapt.pretraining.distillation`. A new encoder takes its tokenizer; an existing one
        must have the same.
    add_words : int
        Maximum number of words to add to the tokenizer of `start` as tokens of their own, see
        `clinadapt.pretraining.vocabulary_extension`.

    Returns
    -------
    dict
        Content of ``pretraining.json``: settings, counts, speed, losses, and the peak memory since
        the start of this call.

    Raises
    ------
    InputError
        Invalid settings, too little text, or a folder with other content.
    """
    recipe = recipe or PretrainingRecipe()
    beginning = Beginning(start, size, vocabulary, length, teacher, add_words)
    settings = {
        **beginning.settings(),
        "objective": "distilled" if teacher else objective or DEFAULT_OBJECTIVE,
        "seed": recipe.seed,
        "corpus": corpus.to_json(),
    }
    _refuse(out, objective, beginning, settings)
    work = out / "training"
    fresh = not work.is_dir()
    private_folder(out)
    private_folder(work)
    with atomic_path(work / "settings.json") as partial:
        partial.write_text(json.dumps(settings), encoding="utf-8")
    resources.reset_peak_memory()
    try:
        with quiet(), local_randomness(recipe.seed, stream=2**32):
            tokenizer, model, extension = beginning.begin(corpus, work, recipe.seed)
        train, held_out = _pack(corpus, tokenizer, length, work)
    except InputError:
        if fresh:  # otherwise the corrected command would be refused as another training
            shutil.rmtree(work)
        raise
    if pick_device(recipe.device).type == "cpu":
        # On a CPU the backward pass of the fused kernel takes a third of a training step.
        model.set_attn_implementation("eager")
    with local_randomness(recipe.seed, stream=2**32 + 1):
        module = _objective(settings["objective"], teacher, model, tokenizer, train, recipe.device)
    trainer = Trainer(module, train, held_out, recipe, work, progress)
    result = trainer.run(minutes, steps)
    record = {
        "strength": "full",
        **settings,
        "extension": extension,
        "result": result,
        "log": trainer.log(),
        "parameters": sum(weight.numel() for weight in model.base_model.parameters()),
        "memory": resources.peak_memory(),
        "environment": environment(),
    }
    with quiet():
        _write(model, tokenizer, record, out)
    shutil.rmtree(work)
    return record


def _refuse(
    out: Path, objective: str | None, beginning: Beginning, settings: dict[str, Any]
) -> None:
    problems = beginning.problems()
    if objective is not None and objective not in OBJECTIVES:
        problems.append(f"expected an objective among {', '.join(OBJECTIVES)}, got {objective!r}")
    if beginning.teacher and objective is not None:
        problems.append(
            f"a teacher is an objective of its own, got {objective} as well: leave one out"
        )
    if (out / "config.json").is_file():
        problems.append(f"{out} already contains an encoder: choose another --out, or delete it")
    earlier = out / "training" / "settings.json"
    if problems:
        raise InputError(problems)
    check_outputs([Output(out, "--out", _is_training, folder=True)])
    if earlier.is_file() and json.loads(earlier.read_text(encoding="utf-8")) != settings:
        problems.append(
            f"{out} contains a training with other texts or settings: finish it with its own "
            "command, choose another --out, or delete it"
        )
    if problems:
        raise InputError(problems)


def _is_training(out: Path) -> bool:
    """Return whether a folder has an unfinished training, or one killed before it began."""
    if not any(path.is_file() and not path.name.endswith(PARTIAL) for path in out.rglob("*")):
        return True
    return json_with("corpus", "objective")(out / "training" / "settings.json")


def _pack(corpus: Corpus, tokenizer: Any, length: int, work: Path) -> tuple[Sequences, Sequences]:
    """Return the training and the held-out sequences."""
    train = pack(corpus.train, tokenizer, length, work / "train.tokens")
    if not len(train):
        raise InputError(
            f"expected texts of at least {length} tokens in all, got {corpus.words} words: give "
            "more text, or a smaller --length"
        )
    return train, pack(corpus.held_out, tokenizer, length, work / "held_out.tokens")


def _objective(
    name: str, teacher: str | None, model: Any, tokenizer: Any, train: Sequences, device: str
) -> nn.Module:
    if teacher is not None:
        teaching = load_teacher(open_encoder(teacher), pick_device(device))
        return DistilledTokens(model, tokenizer, teaching)
    if name == "bag":
        return BagOfWords(model, tokenizer, train)
    return MaskedTokens(model, tokenizer)


def _write(model: Any, tokenizer: Any, record: dict[str, Any], out: Path) -> None:
    """Write the encoder in 16 bit; ``config.json`` comes last and marks it as complete."""
    partial = out / "encoder.tmp"
    shutil.rmtree(partial, ignore_errors=True)
    model.to("cpu", torch.bfloat16).save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    text = json.dumps(record, ensure_ascii=False, indent=1)
    (partial / RECORD).write_text(text, encoding="utf-8")
    (partial / CARD).write_text(encoder_card(out.name, record), encoding="utf-8")
    close_to_others(partial)
    names = sorted(
        (path.name for path in partial.iterdir()), key=lambda name: name == "config.json"
    )
    for name in names:
        os.replace(partial / name, out / name)
    partial.rmdir()
