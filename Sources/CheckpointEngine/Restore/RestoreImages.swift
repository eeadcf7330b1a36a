import CheckpointImages
import LinuxSystem

/// A checkpoint as it lies on disk, read and looked over: pure data, nothing has been touched yet.
package final class RestoreImages {
    let directory: ImageDirectory
    let inventory: InventoryEntry
    let userNamespace: UserNamespace
    let tree: [PstreeEntry]
    let files: FileTable
    let externalDescriptors: [String]
    /// What is in pipes and sockets stays in its files until it is needed.
    let pipeData: [UInt32: (entry: PipeDataEntry, place: PayloadPlace)]
    let fifoData: [UInt32: (entry: PipeDataEntry, place: PayloadPlace)]
    let socketQueues: [UInt32: [SocketMessage]]
    let socketOptions: [UInt32: [SocketOptionEntry]]
    private let payloads: [String: PayloadFile]
    let seccompFilters: [SeccompFilter]
    let memoryFiles: [UInt32: MemfdInodeEntry]
    let clocks: TimensEntry?
    /// Of threads that are not as new ones are.
    private let tunables: [pid_t: Tunables]
    /// What the checkpoint was allowed to carry over; nothing, if the images are CRIU's.
    let options: DumpOptions
    /// Where pages are that this checkpoint does not have itself.
    let parents: ParentChain
    let parentSums: ParentSums

    /// - Parameters:
    ///   - isInside: whether the images are in a directory inside of the image directory.
    ///   - parentPath: of the first parent, instead of what the images say.
    package init(
        _ descriptor: consuming OwnedDescriptor, isInside: Bool = false, parentPath: String? = nil
    ) throws {
        parents = try ParentChain(
            of: descriptor.raw, isInside: isInside, named: parentPath, isTrusted: parentPath != nil)
        directory = try ImageDirectory(descriptor)
        inventory = try directory.entry(.inventory)
        guard inventory.imgVersion == 2 || inventory.imgVersion == 1 else {
            throw CheckpointError("inventory.img: image version \(inventory.imgVersion) is not known")
        }
        let number = inventory.rootIds.userNsID
        userNamespace =
            try directory.contains(.userns, number) ? UserNamespace(try directory.entry(.userns, number)) : .own
        guard try directory.contains(.pstree) else {
            throw CheckpointError(
                "pstree.img: missing from the checkpoint: a pre-dump has memory alone; restore the checkpoint that was "
                    + "taken with it as --parent-path")
        }
        tree = try directory.entries(.pstree)
        var fileReader = try directory.reader(.files)
        files = try FileTable(&fileReader)
        var pipeData: [UInt32: (entry: PipeDataEntry, place: PayloadPlace)] = [:]
        var fifoData = pipeData
        var queues: [UInt32: [SocketMessage]] = [:]
        var payloads: [String: PayloadFile] = [:]
        if try directory.contains(.pipesData) {
            payloads[ImageKind.pipesData.pattern] = PayloadFile(
                try directory.visit(.pipesData, as: PipeDataEntry.self) { pipeData[$0.pipeID] = ($0, $1) })
        }
        if try directory.contains(.fifoData) {
            payloads[ImageKind.fifoData.pattern] = PayloadFile(
                try directory.visit(.fifoData, as: PipeDataEntry.self) { fifoData[$0.pipeID] = ($0, $1) })
        }
        if try directory.contains(.socketQueues) {
            payloads[ImageKind.socketQueues.pattern] = PayloadFile(
                try directory.visit(.socketQueues, as: SkPacketEntry.self) { entry, place in
                    queues[entry.idFor, default: []].append(try SocketMessage(entry, at: place))
                })
        }
        self.pipeData = pipeData
        self.fifoData = fifoData
        socketQueues = queues
        socketOptions =
            try directory.contains(SocketOptionEntry.fileName)
            ? SocketOptionEntry.parse(try directory.bytes(SocketOptionEntry.fileName)) : [:]
        self.payloads = payloads
        var filters: [SeccompFilter] = []
        if try directory.contains(.seccomp) {
            filters = try directory.entries(.seccomp, as: SeccompEntry.self).flatMap(\.seccompFilters)
        }
        seccompFilters = filters
        var memoryFiles: [UInt32: MemfdInodeEntry] = [:]
        if try directory.contains(.memfdInodes) {
            for entry in try directory.entries(.memfdInodes, as: MemfdInodeEntry.self) {
                memoryFiles[UInt32(truncatingIfNeeded: entry.inodeID)] = entry
            }
        }
        self.memoryFiles = memoryFiles
        clocks = try directory.contains(.timens) ? try directory.entry(.timens) : nil
        tunables =
            try directory.contains(Tunables.fileName)
            ? Tunables.decode(String(decoding: try directory.bytes(Tunables.fileName), as: UTF8.self)) : [:]
        options =
            try directory.contains(DumpOptions.fileName)
            ? DumpOptions(text: String(decoding: try directory.bytes(DumpOptions.fileName), as: UTF8.self))
            : DumpOptions()
        parentSums =
            try directory.contains(ParentSums.fileName)
            ? ParentSums(text: String(decoding: try directory.bytes(ParentSums.fileName), as: UTF8.self)) : ParentSums()
        externalDescriptors = Self.names(
            String(decoding: (try? directory.bytes("descriptors.json")) ?? [], as: UTF8.self))
    }

    func tunables(of thread: pid_t) -> Tunables { tunables[thread] ?? Tunables() }

    /// The bytes after an entry.
    func bytes(of place: PayloadPlace, _ kind: ImageKind) throws -> [UInt8] {
        try payloads[kind.pattern]?.image.bytes(place, kind.fileName()) ?? []
    }

    private final class PayloadFile {
        let image: RawImage
        init(_ image: consuming RawImage) { self.image = image }
    }

    /// A JSON array of strings, and nothing else: `["/dev/null","pipe:[12]","pipe:[13]"]`.
    private static func names(_ text: String) -> [String] {
        var names: [String] = []
        var current: String?
        var isEscaped = false
        for character in text {
            if current != nil {
                if isEscaped {
                    current?.append(character)
                    isEscaped = false
                } else if character == "\\" {
                    isEscaped = true
                } else if character == "\"" {
                    names.append(current ?? "")
                    current = nil
                } else {
                    current?.append(character)
                }
            } else if character == "\"" {
                current = ""
            }
        }
        return names
    }

    /// What to add to this machine's clocks for the container, `nil` if the images do not tell.
    package func clockOffsets() throws -> (monotonic: timespec, boottime: timespec)? {
        try clocks.map { try Clocks.offsets(to: $0) }
    }
}
