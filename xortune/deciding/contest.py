"""The race among a search's configurations: who is promoted, who is given up, what is proven.

`racing.grants` has the rules; here they are shown what decisions know, in the order of decisions.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterator, Mapping
from typing import Protocol

from xortune.deciding.configs import ConfigState
from xortune.deciding.in_flight import InFlight
from xortune.deciding.measured import Measured
from xortune.deciding.tally import Rooms
from xortune.racing.grants import race_of
from xortune.racing.objectives import SeedSummary
from xortune.racing.race import SeedRace
from xortune.spaces.model import SearchSpace

MAX_AHEAD = 6
"""Maximum number of decisions in flight about one configuration."""


def left_out_ahead(states: Collection[ConfigState], top: int) -> Iterator[frozenset[str]]:
    """Whom a promotion ahead leaves out, of configurations in training: keys of configurations.

    First all but those with the fewest decisions in flight, then fewer and fewer. Those that have
    been given `top` seeds that count are always left out.
    """
    full = {one.point.key for one in states if one.granted - one.seen.superseded >= top}
    fewest = min((one.in_flight for one in states if one.point.key not in full), default=0)
    for depth in range(fewest + 1, MAX_AHEAD + 1):
        deeper = {one.point.key for one in states if one.in_flight >= depth}
        yield frozenset(full | deeper)


class Contest(Protocol):
    """Whom a search gives more seeds, and whom it gives up."""

    is_repeated: bool
    """Whether a resumed search makes the decisions again that the journal names."""
    weighs: bool
    """Whether the race compares a promotion with a new trial; else a share says which is first."""

    @property
    def race(self) -> SeedRace | None:
        """The rules, and what they have been shown; None if all get the same seeds."""

    @property
    def room(self) -> int:
        """How many more seeds the configurations may get at most, as far as is known."""

    @property
    def has_proven(self) -> bool:
        """Whether the rate is proven that ends the search."""

    def enter(self, key: str) -> None:
        """Enter a configuration, before its results are known."""

    def note(self, state: ConfigState) -> None:
        """Note that a configuration has been given seeds."""

    def show(self, state: ConfigState, *, version_changed: bool) -> None:
        """Show the race a configuration's results, which decisions use from now on.

        With `version_changed`, results that it saw before count no more.
        """

    def end_trials(self, granted: int) -> None:
        """Note that no new configurations come, after so many seeds have been granted."""

    def continues(self, seen: SeedSummary) -> bool:
        """Whether a new trial gets more seeds at once, before it is compared with others."""

    def promoted(self, granted: int) -> str | None:
        """The configuration that gets seeds next, after `granted` in all; None: nobody."""

    def promoted_ahead(self, granted: int) -> str | None:
        """One that gets the seeds after those that it trains now; None: nobody."""

    def seed_limit(self, granted: int) -> int | None:
        """The most seeds after the last proposal if, after `granted`, only they end it; else None.

        Nothing is in training.
        """

    def gives_up(self, key: str) -> bool:
        """Whether a configuration was proven worse while its promotion was under way."""

    def open(self) -> Iterator[ConfigState]:
        """Configurations that are not given up."""

    def proven_worse(self, known: Collection[str]) -> Iterator[ConfigState]:
        """Configurations that get no more seeds, because they are proven worse than another.

        Those are left out of which it is `known`, by their keys.
        """


class NoContest:
    """All configurations get the same seeds: nobody is promoted or given up, nothing is proven."""

    race: SeedRace | None = None
    is_repeated = False
    weighs = False
    room = 0
    has_proven = False

    def enter(self, key: str) -> None:
        """Do nothing."""

    def note(self, state: ConfigState) -> None:
        """Do nothing."""

    def show(self, state: ConfigState, *, version_changed: bool) -> None:
        """Do nothing."""

    def end_trials(self, granted: int) -> None:
        """Do nothing."""

    def continues(self, seen: SeedSummary) -> bool:  # noqa: ARG002
        """No new trial does."""
        return False

    def promoted(self, granted: int) -> None:  # noqa: ARG002
        """Nobody."""
        return

    def promoted_ahead(self, granted: int) -> None:  # noqa: ARG002
        """Nobody."""
        return

    def seed_limit(self, granted: int) -> int | None:  # noqa: ARG002
        """None."""
        return None

    def gives_up(self, key: str) -> bool:  # noqa: ARG002
        """Nobody is given up."""
        return False

    def open(self) -> Iterator[ConfigState]:
        """None: nobody gets more seeds."""
        return iter(())

    def proven_worse(self, known: Collection[str]) -> Iterator[ConfigState]:  # noqa: ARG002
        """Nobody is."""
        return iter(())


class RaceContest:
    """A race.

    Args:
        race: its rules, and what they have been shown.
        space: what is searched.
        measured: what results hold.
        configs: by key.
        flight: decisions whose results are not used yet.
        ends: whether a promotion under way is ended when its configuration is proven worse.
    """

    is_repeated = True

    def __init__(
        self,
        race: SeedRace,
        space: SearchSpace,
        measured: Measured,
        configs: Mapping[str, ConfigState],
        flight: InFlight,
        *,
        ends: bool,
    ) -> None:
        self.race, self.weighs, self._ends = race, race.weighs, ends
        self._measured, self._configs, self._flight = measured, configs, flight
        self._top, self._finalists = space.seeds.ladder[-1], space.seeds.finalists
        self._wanted = space.stop.proven_rate
        self._rooms, self._given_up = Rooms(), set[str]()
        self._last = False  # no new configurations come
        self._most_seeds = math.inf  # that may be granted in all

    @property
    def room(self) -> int:
        """Up to the top of the ladder, of each configuration that may still climb."""
        return self._rooms.total

    @property
    def has_proven(self) -> bool:
        """Whether the race has proven the rate of the space's `stop`."""
        return self._wanted is not None and self.race.proven >= self._wanted

    def enter(self, key: str) -> None:
        """Enter a configuration in the race."""
        self.race.enter(key)

    def note(self, state: ConfigState) -> None:
        """Note how many more seeds a configuration may get."""
        counting = state.granted - state.seen.superseded
        self._rooms.set(state.point.key, max(0, self._top - counting))

    def end_trials(self, granted: int) -> None:
        """Limit the race's seeds from now on, where finalists are."""
        self._last = True
        if self._finalists is not None:
            self._most_seeds = granted + self._finalists * self._top

    def show(self, state: ConfigState, *, version_changed: bool) -> None:
        """Show the race a configuration's results, unless it is given up."""
        key, seen = state.point.key, state.seen.counted
        if version_changed:
            self.race.forget(key)
            self._given_up.discard(key)
        if key in self._given_up:
            return
        facts = self._measured.facts(state.point, seen)
        self.race.see(key, seen.k, seen.n, **vars(facts))
        self._rooms.look_again(self._may_climb)
        if self._ends:
            promoted = {one.state.point.key for one in self._flight if not one.new}
            is_stopped = self.race.is_stopped
            self._given_up |= {one for one in promoted - self._given_up if is_stopped(one)}

    def _may_climb(self, key: str) -> bool:
        state = self._configs[key]
        return state.in_flight > 0 or self.race.may_climb(key, state.seen.counted.k)

    def continues(self, seen: SeedSummary) -> bool:
        """Whether the race says so of these results."""
        return self.race.continues(seen.k, seen.n)

    def promoted(self, granted: int) -> str | None:
        """One without seeds in training, unless the race weighs these."""
        return self._named(self._flight.by_config, granted)

    def promoted_ahead(self, granted: int) -> str | None:
        """One with seeds in training, where workers would be idle.

        A race has few candidates near its end, fewer than workers. Rather than that some are idle,
        those in training get the seeds that they would get next, the one with the fewest decisions
        in flight first. A race that weighs seeds sees to that itself, see `BestGrants.next`.
        """
        if self.weighs or not self._flight.leaves_workers_idle:
            return None
        busy = self._flight.by_config
        states = [self._configs[str(key)] for key in busy]
        left_out = left_out_ahead(states, self._top)
        named = (self._named({key: busy[key] for key in keys}, granted) for keys in left_out)
        return next((key for key in named if key is not None), None)

    def _named(self, busy: Mapping[Hashable, int], granted: int) -> str | None:
        key = self.race.next(busy, last=self._last, left=self._most_seeds - granted)
        return None if key is None else str(key)

    def seed_limit(self, granted: int) -> int | None:
        """That of the space if the race names nobody with it, and would name somebody without."""
        if self._finalists is None or not self._last or self._named({}, granted) is not None:
            return None
        return None if self.race.next({}, last=True) is None else self._finalists * self._top

    def gives_up(self, key: str) -> bool:
        """Whether it is among those proven worse; that lasts until its version changes."""
        return key in self._given_up

    def open(self) -> Iterator[ConfigState]:
        """All that are not given up, in the order in which they came."""
        return (one for key, one in self._configs.items() if key not in self._given_up)

    def proven_worse(self, known: Collection[str]) -> Iterator[ConfigState]:
        """Those that the race has stopped, and that would get more seeds otherwise."""
        for key, state in self._configs.items():
            count = state.seen.counted
            if count.n >= self._top or not (count.k or self._measured.judges_numbers):
                continue  # it would get no more seeds anyway
            if key not in known and self.race.is_stopped(key):
                yield state


def contest_of(
    space: SearchSpace,
    measured: Measured,
    configs: Mapping[str, ConfigState],
    flight: InFlight,
    *,
    ends: bool,
) -> Contest:
    """The race of a space, or what stands for none; see `RaceContest`."""
    if (race := race_of(space)) is None:
        return NoContest()
    return RaceContest(race, space, measured, configs, flight, ends=ends)
