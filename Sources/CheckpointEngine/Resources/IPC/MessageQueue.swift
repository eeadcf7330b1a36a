import CheckpointImages
import LinuxSystem

/// POSIX message queues: not carried over yet, so there must be none. mq_overview(7).
enum MessageQueue: Kind {
    static func capture(_ request: CheckpointRequest, into dump: Dump) throws {
        for mount in dump.mounts where mount.type == "mqueue" {
            let queues = try? directoryEntries("/proc/\(dump.first.hostPid)/root" + mount.point)
            guard let found = queues?.first else { continue }
            throw CheckpointError(
                "queue /\(found) in \(mount.point): a POSIX message queue cannot be checkpointed yet")
        }
    }
}
