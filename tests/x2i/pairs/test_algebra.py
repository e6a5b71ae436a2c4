"""Pair algebra: what follows from known pairs, and nothing that does not."""

from __future__ import annotations

from x2i.pairs.algebra import RULES, DerivedPair, KnownPair, derive


def ends(pairs: list[KnownPair], found: DerivedPair) -> tuple[str, str]:
    return tuple(getattr(pairs[number], side) for number, side in (found.input, found.output))  # type: ignore[return-value]


def test_an_inverse_leads_from_the_result_back() -> None:
    pairs = [KnownPair("k", "A", "B", "Add a hat to the man."), KnownPair("l", "A", "C", "Make it winter.")]
    (found,) = derive(pairs, ["inverse"])
    assert ends(pairs, found) == ("B", "A")
    assert found.words == "Remove the hat from the man."


def test_two_edits_of_one_image_give_the_pair_between_them() -> None:
    pairs = [
        KnownPair("k", "A", "B", "Add a hat."),
        KnownPair("l", "A", "C", "Make the car red."),
        KnownPair("m", "A", "D", "Make the car blue."),
        KnownPair("n", "X", "Y", "Add a dog."),
    ]
    found = {ends(pairs, one): one.words for one in derive(pairs, ["between"])}
    assert found == {
        ("B", "C"): "Remove the hat. Then make the car red.",
        ("B", "D"): "Remove the hat. Then make the car blue.",
        ("C", "D"): "Make the car blue.",
        ("D", "C"): "Make the car red.",
    }


def test_turns_that_add_up_are_taken_apart_into_steps() -> None:
    pairs = [
        KnownPair("k", "A", "B", "Add a hat."),
        KnownPair("l", "A", "C", "Add a hat. Then make the sky red."),
        KnownPair("m", "A", "D", "Add a hatbox."),
        KnownPair("n", "A", "E", "Add a hat to the man."),
    ]
    (found,) = derive(pairs, ["step"])
    assert (ends(pairs, found), found.words) == (("B", "C"), "Make the sky red.")


def test_edits_in_a_row_are_joined_and_circles_are_not_pairs() -> None:
    pairs = [
        KnownPair("k", "A", "B", "Add a hat"),
        KnownPair("l", "B", "C", "Make it red."),
        KnownPair("m", "B", "A", "Remove the hat."),
    ]
    found = {ends(pairs, one): one.words for one in derive(pairs, ["chain"])}
    assert found == {("A", "C"): "Add a hat. Then make it red."}


def test_nothing_known_is_made_again_and_an_image_gives_a_bounded_number() -> None:
    pairs = [KnownPair(f"k{n}", "A", f"B{n}", f"Add a thing number {n}.") for n in range(8)]
    pairs.append(KnownPair("back", "B0", "A", "Undo."))
    found = list(derive(pairs, RULES, per_image=5))
    made = [ends(pairs, one) for one in found]
    assert len(made) == len(set(made))
    assert ("B0", "A") not in made
    assert sum(one.rule == "between" for one in found) == 5
    assert found == list(derive(pairs, RULES, per_image=5))
