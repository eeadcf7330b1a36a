import LinuxSystem

/// A process in the container's cgroup whose parent is outside: `exec` put it in. It cannot be restored, since its parent
/// is not in the image; but most of them, such as a health check, come to their end soon.
enum Stranger {
    /// How long the end of one is awaited.
    struct Patience {
        private let end = microseconds() + 1_000_000

        /// Waits a little, and in the end no more.
        func wait(for stranger: pid_t) throws {
            guard microseconds() < end else {
                throw CheckpointError(
                    "process \(stranger) (\(commandName(stranger))) was put into the container from outside (exec): "
                        + "its parent is not in the container, so it cannot be restored; wait until it has ended")
            }
            usleep(2000)
        }
    }

    /// Waits while the container runs: a health check may need an answer from it.
    static func awaitEnd(of request: CheckpointRequest) throws {
        let patience = Patience()
        while let stranger = find(in: try request.members(), first: request.firstProcess) {
            try patience.wait(for: stranger)
        }
    }

    private static func find(in members: [pid_t], first: pid_t) -> pid_t? {
        let known = Set(members)
        return members.first { member in
            guard member != first, let parent = try? ProcessStatus(member).parent else { return false }
            return !known.contains(parent)
        }
    }
}
