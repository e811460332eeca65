from __future__ import annotations

import gc
import time

import numpy as np
import pytest

from limbeck.errors import DataError
from limbeck.evaluation import cost_per_million, energy_per_million, hardware, measure

SINGLE, BLOCK = np.zeros((1, 4), np.float32), np.zeros((8, 4), np.float32)


def busy(seconds: float):
    def run(inputs: np.ndarray) -> None:
        end = time.perf_counter() + seconds * len(inputs)
        while time.perf_counter() < end:
            pass

    return run


def test_times_are_those_that_the_runner_takes():
    found = measure({"busy": busy(0.0005)}, SINGLE, BLOCK, repetitions=3, calls=4, warmup=1)["busy"]
    assert 0.5 <= found.p50_ms <= found.p95_ms
    assert found.examples_per_second <= 1 / 0.0005
    assert (found.requests, found.block_examples) == (12, 8)


def test_cpu_time_is_work_and_not_waiting():
    runners = {"waits": lambda inputs: time.sleep(0.001), "works": busy(0.001)}
    found = measure(runners, SINGLE, SINGLE, repetitions=3, calls=4, warmup=0)
    assert found["waits"].p50_ms >= 1
    assert found["waits"].cpu_ms < found["works"].cpu_ms


def test_models_take_turns_and_each_begins_some_round():
    asked: list[str] = []
    runners = {name: (lambda inputs, name=name: asked.append(name)) for name in "abc"}
    measure(runners, SINGLE, BLOCK, repetitions=3, calls=2, warmup=0)
    turns = len(asked) // 9
    assert "".join(asked[::turns]) == "abc" + "bca" + "cab"
    assert asked == [name for name in asked[::turns] for _ in range(turns)]


def test_no_round_starts_past_the_limit_but_three_are_made():
    found = measure(
        {"busy": busy(0.0001)}, SINGLE, BLOCK, repetitions=50, calls=2, warmup=0, limit_seconds=0.0
    )
    assert found["busy"].requests == 6


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_rests_meanwhile_and_is_as_before_afterwards(enabled):
    seen = []
    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        measure({"a": lambda inputs: seen.append(gc.isenabled())}, SINGLE, BLOCK, repetitions=1, warmup=0)
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was else gc.disable)()
    assert not any(seen)


def test_inputs_of_the_wrong_size_are_refused():
    with pytest.raises(DataError, match="got 8 and 8"):
        measure({}, BLOCK, BLOCK)


def test_cost_and_energy_are_in_proportion_to_cpu_time():
    assert cost_per_million(3.6, 0.05) == pytest.approx(0.05)  # 3.6 ms a million times is one hour
    energy = energy_per_million(3.6, 10.0)
    assert (energy.value, energy.unit) == (pytest.approx(0.01), "kWh")  # ten watts for one hour
    assert (
        energy.method
        == "estimated: CPU seconds \N{MULTIPLICATION SIGN} 10 W per core (configured), not measured"
    )


def test_the_hardware_has_a_name_and_versions():
    found = hardware()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["memory_gb"] > 0
    assert found["versions"]["numpy"] == np.__version__
