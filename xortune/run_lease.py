"""One driver for each stored run, with nothing but objects: put, delete, and lists that see both.

A driver claims a run with an object of its own, `lock/0001-OWNER.json`, then lists the claims: it
has the run if there is no other. Of two that claim at once, at least one sees the other; the one
whose name comes first waits for the other to withdraw. Nobody writes another's objects.

Of an owner on the same machine the kernel says whether it lives; one elsewhere lives as long as its
`.beat` changes, which it does every 10 s. Who takes a run over removes the old claim, and only then
reads the segments. So a segment counts if its writer's claim was still there after it was put: then
a successor has read it, however long either of them stood still. No clocks are compared.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from xortune.errors import InputError
from xortune.run_lock_owner import Life, Owner, life_of, parse_owner
from xortune.run_segments import segments_in
from xortune.run_store import PATIENCE, Store

__all__ = ["Lease", "leased", "lessee"]

FOLDER = "lock"

HEARTBEAT_SECONDS = 10.0

LOOK_SECONDS, WITHDRAW_SECONDS = 1.0, 10.0

_CLAIM = re.compile(r"([0-9]{4,12})-([0-9a-f]{32})\.json")

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Claim:
    epoch: int
    owner: Owner

    @property
    def name(self) -> str:
        return f"{FOLDER}/{self.epoch:04}-{self.owner.owner}"


class Lease:
    """A stored run that is held: its heart beats in a thread of its own until it is released.

    Attributes:
        epoch: higher than that of every driver before.
        writer: the first 8 digits of the owner's name.
    """

    def __init__(self, store: Store, claim: _Claim) -> None:
        self.epoch, self.writer = claim.epoch, claim.owner.owner[:8]
        self._store, self._claim = store, claim
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="xortune-lease", daemon=True)
        self._thread.start()

    def confirm(self, *, patience: float = PATIENCE) -> None:
        """Return if the run is still this driver's, and so all that it has put counts.

        Raises:
            InputError: another has taken it over, or the store fails.
        """
        if not self._store.exists(f"{self._claim.name}.json", patience=patience):
            raise InputError(
                "this search has lost its run and writes nothing more: another has taken it over",
                place=self._store.location.place(FOLDER),
                fix="what is in the journal is kept: --resume continues when no other search runs",
            )

    def release(self) -> None:
        """Withdraw the claim."""
        self._over.set()
        self._thread.join()
        _withdraw(self._store, self._claim)

    def _beat(self) -> None:
        owner = self._claim.owner
        while not self._over.wait(HEARTBEAT_SECONDS):
            owner = replace(owner, heartbeat=round(time.time(), 3), beats=owner.beats + 1)
            with suppress(InputError):  # the next one may succeed
                self._store.put(f"{self._claim.name}.beat", owner.as_bytes())


def leased(store: Store, owner: Owner, say: Say, *, still_seconds: float) -> Lease:
    """Take a run.

    Args:
        store: of the run.
        owner: this process.
        say: called with a sentence where another's lease is waited for or taken over.
        still_seconds: after which a heart that does not beat is believed to be dead.

    Raises:
        InputError: another driver holds it, or the store fails.
    """
    gone = [claim for claim in _claims(store) if _is_gone(store, claim, say, still_seconds)]
    known = [claim.epoch for claim in gone] + [one.epoch for one in segments_in(store)[-1:]]
    mine = _Claim(max(known, default=0) + 1, owner)
    store.put(f"{mine.name}.json", owner.as_bytes())
    try:
        for claim in gone:
            _withdraw(store, claim, told=True)
        deadline = time.monotonic() + WITHDRAW_SECONDS
        while others := [c for c in _claims(store) if c.owner.owner != owner.owner]:
            first = min(others, key=lambda c: c.owner.owner)
            if first.owner.owner < owner.owner or time.monotonic() > deadline:
                raise _is_held(store, first)
            time.sleep(LOOK_SECONDS / 4)
    except BaseException:
        _withdraw(store, mine)
        raise
    return Lease(store, mine)


def lessee(store: Store) -> tuple[Owner, Life] | None:
    """Who holds a run, or did when it was killed; None if nobody.

    Raises:
        InputError: the store fails, or a claim is none.
    """
    claims = _claims(store)
    if not claims:
        return None
    last = max(claims, key=lambda claim: claim.epoch)
    return last.owner, life_of(last.owner)


def _claims(store: Store) -> list[_Claim]:
    """The claims of the run, each with its owner's last heartbeat."""
    found = []
    names = store.names(FOLDER)
    for name in sorted(names):
        if (parts := _CLAIM.fullmatch(name)) is None:
            continue
        beat = f"{name.removesuffix('.json')}.beat"
        text = store.get(f"{FOLDER}/{beat}") if beat in names else None
        if text is None:
            text = store.get(f"{FOLDER}/{name}")
        if text is None:  # withdrawn since it was listed
            continue
        owner = parse_owner(text)
        if owner is None or owner.owner != parts[2]:
            raise InputError(
                "is no lock of a run",
                place=store.location.place(f"{FOLDER}/{name}"),
                allowed="what a search writes there while it runs",
                fix="if no search of this run is running, on any machine, remove it",
            )
        found.append(_Claim(int(parts[1]), owner))
    return found


def _is_gone(store: Store, claim: _Claim, say: Say, still_seconds: float) -> bool:
    """Whether the owner of a claim is gone, so that its run may be taken.

    Raises:
        InputError: it lives.
    """
    life = life_of(claim.owner)
    if life == "alive":
        raise _is_held(store, claim)
    place = store.location.place(FOLDER)
    if life == "elsewhere":
        say(
            f"{place}: held by {claim.owner}. Whether that one lives is seen from here by its "
            f"heartbeat: waiting for it, {still_seconds:.0f} s at most"
        )
        began = time.monotonic()
        while time.monotonic() - began < still_seconds:
            time.sleep(min(LOOK_SECONDS, still_seconds / 4))
            now = next((c for c in _claims(store) if c.name == claim.name), None)
            if now is None:
                return True
            if now != claim:
                raise _is_held(store, now)
    reason = {
        "gone": "that process is gone",
        "elsewhere": f"its lock was not renewed for {still_seconds:.0f} s",
    }[life]
    say(f"{place}: taken over from {claim.owner}: {reason}")
    return True


def _withdraw(store: Store, claim: _Claim, *, told: bool = False) -> None:
    """Remove a claim; the beat last, without which a claim still is one."""
    for end in (".json", ".beat"):
        with suppress(*() if told else (InputError,)):
            store.delete(f"{claim.name}{end}")


def _is_held(store: Store, claim: _Claim) -> InputError:
    return InputError(
        f"another search holds this run: {claim.owner}",
        place=store.location.place(FOLDER),
        fix="wait for it, stop it, or give another --output",
    )
