"""Ways to put 100,000 rows (int, text, float8, bigint) into Postgres, side by side: compare.py PROGRAM OUT [ROUNDS].

Starts a Postgres of its own on a free port of 127.0.0.1 (fsync on, as installed), lets every way have its turn in each round, each with a new
table and a program of its own, checks the rows, prints medians and writes what was measured."""

import glob
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROWS = 100_000
HERE = os.path.dirname(os.path.abspath(__file__))
WAYS = [
    ("anabranch", "anabranch `copy_in`"),
    ("asyncpg-copy", "asyncpg `copy_records_to_table`"),
    ("psql-copy", "psql `\\copy` (csv)"),
    ("psycopg2-copy", "psycopg2 `copy_expert` (text)"),
    ("asyncpg-many", "asyncpg `executemany`"),
    ("psycopg2-values", "psycopg2 `execute_values` (1,000 a page)"),
]


class Server:
    """A Postgres of our own."""

    def __init__(self, folder):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[-2]))
        self.programs = found[-1] if found else os.path.dirname(shutil.which("postgres") or "")
        if not os.path.exists(os.path.join(self.programs, "initdb")):
            sys.exit("error: Postgres is not there (Debian and Ubuntu: sudo apt-get install postgresql)")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        # Postgres refuses to run as root.
        self.who = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
        if self.who:
            shutil.chown(folder, "postgres")
        self.run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D", folder + "/data")
        self.process = subprocess.Popen(
            [*self.who, self.programs + "/postgres", "-D", folder + "/data", "-p", str(self.port), "-k", folder, "-h", "127.0.0.1"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
        until = time.monotonic() + 20
        while self.said("select 1", check=False) != "1":
            if time.monotonic() > until or self.process.poll() is not None:
                sys.exit("error: Postgres did not start")
            time.sleep(0.1)

    def run(self, program, *args):
        subprocess.run([*self.who, f"{self.programs}/{program}", *args], check=True, stdout=subprocess.DEVNULL, cwd=self.folder)

    def psql(self, *args):
        return [self.programs + "/psql", "-X", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", *args]

    def said(self, statement, check=True):
        done = subprocess.run(self.psql("-At", "-c", statement), check=check, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def turn(way, program, server, csv):
    """One way, once: what it took and cost."""
    server.said("drop table if exists target; create table target (id int, name text, share float8, total bigint); checkpoint")
    if way == "psql-copy":
        # psql tells time to the microsecond, its own start apart.
        script = f"\\timing on\n\\copy target from '{csv}' with (format csv)\n"
        done = subprocess.run(server.psql("-f", "-"), input=script, check=True, capture_output=True, text=True, timeout=120)
        seconds = float(done.stdout.split("Time: ")[1].split(" ms")[0]) / 1000
        measured = {"seconds": seconds, "cpu_seconds": None}
    else:
        if way == "anabranch":
            command = [program, f"postgres://postgres@127.0.0.1:{server.port}/postgres?sslmode=disable", "target", str(ROWS)]
        else:
            command = [sys.executable, HERE + "/way.py", way, str(server.port), "target", str(ROWS)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
        measured = json.loads(done.stdout)
    found = server.said("select count(*), sum(id), sum(total), sum(share), sum(length(name)) from target")
    numbers = range(ROWS)
    wanted = [ROWS, sum(numbers), sum(i * 1_000_003 for i in numbers), sum(numbers) * 0.25, sum(len(f"name of row {i}") for i in numbers)]
    if [float(number) for number in found.split("|")] != [float(number) for number in wanted]:
        sys.exit(f"error: {way} put other rows into the table: {found}")
    return {"seconds": measured["seconds"], "cpu_seconds": measured["cpu_seconds"]}


def main():
    program, out = sys.argv[1], sys.argv[2]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    with tempfile.TemporaryDirectory(prefix="anabranch-copy-") as folder:
        csv = folder + "/rows.csv"
        with open(csv, "w") as file:
            file.writelines(f"{i},name of row {i},{i * 0.25},{i * 1_000_003}\n" for i in range(ROWS))
        os.chmod(folder, 0o755)
        home = folder + "/server"
        os.mkdir(home)
        server = Server(home)
        try:
            version = server.said("show server_version")
            turns = {way: [] for way, _ in WAYS}
            for number in range(rounds):
                # There and back, so that no way is always the first.
                for way, _ in WAYS if number % 2 == 0 else reversed(WAYS):
                    turns[way].append(turn(way, program, server, csv))
        finally:
            server.stop()
    report(turns, version, out, rounds)


def report(turns, version, out, rounds):
    """Prints the table and writes the figures."""
    middle = {way: statistics.median(turn["seconds"] for turn in of_way) for way, of_way in turns.items()}
    ratios = {
        way: statistics.median(one["seconds"] / base["seconds"] for one, base in zip(of_way, turns["asyncpg-copy"]))
        for way, of_way in turns.items()
    }
    print(f"{ROWS:,} rows into PostgreSQL {version}, medians of {rounds} rounds\n")
    print("| way | seconds | rows/s | × asyncpg COPY | client's CPU s |\n|---|---|---|---|---|")
    for way, title in WAYS:
        cpu = statistics.median(turn["cpu_seconds"] or 0 for turn in turns[way])
        print(f"| {title} | {middle[way]:.3f} | {ROWS / middle[way]:,.0f} | {ratios[way]:.2f} | {f'{cpu:.3f}' if cpu else '–'} |")
    figures = {
        "command": os.environ.get("BENCH_COMMAND"),
        "commit": os.environ.get("BENCH_COMMIT"),
        "date": os.environ.get("BENCH_DATE"),
        "cores": os.cpu_count(),
        "postgres": version,
        "rows": ROWS,
        "ways": {way: {"median_seconds": middle[way], "to_asyncpg_copy": ratios[way], "rounds": turns[way]} for way, _ in WAYS},
    }
    with open(out, "w") as file:
        json.dump(figures, file, indent=2)
        file.write("\n")
    print(f"\nwritten to {out}")


main()
