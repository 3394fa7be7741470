"""Questions to DuckDB over Parquet files, timed on request.

Started by a bench with the files as its arguments. Each line on standard input is a JSON list of questions over the view
`docs`: all are asked, and answered by one line with the rows of the last and the milliseconds of CPU that one took, of all
threads.
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
        questions = json.loads(line)
        began = time.process_time_ns()
        for sql in questions:
            rows = database.execute(sql).fetchall()
        cpu_ms = (time.process_time_ns() - began) / 1e6 / len(questions)
        print(json.dumps({"rows": rows, "cpu_ms": cpu_ms}), flush=True)


main(sys.argv[1:])
