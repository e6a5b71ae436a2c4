"""The page of instructions: every task has its turn, whatever the order and the sizes of the tasks."""

from __future__ import annotations

from x2i.inspect.instructions import some_instructions
from x2i.sample import placeholder

ROWS = [
    {"task": task, "key": f"{task}-{k}", "instruction": f"Do {task} {k} to {placeholder(1)}."}
    for task, count in (("large", 500), ("small", 3), ("middle", 40))
    for k in range(count)
]


def test_a_large_task_does_not_crowd_out_the_others() -> None:
    chosen = some_instructions(ROWS, 30)
    tasks = [task for task, _ in chosen]
    assert (len(chosen), tasks.count("small")) == (30, 3)
    assert abs(tasks.count("large") - tasks.count("middle")) <= 1
    assert all("[1]" in text and "<img>" not in text for _, text in chosen)
    assert some_instructions(ROWS[::-1], 30) == chosen
    assert some_instructions([], 30) == []
