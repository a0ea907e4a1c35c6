"""Drawing where a run stands: a few lines for a person, one line for a log, or JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from xortune.report.format import config_text, count, interval, percent, plain
from xortune.status import RunStatus
from xortune.terminal_progress import clock

__all__ = ["render_status", "status_json", "status_line"]

BAR = 24
"""Columns of the bar."""

COLUMNS = 80

STATES = {
    "running": "running",
    "finished": "finished",
    "stopped": "stopped before its end; --resume continues it",
}


def render_status(status: RunStatus) -> Table:
    """What is known of a run, one row for each thing; what is not known has none."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in _rows(status):
        table.add_row(Text(plain(label)), Text(plain(text)))
    return table


def status_line(status: RunStatus) -> str:
    """The same as one line of at most 80 columns, for a log."""
    best, speed = status.best, status.rate or status.overall_rate
    fresh = status.certificate
    parts = [
        f"{status.done:,}" + (f"/{status.total:,}" if status.total is not None else ""),
        _speed(speed, "/s", "/h") if speed and _searches(status) else "",
        f"{fresh.done:,}/{fresh.planned:,} fresh seeds" if fresh.state == "begun" else "",
        _left(status),
        f"best {best.k}/{best.n}" if best else "",
        f"{count(status.crashed_seeds, 'seed')} crashed" if status.crashed_seeds else "",
        status.state,
    ]
    while len(line := "  ".join(part for part in parts if part)) > COLUMNS and len(parts) > 2:
        del parts[1]
    return line


def status_json(status: RunStatus) -> dict[str, Any]:
    """The same as JSON values; times are UTC."""
    best, certificate, driver = status.best, status.certificate, status.driver
    return {
        "run": str(status.path),
        "name": status.name,
        "state": status.state,
        "stopped": status.stopped,
        "driver": {
            "life": driver.life,
            "pid": driver.pid,
            "host": driver.host,
            "since": _utc(driver.since),
            "heartbeat": _utc(driver.heartbeat),
            "elsewhere": driver.elsewhere,
        },
        "done": status.done,
        "total": status.total,
        "evaluations": status.evaluations,
        "seeds": status.seeds,
        "configs": status.configs,
        "rate_per_second": status.rate,
        "overall_rate_per_second": status.overall_rate,
        "seconds_left": status.seconds_left,
        "best": best
        and {
            "config": best.point.as_dict(),
            "key": best.key,
            "k": best.k,
            "n": best.n,
            "rate": best.k / best.n,
            "low": best.low,
            "high": best.high,
        },
        "without_outcome": status.without_outcome,
        "crashed": status.crashed,
        "crashed_seeds": status.crashed_seeds,
        "diverged_seeds": status.diverged_seeds,
        "retried": status.retried,
        "last_error": status.last_error,
        "certificate": {
            "state": certificate.state,
            "attempt": certificate.attempt,
            "done": certificate.done,
            "planned": certificate.planned,
            "key": certificate.key,
            "k": certificate.k,
            "n": certificate.n,
            "lower_bound": certificate.lower_bound,
            "confidence": certificate.confidence,
        },
        "started": _utc(status.started),
        "written": _utc(status.written),
        "torn": status.torn,
        "now": _utc(status.now),
    }


def _rows(status: RunStatus) -> list[tuple[str, str]]:
    state = STATES[status.state]
    if status.stopped is not None:
        state = f"stopped before its end ({status.stopped}); --resume continues it"
    rows = [(status.name, state + _driver(status)), ("progress", _progress(status))]
    rows.append(("seeds", f"{status.seeds:,} in {count(status.evaluations, 'evaluation')}"))
    if rate := _rate(status):
        rows.append(("rate", rate))
    if left := _left(status):
        rows.append(("time left", left.removesuffix(" left")))
    if (best := status.best) is not None:
        rows.append(
            (
                "best so far",
                f"{best.k}/{best.n} ({interval(best.low, best.high)})  "
                f"{config_text(best.point, best.point)}  {best.key}",
            )
        )
    rows += [("failures", _failures(status)), ("certificate", _certificate(status))]
    rows.append(("last line", _written(status)))
    return rows


def _driver(status: RunStatus) -> str:
    driver = status.driver
    if driver.pid is None:
        return ""
    since = f" since {_clock_time(driver.since)}" if driver.since else ""
    if driver.life == "gone":
        return f"; its process {driver.pid} on {driver.host} is gone"
    beat = ""
    if driver.elsewhere and driver.heartbeat:
        beat = f", heartbeat {clock(abs(status.now - driver.heartbeat))} ago"
    return f": process {driver.pid} on {driver.host}{since}{beat}"


def _progress(status: RunStatus) -> str:
    if status.total is None:
        return f"{count(status.done, 'proposal')} done; how many were asked for is not known"
    share = min(status.done / status.total, 1.0) if status.total > 0 else 1.0
    filled = int(share * BAR)
    bar = "█" * filled + "░" * (BAR - filled)
    text = f"{bar}  {status.done:,} of {count(status.total, 'proposal')}, {percent(share)}"
    if status.state == "running" and share == 1:  # else it looks as if it should have ended
        text += "; at work on what follows: more seeds for the best, a certificate, tables"
    return text


def _rate(status: RunStatus) -> str:
    parts = []
    if status.rate is not None and _searches(status):
        parts.append(f"{_speed(status.rate)} over the last minutes")
    if status.overall_rate is not None:
        parts.append(f"{_speed(status.overall_rate)} from the start")
    return f"proposals: {', '.join(parts)}" if parts else ""


def _searches(status: RunStatus) -> bool:
    """Whether proposals are still to come: afterwards a certificate may be made."""
    return status.state == "running" and status.done != status.total


def _speed(rate: float, second: str = " a second", hour: str = " an hour") -> str:
    return f"{rate:.3g}{second}" if rate >= 0.1 else f"{rate * 3600:.3g}{hour}"


def _left(status: RunStatus) -> str:
    left = status.seconds_left
    return f"{clock(left)} left" if left else ""


def _failures(status: RunStatus) -> str:
    parts = []
    if status.crashed_seeds:
        crashed = f"{count(status.crashed_seeds, 'seed')} crashed in "
        parts.append(crashed + count(status.crashed, "evaluation"))
        if status.without_outcome:
            parts[-1] += f" ({status.without_outcome:,} without outcome)"
    if status.diverged_seeds:
        parts.append(f"{count(status.diverged_seeds, 'seed')} diverged")
    text = ", ".join(parts) or "none"
    if status.retried:
        text = f"{text}; {count(status.retried, 'try')} repeated".replace("trys", "tries")
    error = status.last_error
    if error is not None:
        text += f"; the last: {error if len(error) <= 200 else error[:197] + '...'}"
    return text


def _certificate(status: RunStatus) -> str:
    found = status.certificate
    if found.state == "none":
        return "none"
    text = ""
    if found.state == "begun":
        text = f"attempt {found.attempt}: {found.done:,} of {count(found.planned, 'fresh seed')}"
    if found.lower_bound is not None and found.confidence is not None:
        bound = int(found.lower_bound * 1e4 + 1e-6) / 100
        text += "; before: " if text else ""
        text += (
            f"{found.k}/{found.n} fresh seeds, at least {bound:.2f} % "
            f"(confidence {found.confidence:g})  {found.key}"
        )
    return text


def _written(status: RunStatus) -> str:
    if status.written is None:
        return "none yet"
    ago = max(status.now - status.written, 0.0)
    torn = "; a line is not whole" if status.torn else ""
    return f"{clock(ago)} ago ({_clock_time(status.written)}){torn}"


def _clock_time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _utc(moment: float | None) -> str | None:
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
