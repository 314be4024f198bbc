"""A long cable by hand: many kernels that run the lab have no netem.

    delaying.py ONE OTHER MS

Two taps: what comes into one comes out of the other so many milliseconds later, in
its order.
"""

import os
import select
import sys
import time
from collections import deque

from tagging import FRAME_LEN_MAX, tap


def forward(taps, delay_s):
    """Carry frames for ever."""
    on_its_way = deque()
    while True:
        wait_s = max(0, on_its_way[0][0] - time.monotonic()) if on_its_way else None
        for fd in select.select(taps, [], [], wait_s)[0]:
            other = taps[1 - taps.index(fd)]
            on_its_way.append((time.monotonic() + delay_s, other, os.read(fd, FRAME_LEN_MAX)))
        while on_its_way and on_its_way[0][0] <= time.monotonic():
            _, other, frame = on_its_way.popleft()
            os.write(other, frame)


if __name__ == "__main__":
    forward([tap(sys.argv[1]), tap(sys.argv[2])], int(sys.argv[3]) / 1000)
