"""A program of the gateway that computes for as long as its job says, in seconds."""

import sys
import time

print("!ready", flush=True)
for line in sys.stdin:
    end = time.perf_counter() + float(line)
    turns = 0
    while time.perf_counter() < end:
        turns += 1
    print(turns, flush=True)
