"""The part `memory`: checkpoints and restores of a container that holds memory."""

import os
import pathlib
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

from laboratory import STASIS, interleaved, table


def frozen_time(stats):
    """`frozen_time` (ms) of a stats-dump file: two magics, a size, then field 1 of the message in field 1."""
    def fields(data):
        def number():
            nonlocal at
            value = shift = 0
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    return value
        at, found = 0, {}
        while at < len(data):
            key = number()
            value = number()
            if key & 7 == 2:
                value, at = data[at:at + value], at + value
            found[key >> 3] = value
        return found
    content = stats.read_bytes()
    size, = struct.unpack_from("<I", content, 8)
    return fields(fields(content[12:12 + size])[1])[2] / 1000


class Stopwatch:
    """A container that times from inside how long it stood still (watch.h)."""

    def __init__(self, laboratory, *words, runtime=[STASIS], program="stopwatch"):
        self.laboratory = laboratory
        self.runtime = runtime
        self.bundle = laboratory.bundle(program, *map(str, words))
        self.state = self.bundle / "rootfs" / "state"
        self.id = laboratory.name(str(words[0]))
        self.prepare()
        self.command("run", "--detach", "--bundle", self.bundle, self.id)
        self.wait("ready", 60)
        self.ask()

    def prepare(self):
        """What the bundle needs before the container runs."""

    def written(self, image):
        """Figures about what a checkpoint has written."""
        return {}

    def command(self, *words):
        return self.laboratory.run(*self.runtime, "--root", self.laboratory.folder / "root", *words,
                                   log=self.laboratory.folder / f"log-{words[0]}")

    def wait(self, name, seconds):
        deadline = time.monotonic() + seconds
        while not (self.state / name).exists():
            if time.monotonic() > deadline:
                sys.exit(f"the container wrote no /state/{name}")
            time.sleep(0.002)

    def ask(self):
        """The largest gaps since the last question: of monotonic time, of real time (ns), and when that ended (ns)."""
        (self.state / "gap").unlink(missing_ok=True)
        self.command("kill", self.id, "USR1")
        self.wait("gap", 60)
        *gaps, memory = (self.state / "gap").read_text().split()
        if memory != "whole":
            sys.exit("the container's memory changed")
        return [int(gap) for gap in gaps]

    def put_away(self, image):
        """Empties it, for its space. To remove the files would slow the next ones down, where ext4 has no journal
        (findings/ext4-passes-over-freed-inodes.sh)."""
        for file in image.iterdir():
            os.truncate(file, 0)
        self.laboratory.count += 1
        image.rename(image.with_name(f"{image.name}.{self.laboratory.count}"))

    def cycle(self, medium):
        """One checkpoint that leaves it running, one that ends it, one restore: a row of figures."""
        image = medium / self.id
        row = {}
        paths = ["--image-path", image, "--work-path", self.bundle]
        time.sleep(0.02)
        row["quiet"] = self.ask()[0] / 1e6
        _, row["snapshot"], row["snapshot peak"] = self.command("checkpoint", "--leave-running", *paths, self.id)
        row["still"] = self.ask()[0] / 1e6
        row["frozen_time"] = frozen_time(self.bundle / "stats-dump")
        self.put_away(image)
        _, row["checkpoint"], row["checkpoint peak"] = self.command("checkpoint", *paths, self.id)
        row.update(self.written(image))
        row["image"] = sum(file.stat().st_size for file in image.iterdir()) / 2**20
        start, row["restore"], row["restore peak"] = self.command(
            "restore", "--detach", "--bundle", self.bundle, *paths, self.id)
        self.put_away(image)
        row["first instruction"] = (self.ask()[2] - start) / 1e6
        return row

    def refusal(self):
        """How long it stood still for a checkpoint that was refused (ms)."""
        time.sleep(0.02)
        self.ask()
        image = self.laboratory.folder / "refused"
        refused = subprocess.run(
            [*self.runtime, "--root", self.laboratory.folder / "root", "checkpoint", "--image-path", image, self.id],
            stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if refused.returncode != 1 or "io_uring" not in refused.stderr:
            sys.exit(f"the checkpoint was not refused: {refused.stderr}")
        return self.ask()[0] / 1e6

    def end(self):
        self.command("delete", "--force", self.id)


MEMORY_ROWS = {
    "snapshot": "checkpoint --leave-running, whole command", "still": "stood still, seen from inside",
    "frozen_time": "frozen_time in stats-dump", "quiet": "largest gap without a checkpoint",
    "checkpoint": "checkpoint, whole command", "restore": "restore, whole command",
    "first instruction": "restore, start to first instruction",
}
GOALS = {("still", 1): "< 10 ms", ("still", 1024): "< 500 ms", ("first instruction", 1): "< 25 ms"}
CRIU = {("still", 1): "124-156 ms", ("still", 1024): "656-738 ms", ("first instruction", 1): "175-199 ms",
        ("first instruction", 1024): "764-1,006 ms"}


def media(laboratory, tmpfs):
    disk = laboratory.folder / "disk"
    disk.mkdir(exist_ok=True)
    return {"disk": disk, "tmpfs": pathlib.Path(tmpfs)}


def measure_memory(laboratory, size, runs, tmpfs):
    folders = media(laboratory, tmpfs)
    watch = Stopwatch(laboratory, size)  # one for both media: it keeps a processor busy
    rows = {name: [] for name in folders}
    try:
        for turn, name in enumerate(interleaved(list(folders), runs + 1)):
            row = watch.cycle(folders[name])
            if turn >= len(folders):
                rows[name].append(row)
    finally:
        watch.end()
    median = lambda name, key: statistics.median(row[key] for row in rows[name])
    table(f"{size} MiB of incompressible memory, {runs} runs each", ["", "disk", "tmpfs", "goal", "runc + CRIU 4.2"], [
        [label, *(f"{median(name, key):.1f} ms" for name in folders), GOALS.get((key, size), ""),
         CRIU.get((key, size), "")] for key, label in MEMORY_ROWS.items()])
    print(f"\nPeak memory of stasis: checkpoint {median('disk', 'checkpoint peak'):.1f} MiB, restore "
          f"{median('disk', 'restore peak'):.1f} MiB. The image: {median('disk', 'image'):.1f} MiB.")


def measure_refusal(laboratory, runs):
    rows = []
    for processes in [1, 50]:
        watch = Stopwatch(laboratory, 1, processes)
        still = [watch.refusal() for _ in range(runs)]
        watch.end()
        rows.append([str(processes), f"{statistics.median(still):.1f} ms", f"{max(still):.1f} ms"])
    table(f"a checkpoint that is refused, {runs} runs: how long the container stood still",
          ["processes", "median", "longest"], rows)


def measure_against(laboratory, before, size, runs, tmpfs):
    """Another build of stasis in the same run."""
    runtimes = {"stasis": [STASIS], "before": [before]}
    for name, medium in media(laboratory, tmpfs).items():
        rows = {build: [] for build in runtimes}
        for turn, build in enumerate(interleaved(list(runtimes), runs + 1)):
            # One container at a time: each keeps a processor busy.
            watch = Stopwatch(laboratory, size, runtime=runtimes[build])
            row = watch.cycle(medium)
            watch.end()
            if turn >= len(runtimes):
                rows[build].append(row)
        def line(key, label):
            now, then = (statistics.median(row[key] for row in rows[build]) for build in runtimes)
            return [label, f"{now:.2f} ms", f"{then:.2f} ms", f"{now / then:.3f}"]
        table(f"{size} MiB on {name}, {runs} runs each", ["", "stasis", str(before), "ratio"],
              [line(key, label) for key, label in MEMORY_ROWS.items()])
        peaks = [statistics.median(row[key] for row in rows["stasis"]) for key in ["checkpoint peak", "restore peak"]]
        print(f"\nPeak memory: checkpoint {peaks[0]:.1f} MiB, restore {peaks[1]:.1f} MiB.")


def warm_up():
    """Touches memory that the machine may never have touched: on a virtual one the first time is up to eight times slower."""
    free = int(re.search(r"MemAvailable: *(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) // 1024
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        block = bytes(4 << 20)
        for _ in range(min(free // 2, 12 << 10) // 4):
            file.write(block)
