"""Packs of a race: its climbs are shared out, and slots are kept busy."""

import heapq
import tempfile
from pathlib import Path

import pytest
from fakes import Scripted, at, batches_of, by_rate, received, space_of
from test_packs import Timed

from xortune.driver.batches import LEAST_SECONDS, most_in_flight
from xortune.driver.decisions import SearchDecisions
from xortune.runs.evaluation import encode_outcome as pack
from xortune.runs.journal import Journal, read


class Seeds(Timed):
    """A seed takes a second."""

    def cost(self, block):
        return float(block.count)


def packs_of(space, trainer, rates, journal, *, most, **more):
    decisions = SearchDecisions(space, trainer, Scripted(at(*rates)), max_in_flight=most)
    return batches_of(decisions, trainer, journal, **more)


def test_a_long_climb_is_shared_out_over_the_slots(tmp_path):
    # One finalist.
    space = space_of(trials=1, ladder=(4, 12, 100))
    with Journal.open(tmp_path / "evaluations.jsonl") as journal:
        packs = packs_of(space, Seeds(), [1.0], journal, slots=4, most=12)
        sizes = []
        while jobs := packs.next():
            under_way = [jobs]
            while more := packs.next():
                under_way.append(more)
            sizes.append([job.block.count for jobs in under_way for job in jobs])
            for jobs in reversed(under_way):
                results = [pack(job.block, by_rate(job.block)) for job in jobs]
                received(packs, jobs, results, seconds=float(results[0].n))
        assert packs.finished
    # The second climb in parts of about twice the mean block.
    assert sizes[:2] == [[4], [2, 2, 2, 2]]
    assert sorted(sizes[2]) == [6] * 10 + [7] * 4
    assert len(sizes) == 3
    lines = read(tmp_path / "evaluations.jsonl")[0]
    seeds = sorted(seed for line in lines for seed in line.block.seeds)
    assert seeds == list(range(100))


@pytest.mark.parametrize(("slots", "least"), [(4, 0.95), (16, 0.93)])
def test_slots_are_busy_though_blocks_differ_a_hundredfold(slots, least):
    rates = [(1.0, 0.2, 0.5, 0.9)[i % 4] for i in range(300)]
    space = space_of(trials=300, ladder=(2, 4, 8, 16, 32, 64, 128, 256))
    window = most_in_flight(2.0, slots=slots, proposals=300)
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder) / "j") as journal:
        packs = packs_of(
            space, Seeds(), rates, journal, slots=slots, most=window, max_in_flight=window
        )
        now, work, handed, under_way = 0.0, 0.0, 0, []
        while True:
            while len(under_way) < slots and (jobs := packs.next()):
                seconds = float(sum(job.block.count for job in jobs))
                handed += 1
                heapq.heappush(under_way, (now + seconds, handed, jobs, seconds))
                work += seconds
            if not under_way:
                break
            now, _, jobs, seconds = heapq.heappop(under_way)
            results = [pack(job.block, by_rate(job.block)) for job in jobs]
            received(packs, jobs, results, seconds=seconds)
        assert packs.finished
    assert work > least * slots * now
    assert handed < 8 * 300, "Tune keeps every trial: there should not be too many"


def seeds_of_blocks(folder, *, ladder, rate, seconds, window):
    """How many seeds each block of four configs had, in order, where a pack takes so long."""
    space = space_of(trials=4, ladder=ladder)
    trainer = Timed(seconds=seconds, factor=1.0)
    counts = []
    with Journal.open(folder / "j") as journal:
        packs = packs_of(space, trainer, [rate] * 4, journal, slots=4, most=window)
        while jobs := packs.next():
            counts += [job.block.count for job in jobs]
            results = [pack(job.block, by_rate(job.block)) for job in jobs]
            received(packs, jobs, results, seconds=seconds * len(jobs))
    return counts


def test_short_climbs_and_first_blocks_stay_whole(tmp_path):
    counts = seeds_of_blocks(tmp_path, ladder=(4, 12), rate=1.0, seconds=LEAST_SECONDS, window=12)
    assert sorted(counts) == [4] * 4 + [8] * 4


def test_first_blocks_stay_whole_however_long(tmp_path):
    counts = seeds_of_blocks(tmp_path, ladder=(8, 100), rate=0.0, seconds=100.0, window=1)
    assert counts == [8] * 4
