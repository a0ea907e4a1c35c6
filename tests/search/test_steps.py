"""What a search keeps of its configs, and how it draws them quickly."""

import gc
import weakref

from fakes import Plain, Queue, run, space_of
from hypothesis import given
from hypothesis import strategies as st

from xortune.core.counts import wilson
from xortune.driver.decisions import WIDENS, Count, ProvenanceGroups, Tally, in_flight_at
from xortune.driver.propose import proposer_for
from xortune.runs.journal import Journal


@given(st.data())
def test_the_tally_knows_the_best_of_all_configs(data):
    tally, shown = Tally(9), [ProvenanceGroups() for _ in range(4)]
    for _ in range(data.draw(st.integers(1, 30))):
        n = data.draw(st.integers(1, 9))
        more = ProvenanceGroups()
        made = data.draw(st.sampled_from(["a", "b"]))
        more.add(made, 0, Count(data.draw(st.integers(0, n)), n))
        tally.grow(data.draw(st.sampled_from(shown)), more)
        counts = [one.counted for one in shown]
        best = max((float(wilson(c.successes, c.n)[0]), c.n) for c in counts if c.n)
        assert (float(wilson(*tally.best)[0]), tally.best[1]) == best
        assert tally.best in {(c.successes, c.n) for c in counts}


@given(least=st.integers(1, 40), more=st.integers(0, 60), steps=st.integers(1, 400))
def test_a_window_widens_and_nothing_that_was_known_is_forgotten(least, more, steps):
    most = least + more
    widths = [in_flight_at(step, most, least) for step in range(steps)]
    assert widths == sorted(widths)
    assert all(least <= width <= most for width in widths)
    known = [step - width for step, width in enumerate(widths)]
    assert known == sorted(known)
    assert in_flight_at(0, most, least) == least
    assert in_flight_at(WIDENS * most, most, least) == most
    assert in_flight_at(0, most, None) == most


def test_what_was_known_is_let_go_when_it_is_taken_in(tmp_path):
    space = space_of(trials=9)
    known = run(tmp_path / "journal", space, proposer_for(space), window=None).evaluations
    more = space_of(trials=10)
    with Journal.open(tmp_path / "more") as journal:
        queue = Queue(more, Plain(), proposer_for(more), journal, window=None, known=known)
        taken = [line for lines in queue._known.values() for line in lines]
        points = [weakref.ref(line.block.point) for line in taken]
        assert len(points) == len(known)
        del known, taken
        gc.collect()
        assert all(point() is not None for point in points)
        job = queue.next_job()
        assert job.proposal == 9
        gc.collect()
        assert not any(point() for point in points if point() is not job.block.point)
