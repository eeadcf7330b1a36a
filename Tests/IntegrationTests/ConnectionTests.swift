import Glibc
import Testing

extension Integration {
    /// TCP connections between a container and peers outside of it.
    @Suite(.serialized, .enabled(if: Runtime.canCheckpoint))
    struct Connections {
        /// Who gives the container its network.
        enum Network: CaseIterable {
            /// A namespace by a path, which outlives it.
            case path
            /// A hook, in a namespace that config.json makes.
            case hook
        }

        /// The peers' network namespace, and the container's with what leads there.
        private struct Cable {
            let peer: String
            let inside: String
            let network: Network

            static let addresses = ["10.9.8.1", "fd00::1"]

            init(_ bed: TestBed, _ network: Network) throws(Failure) {
                (peer, inside, self.network) = ("\(bed.token)-p", "\(bed.token)-c", network)
                try Command("ip", "netns", "add", peer).run().succeeded()
                let bridge = """
                    set -e; ip link add b0 type bridge; ip link set b0 up
                    ip address add 10.9.8.2/24 dev b0; ip address add fd00::2/64 dev b0 nodad
                    """
                try Command("nsenter", "--net=/run/netns/" + peer, "sh", "-c", bridge).run().succeeded()
                guard network == .path else { return }
                try Command("ip", "netns", "add", inside).run().succeeded()
                try Command("sh", "-c", attach("/run/netns/" + inside)).run().succeeded()
            }

            /// For the shell. The hardware address is always the same, so that peers find it again.
            private func attach(_ namespace: String) -> String {
                """
                set -e; p="nsenter --net=/run/netns/\(peer)"; c="nsenter --net=\(namespace)"
                $c ip link add c0 address 02:00:00:00:12:34 type veth peer name p0
                $c ip link set p0 netns \(peer)
                $p ip link set p0 master b0; $p ip link set p0 up
                $c ip address add 10.9.8.1/24 dev c0; $c ip address add fd00::1/64 dev c0 nodad
                $c ip link set c0 up; $c ip link set lo up
                """
            }

            /// The hook takes its time, so that peers are heard before the container is there.
            func give(to container: Container) throws(Failure) {
                let script = """
                    pid=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/'); \(attach("/proc/$pid/ns/net"))
                    sleep 1
                    """
                try container.bundle.edit { config in
                    guard network == .path else {
                        config["hooks"] = [
                            "createRuntime": [
                                [
                                    "path": "/bin/sh", "args": .strings(["sh", "-c", script]),
                                    "env": .strings(Command.inheritedEnvironment),
                                ]
                            ]
                        ]
                        return
                    }
                    let others = config["linux"]["namespaces"].elements.filter { $0["type"] != "network" }
                    config["linux"]["namespaces"] = .array(
                        others + [["type": "network", "path": .string("/run/netns/" + inside)]])
                }
            }

            func remove() {
                for name in [peer, inside] { _ = try? Command("ip", "netns", "delete", name).run() }
            }
        }

        private func withServer(
            _ network: Network, _ body: (TestBed, Container, _ said: String) throws -> Void
        ) throws {
            try TestBed.use { bed in
                let cable = try Cable(bed, network)
                defer { cable.remove() }
                let container = try bed.container(workload: "network/server")
                try cable.give(to: container)
                try container.run()
                try container.waitUntilReady()
                var command = Command(
                    [
                        "nsenter", "--net=/run/netns/" + cable.peer, "python3", "-B",
                        Workload.folder + "/network/peer.py", bed.folder,
                    ]
                        + Cable.addresses)
                command.output = bed.folder + "/peer.out"
                var peers = try command.start()
                defer { peers.kill() }
                try expectProgress(16 << 20, in: bed, "before the checkpoint")
                try body(bed, container, bed.folder + "/peer.out")
                try Files.write("", to: bed.folder + "/hurry")
                guard until(seconds: 60, { Files.text(of: bed.folder + "/peer.out")?.isEmpty == false }) else {
                    throw Failure("the peers are not served: \(Files.text(of: bed.folder + "/progress") ?? "")")
                }
                #expect(Files.text(of: bed.folder + "/peer.out") == "ok\n")
                try container.expectPass("after all")
            }
        }

        /// Until both downloads have come so far.
        private func expectProgress(_ bytes: Int, in bed: TestBed, _ occasion: String) throws(Failure) {
            var now = ""
            guard
                until(
                    seconds: 30,
                    {
                        now = Files.text(of: bed.folder + "/progress") ?? ""
                        return (Int(now) ?? 0) >= bytes
                    })
            else { throw Failure("\(occasion): \(now) bytes: \(Files.text(of: bed.folder + "/peer.out") ?? "")") }
        }

        @Test("peers outside notice nothing but silence", .timeLimit(.minutes(3)), arguments: Network.allCases)
        func restored(network: Network) throws {
            try withServer(network) { bed, container, said in
                for cycle in 1...2 {
                    try container.checkpoint(to: "image\(cycle)")
                    // They try again meanwhile, and a reset would be the answer of a network without the container.
                    _ = until(seconds: 1) { Files.text(of: said)?.isEmpty == false }
                    try container.restore(from: "image\(cycle)")
                    try expectProgress((16 + 8 * cycle) << 20, in: bed, "after restore \(cycle)")
                }
            }
        }

        @Test("peers outside notice nothing of a checkpoint that lets the container go on", .timeLimit(.minutes(2)))
        func leftRunning() throws {
            try withServer(.path) { bed, container, _ in
                for cycle in 1...3 {
                    try container.checkpoint(to: "image\(cycle)", leaveRunning: true)
                    try expectProgress((16 + 8 * cycle) << 20, in: bed, "after checkpoint \(cycle)")
                }
            }
        }

        /// Says a word, and another one when that was answered.
        private static let caller = """
            import socket, sys
            peer = socket.create_connection((sys.argv[1], 4003))
            peer.sendall(b"hello")
            print("waits", flush=True)
            for word in range(2):
                assert peer.recv(5, socket.MSG_WAITALL) == b"there"
                if word == 0: peer.sendall(b"hello")
            assert peer.recv(1) == b""
            print("ok", flush=True)
            """

        @Test("peers outside wait to be accepted all the while", .timeLimit(.minutes(3)), arguments: Network.allCases)
        func waiting(network: Network) throws {
            try TestBed.use { bed in
                let cable = try Cable(bed, network)
                defer { cable.remove() }
                let container = try bed.container(workload: "network/late_server")
                try cable.give(to: container)
                try container.run()
                try container.waitUntilReady()
                var peers: [RunningCommand] = []
                defer { for place in peers.indices { peers[place].kill() } }
                let outputs = Cable.addresses.indices.map { "\(bed.folder)/caller\($0)" }
                for (address, output) in zip(Cable.addresses, outputs) {
                    var command = Command(
                        "nsenter", "--net=/run/netns/" + cable.peer, "python3", "-c", Self.caller, address)
                    command.output = output
                    peers.append(try command.start())
                    guard until(seconds: 20, { Files.text(of: output) == "waits\n" }) else {
                        throw Failure("\(address): \(Files.text(of: output) ?? "")")
                    }
                }
                try container.checkpoint(to: "image0", leaveRunning: true)
                for cycle in 1...2 {
                    try container.checkpoint(to: "image\(cycle)")
                    _ = until(seconds: 1) { false }
                    try container.restore(from: "image\(cycle)")
                }
                try container.expectPass("when they were accepted")
                for output in outputs {
                    let isServed = until(seconds: 20) { Files.text(of: output) == "waits\nok\n" }
                    #expect(isServed, "\(Files.text(of: output) ?? "")")
                }
            }
        }

        @Test("an engine that is killed leaves no connection silent", .timeLimit(.minutes(3)))
        func killed() throws {
            try withServer(.path) { bed, container, _ in
                for step in 0..<25 {
                    var checkpoint = try container.checkpointCommand(to: "image\(step)", leaveRunning: true).start()
                    usleep(UInt32(4000 * step))
                    checkpoint.kill()
                }
                try expectProgress(40 << 20, in: bed, "after the engine was killed")
            }
        }
    }
}
