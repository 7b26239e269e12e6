"""How far a run is, which decides the learning rate and when it is over: by steps, by the clock, or as once before.

A run goes in rounds; between two of them it is validated and a checkpoint is written.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Protocol

#: Share of a timed run in which the learning rate rises.
WARM_SHARE = 0.05
#: The clock is looked at so many times in a run, or once a step where that is less often.
LOOKS = 400
#: Rounds of a timed run become longer where validation would take more than this share of the time.
LEAST_TRAINING = 0.9


class Pace(Protocol):
    """Decides a run's length, its rounds and its learning rate."""

    def look(self, step: int) -> None:
        """Called before each step, and after the last."""

    def rate_share(self, step: int) -> float:
        """Learning rate of a step as a share of the highest."""

    def over(self, step: int) -> bool:
        """Whether the run has had its last step."""

    def round_over(self, step: int) -> bool:
        """Whether a round ends after so many steps."""

    def end_round(self, step: int, overhead_s: float) -> None:
        """A round has ended after so many steps, and what follows it took so long."""

    def progress(self, step: int) -> tuple[int, int]:
        """How far a run is, as (done, total)."""

    def to_json(self) -> dict[str, Any]:
        """What another run needs to keep the same pace, as plain values."""


def cosine(done: float) -> float:
    """From one to a hundredth while `done` goes from zero to one."""
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class StepPace:
    """A number of steps that is known beforehand.

    Args:
        steps: in all.
        warmup: steps until the highest rate.
        length: steps a round; by default there is one round.
    """

    def __init__(self, steps: int, *, warmup: int, length: int | None = None) -> None:
        self.steps = steps
        self._warmup = warmup
        self._length = length or steps

    def look(self, step: int) -> None:
        """Nothing: steps are all that counts."""

    def rate_share(self, step: int) -> float:
        """A linear warm-up, then a cosine."""
        if step < self._warmup:
            return (step + 1) / self._warmup
        return cosine((step - self._warmup) / max(1, self.steps - self._warmup))

    def over(self, step: int) -> bool:
        """Whether all steps are done."""
        return step >= self.steps

    def round_over(self, step: int) -> bool:
        """Every `length` steps, and at the end."""
        return step % self._length == 0 or self.over(step)

    def end_round(self, step: int, overhead_s: float) -> None:
        """Nothing: rounds follow from the steps."""

    def progress(self, step: int) -> tuple[int, int]:
        """(steps done, steps)."""
        return step, self.steps

    def to_json(self) -> dict[str, Any]:
        """Steps and their division."""
        return {"kind": "steps", "steps": self.steps, "warmup": self._warmup, "length": self._length}


class TimedPace:
    """As many steps as fit into a time; the rate follows the time that has passed.

    What has passed is asked for now and then and noted, so that another run can keep the same pace (`NotedPace`).

    Args:
        seconds: for everything, what comes after the last step included.
        started: when `clock` began to count for this run.
        rounds: the run is cut into so many parts of equal time, or fewer where validation is slow.
        reserve_s: kept back for what comes after the last step, until a round has shown how long that takes.
        agree: makes all processes of a run use the values of the first.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        seconds: float,
        *,
        started: float | None = None,
        rounds: int = 20,
        reserve_s: float = 0.0,
        agree: Callable[[list[float]], list[float]] = lambda values: values,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = seconds
        self._clock = clock
        self._started = clock() if started is None else started
        self._rounds = rounds
        self._reserve_s = reserve_s
        self._agree = agree
        self._marks: list[tuple[int, float]] = []
        self._round_ends: list[int] = []
        self._round_began = 0.0
        self._round_share = 1.0 / rounds
        self._next_look = 0

    @property
    def elapsed_s(self) -> float:
        """Seconds of the budget that are gone."""
        return self._clock() - self._started

    def go_on(self, noted: dict[str, Any]) -> None:
        """Continue a run that was stopped: its notes, and the time that it had used."""
        self._marks = [(int(step), float(share)) for step, share in noted["marks"]]
        self._round_ends = [int(step) for step in noted["round_ends"]]
        self._reserve_s = float(noted["reserve_s"])
        self._round_share = float(noted["round_share"])
        self._round_began = self._marks[-1][1] if self._marks else 0.0
        self._next_look = 0
        self._started -= float(noted["elapsed_s"])

    def look(self, step: int) -> None:
        """Ask the clock, if it is time to."""
        if step < self._next_look:
            return
        usable_s = self.seconds * (1 - 1 / LOOKS) - self._reserve_s
        gone = min(1.0, self.elapsed_s / max(1e-9, usable_s))
        last_step, last_gone = self._marks[-1] if self._marks else (0, 0.0)
        gone = max(gone, last_gone)
        a_step = (gone - last_gone) / max(1, step - last_step)
        skip = max(1.0, min((1.0 / LOOKS) / a_step if a_step > 0 else 1.0, 2.0 * max(1, step - last_step)))
        gone, skip = self._agree([gone, skip])
        self._marks.append((step, gone))
        self._next_look = step + int(skip)

    def rate_share(self, step: int) -> float:
        """A linear warm-up over `WARM_SHARE` of the time, then a cosine."""
        return timed_share(_at(self._marks, step))

    def over(self, step: int) -> bool:
        """Whether the time is up but for what is kept back."""
        return bool(self._marks) and self._marks[-1][1] >= 1.0

    def round_over(self, step: int) -> bool:
        """When a share of the time has passed since the last round, and at the end."""
        return self.over(step) or _at(self._marks, step) - self._round_began >= self._round_share

    def end_round(self, step: int, overhead_s: float) -> None:
        """Note where the round ended, and learn how much time must be kept back."""
        self._round_ends.append(step)
        self._round_began = _at(self._marks, step)
        self._next_look = step
        self.expect(overhead_s)

    def expect(self, overhead_s: float) -> None:
        """What follows a round takes so long: keep it and a half back, and have no more rounds than that allows."""
        (overhead_s,) = self._agree([overhead_s])
        self._reserve_s = max(self._reserve_s, 1.5 * overhead_s + 1.0)
        least = overhead_s / ((1 - LEAST_TRAINING) * self.seconds)
        self._round_share = min(1.0, max(self._round_share, least))

    def progress(self, step: int) -> tuple[int, int]:
        """(thousandths of the time, 1000)."""
        return int(1000 * _at(self._marks, step)), 1000

    def to_json(self) -> dict[str, Any]:
        """When the clock said what."""
        return {
            "kind": "timed",
            "seconds": self.seconds,
            "marks": [list(mark) for mark in self._marks],
            "round_ends": list(self._round_ends),
            "elapsed_s": self.elapsed_s,
            "reserve_s": self._reserve_s,
            "round_share": self._round_share,
        }


class NotedPace:
    """The pace of an earlier timed run, kept again step by step.

    Args:
        marks: (step, share of the time that had passed), in order of steps.
        round_ends: after how many steps each round ended; the last is the end of the run.
    """

    def __init__(self, marks: Sequence[Sequence[float]], round_ends: Sequence[int]) -> None:
        self._marks = [(int(step), float(share)) for step, share in marks]
        self._round_ends = [int(step) for step in round_ends]
        self.steps = self._round_ends[-1]

    def look(self, step: int) -> None:
        """Nothing: all is noted."""

    def rate_share(self, step: int) -> float:
        """As it was."""
        return timed_share(_at(self._marks, step))

    def over(self, step: int) -> bool:
        """Whether all steps are done."""
        return step >= self.steps

    def round_over(self, step: int) -> bool:
        """Where a round ended then."""
        return step in self._round_ends

    def end_round(self, step: int, overhead_s: float) -> None:
        """Nothing: all is noted."""

    def progress(self, step: int) -> tuple[int, int]:
        """(steps done, steps)."""
        return step, self.steps

    def to_json(self) -> dict[str, Any]:
        """The notes."""
        marks = [list(mark) for mark in self._marks]
        return {"kind": "noted", "marks": marks, "round_ends": list(self._round_ends)}


def noted_pace(values: dict[str, Any]) -> Pace:
    """The pace that a run left in its record, to be kept again."""
    if values["kind"] == "steps":
        return StepPace(values["steps"], warmup=values["warmup"], length=values["length"])
    return NotedPace(values["marks"], values["round_ends"])


def timed_share(gone: float) -> float:
    """Rate as a share of the highest, when a share of the time has passed."""
    if gone < WARM_SHARE:
        return max(gone / WARM_SHARE, 0.02)
    return cosine((gone - WARM_SHARE) / (1 - WARM_SHARE))


def _at(marks: Sequence[tuple[int, float]], step: int) -> float:
    """The last share that was noted at or before a step."""
    place = bisect_right(marks, step, key=lambda mark: mark[0])
    return marks[place - 1][1] if place else 0.0
