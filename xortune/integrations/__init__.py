"""Trackers, results from elsewhere, exports."""
