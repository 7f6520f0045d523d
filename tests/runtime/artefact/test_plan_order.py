"""Plans are one where numbers are exchanged one to one or outputs are in another order, and else are not."""

import pytest

from y12.runtime.artefact.plan_order import are_one_renamed, are_one_reordered

WEIGHTS = bytes(range(1, 120)) + b"\x35" + b"\xff" * 7  # the last eight look like -203, and are behind no tag


def integers(*values, width=8):
    tag = b"\x09\x80\x01\x00" if width == 8 else b"\x07\x80\x01\x00"
    words = b"".join(value.to_bytes(width, "little", signed=True) for value in values)
    return tag + words if len(values) == 1 else b"\x01\x80" + tag + len(values).to_bytes(8, "little") + words


def renamed(a=-53, b=-56, again=None, small=None, name="1001", used=None, weights=WEIGHTS):
    """A plan with the sizes `a` and `b`, each of which is used once more."""
    numbers = integers(1, a, b, 84) + integers(a if again is None else again)
    program = f' mul={{ output="__mye{name}" }}\n add={{ input="__mye{used or name}" "__mye77" }} 77="__mye77"'.encode()
    return b"vtrt" + numbers + weights + program + integers(-18, b if small is None else small, width=4) + integers(-18)


def record(name, size):
    text = name.encode()
    return b"\x13\x80\x01\x00" + len(text).to_bytes(8, "little") + text + integers(size, 84) + b"\xbc\x7f"


def listed(*records, weights=WEIGHTS):
    return (
        b"vtrt"
        + WEIGHTS
        + (b"C\x80\x01\x00" + b"C\x80\x01\x00".join(records))
        + b"\x08\x80\x01\x00"
        + weights
        + bytes(5000)
        + WEIGHTS
    )


RENAMED = {
    "the same": (renamed(), True),
    "two numbers exchanged": (renamed(a=-56, b=-53), True),
    "other numbers": (renamed(a=-60, b=-300), True),
    "another name wherever it is used": (renamed(name="2002"), True),
    "a weight": (renamed(weights=b"\x02" + WEIGHTS[1:]), False),
    "a weight before 0xff that looks like a number": (renamed(weights=WEIGHTS[:-8] + b"\x36" + WEIGHTS[-7:]), False),
    "a byte of a number where it is used again": (renamed(again=-54), False),
    "a byte of a number in 32 bits": (renamed(small=-57), False),
    "two numbers merged": (renamed(b=-53), False),
    "two numbers exchanged in one place only": (renamed(a=-56, b=-53, again=-53), False),
    "a size that was free": (renamed(a=64), False),
    "minus one, which is no size": (renamed(a=-1), False),
    "a name in one of two places": (renamed(used="1002"), False),
    "two names merged": (renamed(name="77", used="77").ljust(len(renamed())), False),
}


@pytest.mark.parametrize("change", RENAMED)
def test_numbers_are_exchanged_one_to_one_or_the_plans_are_not_one(change):
    plan, same = RENAMED[change]
    assert are_one_renamed(renamed(), plan) is are_one_renamed(plan, renamed()) is same


def test_a_number_that_stands_in_one_place_only_has_to_be_the_same():
    assert not are_one_renamed(renamed() + integers(-70), renamed() + integers(-71))


BOXES, MASKS, SCORES = record("boxes", 4), record("masks", 32), record("scores", 80)
LISTED = {
    "another order": (listed(MASKS, SCORES, BOXES), True),
    "another size": (listed(MASKS, SCORES, record("boxes", 5)), False),
    "the sizes of two outputs exchanged": (listed(record("masks", 80), record("scores", 32), BOXES), False),
    "a weight": (listed(BOXES, MASKS, SCORES, weights=b"\x02" + WEIGHTS[1:]), False),
    "two weights exchanged": (listed(BOXES, MASKS, SCORES, weights=b"\x02\x01" + WEIGHTS[2:]), False),
}


@pytest.mark.parametrize("change", LISTED)
def test_outputs_are_listed_in_another_order_or_the_plans_are_not_one(change):
    plan, same = LISTED[change]
    assert are_one_reordered(listed(BOXES, MASKS, SCORES), plan) is same
