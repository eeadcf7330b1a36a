import CheckpointImages
import LinuxSystem

extension Dump {
    /// A kernel object that processes may share was met for the first time. Ids are given in order.
    func isNew(_ kind: CInt, _ id: UInt32) -> Bool {
        defer { seen[kind] = max(seen[kind] ?? 0, id) }
        return id > (seen[kind] ?? 0)
    }

    /// Adds the images of the container as a whole. The tree was collected while it stood still.
    func finish(running first: CapturedProcess, container: String) throws {
        try images.add(.files, entries: files.entries)
        try images.add(.pipesData, records: pipeData)
        try images.add(.socketQueues, records: socketQueues)
        if !locks.entries.isEmpty { try images.add(.fileLocks, entries: locks.entries) }
        try images.add(.seccomp, entries: [SeccompEntry.with { $0.seccompFilters = seccompFilters }])
        try images.add(.pstree, entries: tree)
        for (file, sum) in zip(pages.files, pages.sums) {
            images.note(ImageKind.pages.fileName(file.id), size: file.size, sum: sum)
        }
        images.add("descriptors.json", Array(descriptorsJSON.utf8))
        images.add(DumpOptions.fileName, Array(options.text.utf8))
        try images.add(
            .inventory,
            entries: [
                InventoryEntry.with {
                    $0.imgVersion = 2
                    $0.fdinfoPerID = true
                    $0.nsPerID = true
                    if let rootIDs { $0.rootIds = rootIDs }
                    $0.lsmtype = .noLsm
                    $0.dumpUptime = microseconds()
                }
            ])
    }

    /// The three standard streams' names, as runc writes them.
    private var descriptorsJSON: String {
        let names = externalDescriptors.map { name in
            let escaped = name.flatMap { $0 == "\"" || $0 == "\\" ? ["\\", $0] : [$0] }
            return "\"" + String(escaped) + "\""
        }
        return "[" + names.joined(separator: ",") + "]"
    }
}

/// File systems of the container's own whose content lives in memory and is not carried over yet must be empty, but for
/// what the configuration itself puts there.
///
/// - Parameter outer: where the configuration mounts files of the host, which stay where they are.
func refuseMounts(of process: CapturedProcess, except outer: Set<String>) throws {
    let root = "/proc/\(process.hostPid)/root"
    let lines = try readText("/proc/\(process.hostPid)/mountinfo").split(separator: "\n")
    // 36 35 98:0 /root /point options - type source superoptions
    let mounts = lines.compactMap { line -> (point: String, type: Substring, options: Substring)? in
        let parts = line.split(separator: " ")
        guard let dash = parts.firstIndex(of: "-"), dash + 1 < parts.count, parts.count > 5 else { return nil }
        return (unescaped(parts[4]), parts[dash + 1], parts[5])
    }
    let points = Set(mounts.map(\.point))
    for mount in mounts where mount.type == "tmpfs" && mount.point != "/dev" && !mount.options.hasPrefix("ro") {
        if outer.contains(mount.point) { continue }
        let names = (try? directoryEntries(root + mount.point)) ?? []
        guard let found = names.first(where: { !points.contains(mount.point + "/" + $0) }) else { continue }
        throw CheckpointError(
            "\(mount.point) is a tmpfs with \(found) in it; the content of a tmpfs cannot be checkpointed yet")
    }
    for mount in mounts where mount.type == "mqueue" {
        guard let found = (try? directoryEntries(root + mount.point))?.first else { continue }
        throw CheckpointError("\(mount.point)/\(found): POSIX message queues cannot be checkpointed yet")
    }
}

/// mountinfo writes blanks, tabs, newlines and backslashes as three octal digits.
private func unescaped(_ field: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = Array(field.utf8)[...]
    while let first = rest.first {
        let digits = rest.dropFirst().prefix(3)
        if first == UInt8(ascii: "\\"), digits.count == 3,
            let byte = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
        {
            bytes.append(byte)
            rest = rest.dropFirst(4)
        } else {
            bytes.append(first)
            rest = rest.dropFirst()
        }
    }
    return String(decoding: bytes, as: UTF8.self)
}
