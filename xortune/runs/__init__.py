"""The run directory: journal, results, sessions, certificate, lock, object stores, status."""
