"""Listeners for the tests of what verbs tell."""

import xortune as xt


def sentences(call):
    """A listener that calls with the text of each message."""
    return lambda event: call(event.text) if isinstance(event, xt.Message) else None


def progress(call):
    """A listener that calls with the progress of a search."""
    return lambda event: call(event) if isinstance(event, xt.Progress) else None


def counts(call):
    """A listener that calls with the seeds done and all seeds."""
    return lambda event: call(event.done, event.total) if isinstance(event, xt.SeedsDone) else None
