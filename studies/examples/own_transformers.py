"""Hugging Face's Trainer as `train(run)`: a small vision transformer on handwritten digits.

epsearch run studies/examples/own_transformers.yaml    (pip install 'epsearch[transformers]')
"""

from tempfile import TemporaryDirectory

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

from epsearch.integrations.transformers import RunReporter

# No biases in the attention: the gradient of the keys' bias is only rounding noise, which would pull the lower end of
# the range of eps down to it.
SIZES = {"image_size": 8, "patch_size": 2, "num_channels": 1, "qkv_bias": False}
SIZES |= {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def load_data():
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 1, 8, 8).astype("float32") / 16
    rows = [{"pixel_values": image, "labels": label} for image, label in zip(images, labels, strict=True)]
    return train_test_split(rows, test_size=0.25, random_state=0)


def accuracy(predicted):
    return {"accuracy": (predicted.predictions.argmax(1) == predicted.label_ids).mean()}


def train(run):
    training, held_out = load_data()
    # Random weights; ViTForImageClassification.from_pretrained(…) loads trained ones.
    model = ViTForImageClassification(ViTConfig(num_labels=10, **SIZES)).to(run.device)
    with TemporaryDirectory() as folder:  # the Trainer requires one, though nothing is saved
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=run.planned_epochs(default=20),  # one while probing
            per_device_train_batch_size=32,
            per_device_eval_batch_size=256,
            lr_scheduler_type="constant",  # otherwise lr would fall to 0 within the probe's single epoch
            eval_strategy="epoch",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=run.device.type == "cpu",
            seed=run.seed,  # the Trainer seeds again
        )
        Trainer(
            model,
            arguments,
            train_dataset=training,
            eval_dataset=held_out,
            compute_metrics=accuracy,
            optimizers=(run.optimizer(model), None),  # with this trial's lr, eps and beta2
            callbacks=[RunReporter(run)],  # reports each epoch, and stops the Trainer when the trial is pruned
        ).train()
