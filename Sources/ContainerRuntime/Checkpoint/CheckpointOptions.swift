import CheckpointEngine
import LinuxSystem

/// What `checkpoint` was asked to do. The fields are runc's flags.
package struct CheckpointOptions: Sendable, Equatable {
    /// Where the images go; made if it does not exist.
    package var imagePath: String
    /// Where `dump.log` and `stats-dump` go; the image directory unless given.
    package var workPath: String
    /// A previous image directory, relative to this one, whose pages need not be written again.
    package var parentPath: String?
    package var leaveRunning = false
    package var preDump = false
    /// The flags that say what may be carried over.
    package var carried = DumpOptions()
    package var lazyPages = false
    package var autoDedup = false
    /// `\0` is written here once a lazy dump is ready to serve pages.
    package var statusDescriptor: CInt?
    /// `ADDRESS:PORT`.
    package var pageServer: String?
    /// Namespaces to come back empty; only `network` is known.
    package var emptyNamespaces: [String] = []

    package init(imagePath: String, workPath: String) {
        self.imagePath = imagePath
        self.workPath = workPath
    }
}

extension CheckpointOptions {
    /// Refuses what would otherwise be promised and not kept. To build a feature is to take its line out here.
    package func refuseUnknown() throws(RuntimeError) {
        try refuse([
            ("lazy-pages", lazyPages), ("auto-dedup", autoDedup), ("page-server", pageServer != nil),
        ])
        if let parentPath, parentPath.hasPrefix("/") {
            throw RuntimeError("--parent-path \(parentPath): has to be relative to the image path")
        }
        try refuse(mode: carried.manageCgroupsMode, emptyNamespaces: emptyNamespaces)
    }
}

/// Names the first flag that is set.
func refuse(_ flags: [(name: String, isSet: Bool)]) throws(RuntimeError) {
    if let flag = flags.first(where: \.isSet) { throw RuntimeError("--\(flag.name): not built yet") }
}

/// Values that no engine knows.
func refuse(mode: String?, emptyNamespaces: [String]) throws(RuntimeError) {
    if let mode, !DumpOptions.cgroupModes.contains(mode) {
        throw RuntimeError("Invalid manage-cgroups-mode value: \(mode)")
    }
    if let name = emptyNamespaces.first(where: { $0 != "network" }) {
        throw RuntimeError("namespace \"\(name)\" is not supported")
    }
}
