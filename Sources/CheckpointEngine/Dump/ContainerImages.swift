import CheckpointImages
import LinuxSystem

extension Dump {
    /// A kernel object that processes may share was met for the first time. Ids are given in order.
    func isNew(_ object: SharedObject, _ id: UInt32) -> Bool {
        defer { seen[object] = max(seen[object] ?? 0, id) }
        return id > (seen[object] ?? 0)
    }

    /// Adds the images of the container as a whole. The tree was collected while it stood still.
    func finish(running first: CapturedProcess, container: String) throws {
        try endStreams()
        try FileNote.write(self)
        try images.add(.pstree, entries: tree)
        try pages.describe(in: &images)
        try images.add("descriptors.json", Array(descriptorsJSON.utf8))
        try images.add(DumpOptions.fileName, Array(options.text.utf8))
        var inventory = InventoryEntry(preDump: false)
        if let rootIDs { inventory.rootIds = rootIDs }
        try images.add(.inventory, entries: [inventory])
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
