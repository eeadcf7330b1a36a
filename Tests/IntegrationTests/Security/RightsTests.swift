import Glibc
import Testing

extension Integration {
    /// A process gets the rights that its configuration says, and nothing that a container's files say.
    @Suite(.serialized, .enabled(if: Runtime.isStasis))
    struct Rights {
        private func inheritable(_ status: String) -> String? {
            status.split(separator: "\n").first { $0.hasPrefix("CapInh:") }?.split(separator: "\t").last.map(
                String.init)
        }

        @Test("nothing is inheritable that was not asked for (CVE-2022-29162)", .timeLimit(.minutes(1)))
        func inheritableCapabilities() throws {
            try TestBed.use { bed in
                let none = "0000000000000000"
                let container = try bed.container(.busybox, arguments: [])
                #expect(inheritable(try container.runAttached(["cat", "/proc/self/status"]).output) == none)
                try container.bundle.edit { $0["process"]["args"] = ["sleep", "1000"] }
                try container.run()
                let exec = ["exec", "--cap", "CAP_NET_RAW", container.id, "cat", "/proc/self/status"]
                let status = try bed.runtime.command(exec).run().succeeded().output
                #expect(inheritable(status) == none)
                let permitted = status.split(separator: "\n").first { $0.hasPrefix("CapPrm:") } ?? ""
                let set = permitted.split(separator: "\t").last.flatMap { UInt64($0, radix: 16) } ?? 0
                #expect(set & 1 << 13 != 0, "\(permitted)")
            }
        }

        @Test("a user is a number, not a name from the image (CVE-2016-3697)", .timeLimit(.minutes(1)))
        func users() throws {
            try TestBed.use { bed in
                let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
                try Files.write("1000:x:0:0::/:/bin/sh\n", to: container.bundle.rootfs + "/etc/passwd")
                try Files.write("1000:x:0:\n", to: container.bundle.rootfs + "/etc/group")
                try container.run()
                func ids(_ user: String) throws -> Outcome {
                    try bed.runtime.run("exec", "--user", user, container.id, "sh", "-c", "id -u; id -g")
                }
                #expect(try ids("1000:1000").succeeded().output == "1000\n1000")
                for name in ["root", "1000:root", "-1", "4294967296", "0x0"] {
                    let outcome = try ids(name)
                    #expect(outcome.status != 0 && outcome.errors.contains("is not a user or group id"), "\(outcome)")
                }
            }
        }
    }
}
