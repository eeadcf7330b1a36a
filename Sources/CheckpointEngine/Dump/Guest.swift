import LinuxSystem

/// A process that `exec` put into the container: its parent is outside. Restored, it and what it has started come back as
/// children of the first process, with streams that lead nowhere: whoever held their other ends is not there.
package enum Guest {
    /// What becomes of such processes.
    package enum Policy: String, Sendable, CaseIterable {
        /// They are in the image.
        case keep
        /// They are not, and end with the container; with `--leave-running` they go on.
        case end
        /// There may be none.
        case refuse
    }

    /// How long the end of one, or its beginning, is awaited.
    struct Patience {
        private let end: UInt64

        init(milliseconds: UInt64) { end = microseconds() + milliseconds * 1000 }

        /// - Returns: false when it is over.
        func wait() -> Bool {
            guard microseconds() < end else { return false }
            usleep(2000)
            return true
        }
    }

    /// Waits while the container runs: most of them, such as a health check, come to their end soon, and may need an answer
    /// from it for that.
    static func awaitEnd(of request: CheckpointRequest) throws {
        let patience = Patience(milliseconds: request.options.execPolicy == .refuse ? 1000 : 100)
        while find(in: try request.members(), first: request.firstProcess) != nil, patience.wait() {}
    }

    private static func find(in members: [pid_t], first: pid_t) -> pid_t? {
        let known = Set(members)
        return members.first { member in
            guard member != first, let parent = try? ProcessStatus(member).parent else { return false }
            return !known.contains(parent)
        }
    }

    /// Judges one that has been met and does not stand still yet.
    ///
    /// - Returns: whether it belongs to the container by now; if not, it needs another look.
    static func isIn(_ guest: pid_t, _ policy: Policy, _ patience: Patience) throws -> Bool {
        guard let process = try? CapturedProcess(hostPid: guest, parent: nil), !process.isZombie else { return false }
        if policy != .refuse, !process.status.isFork { return true }
        guard patience.wait() else {
            throw CheckpointError(
                "process \(guest) (\(commandName(guest))) was put into the container from outside (exec)"
                    + (policy == .refuse
                        ? "; wait until it has ended, or take it along by --exec-policy keep"
                        : ", and does not come to its program; try again"))
        }
        return false
    }

    /// What guests have as their standard streams and nobody else in the container knows, by their links in /proc.
    static func streams(of processes: [CapturedProcess], into dump: Dump) throws -> Set<String> {
        var found: Set<String> = []
        for guest in processes where guest.isGuest {
            for number in CInt(0)...2 {
                let place = "/proc/\(guest.task)/fd/\(number)"
                guard let link = try? linkTarget(place), let status = try? status(at: AT_FDCWD, place) else { continue }
                let isOutside =
                    try status.isPseudoterminal
                    ? dump.consoleDevice()?.st_rdev != status.st_rdev
                    : status.isFIFO
                        ? !holdsBothEnds(of: link, processes)
                        : !dump.mountIDs.contains(DescriptorInfo(process: guest.task, number: number).mount)
                if isOutside, !dump.externalDescriptors.contains(link) { found.insert(link) }
            }
        }
        return found
    }

    private static func holdsBothEnds(of pipe: String, _ processes: [CapturedProcess]) throws -> Bool {
        var ends: Set<UInt32> = []
        for process in processes where !process.isZombie {
            for name in try directoryEntries("/proc/\(process.task)/fd") {
                guard let number = CInt(name), (try? linkTarget("/proc/\(process.task)/fd/\(number)")) == pipe else {
                    continue
                }
                let access = try DescriptorInfo(process: process.task, number: number).flags & UInt32(O_ACCMODE)
                if access == UInt32(O_RDWR) { return true }
                ends.insert(access)
            }
        }
        return ends.count > 1
    }
}
