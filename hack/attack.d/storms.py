"""Attacks on the moment: engines that are killed or interrupted, signals and timers, commands at once, full disks."""

import pathlib
import shutil
import signal
import subprocess
import time

from field import Fault, within

CROWDS = ["process_tree", "threads", "counter", "vfork", "pipe", "hostile/fork_tree", "hostile/stopped_threads"]
# What one image can be restored from again and again: counter compares its memory with a file that goes on without it.
QUIET = [name for name in CROWDS if name not in ("hostile/fork_tree", "vfork", "counter")]


class Subject:
    """One container that lives through any number of checkpoints and restores, with the last complete image."""

    def __init__(self, field, workload, *arguments):
        self.field = field
        self.container = field.container(workload, *arguments).run()
        self.duration = {"checkpoint": 0.3, "restore": 0.3}
        self.number = 0

    def new_image(self):
        self.number += 1
        for old in self.container.image().parent.glob("image-*"):
            if old.name != f"image-{self.number - 1}":
                shutil.rmtree(old, ignore_errors=True)
        return self.container.image(f"image-{self.number}")

    def learn_durations(self):
        start = time.monotonic()
        image = self.new_image()
        self.expect_success(self.container.checkpoint(image))
        middle = time.monotonic()
        self.expect_success(self.container.restore(image))
        self.duration = {"checkpoint": middle - start, "restore": time.monotonic() - middle}
        return self

    @staticmethod
    def expect_success(outcome):
        if outcome.status:
            raise Fault(str(outcome))

    def judge_checkpoint(self, image, outcome, keeps):
        """After a checkpoint, however it ended: alive and correct, or gone with a complete image, which is restored."""
        container = self.container
        gone = outcome.status == 0 and not keeps
        if gone and not within(10, lambda: not container.is_alive()):
            raise Fault(f"the container lives after {outcome}")
        if outcome.status == 0 and not container.is_complete(image):
            raise Fault(f"no inventory after {outcome}")
        if container.is_alive():
            if outcome.status > 0 and container.is_complete(image):
                raise Fault(f"a complete image of a failed checkpoint of a container that lives: {outcome}")
            try:
                return container.expect_correct(f"after {outcome}")
            except Fault:
                # The engine was killed between telling the processes to end and their end: that is below.
                if keeps or container.is_alive():
                    raise
        if not within(10, lambda: not container.members()):
            raise Fault(f"half the container lives after {outcome}: {container.states_now()}")
        if not container.is_complete(image):
            raise Fault(f"the container is gone without a complete image after {outcome}")
        if outcome.status > 0:
            raise Fault(f"a complete checkpoint is told as a failure: {outcome}")
        if outcome.status:
            container.delete()
        container.expect_nothing_left(f"after {outcome}: it")
        self.expect_success(container.restore(image))
        container.expect_correct(f"restored after {outcome}")


def interrupted(running, dice, duration, numbers):
    """Waits a random while, sends one of the signals, and says how the command ended."""
    running.ends_within(dice.random() * duration * 1.3)
    running.send(dice.choice(numbers))
    return running.outcome()


def one_after_the_other(field, programs, rounds):
    """Subjects, each with its share of the rounds. Together they would starve each other, and the runtime: beside `threads`
    and `hostile/fork_tree` any task may wait for more than a second until it runs."""
    for program in programs:
        subject = Subject(field, *program)
        yield subject, max(rounds // len(programs), 1)
        subject.container.delete()
    field.expect_nothing_left("the storm")


def storm_checkpoints(field, rounds, part, numbers):
    programs = [[name] for name in (CROWDS if rounds > 60 else CROWDS[:3])]
    for subject, share in one_after_the_other(field, programs, rounds):
        subject.learn_durations()
        for number in part.rounds(share):
            keeps = field.random.random() < 0.4
            image = subject.new_image()
            words = subject.container.checkpoint_words(image, *(["--leave-running"] if keeps else []))
            with part.round(number, subject.container):
                outcome = interrupted(field.start(*words), field.random, subject.duration["checkpoint"], numbers)
                part.count("cut short" if outcome.status else "finished")
                subject.judge_checkpoint(image, outcome, keeps)


def storm_restores(field, rounds, part, numbers):
    programs = [[name] for name in (QUIET if rounds > 60 else QUIET[:3])]
    for subject, share in one_after_the_other(field, programs, rounds):
        container = subject.learn_durations().container
        subject.expect_success(container.checkpoint(container.image()))
        for number in part.rounds(share):
            with part.round(number):
                running = field.start(*container.restore_words(container.image()), log=container.log)
                outcome = interrupted(running, field.random, subject.duration["restore"], numbers)
                part.count("cut short" if outcome.status else "finished")
                if outcome.status == 0:
                    container.note_pid()
                    container.expect_correct(f"after {outcome}")
                # One that was cut short just before its end may run; it is whole then, or nothing is left of it.
                elif (members := container.members()) and not within(2, lambda: not container.members()):
                    listed = field.run("state", container.id)
                    if listed.status:
                        raise Fault(f"{members} live and the container is not known after {outcome}: {listed}")
                container.delete()
                container.expect_nothing_left(f"after {outcome}: it")
        with part.round(share):
            subject.expect_success(container.restore(container.image()))
            container.expect_correct("restored after all")


def kills(field, rounds, part):
    storm_checkpoints(field, rounds * 2 // 3, part, [signal.SIGKILL])
    storm_restores(field, rounds // 3, part, [signal.SIGKILL])


def interruptions(field, rounds, part):
    numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
    storm_checkpoints(field, rounds // 2, part, numbers)
    storm_restores(field, rounds // 2, part, numbers)


STORMS = [("hostile/signal_storm",), ("hostile/stop_timer", 1, 1000), ("hostile/stop_timer", 40, 1000),
          ("hostile/stop_and_continue",), ("hostile/vfork_filtered",), ("hostile/fork_tree",),
          ("hostile/stopped_threads",), ("hostile/many_timers",)]


def signals(field, rounds, part):
    """Checkpoints and restores of programs that defend themselves by signals, timers and filters."""
    for subject, share in one_after_the_other(field, STORMS, rounds):
        for number in part.rounds(share):
            with part.round(number, subject.container):
                signal_round(subject, part)


def signal_round(subject, part):
    container, dice = subject.container, subject.field.random
    image = subject.new_image()
    keeps = dice.random() < 0.5
    time.sleep(dice.random() * 0.01)
    outcome = container.checkpoint(image, *(["--leave-running"] if keeps else []))
    # A timer of its own may kill a process of the storm's in the middle: that is told, and hurts nothing else.
    may_fail = container.workload == "hostile/signal_storm"
    if outcome.status and not may_fail:
        raise Fault(f"{container.workload}: {outcome}")
    if outcome.status or keeps:
        part.count("refused" if outcome.status else "left running")
        container.expect_correct(f"after {outcome}")
        return
    container.expect_nothing_left("the checkpoint")
    outcome = container.restore(image)
    if outcome.status == 0:
        part.count("restored")
        container.expect_rights("right after the restore")
        container.expect_correct(f"after {outcome}")
    elif may_fail:
        part.count("restore refused")
        container.expect_nothing_left(f"{outcome}: it")
        container.start_anew()
    else:
        raise Fault(f"{container.workload}: {outcome}")


def commands(field, rounds, part):
    """Everything at once on one id."""
    subject = Subject(field, "process_tree")
    container, dice = subject.container, field.random
    for number in part.rounds(rounds):
        image = subject.new_image()
        choices = {
            "checkpoint": container.checkpoint_words(image),
            "checkpoint --leave-running": container.checkpoint_words(container.image(f"image-{subject.number}-b"),
                                                                     "--leave-running"),
            "restore": container.restore_words(container.image(f"image-{subject.number - 1}")),
            "pause": ["pause", container.id], "resume": ["resume", container.id], "state": ["state", container.id],
            "exec": ["exec", container.id, "/noop"], "kill": ["kill", container.id, "WINCH"],
            "kill KILL": ["kill", container.id, "KILL"], "delete": ["delete", "--force", container.id],
            "ps": ["ps", container.id], "list": ["list"],
        }
        weights = [1 if name in ("kill KILL", "delete") else 4 for name in choices]
        picked = [name for name in dice.choices(list(choices), weights, k=8)]
        with part.round(number, subject.container):
            running = []
            for name in picked:
                running.append(field.start(*choices[name], log=container.log if name == "restore" else None))
                time.sleep(dice.random() * 0.03)
            # A process that exec has put into a container which was paused just then waits until it is resumed.
            running.sort(key=lambda command: command.words[0] == "exec")
            outcomes = []
            for command in running:
                if command.words[0] == "exec":
                    field.run("resume", container.id)
                outcomes.append(command.outcome())
            for outcome in outcomes:
                if outcome.status < 0 and outcome.words[0] != "exec":
                    raise Fault(f"{picked}: {outcome}")
            field.run("resume", container.id)
            ended = [o.words[0] for o in outcomes if o.status == 0]
            if "restore" in ended:
                container.note_pid()
            if within(1, lambda: not container.is_alive()) is False:
                container.expect_correct(f"after {picked}")
                part.count("alive")
                continue
            part.count("gone")
            if "checkpoint" not in ended and not {"kill KILL", "delete"} & set(picked):
                raise Fault(f"the container is gone after {picked}: {[str(o) for o in outcomes]}")
            complete = container.is_complete(image)
            field.run("delete", "--force", container.id)
            container.expect_nothing_left(f"{picked}")
            if complete:
                subject.expect_success(container.restore(image))
                container.expect_correct(f"restored after {picked}")
            else:
                container.start_anew()
    container.delete()
    field.expect_nothing_left("the commands")


def disks(field, rounds, part):
    """Places that are full, small, or cannot be written."""
    subject = Subject(field, "threads")
    container, dice = subject.container, field.random
    mounts = [("tmpfs", lambda size, point: mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", point)),
              ("ext4", lambda size, point: mount_ext4(size, point))]
    for number in part.rounds(rounds):
        way = ["tmpfs", "ext4", "limit", "no work path", "read-only", "statistics"][number % 6]
        room = int(4096 * 2 ** (dice.random() * 13))  # up to 32 MiB, small ones as often as large ones
        point = field.folder / "disk"
        point.mkdir(exist_ok=True)
        keeps = dice.random() < 0.5
        flags = ["--leave-running"] if keeps else []
        image, limit, mounted = point / "image", None, False
        work = container.bundle / "work"
        with part.round(number, subject.container):
            try:
                if way in ("tmpfs", "ext4"):
                    dict(mounts)[way](room, point)
                    mounted = True
                elif way == "read-only":
                    mount("-t", "tmpfs", "-o", "ro", "tmpfs", point)
                    mounted = True
                elif way == "limit":
                    image, limit = subject.new_image(), room
                elif way == "no work path":
                    image = subject.new_image()
                    shutil.rmtree(work, ignore_errors=True)
                    work.write_text("not a folder")
                else:
                    image = subject.new_image()
                    shutil.rmtree(work, ignore_errors=True)
                    (work / "stats-dump").mkdir(parents=True)
                outcome = field.run(*container.checkpoint_words(image, *flags), limit=limit)
                part.count(f"complete ({way})" if outcome.status == 0 else f"refused ({way})")
                if outcome.status < 0:
                    raise Fault(f"{way}: {outcome}")
                if outcome.status and container.is_complete(image):
                    raise Fault(f"{way}: a complete image, and {outcome}")
                if work.is_file():
                    work.unlink()
                subject.judge_checkpoint(image, outcome, keeps)
            finally:
                work.unlink() if work.is_file() else shutil.rmtree(work, ignore_errors=True)
                if mounted:
                    subprocess.run(["umount", "-l", point], check=True)
                shutil.rmtree(point, ignore_errors=True)
    container.delete()
    field.expect_nothing_left("full disks")


def mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True)


def mount_ext4(size, point):
    file = pathlib.Path(f"{point}.ext4")
    with open(file, "wb") as created:
        created.truncate(size + (256 << 10))
    subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", "-m", "0", file], check=True, stderr=subprocess.DEVNULL)
    mount("-o", "loop", file, point)
    file.unlink()
