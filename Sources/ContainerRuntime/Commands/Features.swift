import LinuxSystem
import OCISpec

/// What `features` prints, from the tables that the commands use. runtime-spec features.md.
package enum Features {
    package static func text(version: String) -> String {
        json(version: version).text(indent: "    ")
    }

    static func json(version: String) -> JSONText {
        .object([
            ("ociVersionMin", .string("1.0.0")),
            ("ociVersionMax", .string(Spec.version)),
            ("hooks", .strings(Hooks().byName.map(\.name))),
            ("mountOptions", .strings(MountOptions.names)),
            ("linux", linux),
            (
                "annotations",
                .object([
                    ("io.github.seccomp.libseccomp.version", .string(SeccompLibrary.version)),
                    ("org.opencontainers.runc.checkpoint.enabled", .string("true")),
                    ("org.stasis.kernel.missing", .string(KernelFeature.missing.map(\.name).joined(separator: " "))),
                    ("org.stasis.version", .string(version)),
                ])
            ),
            (
                "potentiallyUnsafeConfigAnnotations",
                .strings(["bundle", "org.systemd.property.", "org.criu.config"])
            ),
        ])
    }

    private static var linux: JSONText {
        .object([
            ("namespaces", .strings(Namespace.Kind.allCases.map(\.rawValue).sorted())),
            ("capabilities", .strings(CapabilityNames.all)),
            (
                "cgroup",
                .object([
                    ("v1", .bool(true)), ("v2", .bool(true)), ("systemd", .bool(true)),
                    ("systemdUser", .bool(true)), ("rdma", .bool(true)),
                ])
            ),
            ("seccomp", seccomp),
            ("apparmor", enabled(true)),
            ("selinux", enabled(true)),
            (
                "intelRdt",
                .object(["enabled", "schemata", "monitoring"].map { ($0, .bool(Supported.intelRdt)) })
            ),
            (
                "memoryPolicy",
                .object([
                    ("modes", names(MemoryPolicy.Mode.allCases)), ("flags", names(MemoryPolicy.Flag.allCases)),
                ])
            ),
            ("mountExtensions", .object([("idmap", enabled(true))])),
            ("netDevices", enabled(true)),
        ])
    }

    private static var seccomp: JSONText {
        .object([
            ("enabled", .bool(true)),
            ("actions", names(Seccomp.Action.allCases)),
            ("operators", names(Seccomp.Operator.allCases)),
            ("archs", names(Seccomp.Architecture.allCases.filter { $0.token != nil })),
            ("knownFlags", names(Seccomp.Flag.allCases)),
            ("supportedFlags", names(Seccomp.Flag.allCases.filter(\.isKnownToKernel))),
        ])
    }

    private static func names(_ values: [some RawRepresentable<String>]) -> JSONText {
        .strings(values.map(\.rawValue).sorted())
    }

    private static func enabled(_ isEnabled: Bool) -> JSONText { .object([("enabled", .bool(isEnabled))]) }
}
