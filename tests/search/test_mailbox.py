"""The mailbox of Ray's workers, without Ray: who gets which batch, and what the driver hears."""

import asyncio
import pickle
import threading
import types
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import pytest

from xortune.core.errors import Halted
from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.trainers.function import custom_trainer
from xortune.trainers.source import given_source
from xortune.training import ray_executor, ray_worker
from xortune.training.jobs import BEGUN, REPORTED
from xortune.training.mailbox import ENDED, HERE, SAID, TAKEN, Mailbox


def test_the_oldest_batch_goes_to_whoever_has_waited_longest():
    async def play():
        box = Mailbox()
        waits = [asyncio.create_task(box.next(name, None)) for name in ("a", "b")]
        await asyncio.sleep(0)
        for number in (1, 2, 3):
            await box.put(number, b"%d" % number, None)
        await box.put(4, b"4", 60.0)
        got = [await wait for wait in waits]
        got += [await box.next("b", b"of 2"), await box.next("a", b"of 1")]
        return got, await box.events()

    got, events = asyncio.run(play())
    assert [content for content, _ in got] == [b"1", b"2", b"3", b"4"]
    assert [left is None or 0 < left <= 60 for _, left in got] == [True] * 4
    assert got[3][1] is not None
    given, heard = [("a", TAKEN, 1), ("b", TAKEN, 2)], [("b", SAID, b"of 2"), ("b", TAKEN, 3)]
    assert events == [*given, *heard, ("a", SAID, b"of 1"), ("a", TAKEN, 4)]


def test_a_worker_that_has_ended_gets_nothing_and_says_nothing_more():
    async def play():
        box = Mailbox()
        await box.begin("a", "host:1", b"handle")
        waits = asyncio.create_task(box.next("a", None))
        await asyncio.sleep(0)
        await box.end("a", b"why")
        await box.put(1, b"1", None)
        with suppress(asyncio.CancelledError):
            await waits
        for call in (box.next("a", b"late"), box.say("a", b"late", ("key", 0))):
            with pytest.raises(RuntimeError, match="given this worker up"):
                await call
        first = await box.events()
        return first, await box.next("b", None)

    events, (content, _) = asyncio.run(play())
    assert events == [("a", HERE, ("host:1", b"handle")), ("a", ENDED, b"why")]
    assert content == b"1"


def test_a_block_is_wanted_until_it_is_cancelled_and_the_driver_can_be_woken():
    async def play():
        box = Mailbox()
        before = await box.say("a", None, ("key", 8))
        await box.cancel({("key", 8)})
        after = await box.say("a", b"begun", ("key", 8)), await box.say("a", None, ("key", 16))
        first = await box.events()
        waits = asyncio.create_task(box.events())
        await asyncio.sleep(0)
        assert not waits.done()
        await box.wake()
        return before, after, first, await waits

    assert asyncio.run(play()) == (True, (False, True), [("a", SAID, b"begun")], [])


def reporting(config, seed, report):
    for loss in (3.0, 2.0, 1.0):
        report({"loss": config["x"] * loss})
    return seed < 1


class Calls:
    """A handle of an actor that answers here, at once."""

    def __init__(self, actor):
        self._actor = actor

    def __getattr__(self, name):
        method = getattr(self._actor, name)
        return types.SimpleNamespace(remote=lambda *args: asyncio.run(method(*args)))


def test_a_worker_says_what_its_training_reports_on_the_way(monkeypatch):
    monkeypatch.setattr(ray_worker.ray, "get", lambda answer, **_: answer)
    monkeypatch.setattr(ray_worker._RayWorker, "look_seconds", 0.0)
    monkeypatch.setattr(ray_worker._RayWorker, "report_seconds", 0.0)
    box, block = Mailbox(), Block(Point({"x": 2.0}), 0, 2)
    asyncio.run(box.put(1, pickle.dumps(([block], ())), None))
    trainer = custom_trainer(given_source(reporting), None)
    ray_worker._RayWorker("a", Calls(box)).train_next(trainer)
    events = asyncio.run(box.events())
    said = [one for _, what, told in events if what == SAID for one in pickle.loads(told)]
    told = [message[1] for message in said if message[0] == REPORTED]
    assert [(one.block.first, one.count, one.numbers["loss"]) for one in told] == [
        (seed, 1 + report, 6.0 - 2 * report) for seed in range(2) for report in range(3)
    ]
    assert [message[0] for message in said] == [BEGUN, *[REPORTED] * 3] * 2


def test_who_trains_on_a_ray_that_has_ended_leaves_it_before_the_driver_disconnects(monkeypatch):
    """Ray ends the process, as if all were done, if a thread calls it while another disconnects."""
    connected, left = threading.Event(), []
    connected.set()

    def check_ray():
        left.append((threading.current_thread().name, tune.has_left_ray.is_set()))
        connected.clear()
        raise Halted("Ray's raylet has ended")

    def ends():
        with pytest.raises(Halted):
            tune.check_ray()

    tune = ray_executor._TuneThread(None, None, Path(), None)
    driver = Mock(spec=ray_executor.RayExecutor, _tune=tune)
    monkeypatch.setattr(ray_executor, "is_lost", lambda: True)
    monkeypatch.setattr(ray_executor, "check_ray", check_ray)
    monkeypatch.setattr(ray_executor.ray, "is_initialized", connected.is_set)
    trains = threading.Thread(target=ends, name="Tune")
    trains.start()
    with pytest.raises(Halted):
        ray_executor.RayExecutor._check_ray(driver)
    trains.join()
    assert left == [(threading.current_thread().name, True), ("Tune", True)]
