import Testing

extension Integration {
    /// What a container's processes do to what config.json has put around them: kept, or refused by name while the
    /// container lives.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct Surroundings {
        /// What is done inside, how it is taken back, and what a checkpoint says in between.
        struct Change: CustomTestStringConvertible, Sendable {
            let done: String
            let undone: String
            let complaint: [String]
            var testDescription: String { done }

            init(_ done: String, _ undone: String, _ complaint: String...) {
                (self.done, self.undone, self.complaint) = (done, undone, complaint)
            }
        }

        private static let madeLater = "was made after the container's program started"

        private static let mounts = [
            Change("mount -t ramfs inner /tmp", "umount /tmp", "type ramfs at /tmp", madeLater, "unmount it"),
            Change(
                "mkdir /tmp/gone /scratch/on && mount -o bind /tmp/gone /scratch/on && rmdir /tmp/gone",
                "umount /scratch/on", "at /scratch/on", madeLater, "has been removed since"),
        ]

        /// What is done again at a restore.
        private static let remounts = [
            "mount -t tmpfs -o size=1m,noexec inner /tmp && echo text >/tmp/file",
            "mount -o bind /state /tmp",
            "touch /tmp/f && mount -o bind /tmp/f /etc/hosts",
            // Over what is hidden or read-only, and what is taken away from over it: security.
            "mount -t proc proc /tmp", "mount -t proc proc /proc", "umount /proc/sys",
            "mount -o remount,bind,rw /proc/sys",
            "mount -o remount,bind,ro,nosuid,nodev,noexec /dev/shm",
            "echo text >/dev/shm/file && mount -o remount,ro,nosuid,nodev,noexec,size=1m /dev/shm",
            "umount /dev/mqueue && echo text >/dev/mqueue/file",
            "mkdir /tmp/moved && mount -o move /dev/mqueue /tmp/moved",
            "mount --make-rshared / && mkdir /tmp/on && mount -t tmpfs one /tmp/on && mount --make-unbindable /scratch",
            "mkdir /scratch/a /tmp/b && echo text >/scratch/a/file && mount -o bind /scratch/a /tmp/b",
            "mount -t tmpfs one /tmp && mkdir /tmp/on && mount -t tmpfs two /tmp/on && mount -t tmpfs three /tmp",
        ]

        private func table(_ container: Container) throws -> String {
            let script = """
                sed 's/^[0-9]* [0-9]* [0-9:]* //; s/ \\([a-z_]*\\):[0-9]*/ \\1/g' /proc/self/mountinfo | sort
                find /tmp /dev/shm /dev/mqueue ! -path '/tmp/[0-9s]*' | sort
                """
            return try container.exec("sh", "-c", script).succeeded().output
        }

        @Test("what was done to mounts is done again", .timeLimit(.minutes(1)), arguments: remounts)
        func remounted(script: String) throws {
            try TestBed.use { bed in
                let container = try container(bed)
                try container.run()
                let start = try table(container)
                try inside(container, script)
                let before = try table(container)
                #expect(before != start)
                for number in 1...2 {
                    try container.checkpoint(to: "image\(number)")
                    try container.restore(from: "image\(number)")
                    let now = try table(container)
                    let (lines, old) = (now.split(separator: "\n"), before.split(separator: "\n"))
                    #expect(
                        now == before,
                        "new: \(lines.filter { !old.contains($0) }), gone: \(old.filter { !lines.contains($0) })")
                }
            }
        }

        /// What a shell starts in mount namespaces of their own.
        private static let sandboxes = [
            """
            unshare -m sh -c 'mount -t tmpfs t /tmp && echo text >/tmp/file &&
            unshare -m sh -c "mount -t tmpfs u /scratch && umount /proc/sys && exec sleep 1001" & exec sleep 1000'
            """,
            "unshare -m sh -c 'mount -t tmpfs t /tmp && echo text >/tmp/file && exec sleep 1000'",
            // As services of systemd with directories of their own, and paths that they may not see or change.
            """
            mount --make-rshared /; mkdir -p /state/private; unshare -m sh -c 'mount --make-rslave / &&
            mount --bind /state/private /tmp && echo text >/tmp/file && mount --bind /etc /etc &&
            mount -o remount,bind,ro /etc && mount -t tmpfs -o ro,mode=0 hidden /scratch && exec sleep 1000'
            """,
            """
            unshare -m sh -c 'mount -t tmpfs t /tmp && cp -a /bin /tmp && mkdir /tmp/tmp && echo text >/tmp/tmp/file &&
            cd /tmp && exec chroot /tmp /bin/sleep 1000' & exec sleep 1001
            """,
        ]

        @Test("programs in mount namespaces of their own stay in them", .timeLimit(.minutes(2)), arguments: sandboxes)
        func apart(script: String) throws {
            try TestBed.use { bed in
                let container = try container(bed)
                try container.bundle.edit { config in
                    config["process"]["args"] = .strings(["sh", "-c", script + "; exec sleep 1002"])
                    for set in ["bounding", "effective", "permitted"] {
                        config["process"]["capabilities"][set] = .strings(["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"])
                    }
                }
                try container.run()
                let look = """
                    for p in $(pidof sleep); do echo $p; readlink /proc/$p/root; readlink /proc/$p/cwd; cat /proc/$p/root/tmp/file
                    sed 's/^[0-9]* [0-9]* [0-9:]* //; s/ \\([a-z_]*\\):[0-9]*/ \\1/g' /proc/$p/mountinfo | sort; done 2>&1
                    """
                var before = ""
                let isThere = until(seconds: 10) {
                    before = (try? container.exec("sh", "-c", look).succeeded().output) ?? ""
                    let processes = before.split(separator: "\n").filter { Int($0) != nil }
                    return before.contains("text") && processes.count == (script.contains("1001") ? 2 : 1)
                }
                #expect(isThere, "\(before)")
                for number in 1...2 {
                    try container.checkpoint(to: "image\(number)")
                    try container.restore(from: "image\(number)")
                    let now = try container.exec("sh", "-c", look).succeeded().output
                    let (lines, old) = (now.split(separator: "\n"), before.split(separator: "\n"))
                    #expect(
                        now == before,
                        "new: \(lines.filter { !old.contains($0) }), gone: \(old.filter { !lines.contains($0) })")
                }
            }
        }

        @Test("what config.json does not let a container do to its mounts is not done", .timeLimit(.minutes(1)))
        func unmountedByExec() throws {
            try TestBed.use { bed in
                let container = try container(bed)
                try container.bundle.edit { config in
                    for set in ["bounding", "effective", "permitted"] {
                        config["process"]["capabilities"][set] = .strings([])
                    }
                }
                try container.run()
                let umount = ["exec", "--cap", "CAP_SYS_ADMIN", container.id, "umount", "/proc/sys"]
                try bed.runtime.command(umount).run().succeeded()
                let outcome = try container.checkpointCommand(to: "image").run()
                #expect(outcome.status == 1 && outcome.isOneComplaint, "\(outcome)")
                #expect(outcome.errors.contains("proc at /proc/sys"), "\(outcome)")
                #expect(outcome.errors.contains("does not grant CAP_SYS_ADMIN"), "\(outcome)")
                #expect(try container.status() == "running")
            }
        }

        private static let devices = [
            Change("mknod /dev/mem c 1 1", "rm /dev/mem", "tmpfs at /dev", "mem: the device 1:1", "linux.devices"),
            Change("chmod 600 /dev/full", "chmod 666 /dev/full", "full: the device 1:7", "mode 20600"),
            Change("rm /dev/full", "mknod -m 666 /dev/full c 1 7", "device /dev/full", "is gone"),
            Change("mknod /scratch/disk b 7 7", "rm /scratch/disk", "tmpfs at /scratch", "disk", "the device 7:7"),
            Change("mkdir /ram/kept", "rmdir /ram/kept", "/ram/kept", "remove it"),
        ]

        /// A container that sleeps, whose `exec` has what it takes.
        private func container(_ bed: TestBed) throws -> Container {
            let container = try bed.container(.busybox, arguments: ["sleep", "1000"])
            try Files.write("", to: container.bundle.rootfs + "/etc/hosts")
            try container.bundle.addMount("/scratch", type: "tmpfs", source: "tmpfs", ["nosuid", "mode=1777"])
            try container.bundle.addMount("/ram", type: "ramfs", source: "ramfs", ["nosuid"])
            try container.bundle.edit { config in
                config["linux"]["seccomp"] = .null
                for set in ["bounding", "effective", "permitted"] {
                    config["process"]["capabilities"][set] = .strings(["CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_NET_ADMIN"])
                }
                config["linux"]["resources"]["devices"] = [["allow": true, "access": "rwm"]]
            }
            return container
        }

        private func inside(_ container: Container, _ script: String) throws {
            try container.exec("sh", "-c", script).succeeded()
        }

        @Test(
            "a change is refused by name, and no more when it is taken back", .timeLimit(.minutes(1)),
            arguments: mounts + devices)
        func refused(change: Change) throws {
            try TestBed.use { bed in
                let container = try container(bed)
                try container.run()
                // What is restored knows what it started with, too.
                try container.checkpoint(to: "first")
                try container.restore(from: "first")
                try inside(container, change.done)
                for leaveRunning in [true, false] {
                    let outcome = try container.checkpointCommand(to: "image", leaveRunning: leaveRunning).run()
                    #expect(outcome.status == 1 && outcome.isOneComplaint, "\(outcome)")
                    for part in change.complaint { #expect(outcome.errors.contains(part), "\(part): \(outcome)") }
                    #expect(!Files.exists(container.imageFolder("image") + "/inventory.img"))
                    #expect(try container.status() == "running")
                }
                guard change.undone != "true" else { return }
                try inside(container, change.undone)
                try container.checkpoint(to: "image")
                try container.restore(from: "image")
            }
        }

        /// What comes back, and how it is taken back.
        private static let networks = [
            Change("ip address add 10.9.8.7/24 dev lo", "ip address del 10.9.8.7/24 dev lo", "10.9.8.7/24"),
            Change("ip address del 127.0.0.1/8 dev lo", "true"),
            Change("ip address add fd00::5/64 dev lo", "ip address del fd00::5/64 dev lo", "fd00::5/64"),
            Change(
                "ip link add d0 type veth peer name d1; ip link set d0 up; ip link set d1 up", "ip link del d0", "d1@d0"
            ),
            Change("ip link set lo mtu 1400", "ip link set lo mtu 65536", "mtu 1400"),
            Change("ip link set lo down", "ip link set lo up", "state DOWN"),
            Change("ip route add 10.5.0.0/16 dev lo", "ip route del 10.5.0.0/16 dev lo", "10.5.0.0/16"),
            Change(
                "ip route add 10.6.0.0/16 via 10.9.9.9 dev lo onlink", "ip route del 10.6.0.0/16", "via 10.9.9.9"),
            Change("ip rule add from 10.1.0.0/16 table 7", "ip rule del from 10.1.0.0/16 table 7", "from 10.1.0.0/16"),
            Change("ip rule del priority 32767", "true"),
            Change(
                "ip link add br0 type bridge; ip link add d0 type veth peer name d1; ip link set d0 master br0",
                "ip link del br0; ip link del d0", "master br0"),
            Change("iptables-nft -A INPUT -s 10.3.3.3 -j DROP", "true"),
        ]

        /// What does not.
        private static let refusedNetworks = [
            Change(
                "ip link add v0 type vxlan id 5 dstport 4789 local 127.0.0.1", "ip link del v0", "interface v0 (vxlan)",
                "kind vxlan"),
            Change("tc qdisc add dev lo root pfifo limit 7", "tc qdisc del dev lo root", "discipline pfifo of lo"),
            Change("ip nexthop add id 5 blackhole", "ip nexthop del id 5", "nexthop object 5"),
            Change(
                "ip link set lo name other", "ip link set other name lo", "interface other", "not made in the container"
            ),
            Change("iptables-nft -A INPUT -m conntrack --ctstate NEW -j DROP", "true", "the match conntrack"),
            Change("iptables-legacy -A INPUT -s 10.3.3.3 -j DROP", "iptables-legacy -F", "iptables table filter"),
            Change("ip6tables-legacy -P OUTPUT DROP", "ip6tables-legacy -P OUTPUT ACCEPT", "ip6tables table filter"),
        ]

        private static let traffic =
            "python3 -c 'import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b\"x\", (\"127.0.0.1\", 9))'"

        /// With this machine's programs of the network.
        private func networkContainer(_ bed: TestBed, capabilities: [String]) throws -> Container {
            let container = try bed.container(.programs([]), arguments: ["/bin/sleep", "1000"])
            try container.mountUsr()
            try Files.makeFolder(container.bundle.rootfs + "/run")  // for a lock of iptables-legacy
            try container.bundle.edit { config in
                config["linux"]["seccomp"] = .null
                for set in ["bounding", "effective", "permitted"] {
                    config["process"]["capabilities"][set] = .strings(capabilities)
                }
            }
            return container
        }

        private static let look = """
            ip -details link; ip address; (ip route show table all; ip -6 route show table all) | sort; ip rule; ip -6 rule
            ip neighbour show nud permanent; iptables-nft -S
            """

        @Test("a change of the network comes back", .timeLimit(.minutes(2)), arguments: networks)
        func network(change: Change) throws {
            try TestBed.use { bed in
                let container = try networkContainer(bed, capabilities: ["CAP_NET_ADMIN", "CAP_NET_RAW"])
                try container.run()
                // The kernel notes whom it has talked to, which nobody has set.
                try inside(container, Self.traffic)
                try container.checkpoint(to: "quiet")
                #expect(!Files.exists(container.imageFolder("quiet") + "/network.stasis"))
                try container.restore(from: "quiet")
                func look() throws -> String { try container.exec("sh", "-c", Self.look).succeeded().output }
                let start = try look()
                try inside(container, change.done)
                // What the kernel does later: it looks for others with an address.
                var before = ""
                _ = until(seconds: 4) {
                    defer { before = (try? look()) ?? "" }
                    return false
                }
                #expect(before != start)
                for part in change.complaint { #expect(before.contains(part), "\(before)") }
                for number in 1...2 {
                    try container.checkpoint(to: "image\(number)")
                    try container.restore(from: "image\(number)")
                    var now = ""
                    let isSame = until(seconds: 10) {
                        now = (try? look()) ?? ""
                        return now == before
                    }
                    #expect(isSame, "\(now) was \(before)")
                }
                guard change.undone != "true" else { return }
                try inside(container, change.undone)
                try container.checkpoint(to: "undone")
                #expect(!Files.exists(container.imageFolder("undone") + "/network.stasis"))
            }
        }

        @Test("what a restore would not make is refused by name", .timeLimit(.minutes(1)), arguments: refusedNetworks)
        func refusedNetwork(change: Change) throws {
            try TestBed.use { bed in
                let container = try networkContainer(bed, capabilities: ["CAP_NET_ADMIN", "CAP_NET_RAW"])
                try container.run()
                try inside(container, change.done)
                let outcome = try container.checkpointCommand(to: "image").run()
                #expect(outcome.status == 1 && outcome.isOneComplaint, "\(outcome)")
                for part in change.complaint + ["by a path"] {
                    #expect(outcome.errors.contains(part), "\(part): \(outcome)")
                }
                guard change.undone != "true" else { return }
                try inside(container, change.undone)
                try container.checkpoint(to: "image")
            }
        }

        @Test("a tunnel without a program comes back", .timeLimit(.minutes(1)))
        func tunnel() throws {
            try TestBed.use { bed in
                let container = try networkContainer(bed, capabilities: ["CAP_NET_ADMIN"])
                try container.run()
                let make =
                    "ip tuntap add mode tap name t0 user 77 multi_queue vnet_hdr; ip address add 10.9.8.7/24 dev t0"
                try Command("nsenter", "-t", "\(try container.pid())", "-n", "sh", "-c", make).run().succeeded()
                let look = "ip -details link show t0; ip address show t0"
                let before = try container.exec("sh", "-c", look).succeeded().output
                #expect(before.contains("tun type tap") && before.contains("10.9.8.7"), "\(before)")
                for number in 1...2 {
                    try container.checkpoint(to: "image\(number)")
                    try container.restore(from: "image\(number)")
                    #expect(try container.exec("sh", "-c", look).succeeded().output == before)
                }
            }
        }

        @Test("what exec is given more rights for is noticed, too", .timeLimit(.minutes(1)))
        func networkByExec() throws {
            try TestBed.use { bed in
                let container = try networkContainer(bed, capabilities: [])
                try container.run()
                let add = [
                    "exec", "--cap", "CAP_NET_ADMIN", container.id, "ip", "address", "add", "10.9.8.7/24", "dev", "lo",
                ]
                try bed.runtime.command(add).run().succeeded()
                let outcome = try container.checkpointCommand(to: "image").run()
                #expect(outcome.status == 1 && outcome.errors.contains("address 10.9.8.7/24 of lo"), "\(outcome)")
                #expect(outcome.errors.contains("CAP_NET_ADMIN"), "\(outcome)")
            }
        }

        @Test("what hooks and clients have made before the start is no reason to refuse", .timeLimit(.minutes(1)))
        func madeBefore() throws {
            try TestBed.use { bed in
                let container = try networkContainer(bed, capabilities: ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"])
                let script = """
                    pid=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/')
                    nsenter -t $pid -n sh -c 'ip address add 10.9.8.7/24 dev lo; ip route add 10.5.0.0/16 dev lo'
                    """
                try container.bundle.edit { config in
                    config["hooks"]["createRuntime"] = [["path": "/bin/sh", "args": ["sh", "-c", .string(script)]]]
                }
                var create = bed.runtime.command(["create", "--bundle", container.bundle.folder, container.id])
                create.output = container.bundle.folder + "/out.log"
                try create.run().succeeded()
                let pid = try container.pid()
                try Command("nsenter", "-t", "\(pid)", "-m", "mount", "-t", "tmpfs", "client", "/tmp").run().succeeded()
                try bed.runtime.run("start", container.id).succeeded()
                try container.checkpoint(to: "first")
                try container.restore(from: "first")
                #expect(try container.exec("ip", "address").succeeded().output.contains("10.9.8.7/24"))
                try container.checkpoint(to: "second", leaveRunning: true)
            }
        }

        @Test("a namespace by path is its owner's", .timeLimit(.minutes(1)))
        func namespaceByPath() throws {
            try TestBed.use { bed in
                try Command("ip", "netns", "add", bed.token).run().succeeded()
                defer { _ = try? Command("ip", "netns", "delete", bed.token).run() }
                let container = try networkContainer(bed, capabilities: ["CAP_NET_ADMIN"])
                try container.bundle.edit { config in
                    let others = config["linux"]["namespaces"].elements.filter { $0["type"] != "network" }
                    config["linux"]["namespaces"] = .array(
                        others + [["type": "network", "path": .string("/run/netns/" + bed.token)]])
                }
                try container.run()
                try inside(container, "ip address add 10.9.8.7/24 dev lo")
                try container.checkpoint(to: "image")
                try container.restore(from: "image")
                #expect(try container.exec("ip", "address").succeeded().output.contains("10.9.8.7/24"))
            }
        }

        @Test("mounts that come and go with the host's are the host's", .timeLimit(.minutes(1)))
        func propagated() throws {
            try TestBed.use { bed in
                let shared = bed.folder + "/shared"
                try Files.makeFolder(shared)
                try Command("mount", "-t", "tmpfs", "t", shared).run().succeeded()
                defer { _ = try? Command("umount", "-R", shared).run() }
                try Command("mount", "--make-shared", shared).run().succeeded()
                for name in ["one", "two"] { try Files.makeFolder(shared + "/" + name) }
                try Command("mount", "-t", "tmpfs", "t", shared + "/one").run().succeeded()
                let container = try container(bed)
                try container.bundle.addMount("/volume", source: shared, ["rbind", "rslave"])
                try container.run()
                try Command("umount", shared + "/one").run().succeeded()
                try Command("mount", "-t", "tmpfs", "t", shared + "/two").run().succeeded()
                try Files.write("seen", to: shared + "/two/file")
                try container.checkpoint(to: "image")
                try container.restore(from: "image")
                #expect(try container.exec("cat", "/volume/two/file").succeeded().output == "seen")
                // The container's own is told from it.
                try inside(
                    container, "mkdir /volume/three && mount -t tmpfs inner /volume/three && touch /volume/three/own")
                try container.checkpoint(to: "again")
                try container.restore(from: "again")
                #expect(try container.exec("ls", "/volume/two", "/volume/three").succeeded().output.contains("own"))
            }
        }

        @Test(
            "a file that is bound into a tmpfs is there after a restore, and what lies beside it",
            .timeLimit(.minutes(1)))
        func boundFile() throws {
            try TestBed.use { bed in
                let container = try container(bed)
                try Files.write("from outside", to: bed.folder + "/tool")
                try container.bundle.addMount("/scratch/deep/tool", source: bed.folder + "/tool", ["bind", "ro"])
                try container.run()
                try inside(container, "echo beside >/scratch/deep/beside; echo above >/scratch/above")
                for number in 1...2 {
                    try container.checkpoint(to: "image\(number)")
                    try container.restore(from: "image\(number)")
                    let seen = try container.exec("sh", "-c", "cd /scratch; cat deep/tool deep/beside above")
                        .succeeded().output
                    #expect(seen == "from outsidebeside\nabove")
                }
            }
        }

        @Test(
            "a part of a tmpfs that is mounted again is refused by name", .timeLimit(.minutes(1)),
            arguments: [("scratch/b", "b: this file system itself"), ("tmp", "tmpfs at /tmp: only /a of it")])
        func part(place: String, complaint: String) throws {
            try TestBed.use { bed in
                let container = try container(bed)
                let script = "mkdir -p scratch/a \(place) && mount --bind scratch/a \(place)"
                try container.bundle.edit { config in
                    config["hooks"]["createContainer"] = [["path": "/bin/sh", "args": ["sh", "-c", .string(script)]]]
                }
                try container.run()
                let outcome = try container.checkpointCommand(to: "image").run()
                #expect(
                    outcome.status == 1 && outcome.isOneComplaint && outcome.errors.contains(complaint), "\(outcome)")
            }
        }

        @Test("sysctls that a program has set are set again", .timeLimit(.minutes(1)))
        func parameters() throws {
            try TestBed.use { bed in
                let container = try container(bed)
                try container.bundle.edit { config in
                    config["linux"]["readonlyPaths"] = .null
                    for set in ["bounding", "effective", "permitted"] {
                        config["process"]["capabilities"][set] = .strings(["CAP_NET_ADMIN"])
                    }
                }
                try container.run()
                let values = [
                    "net/ipv4/ip_forward": "1", "net/ipv4/conf/lo/rp_filter": "2",
                    "net/ipv4/conf/default/send_redirects": "0",
                    "net/core/somaxconn": "77", "net/ipv4/ip_local_port_range": "20000\t20100",
                    "kernel/shmmax": "123456",
                    "kernel/sem": "250\t32000\t50\t100", "fs/mqueue/msg_max": "20",
                ]
                for (name, value) in values { try inside(container, "echo '\(value)' >/proc/sys/\(name)") }
                for number in 1...2 {
                    try container.checkpoint(to: "image\(number)")
                    try container.restore(from: "image\(number)")
                    for (name, value) in values {
                        let now = try container.exec("cat", "/proc/sys/" + name).succeeded().output
                        #expect(now == value, "\(name)")
                    }
                }
                // Another bundle does not let the container change them.
                try container.checkpoint(to: "image3")
                try container.bundle.edit { $0["linux"]["readonlyPaths"] = .strings(["/proc/sys"]) }
                let outcome = try container.restoreCommand(from: "image3").run()
                #expect(outcome.status == 1, "\(outcome)")
                #expect(
                    (Files.text(of: container.bundle.folder + "/out.log") ?? "").contains(
                        "does not let the container change sysctl"))
            }
        }
    }
}
