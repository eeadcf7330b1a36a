"""The part `clients`: `run --rm` by docker, containerd and podman, whose own work is most of what one waits for."""

import contextlib
import os
import pathlib
import subprocess
import sys
import time

from laboratory import compare, interleaved

# docker's and podman's own defaults are above some machines' hard limits.
ULIMITS = ["nofile=1024:1024", "nproc=30000:30000"]


class Clients:
    """Daemons with all their state in one folder, and an image of nothing but the no-op."""

    def __init__(self, laboratory, runtimes, stack):
        self.laboratory, self.runtimes, self.stack = laboratory, runtimes, stack
        self.folder = laboratory.folder / "clients"
        self.folder.mkdir()
        self.environment = {**os.environ, "TMPDIR": str(self.folder), "HOME": str(self.folder)}
        self.rootfs = self.folder / "noop.tar"
        subprocess.run(["tar", "-C", laboratory.bundle("noop") / "rootfs", "-cf", self.rootfs, "."], check=True)
        self.parent = laboratory.name("clients")

    def daemon(self, question, *command):
        log = open(self.folder / pathlib.Path(command[0]).name, "w")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)
        self.stack.callback(process.wait)
        self.stack.callback(process.terminate)
        deadline = time.monotonic() + 30
        while subprocess.run(question, capture_output=True).returncode:
            if time.monotonic() > deadline or process.poll() is not None:
                sys.exit(f"{command[0]} does not answer: {pathlib.Path(log.name).read_text()[-2000:]}")
            time.sleep(0.1)

    def containerd(self):
        """`ctr run`. Its cgroups are named after the namespace."""
        socket = self.folder / "c.sock"
        (self.folder / "config.toml").write_text(
            f'version = 2\nroot = "{self.folder}/root"\nstate = "{self.folder}/state"\n'
            f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{socket}"\n[ttrpc]\naddress = "{self.folder}/t.sock"\n')
        ctr = ["ctr", "--address", socket, "--namespace", self.parent]
        self.daemon([*ctr, "version"], "containerd", "--config", self.folder / "config.toml")
        return lambda name: [*ctr, "run", "--rm", "--runc-binary", self.runtimes[name], "--runc-root",
                             self.laboratory.states / f"ctr-{name}", "docker.io/library/noop:latest",
                             self.laboratory.name("noop"), "/noop"]

    def docker(self):
        """`docker run`, upon the same containerd."""
        docker = ["docker", "--host", f"unix://{self.folder}/d.sock"]
        (self.folder / "daemon.json").write_text("{}")
        added = [word for name in self.runtimes if name != "runc"
                 for word in ["--add-runtime", f"{name}={self.runtimes[name]}"]]
        self.daemon(
            [*docker, "version"], "dockerd", "--data-root", self.folder / "data", "--exec-root", self.folder / "exec",
            "--host", f"unix://{self.folder}/d.sock", "--pidfile", self.folder / "pid", "--config-file",
            self.folder / "daemon.json", "--containerd", self.folder / "c.sock", "--bridge", "none", "--iptables=false",
            "--ip-forward=false", "--ip-masq=false", *added)
        subprocess.run([*docker, "import", self.rootfs, "noop"], check=True, stdout=subprocess.DEVNULL)
        saved = self.folder / "image.tar"
        subprocess.run([*docker, "save", "--output", saved, "noop"], check=True)
        ctr = ["ctr", "--address", self.folder / "c.sock", "--namespace", self.parent]
        subprocess.run([*ctr, "image", "import", saved], check=True, stdout=subprocess.DEVNULL)
        return lambda name: [*docker, "run", "--rm", "--runtime", name, "--network", "none", "--cgroup-parent",
                             f"/{self.parent}", "--ulimit", ULIMITS[0], "noop", "/noop"]

    def podman(self):
        (self.folder / "containers.conf").write_text(
            f'[containers]\ndefault_ulimits = {ULIMITS}\n[engine]\ncgroup_manager = "cgroupfs"\n'
            f'events_logger = "file"\n'.replace("'", '"'))
        podman = ["env", f"CONTAINERS_CONF={self.folder}/containers.conf", "podman", "--root", self.folder / "podman",
                  "--runroot", self.folder / "podman-run", "--tmpdir", self.folder / "podman-tmp"]
        subprocess.run([*podman, "import", self.rootfs, "noop"], check=True, capture_output=True)
        self.stack.callback(subprocess.run, ["umount", "--lazy", "--recursive", self.folder / "podman" / "overlay"],
                            stderr=subprocess.DEVNULL)
        return lambda name: [*podman, "--runtime", self.runtimes[name], "run", "--rm", "--network", "none",
                             "--cgroup-parent", f"/{self.parent}", "noop", "/noop"]


def measure_clients(laboratory, runtimes, runs):
    with contextlib.ExitStack() as stack:
        clients = Clients(laboratory, runtimes, stack)
        by_ctr = clients.containerd()
        commands = {"docker": clients.docker(), "ctr": by_ctr, "podman": clients.podman()}
        for client, command in commands.items():
            able = [name for name in runtimes if starts(command(name), name, client)]
            samples = {name: [] for name in able}
            for name in interleaved(able, runs):
                samples[name].append(laboratory.run(*command(name))[1])
            compare(f"`{client} run --rm` of a static no-op, {runs} runs each", samples)


def starts(command, runtime, client):
    """Whether this machine lets the runtime start at all; stasis must."""
    trial = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if trial.returncode and runtime == "stasis":
        sys.exit(trial.stderr)
    if trial.returncode:
        print(f"\n{runtime} does not start under {client}: {trial.stderr.strip().splitlines()[0]}")
    return trial.returncode == 0
