"""Runs beside each other, and a run beside a published table."""
