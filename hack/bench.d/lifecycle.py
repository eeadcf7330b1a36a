"""Parts about the life of a container: how long its commands take, what they call, and what they leave in memory."""

import ctypes
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import time

from laboratory import compare, interleaved, table

COMMANDS = ["create", "start", "exec", "delete"]


def measure_startup(laboratory, runtimes, runs):
    samples = {name: [] for name in runtimes}
    for name in interleaved(list(runtimes), runs):
        samples[name].append(laboratory.run(runtimes[name], "--version")[1])
    compare(f"`--version`, {runs} runs each", samples)


def measure_run(laboratory, runtimes, runs, layout):
    """`run` in the foreground; on pure v2 beside the same work done by a program that does nothing else."""
    bundle = laboratory.bundle("noop")
    commands = {name: [path, "--root", laboratory.states / name, "run", "--bundle", bundle]
                for name, path in runtimes.items()}
    if layout == "pure cgroup v2":
        commands["floor"] = [laboratory.folder / "floor"]
    samples, peaks = {name: [] for name in commands}, {name: [] for name in commands}
    for turn, name in enumerate(interleaved(list(commands), runs + 1)):
        rest = [bundle / "rootfs", "/noop"] if name == "floor" else []
        _, duration, peak = laboratory.run(*commands[name], laboratory.name(), *rest)
        if turn >= len(commands):  # the first round warms up
            samples[name].append(duration)
            peaks[name].append(peak)
    compare(f"`run` of a static no-op in six namespaces, {layout}, {runs} runs each", samples, peaks)


def measure_crowd(laboratory, runtimes, sizes, runs):
    """Containers that are started at the same moment: until the last one is gone."""
    bundle = laboratory.bundle("noop")
    rows = []
    for size in sizes:
        samples = {name: [] for name in runtimes}
        for name in interleaved(list(runtimes), runs):
            samples[name].append(laboratory.run(
                runtimes[name], "--root", laboratory.states / name, "run", "--bundle", bundle, laboratory.name("{}"),
                copies=size)[1])
        medians = {name: statistics.median(times) for name, times in samples.items()}
        rows.append([str(size), *(f"{value:.1f} ms ({value / medians['stasis']:.2f})" for value in medians.values())])
    table(f"`run` of as many containers at once, pure cgroup v2, {runs} runs each (ratio to stasis)",
          ["", *runtimes], rows)


class Life:
    """One container of one runtime that waits for ever, and the commands of its life."""

    def __init__(self, laboratory, name, path, bundle):
        self.laboratory, self.runtime, self.bundle = laboratory, [path, "--root", laboratory.states / name], bundle
        self.id = laboratory.name()

    def words(self, command, *more):
        return [*self.runtime, command, *{
            "create": ["--bundle", self.bundle, self.id], "exec": [self.id, "/noop"]}.get(command, [self.id]), *more]

    def time(self, command):
        return self.laboratory.run(*self.words(command))[1:]

    def state(self):
        return json.loads(subprocess.run(self.words("state"), check=True, stdout=subprocess.PIPE).stdout)

    def end(self):
        """Kills the first process, which has become this process's child (see `adopt_orphans`)."""
        pid = self.state()["pid"]
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def adopt_orphans():
    """What a runtime leaves behind becomes a child of this process: it can be waited for, and counted."""
    PR_SET_CHILD_SUBREAPER = 36
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def measure_commands(laboratory, runtimes, runs):
    bundle = laboratory.bundle("idle")
    samples = {name: {command: [] for command in COMMANDS} for name in runtimes}
    for turn, name in enumerate(interleaved(list(runtimes), runs + 1)):
        life = Life(laboratory, name, runtimes[name], bundle)
        for command in COMMANDS:
            if command == "delete":
                life.end()
            figures = life.time(command)
            if turn >= len(runtimes):  # the first round warms up
                samples[name][command].append(figures)
    rows = []
    for command in COMMANDS:
        medians = {name: [statistics.median(column) for column in zip(*samples[name][command])] for name in runtimes}
        base, _ = medians["stasis"]
        rows.append([f"`{command}`"] + [f"{duration:.2f} ms ({duration / base:.2f}), {peak:.1f} MiB"
                                        for duration, peak in medians.values()])
    table(f"Single commands, pure cgroup v2, {runs} runs each: median (ratio to stasis), peak memory",
          ["", *runtimes], rows)


def proportional_memory(pid):
    """KiB of a process's memory; pages that it shares with others count in part."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"Pss: *(\d+)", text)[1])


def children():
    pids = subprocess.run(["ps", "-o", "pid=", "--ppid", str(os.getpid())], stdout=subprocess.PIPE, text=True).stdout
    return {int(pid) for pid in pids.split() if pathlib.Path(f"/proc/{pid}/exe").exists()}


def measure_idle(laboratory, runtimes):
    """What there is of a container that waits: its own process, what the runtime left beside it, and its state."""
    bundle = laboratory.bundle("idle")
    columns = {}
    for name, path in runtimes.items():
        life = Life(laboratory, name, path, bundle)
        life.time("create")
        pid = life.state()["pid"]
        waiting = proportional_memory(pid)
        life.time("start")
        left = children() - {pid}
        files = [file for file in (laboratory.states / name).rglob("*") if file.is_file()]
        columns[name] = [
            str(len(left)), f"{sum(map(proportional_memory, left))} KiB", f"{waiting} KiB",
            f"{proportional_memory(pid)} KiB", f"{sum(file.stat().st_blocks for file in files) // 2} KiB"]
        life.end()
        life.time("delete")
    labels = ["processes left by the runtime", "their memory", "the container's process, created and not started",
              "the container's process, started", "files of its state, on tmpfs"]
    table("An idle detached container (memory as PSS)", ["", *runtimes],
          [[label, *(column[at] for column in columns.values())] for at, label in enumerate(labels)])


def traced(laboratory, words, stays=False):
    """Executed programs and system calls of a command and all its processes. `stays`: one of them outlives it.

    With -I1 a signal ends strace, which lets go of that process; it would wait for its end otherwise.
    """
    result = laboratory.folder / "calls"
    with open(laboratory.folder / "log", "w") as log:
        strace = subprocess.Popen(["strace", "-I1", "-f", "-q", "-o", result, *words], stdin=subprocess.DEVNULL, stdout=log,
                                  stderr=log)
    if stays:
        runtime = re.compile(r"^(\d+) .*execve")
        first = None
        while first is None or pathlib.Path(f"/proc/{first}").exists():
            time.sleep(0.01)
            found = runtime.match(result.read_text()) if result.exists() else None
            first = found and found[1]
        strace.terminate()
    strace.wait()
    lines = [line for line in result.read_text(errors="replace").splitlines()
             if re.match(r"\d+ +\w+\(", line)]  # no second halves of calls that were interrupted, no ends of processes
    return sum("execve" in line.split("(")[0] for line in lines), len(lines)


def measure_calls(laboratory, runtimes):
    idle, noop = laboratory.bundle("idle"), laboratory.bundle("noop")
    columns = {}
    for name, path in runtimes.items():
        life = Life(laboratory, name, path, idle)
        counts = []
        for command in COMMANDS:
            if command == "delete":
                life.end()
            counts.append(traced(laboratory, life.words(command), stays=command == "create"))
        run = Life(laboratory, name, path, noop)
        counts.append(traced(laboratory, [*run.runtime, "run", "--bundle", noop, run.id]))
        columns[name] = counts
    table("Programs executed and system calls, all processes of the command, pure cgroup v2", ["", *runtimes],
          [[f"`{command}`", *(f"{columns[name][at][0]} / {columns[name][at][1]}" for name in runtimes)]
           for at, command in enumerate([*COMMANDS, "run"])])
