"""The race among a search's configurations: who is promoted, who is given up, what is proven.

`racing.grants` has the rules; here they are shown what decisions know, in the order of decisions.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterator, Mapping
from functools import partial

from xortune.deciding.configs import ConfigState
from xortune.deciding.in_flight import InFlight
from xortune.deciding.measured import Measured
from xortune.deciding.tally import Rooms
from xortune.racing.grants import race_of
from xortune.racing.objectives import SeedSummary
from xortune.racing.race import Race
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


class Contest:
    """Whom a search gives more seeds, and whom it gives up.

    Without a race all get the same seeds: nobody is promoted or given up, nothing is proven.

    Args:
        space: what is searched.
        measured: what results hold.
        configs: by key.
        flight: decisions whose results are not used yet.
        ends: whether a promotion under way is ended when its configuration is proven worse.

    Attributes:
        race: its rules, and what they have been shown; None without one.
        weighs: whether the race compares a promotion with a new trial; else a share says which is
            first.
    """

    def __init__(
        self,
        space: SearchSpace,
        measured: Measured,
        configs: Mapping[str, ConfigState],
        flight: InFlight,
        *,
        ends: bool,
    ) -> None:
        self.race, self._ends = race_of(space), ends
        self.weighs = self.race is not None and self.race.kind.weighs
        self._measured, self._configs, self._flight = measured, configs, flight
        self._top, self._finalists = space.seeds.ladder[-1], space.seeds.finalists
        self._wanted = space.stop.proven_rate
        self._rooms, self._given_up = Rooms(), set[str]()
        self._last = False  # no new configurations come
        self._most_seeds = math.inf  # that may be granted in all

    @property
    def is_repeated(self) -> bool:
        """Whether a resumed search makes the decisions again that the journal names."""
        return self.race is not None

    @property
    def room(self) -> int:
        """How many more seeds a race's configurations may get at most, as far as is known."""
        return self._rooms.total

    @property
    def has_proven(self) -> bool:
        """Whether the race has proven the rate of the space's `stop`."""
        wanted, race = self._wanted, self.race
        return race is not None and wanted is not None and race.proven >= wanted

    def enter(self, key: str) -> None:
        """Enter a configuration in the race, before its results are known."""
        if self.race is not None:
            self.race.enter(key)

    def note(self, state: ConfigState) -> None:
        """Note that a configuration has been given seeds, and so how many more it may get."""
        if self.race is not None:
            counting = state.granted - state.seen.superseded
            self._rooms.set(state.point.key, max(0, self._top - counting))

    def end_trials(self, granted: int) -> None:
        """Note that no new configurations come, after so many seeds have been granted.

        From now on the race's seeds are limited, where finalists are.
        """
        self._last = True
        if self._finalists is not None:
            self._most_seeds = granted + self._finalists * self._top

    def show(self, state: ConfigState, *, version_changed: bool) -> None:
        """Show the race a configuration's results, which decisions use, unless it is given up.

        With `version_changed`, results that it saw before count no more.
        """
        if (race := self.race) is None:
            return
        key, seen = state.point.key, state.seen.counted
        if version_changed:
            race.forget(key)
            self._given_up.discard(key)
        if key in self._given_up:
            return
        facts = self._measured.facts(state.point, seen)
        race.see(key, seen.k, seen.n, **vars(facts))
        self._rooms.look_again(partial(self._may_climb, race))
        if self._ends:
            promoted = {one.state.point.key for one in self._flight if not one.new}
            self._given_up |= {one for one in promoted - self._given_up if race.is_stopped(one)}

    def _may_climb(self, race: Race, key: str) -> bool:
        state = self._configs[key]
        return state.in_flight > 0 or race.may_climb(key, state.seen.counted.k)

    def continues(self, seen: SeedSummary) -> bool:
        """Whether a new trial gets more seeds at once, before it is compared with others."""
        return self.race is not None and self.race.continues(seen.k, seen.n)

    def promoted(self, granted: int) -> str | None:
        """The configuration that gets seeds next, after `granted` in all; None: nobody.

        It has no seeds in training, unless the race weighs these.
        """
        return self._named(self._flight.by_config, granted)

    def promoted_ahead(self, granted: int) -> str | None:
        """One that gets the seeds after those that it trains now, where workers would be idle.

        A race has few candidates near its end, fewer than workers. Rather than that some are idle,
        those in training get the seeds that they would get next, the one with the fewest decisions
        in flight first. A race that weighs seeds sees to that itself, see `best_race`.
        """
        if self.weighs or not self._flight.leaves_workers_idle:
            return None
        busy = self._flight.by_config
        states = [self._configs[str(key)] for key in busy]
        left_out = left_out_ahead(states, self._top)
        named = (self._named({key: busy[key] for key in keys}, granted) for keys in left_out)
        return next((key for key in named if key is not None), None)

    def _named(self, busy: Mapping[Hashable, int], granted: float) -> str | None:
        if self.race is None:
            return None
        key = self.race.next(busy, last=self._last, left=self._most_seeds - granted)
        return None if key is None else str(key)

    def seed_limit(self, granted: int) -> int | None:
        """The most seeds after the last proposal if, after `granted`, only they end it; else None.

        Nothing is in training. The race names nobody with the limit, and somebody without.
        """
        if self._finalists is None or not self._last or self._named({}, granted) is not None:
            return None
        return None if self._named({}, -math.inf) is None else self._finalists * self._top

    def gives_up(self, key: str) -> bool:
        """Whether it was proven worse while its promotion was under way, by the same version."""
        return key in self._given_up

    def open(self) -> Iterator[ConfigState]:
        """Configurations of a race that are not given up, in the order in which they came."""
        if self.race is not None:
            yield from (one for key, one in self._configs.items() if key not in self._given_up)

    def proven_worse(self, known: Collection[str]) -> Iterator[ConfigState]:
        """Those that the race has stopped, and that would get more seeds otherwise.

        Those are left out of which it is `known`, by their keys.
        """
        for key, state in self._configs.items():
            count = state.seen.counted
            if count.n >= self._top or not (count.k or self._measured.judges_numbers):
                continue  # it would get no more seeds anyway
            if key not in known and self.race is not None and self.race.is_stopped(key):
                yield state
