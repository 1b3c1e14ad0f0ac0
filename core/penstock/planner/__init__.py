"""The pure planner: `verdict`, `settle` and `following` over a `Ledger` of records. No I/O, no clock, no
database.
"""
