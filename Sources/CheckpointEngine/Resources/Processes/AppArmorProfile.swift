import CheckpointImages
import LinuxSystem
import Tracee

/// The AppArmor profile of a thread: the container's own, or one that it has entered from there. apparmor(7).
///
/// Every restored task begins in the profile of config.json and goes into its own one by itself, so the kernel asks the
/// configured profile's rules: no image can get a task out of it.
enum AppArmorProfile {
    /// `nil` for a task that is unconfined, or where AppArmor is off.
    ///
    /// - Parameter task: its directory in procfs.
    static func of(_ task: String) throws -> String? {
        guard SecurityModules.hasAppArmor,
            let label = try readText("\(task)/attr/apparmor/current").split(separator: "\n").first
        else {
            return nil
        }
        // The label, a space, and its mode in parentheses; `unconfined` has none.
        let name = label.hasSuffix(")") ? label[..<(label.lastIndex(of: "(") ?? label.endIndex)].dropLast() : label
        return name == "unconfined" ? nil : String(name)
    }

    /// What a thread of the image has to enter from the configured profile; `nil` if it was in that one.
    static func entered(by credentials: CredsEntry, _ images: RestoreImages, _ policy: RestorePolicy) throws -> String?
    {
        let name = credentials.lsmProfile
        guard images.inventory.lsmtype == .apparmor, !name.isEmpty, !policy.overridesProfile else { return nil }
        // The kernel takes no longer command.
        guard name.utf8.count < 4000, !name.utf8.contains(where: { $0 < 0x20 }) else {
            throw CheckpointError("lsm_profile in the image is no name of a profile")
        }
        let configured = policy.profile ?? "unconfined"
        if name == configured { return nil }
        // Who is unconfined has any profile beneath it.
        let isBeneath =
            configured == "unconfined" || name.hasPrefix(configured + "//") || components(name).contains(configured)
        guard isBeneath else {
            throw CheckpointError(
                "was in the AppArmor profile \(name), which is not beneath config.json's \(configured); "
                    + "--lsm-profile apparmor:NAME says which one it shall have")
        }
        guard policy.hasAppArmor else {
            throw CheckpointError(
                "was in the AppArmor profile \(name), and AppArmor is off on this machine; "
                    + "--lsm-profile apparmor:unconfined restores it without")
        }
        return name
    }

    /// Of a stack of profiles.
    private static func components(_ label: String) -> [String] {
        label.replacing("//&", with: "\n").split(separator: "\n").map(String.init)
    }

    /// Lets the calling task enter the profile. Comes before no_new_privs, under which there are only stricter ones.
    ///
    /// - Parameter free: the number that a new descriptor gets.
    static func recreate(_ name: String, from configured: String?, descriptor free: UInt64, in program: inout Program) {
        // What was put on top of a profile is put there again: rules of change_profile tell the two apart.
        let base = (configured ?? "") + "//&"
        let isStacked = name.hasPrefix(base)
        let command = Array((isStacked ? "stack \(name.dropFirst(base.count))" : "changeprofile \(name)").utf8)
        let path = program.place(path: "/proc/thread-self/attr/apparmor/current")
        let text = program.place(command)
        program.call(
            "open /proc/thread-self/attr/apparmor/current", Int(SYS_openat),
            [UInt64(bitPattern: Int64(AT_FDCWD)), path.raw, UInt64(O_WRONLY | O_CLOEXEC)], expecting: Int(free))
        program.call(
            "enter the AppArmor profile \(name) from \(configured ?? "unconfined") (is there a rule change_profile?)",
            Int(SYS_write), [free, text.raw, UInt64(command.count)])
        program.call("close", Int(SYS_close), [free])
    }

    /// The container's /proc may be anything.
    static func verify(_ name: String, of task: String) throws {
        let now = try of(task)
        guard now == name else {
            throw CheckpointError("is in the AppArmor profile \(now ?? "unconfined") instead of \(name)")
        }
    }
}
