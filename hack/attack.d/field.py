"""What the parts of hack/attack share: commands under watch, containers that answer, and what must hold after each."""

import dataclasses
import functools
import json
import os
import pathlib
import random
import resource
import select
import shutil
import signal
import subprocess
import tempfile
import time

PACKAGE = pathlib.Path(__file__).resolve().parent.parent.parent
STASIS = pathlib.Path(os.environ.get("STASIS", PACKAGE / ".build/release/stasis"))
WORKLOADS = PACKAGE / "Tests/Workloads"
NOTHING = PACKAGE / "hack/bench.d/noop.c"
PEAK = 64 << 10  # KiB
CGROUPS = pathlib.Path("/sys/fs/cgroup")
PATIENCE = 20  # seconds for one command
TRAPS = {signal.SIGILL, signal.SIGTRAP, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE}
RIGHTS = ["Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
          "Seccomp_filters"]


class Fault(Exception):
    """What the runtime did and must not do."""


@dataclasses.dataclass
class Outcome:
    words: list
    status: int  # negative: the signal that ended it
    seconds: float
    peak: int
    errors: str

    def __str__(self):
        said = self.errors.strip().replace("\n", " | ")[:400]
        return f"`{self.words[0]}` ended with {self.status} after {self.seconds:.2f} s: {said}"


class Running:
    """A command of the runtime's on its way."""

    def __init__(self, field, words, log, limit=None):
        self.words, self.start = words, time.monotonic()
        # A container holds its standard streams on, so what it is to write to is no pipe.
        self.said = open(log, "a+b") if log else tempfile.TemporaryFile("a+b", dir=field.folder)
        self.before = os.fstat(self.said.fileno()).st_size
        limits = ["prlimit", f"--fsize={limit}"] if limit is not None else []
        self.process = subprocess.Popen(
            [*limits, STASIS, "--root", field.states, *words], stdin=subprocess.DEVNULL, stdout=self.said,
            stderr=self.said)
        self.pidfd = os.pidfd_open(self.process.pid)

    @property
    def pid(self):
        return self.process.pid

    def send(self, number):
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass

    def ends_within(self, seconds):
        return bool(select.select([self.pidfd], [], [], max(seconds, 0))[0])

    def restored_pages(self):
        """The KiB of memory that the tasks of a restore get."""
        if self.words[0] != "restore":
            return 0
        image = pathlib.Path(self.words[self.words.index("--image-path") + 1])
        return sum(path.stat().st_size for path in image.glob("pages-*.img")) >> 10

    def outcome(self, patience=PATIENCE):
        """Waits for the end. A hang, a trap and too much memory are faults, whatever the command was to do."""
        hung = not self.ends_within(self.start + patience - time.monotonic())
        where = ""
        if hung:
            where = " ".join(read(f"/proc/{self.pid}/{name}").strip() for name in ["wchan", "syscall"])
            self.send(signal.SIGKILL)
            select.select([self.pidfd], [], [])
        _, status, usage = os.wait4(self.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        os.close(self.pidfd)
        self.said.seek(self.before)
        errors = self.said.read().decode(errors="replace")
        self.said.close()
        seconds = time.monotonic() - self.start
        # What Python itself held when it started the program counts, too; that is less than the limit.
        outcome = Outcome(self.words, self.process.returncode, seconds, usage.ru_maxrss, errors)
        if hung:
            raise Fault(f"hangs for {PATIENCE} s ({where}): {outcome}")
        if -outcome.status in TRAPS:
            raise Fault(f"trap: {outcome}")
        if "does not stop" in errors:
            raise Fault(f"no program here sleeps so deeply: {outcome}")
        # A command's peak counts from that of its parent, which is this Python, and a child touches some more before it is
        # the command. It also counts the largest of its children that have ended: of a restore that fails, the tasks.
        own = max(PEAK, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + (4 << 10))
        if outcome.peak > own + (self.restored_pages() if outcome.status else 0):
            raise Fault(f"{outcome.peak >> 10} MiB of memory: {outcome}")
        return outcome


class Field:
    """A corner of the machine: a folder, states of its own, and a token that marks everything."""

    def __init__(self, seed):
        self.token = f"stasis-attack-{os.getpid()}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=self.token + ".", dir="/var/tmp"))
        self.folder.chmod(0o755)
        self.states = self.folder / "run"
        self.random = random.Random(seed)
        self.count = 0
        self.peak = 0
        # On tmpfs, so that nobody waits for what else the machine writes to its disk.
        self.images = pathlib.Path(tempfile.mkdtemp(prefix=self.token + ".", dir="/dev/shm"))

    def start(self, *words, log=None, limit=None):
        return Running(self, [str(word) for word in words], log, limit)

    def run(self, *words, log=None, limit=None):
        outcome = self.start(*words, log=log, limit=limit).outcome()
        self.peak = max(self.peak, outcome.peak)
        return outcome

    def must(self, *words, log=None):
        outcome = self.run(*words, log=log)
        if outcome.status:
            raise Fault(str(outcome))
        return outcome

    def program(self, workload):
        """Compiled now, unless that was done since its sources changed."""
        built = PACKAGE / ".build/attack" / workload.replace("/", "-")
        source = NOTHING if workload == "noop" else WORKLOADS / f"{workload}.c"
        sources = [source, WORKLOADS / "workload.h", WORKLOADS / "facts.h"]
        if not built.exists() or built.stat().st_mtime < max(path.stat().st_mtime for path in sources):
            built.parent.mkdir(exist_ok=True)
            subprocess.run(["gcc", "-static", "-O1", "-pthread", "-I", WORKLOADS, "-o", built,
                            *remark(source, "compiler").split(), source], check=True)
        return built

    def container(self, workload, *arguments):
        self.count += 1
        return Container(self, f"{self.token}-{self.count}x", workload, arguments)

    # What is left of containers.

    def processes(self, token=None):
        """Who lives and belongs to the attack, or to one container: by cgroup, environment or words."""
        token = token or self.token
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            if any(token in read(f"/proc/{entry}/{name}") for name in ["cgroup", "environ", "cmdline"]):
                if lives(int(entry)):
                    found.append(int(entry))
        return found

    def cgroups(self, token):
        found = []
        for folder, names, _ in os.walk(CGROUPS):
            found += [f"{folder}/{name}" for name in names if token in f"{folder}/{name}"]
        return found

    def leaks(self, token):
        """One line for each thing that is there."""
        left = [f"process {pid}: {read(f'/proc/{pid}/cmdline')}" for pid in self.processes(token)]
        left += [f"mount {line.split()[4]}" for line in read("/proc/self/mountinfo").splitlines() if token in line]
        left += [f"cgroup {name}" for name in self.cgroups(token)]
        left += [f"state {path}" for path in self.states.glob("*") if token in path.name]
        return left

    def expect_nothing_left(self, occasion, token=None):
        """Of one container, or of all."""
        token = token or f"{self.token}-"
        if not within(10, lambda: not self.leaks(token)):
            raise Fault(f"{occasion} leaves {'; '.join(self.leaks(token))[:600]}")

    def sweep(self, token):
        """Takes by force what a fault has left of a container."""
        for pid in self.processes(token):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        within(5, lambda: not self.processes(token))
        for name in sorted(self.cgroups(token), reverse=True):
            try:
                os.rmdir(name)
            except OSError:
                pass
        for path in self.states.glob("*"):
            if token in path.name:
                shutil.rmtree(path, ignore_errors=True)

    def clear(self):
        self.sweep(self.token)
        for folder in [self.folder, self.images]:
            shutil.rmtree(folder, ignore_errors=True)


class Container:
    """A bundle of one program without any right, and the container that is made from it."""

    def __init__(self, field, id, workload, arguments):
        self.field, self.id, self.workload = field, id, workload
        self.bundle = field.folder / f"b-{id}"
        self.state_folder = self.bundle / "rootfs/state"
        for name in ["state", "proc", "dev", "sys", "tmp", "etc"]:
            (self.bundle / "rootfs" / name).mkdir(parents=True)
        self.state_folder.chmod(0o777)
        (self.bundle / "rootfs/etc/secret").write_text("root's alone\n")
        (self.bundle / "rootfs/etc/secret").chmod(0o600)
        shutil.copy(field.program(workload), self.bundle / "rootfs/workload")
        shutil.copy(field.program("noop"), self.bundle / "rootfs/noop")
        subprocess.run([STASIS, "spec"], cwd=self.bundle, check=True)
        config = json.loads((self.bundle / "config.json").read_text())
        config["process"].update(terminal=False, args=["/workload", *map(str, arguments)], noNewPrivileges=True,
                                 user={"uid": 1000, "gid": 1000}, capabilities={})
        config["process"]["env"] += [f"ATTACK={id}", "LAYOUT=1"]
        config["root"]["readonly"] = False
        config["linux"]["seccomp"] = json.loads((WORKLOADS / "seccomp.json").read_text())
        (self.bundle / "config.json").write_text(json.dumps(config))
        self.image().parent.mkdir()
        self.log = self.bundle / "out.log"
        self.pid = 0
        self.rights = {}

    def image(self, name="image"):
        return self.field.images / self.id / name

    def run(self):
        for name in ["ready", "verdict"]:
            (self.state_folder / name).unlink(missing_ok=True)
        try:
            self.field.must("run", "--detach", "--bundle", self.bundle, "--pid-file", self.bundle / "pid", self.id,
                            log=self.log)
        except Fault as fault:
            raise Fault(f"{self.workload}: {fault}") from None
        self.note_pid()
        if not within(30, lambda: read(self.state_folder / "ready")):
            raise Fault(f"{self.workload} does not get ready: {self.states_now()}, {read(self.log)[-300:]}")
        said = read(self.state_folder / "ready")
        if said.startswith("cannot"):
            raise Fault(f"{self.workload}: {said}")
        self.rights = self.rights_now()[self.pid]
        return self

    def note_pid(self):
        self.pid = int(read(self.bundle / "pid"))

    @functools.cached_property
    def cgroup(self):
        """The folder of its cgroup in one of the hierarchies, which is the same in every life of it."""
        for line in read(f"/proc/{self.pid}/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            folder = CGROUPS / (controllers.removeprefix("name=") or "unified")
            folder = (folder if folder.exists() else CGROUPS) / path.lstrip("/")
            if self.id in path and folder.exists():
                return folder
        raise Fault(f"process {self.pid} is in no cgroup of its container")

    def checkpoint_words(self, image, *flags):
        return ["checkpoint", "--file-locks", "--image-path", image, "--work-path", self.bundle / "work", *flags, self.id]

    def restore_words(self, image):
        return ["restore", "--detach", "--bundle", self.bundle, "--image-path", image, "--work-path",
                self.bundle / "work", "--pid-file", self.bundle / "pid", self.id]

    def checkpoint(self, image, *flags):
        return self.field.run(*self.checkpoint_words(image, *flags))

    def restore(self, image):
        outcome = self.field.run(*self.restore_words(image), log=self.log)
        if outcome.status == 0:
            self.note_pid()
        return outcome

    def delete(self):
        self.field.must("delete", "--force", self.id)

    def is_alive(self):
        return self.pid and lives(self.pid)

    def members(self):
        return [int(pid) for pid in read(self.cgroup / "cgroup.procs").split() if lives(int(pid))]

    def rights_now(self):
        """Of every process, the set of what its threads have."""
        found = {}
        for pid in self.members():
            for task in entries(f"/proc/{pid}/task"):
                status = dict(line.split(":\t", 1) for line in read(f"/proc/{pid}/task/{task}/status").splitlines()
                              if ":\t" in line)
                if status and status["State"][0] not in "ZX":
                    found.setdefault(pid, []).append({name: status[name].strip() for name in RIGHTS})
        return found

    def expect_rights(self, occasion):
        """Every thread has what the first one had when it was started from config.json."""
        for pid, threads in self.rights_now().items():
            for rights in threads:
                if rights != self.rights[0]:
                    wrong = {name: (self.rights[0][name], rights[name]) for name in RIGHTS
                             if rights[name] != self.rights[0][name]}
                    raise Fault(f"{occasion}: process {pid} of {self.workload} has other rights: {wrong}")
        self.expect_confinement(occasion)

    def expect_confinement(self, occasion):
        """Root, namespaces and cgroup of every process are the container's own."""
        own = None
        for pid in self.members():
            try:
                names = [os.readlink(f"/proc/{pid}/ns/{name}") for name in ["mnt", "pid", "net", "ipc", "uts"]]
                root = os.stat(f"/proc/{pid}/root/workload").st_ino
            except OSError:
                continue  # it has ended
            own = own or names
            host = [os.readlink(f"/proc/self/ns/{name}") for name in ["mnt", "pid", "net", "ipc", "uts"]]
            if names != own or set(names) & set(host):
                raise Fault(f"{occasion}: process {pid} is in namespaces {names}, not {own}")
            if root != os.stat(self.bundle / "rootfs/workload").st_ino:
                raise Fault(f"{occasion}: process {pid} has another root")

    def verdicts(self):
        return read(self.state_folder / "verdict").splitlines()

    def expect_correct(self, occasion):
        """Asks the program itself."""
        before = len(self.verdicts())
        # By hand, and not by the runtime: it is to be known whether the container lives, not whether `kill` works.
        try:
            os.kill(self.pid, signal.SIGUSR1)
        except ProcessLookupError:
            raise Fault(f"{occasion}: {self.workload} is gone") from None
        if not within(30, lambda: len(self.verdicts()) > before or not self.is_alive()):
            state = [line for line in read(f"/proc/{self.pid}/status").splitlines() if line[:5] in ("State", "Trace")]
            raise Fault(f"{occasion}: {self.workload} does not answer: {state}, {self.states_now()}")
        if len(self.verdicts()) == before:
            raise Fault(f"{occasion}: {self.workload} has ended")
        said = self.verdicts()[-1]
        if not said.startswith("PASS"):
            raise Fault(f"{occasion}: {self.workload} says {said}")
        self.expect_rights(occasion)

    def states_now(self):
        return {pid: read(f"/proc/{pid}/stat").rsplit(")")[-1][1:2] for pid in self.members()}

    def expect_nothing_left(self, occasion):
        self.field.expect_nothing_left(occasion, self.id)

    def start_anew(self):
        """After its end or a fault: the same program from its beginning, so that the next round means something."""
        try:
            self.field.run("delete", "--force", self.id)
        except Fault:
            pass
        self.field.sweep(self.id)
        self.run()

    def is_complete(self, image):
        return (image / "inventory.img").exists()


def remark(source, key):
    """What follows in a workload's comment `// key: value`."""
    lines = [line for line in source.read_text().splitlines() if line.startswith(f"// {key}: ")]
    return lines[0].split(": ", 1)[1] if lines else ""


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def entries(path):
    try:
        return os.listdir(path)
    except OSError:
        return []


def lives(pid):
    return read(f"/proc/{pid}/stat").rsplit(")")[-1][1:2] not in ("", "Z", "X")


def within(seconds, holds):
    end, pause = time.monotonic() + seconds, 0.0005
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.02)
    return True
