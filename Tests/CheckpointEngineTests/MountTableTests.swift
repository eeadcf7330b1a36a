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

    /// What is to be done again, or why it cannot be, after some changes of the text.
    private static func complaint(
        _ changes: [(String, String)] = [], added: String = "", host: String = host,
        binds: Set<String> = ["/", "/volume"]
    ) -> String {
        let now = changes.reduce(start) { text, change in
            text.split(separator: change.0, omittingEmptySubsequences: false).joined(separator: change.1)
        }
        do {
            let changes = try MountTable.changes(
                now + added,
                since: StartRecord(
                    mounts: start, network: nil, destinations: ["/proc", "/volume"], recursiveBinds: binds)
            ) { MountLine.all(in: host) }
            return changes.map(Self.text) ?? ""
        } catch {
            return "\(error)"
        }
    }

    private static func text(_ changes: MountChanges) -> String {
        let steps =
            changes.removed.map { "remove \($0.point)" } + changes.changed.map { "change \($0.new.point)" }
            + changes.made.map { one in
                switch one.origin {
                case .new(let options): "new \(one.line.point) \(options.map(\.key))"
                case .start(let id, let path), .made(let id, let path): "bind \(one.line.point) of \(id) `\(path)`"
                }
            }
        return steps.joined(separator: ", ")
    }

    @Test func differences() {
        #expect(Self.complaint() == "")
        #expect(Self.complaint([("ro,nosuid", "rw,nosuid")]) == "change /proc/sys")
        #expect(Self.complaint(added: "30 20 0:70 / /new rw - tmpfs t rw,size=4k\n") == #"new /new ["size"]"#)
        #expect(Self.complaint([("22 21 0:51 /sys /proc/sys ro,nosuid - proc proc rw\n", "")]) == "remove /proc/sys")
        #expect(Self.complaint([("/srv/hosts", "/srv/other")]).contains("at /etc/hosts was made"))
        #expect(Self.complaint([("size=64k", "size=128k")]) == "change /tmp")
        #expect(Self.complaint([("/tmp rw -", "/tmp rw shared:9 -")]) == "change /tmp")
        #expect(Self.complaint([("/tmp rw -", "/tmp rw unbindable -")]) == "change /tmp")
        #expect(Self.complaint([("rw master:5", "rw shared:9 master:5")]) == "change /volume")
        // Another one, over one that was alike.
        #expect(Self.complaint(added: "30 26 0:52 / /tmp rw - tmpfs tmpfs rw,size=64k\n") == "bind /tmp of 26 ``")
    }

    /// In which order mounts are made, and of what.
    @Test func order() {
        let nested = """
            30 33 0:71 / /a/deep rw - tmpfs t rw
            31 20 0:51 /sys/kernel /b rw - proc proc rw
            32 33 0:71 /x /c/d/e rw - tmpfs t rw
            33 20 0:70 / /a rw - tmpfs t rw
            34 20 0:50 /from /to ro - overlay overlay rw,lowerdir=/l

            """
        #expect(
            Self.complaint(added: nested).contains("at /c/d/e was made") == true, "it lies on no part of its parent")
        #expect(
            Self.complaint(added: nested.split(separator: "\n").filter { !$0.hasPrefix("32") }.joined(separator: "\n"))
                == "bind /b of 22 `kernel`, new /a [], new /a/deep [], bind /to of 20 `from`")
        // The place of one is hidden by the other, whichever was mounted first.
        let hidden = "30 20 0:70 / /a rw - tmpfs t rw\n31 20 0:71 / /a/b rw - tmpfs t rw\n"
        #expect(Self.complaint(added: hidden) == "new /a/b [], new /a []")
        let part = "30 20 0:70 / /a rw - tmpfs t rw\n31 20 0:70 /b /c rw - tmpfs t rw\n"
        #expect(Self.complaint(added: part) == "new /a [], bind /c of 30 `b`")
    }

    @Test(
        "what no restore makes again",
        arguments: [
            ("30 20 8:9 / /d rw - ext4 /dev/sdb rw", "type ext4 at /d was made"),
            ("30 20 0:70 / /d rw - fuse.sshfs host: rw", "type fuse.sshfs at /d"),
            ("30 20 0:70 / /d rw - autofs systemd-1 rw", "type autofs at /d"),
            ("30 20 0:70 / /d rw - binfmt_misc b rw", "type binfmt_misc at /d"),
            ("30 20 0:70 / /d rw - debugfs d rw", "type debugfs at /d"),
            ("30 20 0:70 / /d rw - tmpfs t rw,usrquota", "its option `usrquota`"),
            ("30 20 0:70 /part /d rw - tmpfs t rw", "of a part (/part)"),
            ("30 20 0:52 /x//deleted /d rw - tmpfs t rw", "has been removed since"),
            ("30 20 0:52 / /d rw,idmapped - tmpfs t rw", "idmapped"),
            ("30 20 0:52 / /d rw shared:5 - tmpfs t rw", "is shared with mounts outside"),
            ("30 20 0:52 / /d rw master:5 - tmpfs t rw", "not in the container"),
            ("30 20 0:52 / /d rw master:12 - tmpfs t rw", "not in the container"),
            ("30 20 0:70 / /d rw unbindable shared:12 - tmpfs t rw", "which cannot be"),
            ("30 20 0:70 / /d rw shared:12 - tmpfs t rw\n31 20 0:71 / /e rw shared:12 - tmpfs t rw", "is no peer"),
            (
                "30 20 0:70 / /d rw shared:12 - tmpfs t rw\n31 20 0:71 / /e rw master:12 - tmpfs t rw",
                "another file system"
            ),
            (
                "30 20 0:70 / /d rw shared:12 master:13 - tmpfs t rw\n31 20 0:70 / /e rw shared:13 master:12 - tmpfs t rw",
                "that gets its own"
            ),
            (
                "30 20 8:1 /srv/volume/x /d rw shared:12 - ext4 s rw\n31 20 8:1 /srv/hosts /e rw shared:12 - ext4 s rw",
                "none shows all"
            ),
            (
                "30 20 0:51 /sys/x /d rw - proc proc rw\n31 21 0:71 / /proc/sys/x rw - tmpfs t rw",
                "beneath the one at /proc/sys"
            ),
            ("30 99 0:70 / /d rw - tmpfs t rw\n31 30 0:70 / /d/x rw - tmpfs t rw", "on a mount of the host's"),
        ])
    func refused(added: String, complaint: String) {
        #expect(Self.complaint(added: added + "\n").contains(complaint), "\(Self.complaint(added: added))")
    }

    @Test func entries() throws {
        for line in MountLine.all(
            in: Self.start + "30 20 0:70 / /a\\040b ro,noexec,noatime - tmpfs t ro,sync,size=4k\n")
        {
            let again = try MountLine(line.entry(isOutside: true))
            #expect(again.attributes == line.attributes && MountOption.words(again) == MountOption.words(line))
            #expect((again.id, again.parent, again.device) == (line.id, line.parent, line.device))
            #expect(
                (again.root, again.point, again.type, again.source) == (line.root, line.point, line.type, line.source))
            #expect((again.sharedGroup, again.masterGroup) == (line.sharedGroup, line.masterGroup))
        }
        var entry = MountLine.all(in: Self.start)[6].entry(isOutside: false)
        for point in ["", "tmp", "/../etc", "/a/./b", "/a//b", "/a\0b"] {
            entry.mountpoint = point
            #expect(throws: CheckpointError.self) { try MountLine(entry) }
        }
    }

    @Test func whatTheHostDoes() {
        #expect(Self.complaint([("/srv/hosts ", "/srv/hosts//deleted ")]) == "")
        #expect(Self.complaint([("lowerdir=/l", "lowerdir=/l,xino=off")]) == "")
        let hostWithoutGroup = Self.host.split(separator: " shared:6", maxSplits: 1).joined()
        #expect(Self.complaint([(" master:6", "")], host: hostWithoutGroup) == "")
        #expect(Self.complaint([("master:6", "master:8")]) == "")
        #expect(Self.complaint([(" master:6", "")]) == "change /volume/one", "it was made private inside")
        let gone = ("25 24 0:60 / /volume/one rw master:6 - tmpfs t rw\n", "")
        let hostWithout = Self.host.split(separator: "\n").filter { !$0.hasPrefix("3 ") }.joined(separator: "\n")
        #expect(Self.complaint([gone], host: hostWithout) == "")
        #expect(Self.complaint([gone]) == "remove /volume/one", "taken away inside")
        let elsewhere = hostWithout + "\n3 2 0:60 / /mnt/two rw shared:6 - tmpfs t rw\n"
        #expect(Self.complaint([gone], host: elsewhere) == "", "another has the number of its group")
        let volume = Self.start.split(separator: "\n").filter { $0.contains(" /volume") }.map { ($0 + "\n", "") }
        #expect(Self.complaint(volume.map { (String($0.0), $0.1) }, host: "") == "remove /volume")
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
        #expect(Self.complaint(added: "30 24 0:63 / /volume/two rw - tmpfs t rw\n", host: host) == "new /volume/two []")
    }

    /// Which peer groups are made, in which order, and of what.
    @Test func groups() throws {
        func groups(_ added: String, _ start: String = Self.start) throws -> String {
            let changes = try MountChanges(start: MountLine.all(in: start), now: MountLine.all(in: start + added))
            return changes.groups.all.map { group in
                let master = group.master.map { " below \($0)" } ?? ""
                return "\(group.number)\(master)" + (group.seed.map { " from \($0)" } ?? "")
            }.joined(separator: ", ")
        }
        let one = "30 20 0:70 / /a rw shared:12 - tmpfs t rw\n"
        #expect(try groups(one) == "12")
        #expect(try groups(one + "31 20 0:70 /x /b rw shared:12 - tmpfs t rw\n") == "12 from 30")
        #expect(try groups(one + "31 20 0:70 /x /b rw master:12 - tmpfs t rw\n") == "12 from 30")
        let chain = "29 20 0:70 / /c rw shared:11 master:12 - tmpfs t rw\n"
        #expect(try groups(chain + one) == "12 from 29, 11 below 12 from 29")
        #expect(try groups("30 20 8:1 /srv/volume/x /b rw shared:12 master:5 - ext4 s rw\n") == "12 below 5")
        let peers = "30 20 8:1 /srv/volume/x /b rw shared:12 master:5 - ext4 s rw\n"
        #expect(
            try groups(peers + "31 20 8:1 /srv/volume /c rw shared:12 master:5 - ext4 s rw\n") == "12 below 5 from 24")
        // What config.json shares with the host goes on to be: nothing is mounted there.
        let shared = Self.start.split(separator: "/tmp rw -").joined(separator: "/tmp rw shared:7 -")
        let bound = "30 20 0:52 /x /b rw shared:7 - tmpfs t rw\n"
        #expect(try groups(bound, shared) == "")
        #expect(throws: CheckpointError.self) { try groups(bound + "31 30 0:71 / /b/x rw - tmpfs t rw\n", shared) }
        #expect(throws: CheckpointError.self) { try groups("31 26 0:71 / /tmp/x rw - tmpfs t rw\n", shared) }
    }

    /// What becomes of a mount's groups by calls that take away alone.
    @Test func left() {
        let both = MountSharing(shared: "1", master: "2")
        #expect(both.left(in: both) == both)
        #expect(both.left(in: MountSharing(master: "1")) == MountSharing(master: "1"))
        #expect(both.left(in: MountSharing(shared: "3", master: "2")) == MountSharing(), "a peer is no slave alone")
        #expect(MountSharing(master: "2").left(in: MountSharing(shared: "3", master: "2")) == MountSharing(master: "2"))
        #expect(MountSharing(isUnbindable: true).left(in: MountSharing()) == MountSharing())
    }

    /// Whatever an image says.
    @Test func rights() throws {
        let start = MountLine.all(in: Self.start)
        let changes = try MountChanges(
            start: start, now: start.dropLast() + MountLine.all(in: "30 20 0:70 / /new rw - tmpfs t rw"))
        var policy = RestorePolicy(
            capabilities: 1 << 21, noNewPrivileges: true, seccomp: nil, user: 0, groups: [], limits: .most)
        func complaint(_ policy: RestorePolicy) -> String {
            do { try MadeMount.check(changes, policy) } catch { return "\(error)" }
            return ""
        }
        #expect(
            complaint(policy).contains("tmpfs at /new was made") && complaint(policy).contains("no mount namespace"))
        policy.makesMounts = true
        #expect(complaint(policy) == "")
        policy.capabilities = ~(1 << 21)
        #expect(complaint(policy).contains("CAP_SYS_ADMIN"))
        policy.capabilities = 1 << 21
        // BPF_RET: SECCOMP_RET_KILL_PROCESS.
        policy.seccomp = SeccompPolicy(program: [6, 0, 0, 0, 0, 0, 0, 0x80], flags: 0)
        #expect(complaint(policy).contains("does not allow mount"))
    }

    @Test func bounds() {
        let many = (100..<1200).map { "\($0) 20 0:70 / /m\($0) rw - tmpfs t rw\n" }.joined()
        #expect(Self.complaint(added: many).contains("more than 1000 mounts"))
    }

    /// What the kernel shows in the end.
    @Test func verified() {
        let expected = ExpectedMounts(Self.start)
        #expect(expected.difference(Self.start) == nil)
        func difference(_ old: String, _ new: String) -> String {
            let parts = Self.start.split(separator: old, omittingEmptySubsequences: false)
            return expected.difference(parts.joined(separator: new)) ?? ""
        }
        #expect(difference("ro,nosuid", "rw,nosuid").contains("at /proc/sys with `rw,nosuid`"))
        #expect(
            difference("22 21 0:51 /sys /proc/sys ro,nosuid - proc proc rw\n", "").contains("no mount of type proc"))
        #expect(difference("26 20 0:52 / /tmp", "26 20 0:52 / /etc").contains("in the place of"))
        #expect(difference("26 20 0:52", "27 20 0:52").contains("nobody has asked for"))
        #expect(difference(" 0:60 / /volume/one", " 0:61 / /volume/one").contains("at /volume/one in the place"))
        #expect(difference("25 24 0:60 / /volume/one rw master:6 - tmpfs t rw\n", "") == "", "it went with the host's")
        #expect(difference("/tmp rw -", "/tmp rw shared:9 -").contains("at /tmp in other groups"))
        #expect(difference("/tmp rw -", "/tmp rw unbindable -").contains("at /tmp with"))
    }

    @Test func verifiedGroups() {
        func table(_ one: String, _ two: String, _ three: String) -> String {
            Self.start + "30 20 0:70 / /a rw \(one)- tmpfs t rw\n31 20 0:70 / /b rw \(two)- tmpfs t rw\n"
                + "32 20 0:70 / /c rw \(three)- tmpfs t rw\n"
        }
        var expected = ExpectedMounts(table("", "", ""))
        for id in [30, 31] { expected.lines[id]?.sharedGroup = ExpectedMounts.madeGroup("7") }
        expected.lines[32]?.masterGroup = ExpectedMounts.madeGroup("7")
        #expect(expected.difference(table("shared:90 ", "shared:90 ", "master:90 ")) == nil)
        for (one, two, three) in [
            ("shared:90 ", "shared:91 ", "master:90 "), ("shared:90 ", "shared:90 ", "master:91 "),
            ("shared:90 ", "shared:90 ", ""), ("shared:90 ", "", "master:90 "), ("", "", ""),
        ] { #expect(expected.difference(table(one, two, three))?.contains("other groups") == true) }
        // Nobody's: what lies on one of them is none of the host's.
        let more = "33 30 0:71 / /a/x rw shared:92 - tmpfs t rw\n"
        let other = expected.difference(table("shared:90 ", "shared:90 ", "master:90 ") + more) ?? ""
        #expect(other.contains("nobody has asked for"))
        let gone = table("shared:90 ", "shared:90 ", "").split(separator: "\n").dropLast().joined(separator: "\n")
        #expect(expected.difference(gone)?.contains("no mount of type tmpfs at /c") == true)
    }
}
