"""Secrets of tasks: where values come from, who needs them, how they are kept out of what is written."""
