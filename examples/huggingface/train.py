"""A small BERT, trained by the Trainer of Hugging Face: is one token more frequent than another?"""

import tempfile

import torch
import transformers
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

torch.set_num_threads(1)  # xortune trains on all cores already, one seed each

# The Trainer has something to say of each training, and there are hundreds.
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

TOKENS, LENGTH = 4, 15


def sequences(count, seed):
    """Sequences of tokens, and whether 0 is more frequent than 1 in each; alike for all seeds."""
    drawn = torch.Generator().manual_seed(seed)
    tokens = torch.randint(TOKENS, (count, LENGTH), generator=drawn)
    labels = ((tokens == 0).sum(dim=1) > (tokens == 1).sum(dim=1)).long()
    return [{"input_ids": row, "labels": label} for row, label in zip(tokens, labels, strict=True)]


def accuracy(found):
    """The share of sequences that are judged rightly."""
    return {"accuracy": float((found.predictions.argmax(axis=1) == found.label_ids).mean())}


def run(config, seed):
    """The loss and the accuracy on other sequences."""
    transformers.set_seed(seed)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=TOKENS,
            hidden_size=config["width"],
            num_hidden_layers=config["layers"],
            num_attention_heads=config["heads"],
            intermediate_size=2 * config["width"],
            max_position_embeddings=LENGTH,
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            num_train_epochs=config["epochs"],
            learning_rate=config["lr"],
            per_device_train_batch_size=64,
            per_device_eval_batch_size=512,
            seed=seed,
            use_cpu=True,
            disable_tqdm=True,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
        )
        trainer = Trainer(
            model,
            settings,
            train_dataset=sequences(1024, 0),
            eval_dataset=sequences(512, 1),
            compute_metrics=accuracy,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        found = trainer.evaluate()
    return {"loss": found["eval_loss"], "accuracy": found["eval_accuracy"]}
