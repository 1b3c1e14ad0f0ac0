"""What penstock costs, beside the peers that do the same work; `python -m tests.benchmarks --help`.

Nothing here is a test: speed is reported, never asserted.
"""
