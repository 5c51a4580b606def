"""Rows of a submission: write, check, grade, note in the ledger, upload."""
