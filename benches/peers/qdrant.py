"""Durable writes by Qdrant's embedded engine, timed on request.

Started by a bench with a folder as its argument. Each line on standard input is `ROWS TIMES`: it
upserts ROWS rows of 128 dimensions TIMES times, flushes after each as a durable write must, and
answers with the microseconds of each, on one line.
"""

import sys
import time

from qdrant_edge import Distance, EdgeConfig, EdgeShard, EdgeVectorParams, Point, UpdateOperation

DIMS = 128


def vector(row):
    return [((row * 31 + dim * 17) % 997) / 997.0 for dim in range(DIMS)]


def main(folder):
    shard = EdgeShard.create(
        folder, EdgeConfig(vectors=EdgeVectorParams(size=DIMS, distance=Distance.Euclid))
    )
    row = 0
    for line in sys.stdin:
        rows, times = map(int, line.split())
        taken = []
        for _ in range(times):
            points = [Point(row + n, vector(row + n), {}) for n in range(1, rows + 1)]
            row += rows
            began = time.perf_counter_ns()
            shard.update(UpdateOperation.upsert_points(points))
            shard.flush()
            taken.append((time.perf_counter_ns() - began) // 1000)
        print(*taken, flush=True)


main(sys.argv[1])
