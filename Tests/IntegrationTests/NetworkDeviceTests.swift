import Testing

extension Integration {
    /// config.json's `linux.netDevices`, with devices of a network namespace of the test's own as the host's.
    @Suite(.serialized, .enabled(if: Runtime.isStasis))
    struct NetworkDevices {
        /// A network namespace in which the runtime is run.
        private struct Host {
            let name: String
            let runtime: Runtime

            func command(_ words: [String]) -> Command { Command(["nsenter", "--net=/run/netns/" + name] + words) }

            @discardableResult
            func ip(_ words: String) throws(Failure) -> String {
                try command(["ip"] + words.split(separator: " ").map(String.init)).run().succeeded().output
            }

            func stasis(_ words: String...) throws(Failure) -> Outcome {
                try command(runtime.command(words).words).run()
            }
        }

        /// With a device `d0` that has everything that is to be kept, and an address that is not.
        private func withHost(_ bed: TestBed, _ body: (Host) throws -> Void) throws {
            let host = Host(name: bed.token, runtime: bed.runtime)
            try Command("ip", "netns", "add", host.name).run().succeeded()
            defer { _ = try? Command("ip", "netns", "delete", host.name).run() }
            try host.ip("link add d0 address 02:00:00:00:12:34 mtu 1400 type veth peer name p0")
            for address in ["10.9.8.7/24", "fd00::5/64 nodad", "169.254.1.2/16 scope link"] {
                try host.ip("address add \(address) dev d0")
            }
            try host.ip("link set d0 up")
            try body(host)
        }

        private func container(
            _ bed: TestBed, _ script: String, devices: JSONValue, path: String? = nil
        ) throws -> Container {
            let container = try bed.container(.busybox, arguments: ["sh", "-c", script])
            try container.bundle.edit { config in
                config["linux"]["netDevices"] = devices
                guard let path else { return }
                let others = config["linux"]["namespaces"].elements.filter { $0["type"] != "network" }
                config["linux"]["namespaces"] = .array(others + [["type": "network", "path": .string(path)]])
            }
            return container
        }

        private func expectReturned(_ host: Host) throws {
            let device = try host.ip("-o link show d0")
            #expect(device.contains("link/ether 02:00:00:00:12:34") && device.contains("mtu 1400"))
            #expect(!device.contains(",UP"), "\(device)")
        }

        @Test("a device keeps what it has, is up, and comes back under its name", .timeLimit(.minutes(1)))
        func newNamespace() throws {
            try TestBed.use { bed in
                try withHost(bed) { host in
                    let container = try container(
                        bed, "ip -o link show net7; ip -o address show net7", devices: ["d0": ["name": "net7"]])
                    let inside = try host.stasis("run", "--bundle", container.bundle.folder, container.id)
                        .succeeded().output
                    #expect(inside.contains("02:00:00:00:12:34") && inside.contains("mtu 1400"), "\(inside)")
                    #expect(inside.contains(",UP"))
                    #expect(inside.contains("inet 10.9.8.7/24") && inside.contains("inet6 fd00::5/64"))
                    #expect(!inside.contains("169.254.1.2"))
                    try expectReturned(host)
                    #expect(try host.ip("address show d0").contains("inet") == false)
                }
            }
        }

        @Test("so does one of a container with a user namespace, which is its root's", .timeLimit(.minutes(1)))
        func userNamespace() throws {
            try TestBed.use { bed in
                try withHost(bed) { host in
                    let script = "ip -o link show d0; ip -o address show d0; ip link set d0 mtu 1300 && echo own"
                    let container = try container(bed, script, devices: ["d0": ["name": ""]])
                    try Command("chown", "-R", "300000:300000", container.bundle.rootfs).run().succeeded()
                    try container.bundle.edit { config in
                        config.add(namespace: "user")
                        let map: JSONValue = [["containerID": 0, "hostID": 300_000, "size": 65536]]
                        config["linux"]["uidMappings"] = map
                        config["linux"]["gidMappings"] = map
                        for set in ["bounding", "effective", "permitted"] {
                            config["process"]["capabilities"][set] = ["CAP_NET_ADMIN"]
                        }
                    }
                    let inside = try host.stasis("run", "--bundle", container.bundle.folder, container.id)
                        .succeeded().output
                    #expect(inside.contains("02:00:00:00:12:34") && inside.contains("mtu 1400"), "\(inside)")
                    #expect(inside.contains(",UP") && inside.contains("inet 10.9.8.7/24") && inside.hasSuffix("own"))
                    let device = try host.ip("-o link show d0")
                    #expect(device.contains("link/ether 02:00:00:00:12:34") && !device.contains(",UP"), "\(device)")
                }
            }
        }

        @Test(
            "it comes back from a container that never started, was killed, or ended long ago",
            .timeLimit(.minutes(1)), arguments: ["created", "running", "ended"])
        func ends(state: String) throws {
            try TestBed.use { bed in
                try withHost(bed) { host in
                    let script = state == "ended" ? "true" : "sleep 1000"
                    let container = try container(bed, script, devices: ["d0": ["name": ""]])
                    try host.stasis("create", "--bundle", container.bundle.folder, container.id).succeeded()
                    let gone = try host.command(["ip", "link", "show", "d0"]).run()
                    #expect(gone.status == 1)
                    if state != "created" { try host.stasis("start", container.id).succeeded() }
                    if state == "ended" {
                        #expect(until(seconds: 10) { (try? container.status()) == "stopped" })
                    }
                    try host.stasis("delete", "--force", container.id).succeeded()
                    try expectReturned(host)
                }
            }
        }

        @Test("into a namespace that was there before, with a number for a name", .timeLimit(.minutes(1)))
        func joinedNamespace() throws {
            try TestBed.use { bed in
                try withHost(bed) { host in
                    let other = Host(name: bed.token + "-2", runtime: bed.runtime)
                    try Command("ip", "netns", "add", other.name).run().succeeded()
                    defer { _ = try? Command("ip", "netns", "delete", other.name).run() }
                    try other.ip("link add net0 type veth peer name p1")
                    let container = try container(
                        bed, "ls /sys/class/net", devices: ["d0": ["name": "net%d"]],
                        path: "/run/netns/" + other.name)
                    let inside = try host.stasis("run", "--bundle", container.bundle.folder, container.id)
                    #expect(try inside.succeeded().output == "lo\nnet0\nnet1\np1")
                    try expectReturned(host)
                    #expect(try other.ip("-o link").split(separator: "\n").count == 3)
                }
            }
        }

        @Test("what cannot be moved is told by field, and what was moved comes back", .timeLimit(.minutes(1)))
        func refusals() throws {
            try TestBed.use { bed in
                try withHost(bed) { host in
                    let own = "/run/netns/" + host.name
                    for (devices, path, complaint) in [
                        (
                            ["d0": [:], "nope": [:]], nil,
                            "linux.netDevices.nope: look for interface nope: no such device"
                        ),
                        (["d0": ["name": "lo"]], nil, "linux.netDevices.d0: an interface lo in the container's"),
                        (["d0": [:]], own, "linux.netDevices.d0: the container has the host's network namespace"),
                        (["lo": ["name": "l1"]], nil, "linux.netDevices.lo: move interface"),
                    ] as [(JSONValue, String?, String)] {
                        let container = try container(bed, "true", devices: devices, path: path)
                        let outcome = try host.stasis("run", "--bundle", container.bundle.folder, container.id)
                        #expect(outcome.status == 1 && outcome.errors.contains(complaint), "\(outcome)")
                        #expect(try host.ip("-o link show d0").contains("02:00:00:00:12:34"))
                        #expect(Files.names(in: bed.runtime.stateFolder).isEmpty)
                    }
                }
            }
        }

        @Test(
            "a checkpoint gives it back, a restore takes it again", .enabled(if: Runtime.canCheckpoint),
            .timeLimit(.minutes(1)))
        func restored() throws {
            try TestBed.use { bed in
                try withHost(bed) { host in
                    let script =
                        "while true; do ip -o address > /state/new; mv /state/new /state/shown; sleep 0.05; done"
                    let container = try container(bed, script, devices: ["d0": ["name": "net7"]])
                    try host.stasis(
                        "run", "--detach", "--bundle", container.bundle.folder, container.id
                    ).succeeded()
                    defer { _ = try? host.stasis("delete", "--force", container.id) }
                    _ = try container.waitForFile("shown") { $0.contains("10.9.8.7") }
                    try host.command(container.checkpointCommand(to: "image").words).run().succeeded()
                    try expectReturned(host)
                    try host.ip("address add 10.1.1.1/24 dev d0")
                    try host.command(container.restoreCommand(from: "image").words).run().succeeded()
                    _ = try container.waitForFile("shown") { $0.contains("net7    inet 10.1.1.1/24") }
                    try host.stasis("delete", "--force", container.id).succeeded()
                    try expectReturned(host)
                }
            }
        }
    }
}
