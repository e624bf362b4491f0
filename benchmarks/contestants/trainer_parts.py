"""Common code of contestants that use a Hugging Face `Trainer` (transformers 4.57 and 5)."""

from dataclasses import fields
from typing import Any

import torch
from exchange import Clock, Task
from transformers import (
    AutoTokenizer,
    DataCollatorWithPadding,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)


class EpochClock(TrainerCallback):
    """Marks the end of each epoch, and stops training after some of them.

    The learning rate schedule remains that of all epochs.
    """

    def __init__(self, clock: Clock, epochs: int) -> None:
        self.clock = clock
        self.epochs = epochs

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Mark; stop after enough epochs."""
        self.clock.mark()
        if len(self.clock.marks) >= self.epochs:
            control.should_training_stop = True


def read_notes(task: Task) -> tuple[dict[str, list[dict[str, Any]]], DataCollatorWithPadding]:
    """Return token ids and labels of the notes of each part, and a collator that pads batches."""
    tokenizer = AutoTokenizer.from_pretrained(task.encoder)
    notes = {}
    for part in ("train", "validation", "test"):
        encoded = tokenizer(task.texts(part), truncation=True, max_length=task.max_tokens)
        rows = zip(*encoded.values(), task.labels(part).tolist(), strict=True)
        notes[part] = [dict(zip([*encoded, "labels"], row, strict=True)) for row in rows]
    return notes, DataCollatorWithPadding(tokenizer)


def training_arguments(task: Task, options: dict[str, Any]) -> TrainingArguments:
    """Return the training arguments of a run: the documented recipe with the options.

    Every epoch is evaluated, as in the documentation and in clinadapt. Unlike in the documentation,
    no checkpoint is written: for a base-size model it would take longer than a small epoch.
    """
    gpu = torch.cuda.is_available()
    grouped: dict[str, Any] = {}
    if options["grouped"]:
        names = {field.name for field in fields(TrainingArguments)}
        five = "train_sampling_strategy" in names
        grouped = {"train_sampling_strategy": "group_by_length"} if five else {}
        grouped = grouped or {"group_by_length": True}
    return TrainingArguments(
        output_dir=str(task.folder / "trainer"),
        use_cpu=not gpu,
        dataloader_pin_memory=gpu,
        bf16=options["bf16"],
        per_device_train_batch_size=options["batch_size"],
        per_device_eval_batch_size=options["eval_batch_size"],
        learning_rate=options["learning_rate"],
        num_train_epochs=options["epochs"],
        eval_strategy="epoch",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        seed=options["seed"],
        **grouped,
    )
