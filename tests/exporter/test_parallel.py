"""Several images at a time: results in the images' order, errors in their place, a bounded number on the way."""

import threading
import time

import pytest

from y12.exporter.parallel import in_order
from y12.runtime.backends.onnx_runtime import threads_at_hand


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_items_order_whichever_is_done_first(threads):
    def work(item):
        time.sleep(0.002 * (7 - item % 7))
        return item * item

    assert list(in_order(work, range(40), threads)) == [item * item for item in range(40)]


def test_as_many_are_worked_on_at_a_time_as_there_are_threads():
    both = threading.Barrier(2, timeout=20)  # broken, and so an error, where one waits alone
    assert list(in_order(lambda _: both.wait() >= 0, range(6), 2)) == [True] * 6


def test_no_more_are_taken_than_twice_the_threads():
    taken = []

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    results = in_order(lambda item: item, items(), 3)
    for done in range(10):
        assert next(results) == done
        assert len(taken) <= done + 6
    results.close()
    assert len(taken) < 20


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_in_its_item_s_place_and_ends_it(threads):
    begun = []

    def work(item):
        begun.append(item)
        if item == 5:
            raise ValueError("the fifth")
        return item

    results = in_order(work, range(1000), threads)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="the fifth"):
        next(results)
    assert len(begun) < 20
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("y12-images")]


@pytest.mark.parametrize(("asked", "given"), [("1", 1), ("3", 3), ("2,4", 2), ("400", 8)])
def test_threads_are_those_of_the_environment(monkeypatch, asked, given):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads_at_hand() == given


def test_without_the_environment_they_are_the_processors_at_hand(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3, 4})
    assert threads_at_hand() == 3
