"""The benchmark of text modes, on reviews whose content says nothing and whose titles say all."""

import csv
import json
from pathlib import Path

import pytest

from training.benchmarks import title_cost


def test_titles_that_say_all_are_found_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = tmp_path / "reviews"
    data.mkdir()
    for part, count in (("train", 200), ("test", 40)):
        with (data / f"{part}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["label", "title", "content"])
            writer.writerows(
                [i % 2, ("good" if i % 2 else "bad") + f" title {i}", f"content {i // 2}"]
                for i in range(count)
            )
    output = tmp_path / "cost.json"
    arguments = ["--data", str(data), "--experiments", "demo-tfidf", "--runs",
                 str(tmp_path / "runs"), "--output", str(output)]  # fmt: skip
    assert title_cost.main(arguments) == 0
    rows = {row["text"]: row for row in json.loads(output.read_text())["rows"]}
    assert rows["title"]["accuracy"]["value"] == rows["title+content"]["accuracy"]["value"] == 1
    assert rows["content"]["accuracy"]["value"] < 0.8
    assert rows["content"]["lost"] > 8 and rows["content"]["won"] == 0
    assert rows["content"]["p"] < 0.01 and rows["title"]["p"] == 1
