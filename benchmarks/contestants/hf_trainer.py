"""Hugging Face `Trainer`: frozen encoder under an adapter, LoRA, or full tuning."""

from typing import Any

import torch
from exchange import Clock, Task, main, softmax
from plain_adapters import ADAPTERS
from torch import Tensor, nn
from trainer_parts import EpochClock, read_notes, training_arguments
from transformers import AutoModel, AutoModelForSequenceClassification, Trainer, set_seed


class FrozenEncoder(nn.Module):
    """Frozen encoder, adapter on the token features, mean pooling, dropout, linear head.

    Parameters
    ----------
    task : Task
    options : dict
        ``adapter``, ``inner``; ``lean``: weights of the encoder in bf16 and its dropout off.
    """

    def __init__(self, task: Task, options: dict[str, Any]) -> None:
        super().__init__()
        self.lean = options["lean"]
        dtype = torch.bfloat16 if self.lean else torch.float32
        self.encoder = AutoModel.from_pretrained(task.encoder, dtype=dtype).requires_grad_(False)
        width = self.encoder.config.hidden_size
        self.adapter = ADAPTERS[options["adapter"]](width, options["inner"])
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(width, task.classes)

    def train(self, mode: bool = True) -> "FrozenEncoder":
        """Switch dropout on or off, in the encoder too unless it is lean."""
        super().train(mode)
        if self.lean:
            self.encoder.eval()
        return self

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Loss and class scores [note, class] of notes [note, token]."""
        hidden = self.encoder(input_ids, attention_mask=attention_mask).last_hidden_state.float()
        mask = attention_mask.bool()
        hidden = self.adapter(hidden, mask)
        pooled = hidden.masked_fill(~mask[..., None], 0.0).sum(dim=1) / mask.sum(1, keepdim=True)
        scores = self.head(self.dropout(pooled))
        return {"loss": nn.functional.cross_entropy(scores, labels), "logits": scores}


def _model(task: Task, options: dict[str, Any]) -> nn.Module:
    if options["mode"] == "frozen":
        return FrozenEncoder(task, options)
    chosen = {"attn_implementation": "eager"} if options["eager"] else {}
    model = AutoModelForSequenceClassification.from_pretrained(
        task.encoder, num_labels=task.classes, dtype=torch.float32, **chosen
    )
    if options["mode"] == "full":
        return model
    from peft import LoraConfig, TaskType, get_peft_model

    layers = model.config.num_hidden_layers
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=8,
        lora_alpha=16,
        lora_dropout=0.05,
        target_modules=["query", "value"],
        layers_to_transform=list(range(layers - options["adapted_layers"], layers)),
    )
    return get_peft_model(model, config)


def run(task: Task, options: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Train and predict."""
    set_seed(options["seed"])
    notes, collator = read_notes(task)
    model = _model(task, options)
    trainer = Trainer(
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
    main(run, ("torch", "transformers", "accelerate", "peft"))
