import Glibc
import Testing

extension Integration {
    /// Mounts that show their files' owners as others.
    @Suite(.serialized, .enabled(if: Runtime.canRun && Runtime.isStasis))
    struct IDMappedMounts {
        private static let map: JSONValue = [["containerID": 0, "hostID": 5000, "size": 10]]

        /// Lists owners of /m/file and /m/below/file, after making /m/made; then who owns that on the host.
        private func owners(
            in bed: TestBed, _ options: [String], mappings: JSONValue = .null, userNamespace: Bool,
            source: String? = nil
        ) throws -> (outcome: Outcome, made: uid_t?) {
            let place = bed.folder + "/place"
            try Files.makeFolder(place + "/below", mode: 0o777)
            unlink(place + "/made")
            for folder in [place, place + "/below"] {
                try Files.write("", to: folder + "/file")
                try check(chown(folder + "/file", 1, 1), "chown \(folder)/file")
            }
            let script = "stat -c %u /m/file /m/below/file; touch /m/made; stat -c %u /m/made"
            let container = try bed.container(.busybox, arguments: ["sh", "-c", script])
            try container.bundle.edit { config in
                if userNamespace {
                    config.add(namespace: "user")
                    let map: JSONValue = [["containerID": 0, "hostID": 4000, "size": 2000]]
                    config["linux"]["uidMappings"] = map
                    config["linux"]["gidMappings"] = map
                }
                var mount: JSONValue = [
                    "destination": "/m", "type": "bind", "source": .string(source ?? place),
                    "options": .strings(options),
                ]
                mount["uidMappings"] = mappings
                mount["gidMappings"] = mappings
                config["mounts"] = .array(config["mounts"].elements + [mount])
            }
            if userNamespace { try Command("chown", "-R", "4000:4000", container.bundle.rootfs).run().succeeded() }
            let outcome = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
            var status = stat()
            return (outcome, lstat(place + "/made", &status) == 0 ? status.st_uid : nil)
        }

        @Test("with mappings of its own and with the container's", .timeLimit(.minutes(1)))
        func owners() throws {
            try TestBed.use { bed in
                try bed.withTmpfs(at: bed.folder + "/place", options: "mode=777") {
                    // File's owner 1 is 5001 on the host, and the host's root is nobody on the mount.
                    let own = try owners(in: bed, ["rbind"], mappings: Self.map, userNamespace: false)
                    #expect(own.outcome.output == "5001\n5001" && own.made == nil, "\(own)")
                    // The same in a container where that is 1001; its root, 4000 on the host, is nobody there.
                    let both = try owners(in: bed, ["bind", "idmap"], mappings: Self.map, userNamespace: true)
                    #expect(both.outcome.output == "1001\n1001" && both.made == nil, "\(both)")
                    // What the container's root makes is the host's root's.
                    let containers = try owners(in: bed, ["rbind", "idmap"], userNamespace: true)
                    #expect(containers.outcome.output == "1\n1\n0" && containers.made == 0, "\(containers)")
                }
            }
        }

        @Test("mounts below are mapped if that is asked for", .timeLimit(.minutes(1)))
        func recursive() throws {
            try TestBed.use { bed in
                try bed.withTmpfs(at: bed.folder + "/place", options: "mode=777") {
                    try bed.withTmpfs(at: bed.folder + "/place/below", options: "mode=777") {
                        for (option, below) in [("idmap", "1"), ("ridmap", "5001")] {
                            let result = try owners(
                                in: bed, ["rbind", option], mappings: Self.map, userNamespace: false)
                            #expect(result.outcome.output == "5001\n\(below)", "\(option): \(result)")
                        }
                    }
                }
            }
        }

        @Test("refused by field", .timeLimit(.minutes(1)))
        func refused() throws {
            try TestBed.use { bed in
                let proc = try owners(
                    in: bed, ["bind"], mappings: Self.map, userNamespace: false, source: "/proc/self/fdinfo")
                #expect(proc.outcome.errors.contains("apply uidMappings and gidMappings to"), "\(proc)")
                let none = try owners(in: bed, ["bind", "idmap"], userNamespace: false)
                #expect(none.outcome.errors.contains("].uidMappings: missing"), "\(none)")
                let container = try bed.container(.busybox, arguments: ["true"])
                try container.bundle.edit { config in
                    config["mounts"] = .array(
                        config["mounts"].elements + [
                            [
                                "destination": "/m", "type": "tmpfs", "source": "tmpfs", "uidMappings": Self.map,
                                "gidMappings": Self.map,
                            ]
                        ])
                }
                let fresh = try bed.runtime.run("run", "--bundle", container.bundle.folder, container.id)
                #expect(fresh.status == 1 && fresh.errors.contains("only a bind mount can have mappings"), "\(fresh)")
            }
        }
    }
}
