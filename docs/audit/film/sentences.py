"""Sentences of film reviews that speak of a person, one a line."""

import re
import sys

import pyarrow.parquet as pq

PERSON = re.compile(
    r"\b(?:s?he|hers?|his|him|(?:wo)?m[ae]n|girls?|boys?|actress|actor|wife|husband|mother|father"
    r"|sister|brother|daughter|son|lady|gentleman)\b",
    re.I,
)
texts = pq.read_table(sys.argv[1], columns=["content"])["content"].to_pylist()[
    int(sys.argv[3]) : int(sys.argv[4])
]
with open(sys.argv[2], "w", encoding="utf-8") as out:
    for text in texts:
        for sentence in re.split(r"(?<=[.!?])\s+", text):
            if 5 <= sentence.count(" ") < 25 and PERSON.search(sentence):
                print(" ".join(sentence.split()), file=out)
