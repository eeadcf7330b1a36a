"""Well-formed images with hostile values, by the descriptors of CRIU's own messages, and their checksums made right."""

import os
import shutil
import stat
import struct

from field import RIGHTS, Fault, entries, read
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from pycriu.images import images, magic, pb

SOURCES = ["counter", "process_tree", "threads", "signals", "interval_timer", "pipe", "unix_socketpair", "descriptors",
           "epoll", "eventfd", "timerfd", "signalfd", "memory", "file_lock", "fpu", "rseq",
           "unix_named", "hostile/stop_timer"]
NAMES = ["", "/", ".", "..", "../../../etc/passwd", "/proc/kmsg", "/proc/kallsyms", "/proc/1/mem", "/proc/self/mem",
         "/proc/sysrq-trigger", "/proc/self/root/etc/secret", "/sys/kernel/debug", "/etc/secret", "/dev/kmsg",
         "/dev/mem", "/dev/null", "/state", "/workload", "a\nb", "\x1b[2J", "x" * 300, "/" + "y/" * 3000, "é\u202e"]
EXTREMES = [0, 1, 2, 3, 8, 15, 16, 255, 256, 1023, 1024, 4095, 4096, 8192, 65535, 65536, 1 << 20, 1 << 24,
            (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40, (1 << 47) - 4096, 1 << 47, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
SIGNED = {FieldDescriptor.TYPE_INT32: 32, FieldDescriptor.TYPE_SINT32: 32, FieldDescriptor.TYPE_SFIXED32: 32,
          FieldDescriptor.TYPE_INT64: 64, FieldDescriptor.TYPE_SINT64: 64, FieldDescriptor.TYPE_SFIXED64: 64}
UNSIGNED = {FieldDescriptor.TYPE_UINT32: 32, FieldDescriptor.TYPE_FIXED32: 32,
            FieldDescriptor.TYPE_UINT64: 64, FieldDescriptor.TYPE_FIXED64: 64}


class ImageFile:
    """An image file as messages, each with the raw bytes that follow it."""

    def __init__(self, path):
        data = path.read_bytes()
        number = struct.unpack_from("<I", data)[0]
        start = 4
        if number in (magic.by_name["IMG_COMMON"], magic.by_name["IMG_SERVICE"]):
            number, start = struct.unpack_from("<I", data, 4)[0], 8
        self.path, self.head, self.items = path, data[:start], []
        handler = images.handlers.get(magic.by_val.get(number))
        if handler is None:
            raise ValueError(path.name)
        is_pagemap = isinstance(handler, images.pagemap_handler)
        while start < len(data):
            size = struct.unpack_from("<I", data, start)[0]
            kind = (pb.pagemap_entry if self.items else pb.pagemap_head) if is_pagemap else handler.payload
            message = kind.FromString(data[start + 4:start + 4 + size])
            start += 4 + size
            extra = next((getattr(message, name) for name in ("bytes", "length") if hasattr(message, name)), 0)
            extra = extra if not is_pagemap and handler.extra_handler else 0
            self.items.append([message, data[start:start + extra]])
            start += extra

    def write(self):
        self.path.write_bytes(self.head + b"".join(
            struct.pack("<I", message.ByteSize()) + message.SerializePartialToString() + extra
            for message, extra in self.items))


class Mutator:
    def __init__(self, dice):
        self.random = dice
        self.pool = []  # numbers that occur in the checkpoint: the neighbours of what matters

    def learn(self, message):
        for field, value in message.ListFields():
            values = value if field.label == FieldDescriptor.LABEL_REPEATED else [value]
            for one in values:
                if field.type == FieldDescriptor.TYPE_MESSAGE:
                    self.learn(one)
                elif isinstance(one, int) and len(self.pool) < 3000:
                    self.pool.append(one)

    def number(self, old, bits, signed):
        way = self.random.randrange(6)
        if way == 0:
            value = self.random.choice(EXTREMES)
        elif way == 1:
            value = old + self.random.choice([-4096, -8, -1, 1, 8, 4096])
        elif way == 2:
            value = old ^ 1 << self.random.randrange(bits)
        elif way == 3:
            value = self.random.choice(self.pool or [0]) + self.random.choice([0, 0, -1, 1])
        elif way == 4:
            value = -self.random.choice(EXTREMES)
        else:
            value = self.random.randrange(200)
        value &= (1 << bits) - 1
        return value - (1 << bits) if signed and value >> (bits - 1) else value

    def value(self, field, old):
        if field.type in SIGNED:
            return self.number(old or 0, SIGNED[field.type], True)
        if field.type in UNSIGNED:
            return self.number(old or 0, UNSIGNED[field.type], False)
        if field.type == FieldDescriptor.TYPE_BOOL:
            return not old
        if field.type == FieldDescriptor.TYPE_ENUM:
            return self.random.choice(field.enum_type.values).number
        if field.type == FieldDescriptor.TYPE_STRING:
            return self.random.choice(NAMES)
        if field.type == FieldDescriptor.TYPE_BYTES:
            data = bytearray(old or b"")
            way = self.random.randrange(4)
            if way == 0:
                return bytes(data[:self.random.randrange(len(data) + 1)])
            if way == 1:
                return bytes(data) * 2 + b"\0" * self.random.choice([1, 100, 70000])
            for _ in range(self.random.choice([1, 4, 20])):
                if data:
                    data[self.random.randrange(len(data))] = self.random.choice([0, 1, 0x7f, 0x80, 0xff])
            return bytes(data)
        return 0.0

    def mutate(self, message):
        """Changes one field, at any depth."""
        fields = message.DESCRIPTOR.fields
        present = [field for field, _ in message.ListFields()]
        inner = [field for field in present if field.type == FieldDescriptor.TYPE_MESSAGE]
        if inner and self.random.random() < 0.75:
            field = self.random.choice(inner)
            value = getattr(message, field.name)
            if field.label != FieldDescriptor.LABEL_REPEATED:
                return self.mutate(value)
            if self.random.random() < 0.8:
                return self.mutate(self.random.choice(value))
            return self.reshape(value)
        field = self.random.choice(present if present and self.random.random() < 0.85 else fields)
        if field.label == FieldDescriptor.LABEL_REPEATED:
            values = getattr(message, field.name)
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                values.add() if not values else self.reshape(values)
            elif not values or self.random.random() < 0.3:
                values.extend([self.value(field, None)] * self.random.choice([1, 2, 40, 5000]))
            elif self.random.random() < 0.3:
                del values[self.random.randrange(len(values)):]
            else:
                index = self.random.randrange(len(values))
                values[index] = self.value(field, values[index])
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            getattr(message, field.name).SetInParent()
        elif field in present and self.random.random() < 0.08:
            message.ClearField(field.name)
        else:
            setattr(message, field.name, self.value(field, getattr(message, field.name)))

    def reshape(self, values):
        """Entries that come twice, are missing, or are in another order."""
        index = self.random.randrange(len(values))
        way = self.random.randrange(4)
        if way == 0:
            del values[index]
        elif way == 1:
            values.add().CopyFrom(values[index])
        elif way == 2:
            copies = [values[index]] * self.random.choice([3, 50, 2000])
            values.extend(copies)
        else:
            values.reverse()


def checksum(data):
    value = 0xcbf29ce484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return value


def mend_checksums(image, changed):
    """The lines of the changed files, and the last one, as the runtime itself would have written them."""
    path, lines = image / "checksums.stasis", []
    for line in path.read_text().splitlines()[:-1]:
        _, _, name = line.split("  ", 2)
        if name in changed:
            data = (image / name).read_bytes()
            line = f"{checksum(data):016x}  {len(data)}  {name}"
        lines.append(line + "\n")
    body = "".join(lines)
    path.write_text(body + f"{checksum(body.encode()):016x}  {len(body)}  checksums.stasis\n")


class Fuzzer:
    def __init__(self, field):
        self.field = field
        self.sources = []

    def prepare(self, count):
        names = SOURCES if count >= len(SOURCES) else self.field.random.sample(SOURCES, count)
        for name in names:
            container = self.field.container(name).run()
            image = container.image()
            outcome = container.checkpoint(image)
            if outcome.status:
                raise Fault(f"{name}: {outcome}")
            files = {}
            mutator = Mutator(self.field.random)
            for path in sorted(image.glob("*.img")):
                if path.name.startswith("pages-"):
                    continue
                try:
                    files[path.name] = ImageFile(path)
                except (ValueError, DecodeError):
                    continue  # a kind that this CRIU does not know
                for message, _ in files[path.name].items:
                    mutator.learn(message)
            self.sources.append((container, mutator, list(files)))

    def round(self):
        """One restore of one changed image. Returns whether it lives."""
        dice = self.field.random
        container, mutator, names = dice.choice(self.sources)
        image = container.image("mutated")
        shutil.rmtree(image, ignore_errors=True)
        shutil.copytree(container.image(), image)
        changed = set()
        for _ in range(dice.choice([1, 1, 1, 2, 4])):
            file = ImageFile(image / dice.choice([name for name in names if "pages" not in name]))
            if not file.items:
                continue
            if dice.random() < 0.05:
                file.items.insert(0, dice.choice(file.items))
            try:
                mutator.mutate(dice.choice(file.items)[0])
            except (ValueError, TypeError):
                continue  # no such value for this field
            file.write()
            changed.add(file.path.name)
        mend_checksums(image, changed)
        try:
            outcome = container.restore(image)
        except Fault as fault:
            self.field.sweep(container.id)
            raise Fault(f"{container.workload}, {', '.join(sorted(changed))}: {fault}") from None
        try:
            if outcome.status == 0:
                self.expect_no_more(container)
            elif not outcome.errors.strip():
                raise Fault(f"says nothing: {outcome}")
        except Fault as fault:
            raise Fault(f"{container.workload}, {', '.join(sorted(changed))}: {fault}") from None
        finally:
            if outcome.status == 0:
                container.delete()
        if outcome.status and ((self.field.states / container.id).exists() or container.members()):
            raise Fault(f"{container.workload}, {', '.join(sorted(changed))}: a failed restore leaves "
                        f"{container.members()} or its state: {outcome}")
        return outcome.status == 0

    def expect_no_more(self, container):
        """An image may ask for less than config.json grants, never for more."""
        granted = container.rights[0]
        for pid, threads in container.rights_now().items():
            for rights in threads:
                worse = [name for name in RIGHTS if not is_at_most(name, rights[name], granted[name])]
                if worse:
                    raise Fault(f"process {pid} has more than config.json grants: "
                                f"{ {name: rights[name] for name in worse} }")
            self.expect_own_files(pid)
        container.expect_confinement("restored")

    def expect_own_files(self, pid):
        """What is open is what the process's user could open."""
        for number in entries(f"/proc/{pid}/fd"):
            try:
                found = os.stat(f"/proc/{pid}/fd/{number}")
                target = os.readlink(f"/proc/{pid}/fd/{number}")
            except OSError:
                continue
            if not stat.S_ISREG(found.st_mode) or int(number) < 3 or not target.startswith("/"):
                continue
            if target.endswith(" (deleted)"):
                continue
            flags = [line for line in read(f"/proc/{pid}/fdinfo/{number}").splitlines() if line.startswith("flags")]
            access = int(flags[0].split()[1], 8) if flags else 0
            if access & 0o10000000:  # O_PATH
                continue
            wanted = {0: 4, 1: 2, 2: 6, 3: 6}[access & 3]
            shift = 6 if found.st_uid == 1000 else 3 if found.st_gid == 1000 else 0
            if found.st_mode >> shift & wanted != wanted:
                raise Fault(f"process {pid} has {target} open ({found.st_uid}:{found.st_gid} "
                            f"{found.st_mode & 0o7777:o}), which its user may not open")


def is_at_most(name, now, granted):
    if name.startswith("Cap"):
        return int(now, 16) & ~int(granted, 16) == 0
    if name == "Groups":
        return set(now.split()) <= set(granted.split()) | {"1000"}
    if name in ("Uid", "Gid"):
        return now == granted
    return int(now) >= int(granted)


def fuzz(field, rounds, part):
    fuzzer = Fuzzer(field)
    fuzzer.prepare(len(SOURCES) if rounds >= 1000 else 5)
    lived = 0
    for number in part.rounds(rounds):
        with part.round(number):
            lived += fuzzer.round()
        if number % 200 == 0:
            with part.round(number):
                field.expect_nothing_left("restores of changed images")
    part.note(f"{lived} of {part.played} restored")
