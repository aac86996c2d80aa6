"""Makes a function into a worker: it is given a JSON value, and what it returns is the answer.

    from anabranch_worker import serve
    serve(lambda job: {"words": len(job["text"].split())})

What an exception says goes to the error output; the caller hears its name only. What is printed goes there too.
"""

import json
import os
import sys
import traceback


def serve(function):
    """Answers jobs until there are no more. Does not return before."""
    jobs = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    # A line on the standard output that is no answer would end this process: nobody else gets to write there, or to read jobs.
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout = sys.stderr
    write(answers, b"!ready")
    for line in jobs:
        try:
            answer = json.dumps(function(json.loads(line)), allow_nan=False).encode()
        except Exception as error:
            traceback.print_exc()
            answer = b"!failed " + type(error).__name__.encode("ascii", "replace")
        write(answers, answer)


def write(answers, line):
    answers.write(line + b"\n")
    answers.flush()
