"""A figure of the report: from the worst to the best seed of each of the first configurations."""

from xortune.reports.drawing.model import Axis, Mark, Panel, Plot, Series
from xortune.reports.figures import Figure

SHOWN = 10


def spread(run):
    """The `Plot`; None where no configuration has a number that a training returned."""
    shown = [one for one in run.results[:SHOWN] if one.outcome.details.values]
    if not shown:
        return None
    name = next(iter(shown[0].outcome.details.values))
    marks = []
    for place, result in enumerate(shown):
        numbers = result.outcome.details.values.get(name, ())
        known = sorted(number for number in numbers if abs(number) < float("inf"))
        if known:
            middle = known[len(known) // 2]
            marks.append(Mark(middle, place, (known[0], known[-1]), key=result.key))
    if not marks:
        return None
    return Plot(
        name="spread",
        title=f"From the worst to the best seed: {name} of the first {len(shown)}",
        alt=f"The range of {name} over the seeds of each of the first {len(shown)} configurations.",
        note="A bar reaches from the smallest to the largest finite number, the dot is a median. "
        "More seeds make longer bars.",
        panels=(
            Panel(
                Axis(name),
                Axis("configuration", "category", categories=tuple(one.key for one in shown)),
                (Series("median", tuple(marks)),),
            ),
        ),
    )


SPREAD = Figure("spread", "more", spread)
