/// How large images may be; what their entries may take in memory is ``EntryBudget``'s. What a checkpoint could not restore it does not write, either.
package enum ImageLimits {
    /// Bytes of one file. Pages are as many as their pagemap says.
    package static func bytes(_ name: String) -> UInt64 {
        switch name {
        case "options.stasis": 4 << 10
        case "inventory.img", "descriptors.json": 64 << 10
        // The kernel keeps 256 KiB of filters for a thread.
        case "seccomp.img", Checksums.fileName: 4 << 20
        // Read piece by piece.
        case "sk-queues.img", "pipes-data.img", "fifo-data.img": 1 << 30
        case _ where name.hasPrefix("tcp-stream-"): 1 << 30
        case _ where name.hasPrefix("tmpfs-") && name.hasSuffix(".stasis"): 256 << 20
        case _ where name.hasPrefix("ipcns-msg-"): 1 << 30
        case _ where name.hasPrefix("ghost-file-"): .max
        case _ where Checksums.isPages(name): .max
        // A million runs of pages, several of which are one mapping's.
        case _ where name.hasPrefix("pagemap-"): 64 << 20
        default: 16 << 20
        }
    }

    static func tooLarge(_ name: String) -> ImageError {
        ImageError(name, .malformed("more than \(bytes(name)) bytes cannot be restored"))
    }
}
