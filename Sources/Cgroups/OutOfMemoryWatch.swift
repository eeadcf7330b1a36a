import LinuxSystem

/// Tells when the kernel killed for want of memory in a container.
package struct OutOfMemoryWatch: ~Copyable {
    private let descriptor: OwnedDescriptor
    private let directory: String
    private let isUnified: Bool
    private var kills: UInt64 = 0

    /// nil where no controller counts memory.
    package static func open(_ cgroups: CgroupSet) throws(CgroupError) -> OutOfMemoryWatch? {
        let isUnified = cgroups.layout == .v2
        guard let directory = cgroups.paths[isUnified ? "" : "memory"] else { return nil }
        do throws(SystemError) {
            if isUnified {
                let events = try openAt(AT_FDCWD, "\(directory)/memory.events", O_RDONLY)
                return OutOfMemoryWatch(descriptor: events, directory: directory, isUnified: true)
            }
            // admin-guide/cgroup-v1/memory.rst, "OOM Control".
            let event = OwnedDescriptor(try system("make eventfd") { eventfd(0, CInt(EFD_CLOEXEC)) })
            let control = try openAt(AT_FDCWD, "\(directory)/memory.oom_control", O_RDONLY)
            try writeControl("\(directory)/cgroup.event_control", "\(event.raw) \(control.raw)")
            return OutOfMemoryWatch(descriptor: event, directory: directory, isUnified: false)
        } catch {
            if error.errno == .noSuchFileOrDirectory, isUnified { return nil }
            throw CgroupError(error)
        }
    }

    /// How many processes the kernel has killed for want of memory in a container so far.
    package static func kills(in cgroups: CgroupSet) -> UInt64 {
        let isUnified = cgroups.layout == .v2
        guard let directory = cgroups.paths[isUnified ? "" : "memory"] else { return 0 }
        let text = try? readText("\(directory)/\(isUnified ? "memory.events" : "memory.oom_control")")
        return kills(text ?? "")
    }

    private static func kills(_ text: String) -> UInt64 {
        for line in text.split(separator: "\n") where line.hasPrefix("oom_kill ") {
            return UInt64(line.dropFirst("oom_kill ".count)) ?? 0
        }
        return 0
    }

    private init(descriptor: consuming OwnedDescriptor, directory: String, isUnified: Bool) {
        self.descriptor = descriptor
        self.directory = directory
        self.isUnified = isUnified
        kills = count()
    }

    /// To be waited for with ``pollEvents``; then ``take()`` says what it was.
    package var raw: CInt { descriptor.raw }

    package var pollEvents: Int16 { Int16(isUnified ? POLLPRI : POLLIN) }

    /// Whether the kernel killed since the last call. The removal of the cgroup wakes too, and is no such event.
    package mutating func take() -> Bool {
        if isUnified {
            let before = kills
            kills = count()
            return kills > before
        }
        var number: UInt64 = 0
        _ = read(descriptor.raw, &number, 8)
        return (try? exists("\(directory)/cgroup.event_control")) == true
    }

    /// Reads the open file, since that is what makes it ready for the next wait.
    private func count() -> UInt64 {
        guard isUnified, lseek(descriptor.raw, 0, SEEK_SET) == 0, let bytes = try? readAll(descriptor.raw) else {
            return 0
        }
        return Self.kills(String(decoding: bytes, as: UTF8.self))
    }
}
