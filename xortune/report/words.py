"""What each number of a report means, and how it could mislead: said once, for all reports."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xortune.report.document import Bullets, Section, Strong
from xortune.report.format import number

__all__ = [
    "BAND",
    "EPOCHS",
    "FAILURES",
    "FRONT",
    "GIVEN",
    "IMPORTANCE",
    "INTERVAL",
    "LOOKS",
    "PARAMETERS",
    "SHARED_SEEDS",
    "SOLVED",
    "SUCCESS",
    "TIED",
    "TRIALS",
    "WINNER",
    "Word",
    "certified",
    "words",
]

HEADING = "What the numbers mean, and how they mislead"


@dataclass(frozen=True)
class Word:
    """One entry.

    Attributes:
        term: as it stands beside the number.
        meaning: the rest of the sentence, and how it could mislead.
    """

    term: str
    meaning: str


SOLVED = Word(
    "solved",
    " k/n: of n seeds, k ended with every judged row on the right side of 0.5. A seed that "
    "diverged or crashed counts as not solved; nothing is averaged away.",
)
SUCCESS = Word(
    "solved seeds",
    " (k of n) were a success by the rule of the space file, or as the trainer itself said. A seed "
    "that diverged (its number is none) or crashed (it raised, or returned what it may not) counts "
    "as no success; nothing is averaged away.",
)
GIVEN = Word(
    "solved seeds",
    " (k of n) were a success by what was imported: its column, or the rule for its numbers. "
    "Nobody here has trained them again. A seed that diverged (its number is none) or crashed (a "
    "reason is given, or nothing that says how it went) counts as no success; nothing is averaged "
    "away.",
)
INTERVAL = Word(
    "95 % interval",
    " (Wilson): where the true success rate lies, for a configuration chosen before looking. In 5 "
    "of 100 such intervals it does not. 8 of 8 seeds is 67.5 % or more, not 100 %. Rates are "
    "rounded to what their interval supports; k/n is exact.",
)
WINNER = Word(
    "The winner's count is optimistic.",
    " It won partly by luck: with 200 configurations that are all truly 90 %, the best count of "
    "100 seeds shows about 97 %. Believe only seeds that the search never saw.",
)
LOOKS = Word(
    "Several looks.",
    " The race counted the seeds of a configuration again and again, and decided each time. Its "
    "decisions use bounds that hold however often one looks; the 95 % interval beside a count "
    "does not know of the looks, and a configuration may have been stopped on an unlucky streak.",
)
SHARED_SEEDS = Word(
    "Seeds are shared.",
    " All configurations were trained under the same seeds, so their counts rise and fall "
    "together: two intervals that overlap may still be told apart, seed by seed, and two "
    "configurations that fail under the same seeds are not independent evidence.",
)
EPOCHS = Word(
    "epochs to solve",
    " is what one success costs: the epochs spent by all seeds, failures at the full budget, over "
    "the successes. It never outweighs a seed.",
)
TRIALS = Word("trials", " counts the proposals of the configuration.")
TIED = Word(
    "Not distinguishable",
    " does not mean equal: with more seeds the list gets shorter. It holds the truly best of those "
    "compared with a probability of at least 95 %, whichever looks best.",
)
BAND = Word(
    "The band of a curve",
    " over epochs holds for all epochs at once with 95 % confidence (Dvoretzky, Kiefer, "
    "Wolfowitz), for one curve that was chosen before looking; the best one was not.",
)
FRONT = Word(
    "The Pareto front",
    " is one of counts and means as they were measured; it has no interval, and chance may have "
    "put a configuration on it or kept one off.",
)
PARAMETERS = Word(
    "Which parameters matter",
    " describes the configurations visited, not the space. A search visits good regions more "
    "often, and a level may look good for what it was tried with. The 95 % intervals are "
    "bootstrapped over configurations, each by itself: one in 20 misses, and more where "
    "configurations are few.",
)
IMPORTANCE = Word(
    "importance",
    " says how far the best of the configurations visited lie elsewhere than all of them, along "
    "one parameter at a time, as shares of one (PED-ANOVA). It has no direction. A parameter that "
    "the search hardly varied, or that matters only together with another, seems to matter little, "
    "and with few configurations it is mostly chance.",
)
FAILURES = Word(
    "How seeds failed",
    " counts the seeds of all configurations, good and bad: a search that tries bad ones longer "
    "has more failures, whatever the best one does.",
)


def certified(confidence: float) -> Word:
    """The entry for a certificate whose bounds hold together with such a confidence."""
    return Word(
        "rate at least",
        " is a lower bound from seeds that had no part in the choice. All bounds of all attempts "
        f"hold together with {number(100 * confidence)} % confidence, so the best may be chosen by "
        "them. It is about seeds only: another task, another version or another number of epochs "
        "is another question.",
    )


def words(entries: Iterable[Word]) -> Section:
    """The last section of a report, with the entries that it uses."""
    items = tuple((Strong(entry.term), entry.meaning) for entry in entries)
    return Section("words", HEADING, (Bullets(items),))
