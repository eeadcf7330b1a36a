import LinuxSystem

/// The part of a cgroup that stops every process in it.
protocol Freezer: Sendable {
    func freeze() throws(CgroupError)
    func thaw() throws(CgroupError)
    func isFrozen() throws(CgroupError) -> Bool
}

/// `cgroup.freeze`, kernel 5.2. Frozen processes can be traced, and die of SIGKILL.
///
/// Works without controllers, so the v2 hierarchy beside v1 ones serves too.
struct UnifiedFreezer: Freezer {
    var directory: String

    func freeze() throws(CgroupError) {
        do throws(SystemError) {
            // Opened first, so that no change goes by between the write and the first wait.
            let events = try openAt(AT_FDCWD, "\(directory)/cgroup.events", O_RDONLY)
            try writeControl("\(directory)/cgroup.freeze", "1")
            for _ in 0..<50 {
                if try readEvent("frozen", events.raw) { return }
                var waiting = pollfd(fd: events.raw, events: Int16(POLLPRI), revents: 0)
                try system("wait for \(directory) to freeze") { poll(&waiting, 1, 200) }
            }
        } catch {
            throw CgroupError(error)
        }
        try? thaw()
        throw CgroupError("\(directory) does not freeze: a process in it cannot be stopped")
    }

    func thaw() throws(CgroupError) {
        do throws(SystemError) {
            try writeControl("\(directory)/cgroup.freeze", "0")
        } catch {
            throw CgroupError(error)
        }
    }

    func isFrozen() throws(CgroupError) -> Bool {
        do throws(SystemError) {
            return try readText("\(directory)/cgroup.freeze").hasPrefix("1")
        } catch {
            if error.errno.meansRemoved { return false }
            throw CgroupError(error)
        }
    }
}

/// The v1 freezer, where there is no v2 hierarchy. It holds processes so fast that even ptrace and SIGKILL wait.
struct LegacyFreezer: Freezer {
    var directory: String

    func freeze() throws(CgroupError) {
        do throws(SystemError) {
            for round in 0..<1000 {
                // A process that is about to fork escapes the first write; writing again catches its child.
                try writeControl("\(directory)/freezer.state", "FROZEN")
                if try isFrozenNow() { return }
                if round % 50 == 49 {
                    // The same oscillation that runc breaks: let them run for a moment.
                    try writeControl("\(directory)/freezer.state", "THAWED")
                }
                usleep(round < 20 ? 100 : 10_000)
            }
        } catch {
            throw CgroupError(error)
        }
        try? thaw()
        throw CgroupError("\(directory) does not freeze: a process in it cannot be stopped")
    }

    func thaw() throws(CgroupError) {
        do throws(SystemError) {
            try writeControl("\(directory)/freezer.state", "THAWED")
        } catch {
            throw CgroupError(error)
        }
    }

    func isFrozen() throws(CgroupError) -> Bool {
        do throws(SystemError) {
            return try isFrozenNow()
        } catch {
            if error.errno.meansRemoved { return false }
            throw CgroupError(error)
        }
    }

    private func isFrozenNow() throws(SystemError) -> Bool {
        try readText("\(directory)/freezer.state").hasPrefix("FROZEN")
    }
}

/// Where nothing stops all processes at once: the caller has to do it by other means.
struct MissingFreezer: Freezer {
    var error = CgroupError("this machine has no cgroup freezer")

    func freeze() throws(CgroupError) { throw error }
    func thaw() throws(CgroupError) {}
    func isFrozen() throws(CgroupError) -> Bool { false }
}

/// A line of `cgroup.events` such as `frozen 1`, from the start of an open file.
func readEvent(_ name: String, _ events: CInt) throws(SystemError) -> Bool {
    try system("rewind cgroup.events") { lseek(events, 0, SEEK_SET) }
    let text = String(decoding: try readAll(events, name: "cgroup.events"), as: UTF8.self)
    return text.split(separator: "\n").contains("\(name) 1")
}
