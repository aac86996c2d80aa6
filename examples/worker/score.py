"""Scores how well texts answer a question: the share of its words that each of them has."""

from anabranch_worker import serve


def score(job):
    wanted = set(job["question"].lower().split())
    return [{"id": text["id"], "score": share(wanted, text["text"])} for text in job["texts"]]


def share(wanted, text):
    found = wanted & set(text.lower().split())
    return round(len(found) / len(wanted), 3) if wanted else 0


serve(score)
