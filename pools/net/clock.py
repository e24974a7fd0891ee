"""The only clock that measures intervals here: monotonic, the same for all processes of a host.

CLOCK_MONOTONIC counts from boot for every process alike (clock_gettime(2)), so a heartbeat that a worker writes
can be compared with the supervisor's own reading.
"""

import time

monotonic_s = time.monotonic
monotonic_ns = time.monotonic_ns
