import Testing

@testable import CheckpointEngine

/// A container's mounts then and now, as /proc/PID/mountinfo tells them.
struct MountTableTests {
    private static let start = """
        20 1 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/l
        21 20 0:51 / /proc rw,nosuid - proc proc rw
        22 21 0:51 /sys /proc/sys ro,nosuid - proc proc rw
        23 20 8:1 /srv/hosts /etc/hosts rw - ext4 /dev/sda1 rw
        24 20 8:1 /srv/volume /volume rw master:5 - ext4 /dev/sda1 rw
        25 24 0:60 / /volume/one rw master:6 - tmpfs t rw
        26 20 0:52 / /tmp rw - tmpfs tmpfs rw,size=64k

        """

    private static let host = """
        1 0 8:1 / / rw - ext4 /dev/sda1 rw
        2 1 8:1 /srv/volume /mnt rw shared:5 - ext4 /dev/sda1 rw
        3 2 0:60 / /mnt/one rw shared:6 - tmpfs t rw
        4 1 0:50 / /bundle rw - overlay overlay rw,lowerdir=/l

        """

    /// What is said of the same mounts after some changes of the text.
    private static func complaint(
        _ changes: [(String, String)] = [], added: String = "", host: String = host,
        binds: Set<String> = ["/", "/volume"]
    ) -> String {
        let now = changes.reduce(start) { text, change in
            text.split(separator: change.0, omittingEmptySubsequences: false).joined(separator: change.1)
        }
        do {
            try MountTable.verify(
                now + added,
                since: StartRecord(
                    mounts: start, network: nil, destinations: ["/proc", "/volume"], recursiveBinds: binds)
            ) { MountLine.all(in: host) }
            return ""
        } catch {
            return "\(error)"
        }
    }

    @Test func differences() {
        #expect(Self.complaint() == "")
        #expect(
            Self.complaint([("ro,nosuid", "rw,nosuid")]).contains("proc at /proc/sys is `rw,nosuid rw`, but was `ro"))
        #expect(Self.complaint(added: "30 20 0:70 / /new rw - tmpfs t rw\n").contains("type tmpfs at /new was made"))
        #expect(Self.complaint([("22 21 0:51 /sys /proc/sys ro,nosuid - proc proc rw\n", "")]).contains("is gone"))
        #expect(Self.complaint([("/srv/hosts", "/srv/other")]).contains("at /etc/hosts was made"))
        #expect(Self.complaint([("size=64k", "size=128k")]).contains("size=128k"))
        #expect(Self.complaint([("/tmp rw -", "/tmp rw shared:9 -")]).contains("shared"))
        // Another one, in the place of one that was alike.
        #expect(Self.complaint(added: "30 26 0:52 / /tmp rw - tmpfs tmpfs rw,size=64k\n").contains("/tmp was made"))
    }

    @Test func whatTheHostDoes() {
        #expect(Self.complaint([("/srv/hosts ", "/srv/hosts//deleted ")]) == "")
        #expect(Self.complaint([("lowerdir=/l", "lowerdir=/l,xino=off")]) == "")
        #expect(Self.complaint([(" master:6", "")]) == "")
        let gone = ("25 24 0:60 / /volume/one rw master:6 - tmpfs t rw\n", "")
        let hostWithout = Self.host.split(separator: "\n").filter { !$0.hasPrefix("3 ") }.joined(separator: "\n")
        #expect(Self.complaint([gone], host: hostWithout) == "")
        #expect(Self.complaint([gone]).contains("at /volume/one, which"), "taken away inside")
        let elsewhere = hostWithout + "\n3 2 0:60 / /mnt/two rw shared:6 - tmpfs t rw\n"
        #expect(Self.complaint([gone], host: elsewhere) == "", "another has the number of its group")
        let volume = Self.start.split(separator: "\n").filter { $0.contains(" /volume") }.map { ($0 + "\n", "") }
        #expect(Self.complaint(volume.map { (String($0.0), $0.1) }, host: "").contains("at /volume, which"))
    }

    @Test func whatComesFromTheHost() {
        let two = "30 24 0:61 / /volume/two rw master:7 - tmpfs t rw\n"
        let below = "31 30 0:62 / /volume/two/deep rw master:8 - tmpfs t rw\n"
        let host =
            Self.host + """
                5 2 0:61 / /mnt/two rw shared:7 - tmpfs t rw
                6 5 0:62 / /mnt/two/deep rw shared:8 - tmpfs t rw

                """
        #expect(Self.complaint(added: two + below, host: host) == "")
        #expect(Self.complaint(added: two).contains("/volume/two was made"), "the host does not have it")
        #expect(Self.complaint(added: two, host: host, binds: ["/"]).contains("/volume/two was made"), "no rbind")
        let elsewhere = "30 24 0:61 / /volume/three rw master:7 - tmpfs t rw\n"
        #expect(Self.complaint(added: elsewhere, host: host).contains("/volume/three was made"), "bound inside")
        #expect(Self.complaint(added: "30 24 0:63 / /volume/two rw - tmpfs t rw\n", host: host).contains("was made"))
    }
}
