"""table.tex: the best configs of a run as a table for a paper."""

from __future__ import annotations

from xortune.report.certified import lower
from xortune.report.config_table import measure_text, parameter_columns
from xortune.report.document import EPOCHS, Column, ConfigRow, ConfigTable, Table, table_of
from xortune.report.format import config_text, count, interval, number, plain
from xortune.report.format import measured as rate
from xortune.report.latex import latex_table
from xortune.report.run_configs import config_table
from xortune.report.tables import Report, report_of
from xortune.run import Run
from xortune.run_certificate import Certificate, CertifiedResult

__all__ = ["table_tex"]


def table_tex(run: Run) -> str:
    """The best configs: counts, rates, intervals, and what is certified of them.

    Raises:
        InputError: the run's blocks contradict each other, or its certificate is damaged.
    """
    report = report_of(run)
    if report.best is None:
        empty = Table((Column("configuration"),), ())
        return latex_table(empty, caption="No configuration has finished yet.")
    given, certificate = config_table(run, report), run.certificate
    shown = given.rows[: given.first]
    keys = [f"{place}: {row.key}" for place, row in enumerate(shown, 1)]
    return latex_table(
        _best(given, certificate),
        caption=_caption(report, given, certificate),
        label=f"tab:{report.title}",
        comments=["The keys of the configurations, by row:", *keys],
    )


def _best(given: ConfigTable, certificate: Certificate | None) -> Table:
    """The first rows of the table of all configs."""
    fresh = {} if certificate is None else {found.key: found for found in certificate.finalists}
    names = ["solved", "rate, %", "interval, %"]
    if given.measure is not None:
        names.append("epochs" if given.measure == EPOCHS else given.measure)
    names += ["fresh seeds", "at least, %"] if fresh else []
    columns = [
        Column("", numeric=True),
        *parameter_columns(given),
        *(Column(name, numeric=True) for name in names),
    ]
    rows = [
        [
            str(place),
            *row.values,
            *_counts(row, measured=given.measure is not None),
            *(_fresh(fresh.get(row.key)) if fresh else ()),
        ]
        for place, row in enumerate(given.rows[: given.first], 1)
    ]
    return table_of(columns, rows)


def _counts(row: ConfigRow, *, measured: bool) -> tuple[str, ...]:
    return (
        f"{row.k}/{row.n}",
        rate(row.k / row.n, row.low, row.high).removesuffix(" %"),
        interval(row.low, row.high).removesuffix(" %"),
        *((measure_text(row),) if measured else ()),
    )


def _fresh(found: CertifiedResult | None) -> tuple[str, str]:
    if found is None:
        return "", ""
    return f"{found.k}/{found.n}", lower(found).removesuffix(" %")


def _caption(report: Report, given: ConfigTable, certificate: Certificate | None) -> str:
    shown = min(given.first, len(given.rows))
    what = (
        f"The best {shown} of {count(report.configs, 'configuration')}"
        if shown < report.configs
        else f"All {count(report.configs, 'configuration')}"
        if report.configs > 1
        else "The only configuration"
    )
    order = (
        "by the lower end of the 95 % Wilson interval of the seeds solved, as the search counted "
        "them"
        if report.looked_for is None
        else f"by {plain(report.looked_for.name)} over the seeds of the search"
    )
    sentences = [f"{what} of {report.title}, {order}: the first of many is partly luck."]
    if report.looked_for is not None:
        sentences.append("In brackets 95 % intervals over the seeds.")
    elif given.measure is not None:
        sentences.append("Epochs: what one success costs.")
    if certificate is not None and certificate.finalists:
        level = f"{number(100 * certificate.confidence)} %"
        sentences.append(
            "Fresh seeds: such as the search never saw; the lower bounds of the rate hold together "
            f"with {level} confidence."
        )
    if given.fixed:
        best = report.best
        assert best is not None
        same = config_text(best.point, [name for name, _ in given.fixed])
        sentences.append(f"The same in all: {same}.")
    return " ".join(sentences)
