"""What the parts of hack/bench share."""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
STASIS = pathlib.Path(os.environ.get("STASIS", HERE.parent.parent / ".build" / "release" / "stasis"))
NAMESPACES = ["pid", "network", "ipc", "uts", "mount", "cgroup"]


class Laboratory:
    """A temporary folder with the measuring programs in it, and one on tmpfs for the runtimes' state."""

    def __init__(self, programs=None):
        """`programs`: a folder where they are compiled already."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="stasis-bench.", dir="/var/tmp"))
        self.states = pathlib.Path(tempfile.mkdtemp(prefix="stasis-bench.", dir="/run"))
        self.count = 0
        for source in HERE.glob("*.c"):
            if programs:
                shutil.copy(programs / source.stem, self.folder)
            else:
                subprocess.run(["gcc", "-static", "-O2", "-o", self.folder / source.stem, source], check=True)

    def name(self, suffix=""):
        """An id that nobody else uses."""
        self.count += 1
        return f"bench-{os.getpid()}-{self.count}-{suffix}"

    def run(self, *command, copies=1, log=None):
        """The command's start (ns of real time), duration (ms) and peak memory (MiB); `{}` is the copy's number."""
        result = self.folder / "measured"
        output = open(log or self.folder / "log", "w")
        subprocess.run([self.folder / "measure", result, str(copies), *command], stdin=subprocess.DEVNULL,
                       stdout=output, stderr=output, check=True)
        start, duration, peak, status = map(int, result.read_text().split())
        if status:
            sys.exit(f"{' '.join(map(str, command))} ended with {status}: {pathlib.Path(output.name).read_text()}")
        return start, duration / 1e6, peak / 1024

    def bundle(self, program, *arguments):
        """A bundle for one static program, the same for every runtime. The others are in its root too."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{program}.", dir=self.folder))
        for name in ["state", "proc", "dev", "sys"]:
            (folder / "rootfs" / name).mkdir(parents=True)
        for source in HERE.glob("*.c"):
            shutil.copy(self.folder / source.stem, folder / "rootfs")
        subprocess.run([STASIS, "spec"], cwd=folder, check=True)
        config = json.loads((folder / "config.json").read_text())
        config["ociVersion"] = "1.0.2"  # the newest that Debian's crun knows
        config["process"].update(terminal=False, args=[f"/{program}", *arguments])
        config["root"]["readonly"] = False
        del config["linux"]["resources"]  # device rules: crun needs CAP_SYS_RESOURCE for them, which not every machine grants
        config["linux"]["namespaces"] = [{"type": name} for name in NAMESPACES]
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    def clear(self):
        for left in pathlib.Path("/sys/fs/cgroup").rglob(f"bench-{os.getpid()}-*"):
            for folder, _, _ in os.walk(left, topdown=False):
                os.rmdir(folder)  # of a runtime that failed
        shutil.rmtree(self.folder)
        shutil.rmtree(self.states)


def interleaved(names, runs):
    """A B C, C B A, A B C, ...: every name `runs` times."""
    for turn in range(runs):
        yield from names if turn % 2 == 0 else reversed(names)


def table(title, heads, rows):
    print(f"\n### {title}\n\n| {' | '.join(heads)} |\n|{'|'.join([' --- '] * len(heads))}|")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    sys.stdout.flush()


def compare(title, samples, peaks=None):
    """A table of durations, with each as a ratio of stasis's, and the peaks of memory if they were measured."""
    base = statistics.median(samples["stasis"])
    rows = [[name, f"{statistics.median(times):.2f} ms", f"{min(times):.2f} ms", f"{max(times):.2f} ms",
             f"{statistics.median(times) / base:.2f}"] for name, times in samples.items()]
    heads = ["", "median", "fastest", "slowest", "ratio to stasis"]
    if peaks:
        heads.append("peak memory")
        for row in rows:
            row.append(f"{statistics.median(peaks[row[0]]):.1f} MiB")
    table(title, heads, rows)
