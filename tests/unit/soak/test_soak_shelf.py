from __future__ import annotations

from gridiron.model import Address
from soak.shelf import Shelf


def address(number: int) -> Address:
    return Address(name="alder", version=f"1.0.{number}", timestamp=number)


def ids(*numbers: int) -> set[str]:
    return {str(address(number)) for number in numbers}


def filled(*numbers: int, retain: int = 2) -> Shelf:
    shelf = Shelf(retain)
    for number in numbers:
        shelf.put(address(number), required=True)
    return shelf


def test_a_build_has_to_stay_until_more_than_retain_newer_ones_exist() -> None:
    assert filled(1, 2, 3).required == ids(1, 2, 3)
    assert filled(1, 2, 3, 4).required == ids(2, 3, 4)
    assert filled(1, 2, retain=0).required == ids(2)


def test_the_order_of_the_answers_does_not_matter() -> None:
    assert filled(1, 2, 4, 3).required == ids(2, 3, 4)


def test_a_build_that_is_made_again_counts_once() -> None:
    assert filled(1, 2, 3, 3, 3).required == ids(1, 2, 3)


def test_a_build_that_was_surely_pruned_does_not_count_for_older_ones() -> None:
    shelf = filled(1, 2, 3)
    shelf.take(str(address(2)), surely=True)
    shelf.put(address(4), required=True)
    assert shelf.required == ids(1, 3, 4)


def test_a_build_that_may_be_pruned_need_not_be_there_and_counts() -> None:
    shelf = filled(1, 2, 3)
    shelf.take(str(address(2)), surely=False)
    assert shelf.required == ids(1, 3)
    shelf.put(address(4), required=True)
    assert shelf.required == ids(3, 4)


def test_what_one_build_more_let_go_need_not_come_back() -> None:
    shelf = filled(1, 2, 3)
    shelf.pass_by()
    assert shelf.required == ids(2, 3)


def test_a_build_that_need_not_be_there_counts_as_a_newer_one() -> None:
    shelf = filled(1, 2, 3)
    shelf.put(address(4), required=False)
    assert shelf.required == ids(2, 3)
