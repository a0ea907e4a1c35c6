"""Whatever is done to a run, in whatever order, and stopped wherever: fresh stays fresh."""

import contextlib
import json
import tempfile
from itertools import pairwise
from pathlib import Path

from certified import Counting, searched_run
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.certificates.fresh import CertifyRequest
from xortune.core.errors import InputError
from xortune.core.seeds import CERTIFY, NEIGHBOURS, SEARCH
from xortune.driver.certify import certify_run
from xortune.runs.certificate import certificate_of
from xortune.runs.run import JOURNAL, load_run

CALL = st.fixed_dictionaries(
    {
        "top": st.integers(1, 3),
        "seeds": st.sampled_from([40, 100]),
        "extendable": st.booleans(),
        "extend": st.booleans(),
        "neighbourhood": st.sampled_from([None, None, 0.2]),
        "by": st.sampled_from(["own", "own", "neighbourhood"]),
        "stop_after": st.sampled_from([None, None, 0, 1, 3, 7]),
    }
)


@settings(max_examples=20)
@given(st.lists(CALL, min_size=1, max_size=6))
def test_fresh_seeds_stay_fresh_and_nothing_is_forgotten(calls):
    with tempfile.TemporaryDirectory() as name:
        run = searched_run(Path(name) / "run")
        before = None
        for call in calls:
            options = dict(call)
            trainer = Counting(stop_after=options.pop("stop_after"))
            with contextlib.suppress(InputError, KeyboardInterrupt):
                certify_run(run.path, trainer, CertifyRequest(**options))
            _check(run.path, before)
            before = certificate_of(load_run(run.path).checks)


def _check(path, before):
    lines = [json.loads(line) for line in (path / JOURNAL).read_text().splitlines()]
    spans: dict[str, list] = {}
    for line in lines:
        first, stop = line["first"], line["first"] + line["count"]
        kind = line.get("purpose", {}).get("kind", "search")
        owner = {"search": SEARCH, "certify": CERTIFY, "neighbourhood": NEIGHBOURS}[kind]
        assert owner.start <= first < stop <= owner.stop
        spans.setdefault(line["key"], []).append((first, stop))
    # No config meets a seed twice, and no attempt meets the seeds of another.
    for found in spans.values():
        assert all(a[1] <= b[0] for a, b in pairwise(sorted(found)))
    attempts: dict[int, set[int]] = {}
    for line in lines:
        if "purpose" in line and line["purpose"]["kind"] == "certify":
            seeds = attempts.setdefault(line["purpose"]["attempt"], set())
            seeds.update(range(line["first"], line["first"] + line["count"]))
    assert sorted(attempts) == list(range(1, len(attempts) + 1))
    assert sum(map(len, attempts.values())) == len(set().union(*attempts.values()))
    after = certificate_of(load_run(path).checks)
    assert after == load_run(path).certificate
    if before is not None:
        # What was complete stays as it was, but for seeds added to the last and for neighbours.
        for old, new in zip(before.attempts[:-1], after.attempts, strict=False):
            assert [(f.key, f.k, f.n, f.lower_bound) for f in old.finalists] == [
                (f.key, f.k, f.n, f.lower_bound) for f in new.finalists
            ]
        assert len(after.attempts) - len(before.attempts) in {0, 1}
