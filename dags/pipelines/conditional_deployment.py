"""Conditional deployment: a model goes to production, to staging or nowhere, depending on its accuracy.

Shows `If`, `Elif` and `Else` on a metric, and `OneOf`, which takes the output of whichever branch ran.

`rounds` decides how good the model becomes, and so which branch runs: with the default thresholds the default
100 rounds lead to production, 3 to staging, and 1 to a rejection.

Outputs: `accuracy` on the test rows and `decision`, one sentence.
"""

from typing import NamedTuple

from kfp import compiler, dsl
from kfp.dsl import Input, Metrics, Model, Output

REQUIREMENTS = ["scikit-learn==1.7.2", "numpy==2.3.5"]


@dsl.component(base_image="python:3.11", packages_to_install=REQUIREMENTS)
def train_model(
    rounds: int,
    seed: int,
    model: Output[Model],
    metrics: Output[Metrics],
) -> NamedTuple("Outputs", [("accuracy", float)]):
    """Fit boosted trees to scikit-learn's bundled breast cancer data; score them on 30 % of its rows."""
    import joblib
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.model_selection import train_test_split

    features, labels = load_breast_cancer(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        features, labels, test_size=0.3, random_state=seed, stratify=labels
    )
    classifier = GradientBoostingClassifier(n_estimators=rounds, random_state=seed).fit(train_x, train_y)
    accuracy = float(classifier.score(test_x, test_y))
    print(f"accuracy {accuracy:.4f} after {rounds} rounds")

    joblib.dump(classifier, model.path)
    metrics.log_metric("accuracy", accuracy)
    return (accuracy,)


@dsl.component(base_image="python:3.11")
def deploy(model: Input[Model], environment: str) -> str:
    """Stand in for a deployment: a real one would hand the model's URI to a serving system."""
    print(f"deploying {model.uri} to {environment}")
    return f"deployed to {environment}"


@dsl.component(base_image="python:3.11")
def reject(accuracy: float, required: float) -> str:
    """Say why nothing was deployed."""
    return f"rejected: accuracy {accuracy:.3f} is below {required:.3f}"


@dsl.component(base_image="python:3.11")
def announce(decision: str) -> None:
    """Tell people what happened; runs after whichever branch was taken."""
    print(f"The model was {decision}.")


class Outputs(NamedTuple):
    accuracy: float
    decision: str


@dsl.pipeline(
    name="conditional-deployment",
    description="Deploy a model to production, to staging or nowhere, depending on its accuracy.",
)
def conditional_deployment(
    rounds: int = 100, production_accuracy: float = 0.95, staging_accuracy: float = 0.85, seed: int = 7
) -> Outputs:
    training = train_model(rounds=rounds, seed=seed)
    accuracy = training.outputs["accuracy"]

    with dsl.If(accuracy >= production_accuracy, name="good-enough-for-production"):
        in_production = deploy(model=training.outputs["model"], environment="production")
    with dsl.Elif(accuracy >= staging_accuracy, name="good-enough-for-staging"):
        in_staging = deploy(model=training.outputs["model"], environment="staging")
    with dsl.Else(name="not-good-enough"):
        rejected = reject(accuracy=accuracy, required=staging_accuracy)

    decision = dsl.OneOf(in_production.output, in_staging.output, rejected.output)
    announce(decision=decision)
    return Outputs(
        accuracy=accuracy,
        decision=decision,
    )


if __name__ == "__main__":
    compiler.Compiler().compile(conditional_deployment, package_path=__file__.replace(".py", ".yaml"))
