"""AdapterHub's library `adapters`: its bottleneck adapter, trained by its `AdapterTrainer`."""

from typing import Any

from adapters import AdapterTrainer, AutoAdapterModel, SeqBnConfig
from exchange import Clock, Task, main, softmax
from trainer_parts import EpochClock, read_notes, training_arguments
from transformers import set_seed

NAME = "notes"


def run(task: Task, options: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Train an adapter in each of the top layers, and predict."""
    set_seed(options["seed"])
    notes, collator = read_notes(task)
    chosen = {"attn_implementation": "eager"} if options["eager"] else {}
    model = AutoAdapterModel.from_pretrained(task.encoder, **chosen)
    below = model.config.num_hidden_layers - options["adapted_layers"]
    model.add_classification_head(NAME, num_labels=task.classes)
    model.add_adapter(NAME, config=SeqBnConfig(leave_out=list(range(below))))
    model.train_adapter(NAME)
    trainer = AdapterTrainer(
        model=model,
        args=training_arguments(task, options),
        train_dataset=notes["train"],
        eval_dataset=notes["validation"],
        data_collator=collator,
        callbacks=[EpochClock(clock, options["timed"])],
    )
    trainer.train()
    clock.training_ended()
    predicted = trainer.predict(notes["test"]).predictions
    return {
        "probabilities": softmax(predicted),
        "planned": options["epochs"],
        "trainable": sum(w.numel() for w in model.parameters() if w.requires_grad),
    }


if __name__ == "__main__":
    main(run, ("torch", "transformers", "adapters"))
