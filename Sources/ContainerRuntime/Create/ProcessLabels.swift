import LinuxSystem
import OCISpec

/// What the security module shall call a process, written by the process itself through a procfs of the runtime's own:
/// an image can prepare its /proc so that the label goes nowhere (CVE-2025-52881).
struct ProcessLabels: Sendable {
    private let profile: String?
    private let selinux: String?

    /// Refuses what this machine would not enforce.
    init(_ process: Process) throws(RuntimeError) {
        profile = process.apparmorProfile.flatMap { $0.isEmpty ? nil : $0 }
        selinux = process.selinuxLabel.flatMap { $0.isEmpty ? nil : $0 }
        if selinux != nil, !SecurityModules.hasSELinux {
            throw RuntimeError("selinux is not enabled on this machine")
        }
        if let profile, !SecurityModules.hasAppArmor {
            throw RuntimeError("apparmor profile \(profile.quoted): apparmor is not enabled on this machine")
        }
    }

    /// For the program that this process becomes next. Hooks that it runs before have them too, as with runc.
    func applyAtExec() throws(RuntimeError) {
        if profile == nil && selinux == nil { return }
        let files = try launching("open procfs for security labels") { () throws(SystemError) in
            try ProcessFilesystem()
        }
        if let selinux {
            // Keys that it makes from here on, its session keyring first.
            try Self.write(selinux, to: "keycreate", files, "set SELinux label of keys")
            try Self.write(selinux, to: "exec", files, "set SELinux label")
        }
        if let profile {
            try Self.write("exec \(profile)", to: "apparmor/exec", files, "unable to apply apparmor profile")
        }
    }

    /// For this process and all that it makes, at once: a restored process runs no program. AppArmor lets whoever is
    /// unconfined enter any profile; with SELinux the policy must allow the `dyntransition`.
    func applyNow() throws(RuntimeError) {
        if profile == nil && selinux == nil { return }
        let files = try launching("open procfs for security labels") { () throws(SystemError) in
            try ProcessFilesystem()
        }
        if let selinux { try Self.write(selinux, to: "current", files, "set SELinux label") }
        if let profile {
            try Self.write(
                "changeprofile \(profile)", to: "apparmor/current", files, "unable to apply apparmor profile")
        }
    }

    private static func write(
        _ text: String, to name: String, _ files: borrowing ProcessFilesystem, _ what: String
    ) throws(RuntimeError) {
        try launching(what) { () throws(SystemError) in try files.write("thread-self/attr/\(name)", text) }
    }
}
