"""SetFit: a sentence encoder tuned on pairs of notes, then a logistic regression."""

from typing import Any

from datasets import Dataset
from exchange import Clock, Task, main
from setfit import SetFitModel, Trainer, TrainingArguments, sample_dataset
from transformers import TrainerCallback, TrainerControl, TrainerState


class StepClock(TrainerCallback):
    """Marks the end of each step, and stops training after some of them."""

    def __init__(self, clock: Clock, steps: int | None) -> None:
        self.clock = clock
        self.steps = steps
        self.planned = 0

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Mark; stop after enough steps."""
        self.planned = state.max_steps
        self.clock.mark()
        if len(self.clock.marks) == self.steps:
            control.should_training_stop = True


def run(task: Task, options: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Tune on pairs, fit the regression on the tuned embeddings, and predict."""
    content = {"text": task.texts("train"), "label": task.labels("train").tolist()}
    notes = Dataset.from_dict(content)
    if options["notes_per_class"]:
        notes = sample_dataset(notes, num_samples=options["notes_per_class"])
    model = SetFitModel.from_pretrained(str(task.encoder))
    model.model_body.max_seq_length = task.max_tokens
    steps = StepClock(clock, options["timed"])
    arguments = TrainingArguments(
        output_dir=str(task.folder / "setfit"),
        batch_size=16,
        num_epochs=1,
        num_iterations=options["num_iterations"],
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        show_progress_bar=False,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=notes, callbacks=[steps])
    trainer.train()
    clock.training_ended()
    return {
        "probabilities": model.predict_proba(task.texts("test"), as_numpy=True),
        "planned": steps.planned,
        "units_per_epoch": steps.planned,
        "trainable": sum(w.numel() for w in model.model_body.parameters() if w.requires_grad),
    }


if __name__ == "__main__":
    main(run, ("torch", "transformers", "sentence-transformers", "setfit"))
