import OCISpec

/// What `features` prints. runtime-spec features.md.
package enum Features {
    package static func text(version: String) -> String {
        json(version: version).text(indent: "    ")
    }

    static func json(version: String) -> JSONText {
        .object([
            ("ociVersionMin", .string("1.0.0")),
            ("ociVersionMax", .string(Spec.version)),
            (
                "hooks",
                .strings([
                    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
                ])
            ),
            ("mountOptions", .strings(mountOptions)),
            ("linux", linux),
            (
                "annotations",
                .object([
                    ("org.opencontainers.runc.checkpoint.enabled", .string("true")),
                    ("org.stasis.version", .string(version)),
                ])
            ),
            (
                "potentiallyUnsafeConfigAnnotations",
                .strings(["bundle", "org.systemd.property.", "org.criu.config"])
            ),
        ])
    }

    private static let linux: JSONText = .object([
        ("namespaces", .strings(["cgroup", "ipc", "mount", "network", "pid", "time", "uts"])),
        ("capabilities", .strings(CapabilityNames.all)),
        (
            "cgroup",
            .object([
                ("v1", .bool(true)), ("v2", .bool(true)), ("systemd", .bool(false)),
                ("systemdUser", .bool(false)),
                ("rdma", .bool(true)),
            ])
        ),
        (
            "seccomp",
            .object([
                ("enabled", .bool(true)),
                ("actions", .strings(Seccomp.Action.allCases.map(\.rawValue).sorted())),
                ("operators", .strings(Seccomp.Operator.allCases.map(\.rawValue).sorted())),
                ("archs", .strings(Seccomp.Architecture.allCases.map(\.rawValue).sorted())),
                ("knownFlags", .strings(Seccomp.Flag.allCases.map(\.rawValue).sorted())),
                ("supportedFlags", .strings(Seccomp.Flag.allCases.map(\.rawValue).sorted())),
            ])
        ),
        ("apparmor", .object([("enabled", .bool(false))])),
        ("selinux", .object([("enabled", .bool(false))])),
        ("intelRdt", .object([("enabled", .bool(false))])),
        ("mountExtensions", .object([("idmap", .object([("enabled", .bool(false))]))])),
        ("netDevices", .object([("enabled", .bool(false))])),
    ])

    private static let mountOptions = [
        "acl", "async", "atime", "bind", "defaults", "dev", "diratime", "exec", "loud", "mand",
        "noatime", "nodev",
        "nodiratime", "noexec", "noiversion", "nolazytime", "nomand", "norelatime", "nostrictatime",
        "nosuid",
        "nosymfollow", "private", "ratime", "rbind", "rdev", "rdiratime", "relatime", "remount",
        "rexec", "rnoatime",
        "rnodev", "rnodiratime", "rnoexec", "rnorelatime", "rnostrictatime", "rnosuid", "rnosymfollow",
        "ro",
        "rprivate", "rrelatime", "rro", "rrw", "rshared", "rslave", "rstrictatime", "rsuid",
        "rsymfollow",
        "runbindable", "rw", "shared", "slave", "strictatime", "suid", "symfollow", "tmpcopyup",
        "unbindable",
    ]
}
