"""One way to put rows into a table: way.py WAY PORT TABLE ROWS. Prints what it took, the connection and the making of the rows apart."""

import asyncio
import io
import json
import sys
import time

way, port, table, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
rows = [(i, f"name of row {i}", i * 0.25, i * 1_000_003) for i in range(count)]
columns = ["id", "name", "share", "total"]


def said(started, cpu):
    print(json.dumps({"rows": count, "seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}))


async def by_asyncpg():
    import asyncpg

    connection = await asyncpg.connect(host="127.0.0.1", port=port, user="postgres", database="postgres")
    await connection.fetch("select 1")
    started, cpu = time.perf_counter(), time.process_time()
    if way == "asyncpg-copy":
        await connection.copy_records_to_table(table, records=rows, columns=columns)
    else:
        await connection.executemany(f"insert into {table} values ($1, $2, $3, $4)", rows)
    said(started, cpu)
    await connection.close()


def by_psycopg2():
    import psycopg2
    import psycopg2.extras

    connection = psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres")
    cursor = connection.cursor()
    cursor.execute("select 1")
    started, cpu = time.perf_counter(), time.process_time()
    if way == "psycopg2-values":
        psycopg2.extras.execute_values(cursor, f"insert into {table} values %s", rows, page_size=1000)
    else:
        text = io.StringIO()
        for row in rows:
            text.write("\t".join(map(str, row)) + "\n")
        text.seek(0)
        cursor.copy_expert(f"copy {table} from stdin", text)
    connection.commit()
    said(started, cpu)
    connection.close()


if way.startswith("asyncpg"):
    asyncio.run(by_asyncpg())
else:
    by_psycopg2()
