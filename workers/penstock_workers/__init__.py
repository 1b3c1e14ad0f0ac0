"""penstock on many machines: the Celery engine and the Kubernetes launcher."""
