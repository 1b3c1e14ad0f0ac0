"""The Kubernetes launcher: each attempt a pod, the leanest that can do the task."""
