"""What the pictures draw beyond the runs themselves."""

from training.results.curves import frontier


def test_the_frontier_holds_the_runs_that_no_other_beats_in_both() -> None:
    seconds = [10.0, 1.0, 5.0, 7.0, 5.0, 20.0]
    accuracies = [0.92, 0.80, 0.85, 0.84, 0.90, 0.92]
    assert frontier(seconds, accuracies) == ([1.0, 5.0, 10.0], [0.80, 0.90, 0.92])


def test_no_runs_have_no_frontier() -> None:
    assert frontier([], []) == ([], [])
