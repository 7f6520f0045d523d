"""Interrupts that are held back are obeyed afterwards, also where what was not to be cut short has failed."""

import signal

import pytest

from y12.interrupts import interrupts_held_back


@pytest.mark.parametrize("error", [None, ValueError("it failed")])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_is_held_back_is_obeyed_afterwards(number, error):
    done = []

    def work():
        with interrupts_held_back() as hold:
            signal.signal(number, signal.SIG_DFL)  # as a library does
            hold()
            signal.raise_signal(number)
            done.append("to the end")
            if error is not None:
                raise error

    before = {each: signal.signal(each, signal.default_int_handler) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert done == ["to the end"]
