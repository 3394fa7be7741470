"""Questions to DuckDB over Parquet files, timed on request.

Started by a bench with the files as its arguments. Each line on standard input is a JSON object with `sql` and `times`:
the question, over the view `docs`, is asked that often, and answered by one line with its rows and the milliseconds of CPU
that one took, of all threads.
"""

import json
import sys
import time

import duckdb


def main(files):
    database = duckdb.connect()
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in files)
    database.execute(f"create view docs as select * from read_parquet([{names}])")
    for line in sys.stdin:
        order = json.loads(line)
        began = time.process_time_ns()
        for _ in range(order["times"]):
            rows = database.execute(order["sql"]).fetchall()
        cpu_ms = (time.process_time_ns() - began) / 1e6 / order["times"]
        print(json.dumps({"rows": rows, "cpu_ms": cpu_ms}), flush=True)


main(sys.argv[1:])
