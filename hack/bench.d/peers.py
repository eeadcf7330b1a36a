"""The part `peers`: stasis beside runc with CRIU, and crun, all of today, in a root of Debian forky (hack/peers.d/root.sh).

Peers run only in mount, pid, network and cgroup namespaces of their own, and stasis runs there too, so that all are alike.
This file is both ends: `measure_peers` outside prepares the root, and the program at the end measures inside.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from checkpoints import Stopwatch, warm_up
from laboratory import STASIS, Laboratory, compare, interleaved, table

HERE = pathlib.Path(__file__).resolve().parent
PREPARE = """set -euo pipefail
source hack/lib.sh
source hack/peers.d/root.sh
make_root
rm -rf "$root/bench"
mkdir "$root/bench"
cp -r hack/bench.d "$root/bench"
cp -r "$1" "$root/bench/programs"
cp "$2" "$root/bench/stasis"
if [ "$3" ]; then cp "$3" "$root/bench/before"; fi
shift 3
in_root STASIS=/bench/stasis bash -c 'python3 /bench/bench.d/peers.py "$@"; exit' bash "$@"
"""
PURE_V2 = "umount -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; mount -t tmpfs tmpfs /run"

# Name, program and its arguments, and the goals: stasis in parts of CRIU's time. A note in place of a number is not compared.
STANDS, WHOLE, RESTORE = "still", "checkpoint", "first instruction"
LABELS = {STANDS: "stands still, with --leave-running", WHOLE: "checkpoint, whole command",
          "synced": "checkpoint, and sync(1) of what is not durable", RESTORE: "restore, to the first instruction"}
CASES = {
    "small": ("a small container (1 MiB)", ["stopwatch", "1"], {}),
    "large": ("1 GiB", ["stopwatch", "1024"], {STANDS: 1 / 3, WHOLE: 1, "synced": 1 / 2, RESTORE: 1 / 3}),
    "crowd": ("200 processes of 4 threads", ["crowd", "200", "4", "0", "0"], {STANDS: 1 / 8, WHOLE: 1 / 5, RESTORE: 1 / 4}),
}
# The hard limit of open files is 20,000 on these machines.
ITEMS = {"threads": [200, 2000], "mappings": [200, 2000, 20000], "descriptors": [200, 2000, 19000]}


def measure_peers(laboratory, runs, before, cases):
    subprocess.run(["bash", "-c", PREPARE, "bash", laboratory.folder, STASIS, before.resolve() if before else "", "--runs", str(runs), *cases],
                   cwd=HERE.parent.parent, check=True)


class Peers:
    """The runtimes, by name: the words that begin their commands."""

    def __init__(self, laboratory):
        self.laboratory = laboratory
        self.all = {"stasis": [STASIS], "runc + CRIU": ["runc"]}
        if pathlib.Path("/bench/before").exists():
            self.all["before"] = ["/bench/before"]

    def subject(self, name, program, *words):
        """A container of that runtime: standard streams nowhere, no limits, so that CRIU takes it on."""
        return PeerStopwatch(self.laboratory, *words, runtime=self.all[name], program=program)


class PeerStopwatch(Stopwatch):
    rests = True

    def prepare(self):
        config = json.loads((self.bundle / "config.json").read_text())
        config["process"].pop("rlimits", None)
        (self.bundle / "config.json").write_text(json.dumps(config))

    def command(self, *words):
        log = self.bundle / "log"
        try:
            return self.laboratory.run(*self.runtime, "--log", log, "--root", self.laboratory.states / "root", *words,
                                       log="/dev/null")
        except SystemExit as failure:
            said = "".join(file.read_text(errors="replace")[-3000:]
                           for file in [log, self.bundle / "dump.log", self.bundle / "restore.log"] if file.exists())
            sys.exit(f"{failure}\n{said}")

    def ask(self):
        gaps = super().ask()
        if self.rests:
            self.command("kill", self.id, "STOP")
        return gaps

    def cycle(self, medium):
        """It rests between its turns: it would take a processor from the others."""
        self.rests = False
        self.command("kill", self.id, "CONT")
        self.ask()
        row = super().cycle(medium)
        row["synced"] = row["checkpoint"] + row["sync"]
        self.command("kill", self.id, "STOP")
        return row

    def written(self, image):
        """How long what the checkpoint has written takes to be durable (ms)."""
        return {"sync": self.laboratory.run("sync", "-f", image)[1]}


def medians(subjects, medium, runs):
    """Of each subject's cycles, which take turns; the first round warms up."""
    rows = {name: [] for name in subjects}
    for turn, name in enumerate(interleaved(list(subjects), runs + 1)):
        row = subjects[name].cycle(medium)
        if turn >= len(subjects):
            rows[name].append(row)
    return {name: {key: statistics.median(row[key] for row in rows[name]) for key in rows[name][0]} for name in rows}


def ratios(figures, goal=None):
    """A line's cells: the figures, stasis's in parts of the others'."""
    stasis = figures["stasis"]
    cells = [f"{value:.1f} ms" for value in figures.values()]
    cells += [f"{stasis / value:.3f}" for name, value in figures.items() if name != "stasis"]
    return cells + ([f"{goal:.3f}: {'met' if stasis <= goal * figures['runc + CRIU'] else '**missed**'}"] if goal else [""])


def measure_case(peers, case, media, runs):
    title, words, goals = CASES[case]
    for medium, folder in media.items():
        subjects = {}
        try:
            for name in peers.all:
                subjects[name] = peers.subject(name, *words)
            found = medians(subjects, folder, runs)
        finally:
            for subject in subjects.values():
                subject.end()
        if medium == "tmpfs":
            goals = {**goals, "synced": None, **({WHOLE: 1 / 2} if case == "large" else {})}
        rows = [[label, *ratios({name: found[name][key] for name in found}, goals.get(key))]
                for key, label in LABELS.items() if medium == "disk" or key != "synced"]
        others = [name for name in found if name != "stasis"]
        table(f"{title}, {medium}, {runs} runs each", ["", *found, *(f"part of {name}'s" for name in others), "goal"], rows)
        peaks = [f"{name}: checkpoint {found[name]['checkpoint peak']:.1f} MiB, restore {found[name]['restore peak']:.1f} MiB"
                 for name in found]
        print(f"\nPeak memory. {'; '.join(peaks)}.")


def measure_items(peers, media, runs):
    """Threads, mappings and descriptors of one process: how long each takes, beyond a process with none of them."""
    def measure(threads=1, mappings=0, descriptors=0):
        subjects = {}
        try:
            for name in peers.all:
                subjects[name] = peers.subject(name, "crowd", 1, threads, mappings, descriptors)
            return medians(subjects, media["tmpfs"], runs)
        finally:
            for subject in subjects.values():
                subject.end()
    none = measure()
    for kind, counts in ITEMS.items():
        rows = []
        for count in counts:
            found = measure(**{kind: count})
            for key in [STANDS, WHOLE, RESTORE]:
                each = [f"{1000 * (found[name][key] - none[name][key]) / count:.1f} us" for name in found]
                goal = 1 / 5 if count == counts[-1] else None
                rows.append([f"{count:,}: {LABELS[key]}", *ratios({name: found[name][key] for name in found}, goal), *each])
        others = [name for name in peers.all if name != "stasis"]
        table(f"{kind} of one process, tmpfs, {runs} runs each",
              ["", *peers.all, *(f"part of {name}'s" for name in others), "goal", *(f"{name}, each" for name in peers.all)], rows)


def measure_run(peers, runs):
    bundle = peers.laboratory.bundle("noop")
    commands = {"stasis": STASIS, "crun": "crun", "runc": "runc", "floor": peers.laboratory.folder / "floor"}
    if "before" in peers.all:
        commands["before"] = peers.all["before"][0]
    samples, peaks = {name: [] for name in commands}, {name: [] for name in commands}
    for turn, name in enumerate(interleaved(list(commands), runs + 1)):
        words = [peers.laboratory.name(), bundle / "rootfs", "/noop"] if name == "floor" else \
            ["--root", peers.laboratory.states / name, "run", "--bundle", bundle, peers.laboratory.name()]
        _, duration, peak = peers.laboratory.run(commands[name], *words)
        if turn >= len(commands):
            samples[name].append(duration)
            peaks[name].append(peak)
    compare(f"`run` of a static no-op, {runs} runs each", samples, peaks)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--runs", type=int)
    arguments = parser.parse_args()
    cases = arguments.cases or ["run", *CASES, "items"]
    subprocess.run(["sh", "-euc", PURE_V2], check=True)
    laboratory = Laboratory(pathlib.Path("/bench/programs"))
    tmpfs = pathlib.Path(tempfile.mkdtemp(prefix="stasis-bench.", dir="/dev/shm"))
    media = {"disk": laboratory.folder / "disk", "tmpfs": tmpfs}
    media["disk"].mkdir()
    said = [subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()[0]
            for words in [[STASIS, "--version"], ["runc", "--version"], ["criu", "--version"], ["crun", "--version"]]]
    print(f"{'; '.join(said)}; kernel {os.uname().release}")
    peers = Peers(laboratory)
    try:
        if "run" in cases:
            measure_run(peers, arguments.runs)
        if set(cases) & set(CASES):
            warm_up()
        for case in CASES:
            if case in cases:
                measure_case(peers, case, media, arguments.runs)
        if "items" in cases:
            measure_items(peers, media, max(arguments.runs // 3, 1))
    finally:
        laboratory.clear()
        shutil.rmtree(tmpfs)


if __name__ == "__main__":
    main()
