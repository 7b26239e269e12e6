"""How far a run is: by steps, by a clock that the test moves, and again as it was."""

from __future__ import annotations

import pytest

from imaging.training.pace import LOOKS, WARM_SHARE, NotedPace, StepPace, TimedPace, noted_pace


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run(pace: TimedPace, clock: Clock, *, step_s: float, validation_s: float) -> tuple[list[float], int]:
    """Train with steps and validations of known lengths: the rate of each step, and how many there were."""
    rates: list[float] = []
    step = 0
    pace.look(step)
    while not pace.over(step):
        began = step
        while not pace.over(step) and not (step > began and pace.round_over(step)):
            rates.append(pace.rate_share(step))
            clock.now += step_s
            step += 1
            pace.look(step)
        clock.now += validation_s
        pace.end_round(step, validation_s)
        pace.look(step)
    return rates, step


@pytest.mark.parametrize("step_s", [0.01, 0.11, 2.0, 7.0])
@pytest.mark.parametrize("validation_s", [0.0, 3.0, 20.0])
def test_the_time_is_kept_and_used(step_s, validation_s):
    clock = Clock()
    pace = TimedPace(600.0, started=clock.now - 9.0, clock=clock)  # reading the libraries took nine seconds
    pace.expect(validation_s)
    _, steps = run(pace, clock, step_s=step_s, validation_s=validation_s)
    took = clock.now - 91.0
    assert took <= 600.0 + step_s
    assert took >= 600.0 - 1.5 * validation_s - step_s - 600.0 / LOOKS - 3.0
    rounds = len(pace.to_json()["round_ends"])
    assert 2 <= rounds <= 21
    assert rounds * validation_s <= 0.1 * 600 + 2 * validation_s, "validation takes no more than a tenth"
    assert steps * step_s >= 0.8 * 600 or validation_s == 20.0
    assert len(pace.to_json()["marks"]) <= 2 * LOOKS + 3 * rounds


def test_the_rate_rises_and_falls_with_the_time():
    clock = Clock()
    rates, _ = run(TimedPace(1000.0, clock=clock), clock, step_s=1.0, validation_s=0.0)
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(1.0, abs=0.02)
    assert top == pytest.approx(WARM_SHARE * 1000, abs=12)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 < rates[-1] < 0.011


def test_a_slow_moment_moves_the_rate_on():
    clock = Clock()
    pace = TimedPace(100.0, clock=clock)
    pace.look(0)
    before = pace.rate_share(0)
    clock.now += 60.0
    pace.look(1)
    assert pace.rate_share(1) < 0.6
    assert pace.rate_share(0) == before, "what is done is done"


def test_the_pace_of_a_timed_run_is_kept_again():
    clock = Clock()
    pace = TimedPace(300.0, clock=clock)
    rates, steps = run(pace, clock, step_s=0.4, validation_s=2.0)
    again = noted_pace(pace.to_json())
    assert isinstance(again, NotedPace)
    again.look(0)
    again.end_round(0, 1.0)
    assert [again.rate_share(step) for step in range(steps)] == rates
    assert [s for s in range(1, steps + 1) if again.round_over(s)] == pace.to_json()["round_ends"]
    assert not again.over(steps - 1)
    assert again.over(steps)
    assert again.progress(7) == (7, steps)
    assert noted_pace(again.to_json()).to_json() == again.to_json()


def test_a_stopped_timed_run_has_the_time_left_that_it_had():
    clock = Clock()
    pace = TimedPace(100.0, clock=clock)
    pace.look(0)
    clock.now += 40.0
    pace.look(1)
    pace.end_round(1, 1.0)
    noted = pace.to_json()
    clock.now += 5000.0  # the machine was off
    later = TimedPace(100.0, started=clock.now, clock=clock)
    later.go_on(noted)
    assert later.elapsed_s == pytest.approx(40.0)
    assert not later.over(1)
    assert later.progress(1) == (int(1000 * noted["marks"][-1][1]), 1000)
    clock.now += 60.0
    later.look(2)
    assert later.over(2)


def test_all_processes_go_by_the_first_clock():
    first, other = Clock(), Clock()
    said: list[list[float]] = []
    one = TimedPace(50.0, clock=first, agree=lambda values: said.append(values) or values)
    two = TimedPace(50.0, clock=other, agree=lambda values: said.pop(0))
    for step in range(200):
        first.now += 0.5
        other.now += 0.1
        one.look(step)
        two.look(step)
    assert one.to_json()["marks"] == two.to_json()["marks"]
    assert two.over(200)


def test_steps_are_divided():
    pace = StepPace(10, warmup=2, length=4)
    assert [step for step in range(1, 11) if pace.round_over(step)] == [4, 8, 10]
    assert [pace.over(step) for step in (0, 9, 10)] == [False, False, True]
    assert pace.progress(3) == (3, 10)
    again = noted_pace(pace.to_json())
    assert [again.rate_share(s) for s in range(10)] == [pace.rate_share(s) for s in range(10)]
