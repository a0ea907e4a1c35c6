"""A scikit-learn network that reads handwritten digits."""

import warnings

from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

IMAGES, DIGITS = load_digits(return_X_y=True)
# The split is the same for all: a seed decides about weights and batches, not about the question.
DATA = train_test_split(IMAGES / 16, DIGITS, test_size=0.25, random_state=0, stratify=DIGITS)


def run(config, seed):
    """The accuracy on 450 digits that were not trained on."""
    train_x, test_x, train_y, test_y = DATA
    network = MLPClassifier(
        hidden_layer_sizes=(config["hidden"],),
        activation=config["activation"],
        learning_rate_init=config["lr"],
        batch_size=config["batch"],
        max_iter=config["epochs"],
        random_state=seed,
    )
    # One thread: xortune trains on all cores already, one seed each.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # so many epochs are meant
        network.fit(train_x, train_y)
        return {"accuracy": network.score(test_x, test_y)}
