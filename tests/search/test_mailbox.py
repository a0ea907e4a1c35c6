"""The mailbox of Ray's workers, without Ray: who gets which batch, and what the driver hears."""

import asyncio
from contextlib import suppress

import pytest

from xortune.driver.mailbox import ENDED, HERE, SAID, TAKEN, Mailbox


def test_the_oldest_batch_goes_to_whoever_has_waited_longest_and_lost_ones_first():
    async def play():
        box = Mailbox()
        waits = [asyncio.create_task(box.next(name, None)) for name in ("a", "b")]
        await asyncio.sleep(0)
        for number in (1, 2, 3):
            await box.put(number, b"%d" % number, None, first=False)
        await box.put(4, b"4", 60.0, first=True)
        got = [await wait for wait in waits]
        got += [await box.next("b", b"of 2"), await box.next("a", b"of 1")]
        return got, await box.events()

    got, events = asyncio.run(play())
    assert [content for content, _ in got] == [b"1", b"2", b"4", b"3"]
    assert [left is None or 0 < left <= 60 for _, left in got] == [True] * 4
    assert got[2][1] is not None
    given, heard = [("a", TAKEN, 1), ("b", TAKEN, 2)], [("b", SAID, b"of 2"), ("b", TAKEN, 4)]
    assert events == [*given, *heard, ("a", SAID, b"of 1"), ("a", TAKEN, 3)]


def test_a_worker_that_has_ended_gets_nothing_and_says_nothing_more():
    async def play():
        box = Mailbox()
        await box.begin("a", "host:1", b"handle")
        waits = asyncio.create_task(box.next("a", None))
        await asyncio.sleep(0)
        await box.end("a", b"why")
        await box.put(1, b"1", None, first=False)
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
