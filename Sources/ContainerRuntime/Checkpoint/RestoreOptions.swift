import CheckpointEngine
import LinuxSystem
import OCISpec

/// What `restore` was asked to do. The fields are runc's flags, and those that its clients send beyond them.
package struct RestoreOptions: Sendable, Equatable {
    /// The state store's directory (`--root`).
    package var stateRoot: String
    package var imagePath: String
    /// Where `restore.log` and `stats-restore` go; the image directory unless given.
    package var workPath: String
    /// Of the first parent, instead of what the images say; relative to the image directory.
    package var parentPath: String?
    package var bundle: String
    package var consoleSocket: String?
    package var pidFile: String?
    package var detach = false
    package var noPivot = false
    package var noSubreaper = false
    package var cgroupManager = CgroupManager.cgroupfs
    /// Descriptors from 3 on that the container keeps.
    package var preservedDescriptors: [CInt] = []
    /// The flags that say what may be brought back, beyond what the images themselves say.
    package var carried = DumpOptions()
    package var autoDedup = false
    package var lazyPages = false
    package var emptyNamespaces: [String] = []
    /// `TYPE:NAME`.
    package var lsmProfile: String?
    package var lsmMountContext: String?

    package init(stateRoot: String, imagePath: String, workPath: String, bundle: String) {
        self.stateRoot = stateRoot
        self.imagePath = imagePath
        self.workPath = workPath
        self.bundle = bundle
    }
}

extension RestoreOptions {
    /// As ``CheckpointOptions/refuseUnknown()``.
    package func refuseUnknown() throws(RuntimeError) {
        try refuse([
            ("auto-dedup", autoDedup), ("lazy-pages", lazyPages),
        ])
        try refuse(mode: carried.manageCgroupsMode, emptyNamespaces: emptyNamespaces)
    }

    /// Labels that the command line gives count instead of the configuration's.
    func overrideLabels(of spec: inout Spec) throws(RuntimeError) {
        if let lsmProfile {
            let parts = lsmProfile.split(separator: ":", maxSplits: 1).map(String.init)
            guard parts.count == 2 else { throw RuntimeError("--lsm-profile \(lsmProfile): not of the form TYPE:NAME") }
            switch parts[0] {
            // Where AppArmor is off, everything is.
            case "apparmor": spec.process?.apparmorProfile = parts[1] == "unconfined" ? nil : parts[1]
            case "selinux": spec.process?.selinuxLabel = parts[1]
            default: throw RuntimeError("--lsm-profile \(lsmProfile): the type is neither apparmor nor selinux")
            }
        }
        if let lsmMountContext {
            if spec.linux == nil { spec.linux = Linux() }
            spec.linux?.mountLabel = lsmMountContext
        }
    }
}
