"""Iris: prepare a dataset, train a random forest of 100 trees on it, and report how well it does.

Shows datasets that pass from one component to the next, a model artifact, and a number that is both a metric
(for dashboards) and an output parameter (for other tasks and for whoever started the run).

Outputs: `accuracy` on the test rows, and `model`, a scikit-learn classifier saved with joblib.
"""

from typing import NamedTuple

from kfp import compiler, dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

REQUIREMENTS = ["scikit-learn==1.7.2", "numpy==2.3.5"]


@dsl.component(base_image="python:3.11", packages_to_install=REQUIREMENTS)
def prepare_data(test_fraction: float, seed: int, train: Output[Dataset], test: Output[Dataset]) -> None:
    """Split scikit-learn's bundled iris data into two CSV files; the last column is the species."""
    import numpy as np
    from sklearn.datasets import load_iris
    from sklearn.model_selection import train_test_split

    iris = load_iris()
    rows = np.column_stack([iris.data, iris.target])
    train_rows, test_rows = train_test_split(
        rows, test_size=test_fraction, random_state=seed, stratify=iris.target
    )
    header = ",".join([*iris.feature_names, "species"])
    for dataset, part in ((train, train_rows), (test, test_rows)):
        np.savetxt(dataset.path, part, delimiter=",", header=header, comments="", fmt="%g")
        dataset.metadata["rows"] = len(part)


@dsl.component(base_image="python:3.11", packages_to_install=REQUIREMENTS)
def train_model(
    train: Input[Dataset],
    test: Input[Dataset],
    trees: int,
    seed: int,
    model: Output[Model],
    metrics: Output[Metrics],
) -> NamedTuple("Outputs", [("accuracy", float)]):
    """Fit a random forest to `train` and score it on `test`."""
    import joblib
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier

    train_rows = np.loadtxt(train.path, delimiter=",", skiprows=1)
    test_rows = np.loadtxt(test.path, delimiter=",", skiprows=1)
    forest = RandomForestClassifier(n_estimators=trees, random_state=seed)
    forest.fit(train_rows[:, :-1], train_rows[:, -1])
    accuracy = float(forest.score(test_rows[:, :-1], test_rows[:, -1]))
    print(f"accuracy {accuracy:.4f} on {len(test_rows)} rows")

    joblib.dump(forest, model.path)
    model.metadata["framework"] = "scikit-learn"
    model.metadata["trees"] = trees
    metrics.log_metric("accuracy", accuracy)
    return (accuracy,)


class Outputs(NamedTuple):
    accuracy: float
    model: Model


@dsl.pipeline(name="iris", description="Train a random forest on the iris data and report its accuracy.")
def iris(
    trees: int = 100,
    test_fraction: float = 0.3,
    seed: int = 0,
) -> Outputs:
    data = prepare_data(test_fraction=test_fraction, seed=seed)
    training = train_model(train=data.outputs["train"], test=data.outputs["test"], trees=trees, seed=seed)
    return Outputs(
        accuracy=training.outputs["accuracy"],
        model=training.outputs["model"],
    )


if __name__ == "__main__":
    compiler.Compiler().compile(iris, package_path=__file__.replace(".py", ".yaml"))
