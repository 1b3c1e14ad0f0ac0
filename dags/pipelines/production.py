"""Production: check the data, train, check the model, deploy it behind a gate, and report in any case.

Shows the shape of a pipeline that runs unattended: a check that stops everything when the data is bad, a gate
that only a good model passes, and an exit handler that learns from `PipelineTaskFinalStatus` how it ended and
writes a report, also after a failure.

- With the defaults the model is deployed.
- With `minimum_auc` above what the model reaches (0.9999, say) the gate stays shut; the run still succeeds.
- With `broken_rows` of 40 the data check fails, nothing is trained, and the run fails; the report is
  written all the same.

Outputs: none, since Kubeflow lets nothing out of an exit handler. Look at the tasks: `roc_auc` and `verdict`
of `validate-model`, `manifest` of `deploy-model`, `report` of `write-report`.
"""

from typing import NamedTuple

from kfp import compiler, dsl
from kfp.dsl import (
    Artifact,
    ClassificationMetrics,
    Dataset,
    Input,
    Markdown,
    Metrics,
    Model,
    Output,
    PipelineTaskFinalStatus,
)

REQUIREMENTS = ["scikit-learn==1.7.2", "numpy==2.3.5"]


@dsl.component(base_image="python:3.11", packages_to_install=REQUIREMENTS)
def ingest_data(broken_rows: int, seed: int, raw: Output[Dataset]) -> None:
    """Write scikit-learn's bundled breast cancer data; `broken_rows` of its rows lose a measurement."""
    import numpy as np
    from sklearn.datasets import load_breast_cancer

    source = load_breast_cancer()
    rows = np.column_stack([source.data, source.target])
    generator = np.random.default_rng(seed)
    broken = generator.choice(len(rows), size=broken_rows, replace=False)
    rows[broken, generator.integers(source.data.shape[1], size=broken_rows)] = np.nan
    header = ",".join([*source.feature_names, "benign"])
    np.savetxt(raw.path, rows, delimiter=",", header=header, comments="", fmt="%g")


@dsl.component(base_image="python:3.11", packages_to_install=REQUIREMENTS)
def validate_data(
    raw: Input[Dataset], minimum_rows: int, maximum_broken: float, quality: Output[Metrics]
) -> None:
    """Fail, naming every reason, if the data is not fit to train on. `maximum_broken` is a fraction."""
    import numpy as np

    rows = np.loadtxt(raw.path, delimiter=",", skiprows=1)
    broken = float(np.isnan(rows).any(axis=1).mean())
    quality.log_metric("rows", len(rows))
    quality.log_metric("broken_fraction", broken)

    reasons = []
    if len(rows) < minimum_rows:
        reasons.append(f"{len(rows)} rows, at least {minimum_rows} are needed")
    if broken > maximum_broken:
        reasons.append(f"{broken:.1%} of the rows lack a value, at most {maximum_broken:.1%} may")
    if set(np.unique(rows[:, -1])) != {0.0, 1.0}:
        reasons.append("the label is not 0 or 1 everywhere, or only one of them")
    if reasons:
        raise ValueError("the data is not fit to train on: " + "; ".join(reasons))


@dsl.component(base_image="python:3.11", packages_to_install=REQUIREMENTS)
def build_features(
    raw: Input[Dataset],
    test_fraction: float,
    seed: int,
    train: Output[Dataset],
    test: Output[Dataset],
) -> None:
    """Drop incomplete rows, put the skewed measurements on a log scale, and split the rows in two."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    rows = np.loadtxt(raw.path, delimiter=",", skiprows=1)
    rows = rows[~np.isnan(rows).any(axis=1)]
    rows[:, :-1] = np.log1p(rows[:, :-1])
    train_rows, test_rows = train_test_split(
        rows, test_size=test_fraction, random_state=seed, stratify=rows[:, -1]
    )
    np.savetxt(train.path, train_rows, delimiter=",")
    np.savetxt(test.path, test_rows, delimiter=",")


@dsl.component(base_image="python:3.11", packages_to_install=REQUIREMENTS)
def train_model(train: Input[Dataset], model: Output[Model]) -> None:
    """Fit a scaler and a logistic regression as one model."""
    import joblib
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.loadtxt(train.path, delimiter=",")
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    joblib.dump(classifier.fit(rows[:, :-1], rows[:, -1]), model.path)
    model.metadata["framework"] = "scikit-learn"


@dsl.component(base_image="python:3.11", packages_to_install=REQUIREMENTS)
def validate_model(
    model: Input[Model],
    test: Input[Dataset],
    minimum_auc: float,
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
) -> NamedTuple("Outputs", [("roc_auc", float), ("verdict", str)]):
    """Judge the model on rows that it has not seen: `approved` or `rejected`."""
    import joblib
    import numpy as np
    from sklearn.metrics import confusion_matrix, roc_auc_score

    rows = np.loadtxt(test.path, delimiter=",")
    features, labels = rows[:, :-1], rows[:, -1]
    classifier = joblib.load(model.path)
    predictions = classifier.predict(features)
    roc_auc = float(roc_auc_score(labels, classifier.predict_proba(features)[:, 1]))

    metrics.log_metric("roc_auc", roc_auc)
    metrics.log_metric("accuracy", float((predictions == labels).mean()))
    confusion.log_confusion_matrix(["malignant", "benign"], confusion_matrix(labels, predictions).tolist())
    return (roc_auc, "approved" if roc_auc >= minimum_auc else "rejected")


@dsl.component(base_image="python:3.11")
def deploy_model(model: Input[Model], service: str, manifest: Output[Artifact]) -> None:
    """Write the KServe manifest that a real deployment would apply to a cluster."""
    import json

    content = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": service},
        "spec": {"predictor": {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": model.uri}}},
    }
    with open(manifest.path, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)


@dsl.component(base_image="python:3.11")
def write_report(service: str, status: PipelineTaskFinalStatus, report: Output[Markdown]) -> None:
    """Say how the run ended. Kubeflow's backend says COMPLETE where its documentation says SUCCEEDED."""
    ended_well = status.state in ("SUCCEEDED", "COMPLETE")
    lines = [
        f"# Training of {service}",
        "",
        f"- Outcome: {'succeeded' if ended_well else 'failed'}",
        f"- Run: {status.pipeline_job_resource_name}",
        f"- Judged: {status.pipeline_task_name}",
    ]
    if status.error_message:
        lines.append(f"- Error: {status.error_message}")
    text = "\n".join(lines)
    print(text)
    with open(report.path, "w", encoding="utf-8") as file:
        file.write(text + "\n")


@dsl.pipeline(
    name="production",
    description="Train on checked data, deploy behind a gate, report in any case.",
)
def production(
    service: str = "tumour-classifier", minimum_auc: float = 0.98, broken_rows: int = 0, seed: int = 42
) -> None:
    report = write_report(service=service).set_caching_options(False)
    with dsl.ExitHandler(report, name="train-and-deploy"):
        raw = ingest_data(broken_rows=broken_rows, seed=seed).outputs["raw"]
        checked = validate_data(raw=raw, minimum_rows=500, maximum_broken=0.05)
        features = build_features(raw=raw, test_fraction=0.3, seed=seed).after(checked)
        training = train_model(train=features.outputs["train"]).set_cpu_limit("1").set_memory_limit("1G")
        validation = validate_model(
            model=training.outputs["model"], test=features.outputs["test"], minimum_auc=minimum_auc
        )
        with dsl.If(validation.outputs["verdict"] == "approved", name="gate"):
            deploy_model(model=training.outputs["model"], service=service).set_caching_options(False)


if __name__ == "__main__":
    compiler.Compiler().compile(production, package_path=__file__.replace(".py", ".yaml"))
