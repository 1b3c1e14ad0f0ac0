"""penstock: run unmodified Kubeflow pipelines without a Kubeflow install."""
