import CheckpointImages
import LinuxSystem

/// The directory for new images.
///
/// Clients take checkpoint after checkpoint into the same one (podman does with `--leave-running` and `--keep`), and
/// expect that the last remains. It is written beside the one before, in ``nextName``, which it replaces once it is
/// complete: a checkpoint that fails costs nobody an older one.
struct ImageDestination: ~Copyable {
    /// Where the images are to be written.
    let directory: OwnedDescriptor
    /// The directory whose checkpoint they are to replace.
    private let older: OwnedDescriptor?

    private var occupied: CInt? {
        switch older {
        case .some(let descriptor): descriptor.raw
        case .none: nil
        }
    }

    private static let nextName = "next.stasis"

    /// Makes the directory if need be.
    init(_ path: String) throws(RuntimeError) {
        let images = try launching("image directory \(path)") { () throws(SystemError) in
            try makeDirectories(path, mode: 0o700)
            return try openAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY)
        }
        guard faccessat(images.raw, ImageKind.inventory.fileName(), F_OK, 0) == 0 else {
            directory = images
            older = nil
            return
        }
        directory = try launching("image directory \(path)") { () throws(SystemError) in
            Self.removeNext(from: images.raw)  // of an engine that was killed
            try system("make \(path)/\(Self.nextName)") { mkdirat(images.raw, Self.nextName, 0o700) }
            return try openAt(images.raw, Self.nextName, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        }
        older = .some(consume images)
    }

    /// Puts the complete new checkpoint into the place of the older one. Its inventory appears last, as always.
    func publish() throws(RuntimeError) {
        guard let occupied else { return }
        let inventory = ImageKind.inventory.fileName()
        try launching("replace the older checkpoint") { () throws(SystemError) in
            let new = try directoryEntries(at: directory.raw, ".")
            let stale = try directoryEntries(at: occupied, ".").filter {
                $0 != Self.nextName && ($0.hasSuffix(".img") || $0.hasSuffix(".stasis")) && !new.contains($0)
            }
            try system("remove \(inventory)") { unlinkat(occupied, inventory, 0) }
            for name in stale { try system("remove \(name)") { unlinkat(occupied, name, 0) } }
            for name in new.filter({ $0 != inventory }) + [inventory] {
                try system("rename \(name)") { renameat(directory.raw, name, occupied, name) }
            }
            try system("remove \(Self.nextName)") { unlinkat(occupied, Self.nextName, AT_REMOVEDIR) }
        }
    }

    /// Removes what a checkpoint that failed has written beside the older one.
    func abandon() {
        if let occupied { Self.removeNext(from: occupied) }
    }

    private static func removeNext(from directory: CInt) {
        for name in (try? directoryEntries(at: directory, nextName)) ?? [] {
            _ = unlinkat(directory, "\(nextName)/\(name)", 0)
        }
        _ = unlinkat(directory, nextName, AT_REMOVEDIR)
    }
}
