import CheckpointImages
import LinuxSystem

/// Goes through one tmpfs, directory by directory, and writes down what is there. It holds one directory open, however deep
/// it lies and however long its path is.
struct MemoryFileWalk {
    private let image: ImageStream
    private let userNamespace: UserNamespace
    /// The directories above this one: which they are, and where they were left.
    private var above: [(name: String, inode: ino_t, position: off_t)] = []
    /// Files with several names.
    private var numbers: [ino_t: UInt32] = [:]
    private static let mostNumbers = 250_000
    /// Where the container sees it.
    private let point: String
    /// Devices that are made by config.json and have not been met yet.
    private var devices: Set<DeviceNode>
    /// Where something is mounted.
    private let places: Set<String>
    /// Where config.json mounts something, though the top shows what is beneath.
    private let hidden: Set<String>

    init(
        into image: ImageStream, userNamespace: UserNamespace, point: String, devices: [DeviceNode],
        places: Set<String>, hidden: Set<String> = []
    ) {
        self.hidden = hidden
        self.image = image
        self.userNamespace = userNamespace
        self.point = point
        self.devices = Set(devices)
        self.places = places
    }

    mutating func run(from top: CInt) throws {
        try walk(from: top)
        if let missing = devices.map(\.path).min() {
            throw CheckpointError(
                "the device \(missing), which config.json makes, is gone; a restore would make it again")
        }
    }

    private mutating func walk(from top: CInt) throws {
        let device = try status(of: top).st_dev
        var here = try DirectoryStream(try openAt(top, ".", O_RDONLY | O_DIRECTORY))
        try write(try Self.entry("", here.directory.raw))
        while true {
            let directory = here.directory.raw
            guard let name = try about(path("."), { try here.next() }) else {
                try image.append(raw: MemoryFileEntry.end)
                guard let last = above.popLast() else { return }
                here = try DirectoryStream(
                    try parent(of: directory, is: last.inode, O_RDONLY | MemoryFileSystem.noAccessTime),
                    at: last.position)
                continue
            }
            let found = try status(at: directory, name, flags: AT_SYMLINK_NOFOLLOW)
            // What is mounted here is made anew by config.json.
            guard found.st_dev == device, hidden.isEmpty || !hidden.contains(place(of: name)) else { continue }
            guard found.isDirectory else {
                try about(path(name)) { try addFile(name, found, in: directory) }
                continue
            }
            guard above.count + 2 <= MemoryFileReader.deepest else {
                throw CheckpointError("more than \(MemoryFileReader.deepest) directories in each other")
            }
            let inner = try about(path(name)) { try Self.open(name, O_DIRECTORY, in: directory) }
            try about(path(name)) { try write(try Self.entry(name, inner.raw)) }
            above.append((name, try status(of: directory).st_ino, here.position))
            here = try DirectoryStream(inner)
        }
    }

    /// As the container's mounts have it.
    private func place(of name: String) -> String { (point == "/" ? "" : point) + "/" + path(name) }

    private func path(_ name: String) -> String { (above.map(\.name) + [name]).joined(separator: "/") }

    private func write(_ entry: MemoryFileEntry) throws {
        try image.append(raw: userNamespace.inside(entry).encoded)
    }

    private static func open(_ name: String, _ flags: CInt, in directory: CInt) throws -> OwnedDescriptor {
        do throws(SystemError) {
            return try openAt(
                directory, name, O_RDONLY | O_NOFOLLOW | MemoryFileSystem.noAccessTime | flags, resolve: .noCrossMounts)
        } catch {
            guard error.errno == .improperLink else { throw error }
            throw CheckpointError("this file system itself is mounted there once more; this cannot be checkpointed yet")
        }
    }

    /// Of what can be opened.
    private static func entry(_ name: String, _ file: CInt) throws -> MemoryFileEntry {
        var entry = MemoryFileEntry(name: name, try status(of: file))
        var size = 0
        for attributeName in try attributeNames(file) where MemoryFileSystem.isCarried(attributeName) {
            let value = try attribute(file, attributeName)
            size += attributeName.utf8.count + value.count
            guard size <= MemoryFileEntry.attributeLimit else {
                throw CheckpointError("has more extended attributes than can be restored")
            }
            entry.attributes.append((attributeName, value))
        }
        return entry
    }

    private mutating func addFile(_ name: String, _ found: stat, in directory: CInt) throws {
        if found.isDevice { return try pass(DeviceNode(point + "/" + path(name), found)) }
        let known = numbers[found.st_ino]
        if found.st_nlink > 1, known == nil {
            guard numbers.count < Self.mostNumbers else {
                throw CheckpointError("more than \(Self.mostNumbers) files with several names cannot be restored")
            }
            numbers[found.st_ino] = UInt32(numbers.count + 1)
        }
        let number = found.st_nlink > 1 ? numbers[found.st_ino] ?? 0 : 0
        if known == nil, found.isRegular {
            let file = try Self.open(name, O_NONBLOCK, in: directory)
            var entry = try Self.entry(name, file.raw)
            entry.number = number
            try write(entry)
            return try addContent(of: file.raw, size: entry.size)
        }
        var entry = MemoryFileEntry(name: name, found)
        entry.number = number
        if found.isSymbolicLink {
            entry.target = try linkTarget(at: directory, name)
        } else if !found.isFIFO && !found.isSocket && !found.isRegular {
            throw CheckpointError("this kind of file cannot be checkpointed yet")
        }
        try write(entry)
    }

    /// No image may have a device: it would be a right to all that the device gives.
    private mutating func pass(_ device: DeviceNode) throws {
        guard devices.remove(device) == nil, !places.contains(device.path) else { return }
        let number = "\(clinux_major(device.number)):\(clinux_minor(device.number))"
        throw CheckpointError(
            "the device \(number) (mode \(String(device.mode, radix: 8)), owner \(device.user):\(device.group)) on a tmpfs "
                + "cannot be checkpointed yet: config.json makes none like it there (linux.devices); remove it or list it"
        )
    }

    private func addContent(of file: CInt, size: Int) throws {
        for data in try dataRanges(of: file, size: size) {
            for start in stride(from: data.lowerBound, to: data.upperBound, by: MemoryFileEntry.pieceSize) {
                let count = min(MemoryFileEntry.pieceSize, data.upperBound - start)
                let bytes = try readBytes(file, at: start, count: count)
                try image.append(raw: MemoryFileEntry.piece(bytes[...], at: UInt64(start)))
            }
        }
        try image.append(raw: MemoryFileEntry.end)
    }
}

/// The directory above, which nobody has moved meanwhile.
func parent(of directory: CInt, is inode: ino_t, _ flags: CInt) throws -> OwnedDescriptor {
    let opened = try openAt(directory, "..", flags | O_DIRECTORY, resolve: .noCrossMounts)
    guard try status(of: opened.raw).st_ino == inode else {
        throw CheckpointError("a directory was moved while it was looked at")
    }
    return opened
}
