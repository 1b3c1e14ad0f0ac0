"""Best of three: train three kinds of model in parallel and keep the most accurate.

Shows a `ParallelFor` whose iterations run at the same time, and `Collected`, which hands all their scores
and all their models to one task, in the order of the loop.

Outputs: `winner` (the kind of model), its `accuracy` on the test rows, and the `model` itself.
"""

from typing import NamedTuple

from kfp import compiler, dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

REQUIREMENTS = ["scikit-learn==1.7.2", "numpy==2.3.5"]
ALGORITHMS = ["logistic-regression", "random-forest", "support-vector-machine"]


@dsl.component(base_image="python:3.11", packages_to_install=REQUIREMENTS)
def load_digits(test_fraction: float, seed: int, train: Output[Dataset], test: Output[Dataset]) -> None:
    """Split scikit-learn's bundled handwritten digits into two CSV files; the last column is the digit."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    rows = np.column_stack([digits.data, digits.target])
    train_rows, test_rows = train_test_split(
        rows, test_size=test_fraction, random_state=seed, stratify=digits.target
    )
    np.savetxt(train.path, train_rows, delimiter=",", fmt="%d")
    np.savetxt(test.path, test_rows, delimiter=",", fmt="%d")


@dsl.component(base_image="python:3.11", packages_to_install=REQUIREMENTS)
def train_model(
    algorithm: str,
    seed: int,
    train: Input[Dataset],
    test: Input[Dataset],
    model: Output[Model],
    metrics: Output[Metrics],
) -> NamedTuple("Outputs", [("accuracy", float)]):
    """Fit one kind of model to `train` and score it on `test`."""
    import joblib
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    classifiers = {
        "logistic-regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
        "random-forest": RandomForestClassifier(n_estimators=100, random_state=seed),
        "support-vector-machine": SVC(),
    }
    classifier = classifiers[algorithm]
    train_rows = np.loadtxt(train.path, delimiter=",")
    test_rows = np.loadtxt(test.path, delimiter=",")
    classifier.fit(train_rows[:, :-1], train_rows[:, -1])
    accuracy = float(classifier.score(test_rows[:, :-1], test_rows[:, -1]))
    print(f"{algorithm}: accuracy {accuracy:.4f}")

    joblib.dump(classifier, model.path)
    model.metadata["algorithm"] = algorithm
    metrics.log_metric("accuracy", accuracy)
    return (accuracy,)


@dsl.component(base_image="python:3.11")
def pick_best(
    accuracies: list[float],
    models: Input[list[Model]],
    best: Output[Model],
) -> NamedTuple("Outputs", [("winner", str), ("accuracy", float)]):
    """Copy the most accurate of the models; the first one wins a tie."""
    import shutil

    accuracy, winner = max(zip(accuracies, models, strict=True), key=lambda candidate: candidate[0])
    shutil.copyfile(winner.path, best.path)
    algorithm = winner.metadata["algorithm"]
    best.metadata["algorithm"] = algorithm
    return (algorithm, accuracy)


class Outputs(NamedTuple):
    winner: str
    accuracy: float
    model: Model


@dsl.pipeline(name="best-of-three", description="Train three kinds of model in parallel and keep the best.")
def best_of_three(
    test_fraction: float = 0.3,
    seed: int = 42,
) -> Outputs:
    data = load_digits(test_fraction=test_fraction, seed=seed)
    with dsl.ParallelFor(items=ALGORITHMS, name="train-each") as algorithm:
        training = train_model(
            algorithm=algorithm, seed=seed, train=data.outputs["train"], test=data.outputs["test"]
        )
    best = pick_best(
        accuracies=dsl.Collected(training.outputs["accuracy"]),
        models=dsl.Collected(training.outputs["model"]),
    )
    return Outputs(
        winner=best.outputs["winner"],
        accuracy=best.outputs["accuracy"],
        model=best.outputs["best"],
    )


if __name__ == "__main__":
    compiler.Compiler().compile(best_of_three, package_path=__file__.replace(".py", ".yaml"))
