import Testing

@testable import OCISpec

#if canImport(FoundationEssentials)
    import FoundationEssentials
#endif

@Suite struct SpecTests {
    @Test func theStarterBundleLoadsAndIsValid() throws {
        let spec = try Spec.decode(Array(Spec.starterText().utf8))
        try spec.validate()
        #expect(spec.process?.args == ["sh"])
        #expect(spec.linux?.namespaces.map(\.type) == [.pid, .network, .ipc, .uts, .mount])
        #expect(spec.linux?.resources?.devices == [DeviceCgroup(allow: false, access: "rwm")])
    }

    @Test func theRootlessStarterHasAUserNamespaceAndNoNetwork() throws {
        let spec = try Spec.decode(Array(Spec.rootlessStarterText(uid: 1000, gid: 100).utf8))
        try spec.validate()
        #expect(spec.linux?.namespaces.map(\.type) == [.pid, .ipc, .uts, .mount, .user])
        #expect(spec.linux?.uidMappings == [IDMapping(containerID: 0, hostID: 1000, size: 1)])
        #expect(spec.linux?.gidMappings.first?.hostID == 100)
        #expect(spec.linux?.resources == nil)
        #expect(spec.mounts.first { $0.destination == "/sys" }?.options.first == "rbind")
    }

    @Test func encodingAndDecodingKeepsEverything() throws {
        let spec = try Spec.decode(try example("good/spec-example"))
        let text = try JSONEncoder().encode(spec)
        #expect(try Spec.decode(Array(text)) == spec)
    }

    @Test func nullAndUnknownPropertiesAreNothing() throws {
        let spec = try Spec.decode(
            Array(#"{"ociVersion":"1.3.0","mounts":null,"linux":{"devices":null,"future":{}},"extra":[1]}"#.utf8))
        #expect(spec.mounts.isEmpty)
        #expect(spec.linux?.devices.isEmpty == true)
    }

    @Test(arguments: ["1.0.2-dev", "1.2.1", "1.3.0"])
    func noPidsAreALimitAndSayingNothingIsNone(version: String) throws {
        for (pids, limit) in [("{\"limit\":0}", 0), ("{}", nil)] as [(String, Int64?)] {
            let text = #"{"ociVersion":"\#(version)","linux":{"resources":{"pids":\#(pids)}}}"#
            let resources = try #require(try Spec.decode(Array(text.utf8)).linux?.resources)
            #expect(resources.pids?.limit == limit)
            var old = Resources()
            old.pids = Pids(limit: 7)
            #expect(old.updated(with: resources).pids?.limit == limit ?? 7)
        }
    }

    @Test func destinationsBelowTheRootOnTheHost() throws {
        var spec = try Spec.decode(
            Array(
                #"""
                {"ociVersion":"1.3.0","mounts":[{"destination":"/b/rootfs/x"},{"destination":"/b/rootfsx"},
                {"destination":"/x/b/rootfs/x"}]}
                """#.utf8))
        spec.stripRoot("/b/rootfs")
        #expect(spec.mounts.map(\.destination) == ["/x", "/b/rootfsx", "/x/b/rootfs/x"])
    }

    @Test func theStarterIsRuncs15() throws {
        let spec = try Spec.decode(Array(Spec.starterText().utf8))
        #expect(spec.ociVersion == "1.3.0" && spec.process?.capabilities?.ambient == [])
    }

    @Test func aMemoryPolicyHasAMode() throws {
        let spec = try Spec.decode(Array(#"{"ociVersion":"1.3.0","linux":{"memoryPolicy":{"nodes":"0"}}}"#.utf8))
        #expect(throws: SpecError("config.json: linux.memoryPolicy.mode: missing")) { try spec.validate() }
    }

    @Test func theLargestLimitIsKept() throws {
        let spec = try Spec.decode(
            Array(
                #"""
                {"ociVersion":"1.3.0","process":{"cwd":"/","rlimits":
                [{"type":"RLIMIT_NOFILE","hard":18446744073709551615,"soft":0}]}}
                """#.utf8))
        #expect(spec.process?.rlimits.first?.hard == .max)
    }

    @Test(arguments: [
        (#"{"linux":{"resources":{"memory":{"limit":"1"}}}}"#, "config.json: ociVersion: missing"),
        (
            #"{"ociVersion":"1.3.0","linux":{"resources":{"memory":{"limit":"1"}}}}"#,
            "config.json: linux.resources.memory.limit: expected a number"
        ),
        (#"{"ociVersion":"1.3.0","mounts":[{},{}]}"#, "config.json: mounts[0].destination: missing"),
        (#"{"ociVersion":"1.3.0","mounts":{}}"#, "config.json: mounts: expected an array"),
        (
            #"{"ociVersion":"1.3.0","root":{"path":"x","readonly":1}}"#,
            "config.json: root.readonly: expected true or false"
        ),
        (#"{"ociVersion":"1.3.0","annotations":{"a":1}}"#, "config.json: annotations.a: expected a string"),
        (
            #"{"ociVersion":"1.3.0","linux":{"namespaces":[{"type":"pid"},{"type":"moon"}]}}"#,
            "config.json: linux.namespaces[1].type: unknown value \"moon\""
        ),
        (
            #"{"ociVersion":"1.3.0","process":{"cwd":"/","user":{"uid":-1}}}"#,
            "config.json: process.user.uid: -1 is out of range"
        ),
        (
            #"{"ociVersion":"1.3.0","process":{"cwd":"/","env":["A=\u0000"]}}"#,
            "config.json: process.env[0]: contains a NUL byte"
        ),
        (
            #"{"ociVersion":"1.3.0","linux":{"sysctl":{"net.a\u0000":"1"}}}"#,
            "config.json: linux.sysctl.net.a\0: contains a NUL byte"
        ),
        (
            #"{"ociVersion":"1.3.0","linux":{"resources":{"blockIO":{"weight":65536}}}}"#,
            "config.json: linux.resources.blockIO.weight: 65536 is out of range"
        ),
        (
            #"{"ociVersion":"1.3.0","linux":{"seccomp":{"defaultAction":"SCMP_ACT_NO"}}}"#,
            "config.json: linux.seccomp.defaultAction: unknown value \"SCMP_ACT_NO\""
        ),
        (
            #"{"ociVersion":"1.3.0","linux":{"seccomp":{"defaultAction":"SCMP_ACT_LOG","flags":["X"]}}}"#,
            "config.json: linux.seccomp.flags[0]: unknown value \"X\""
        ),
        (
            #"{"ociVersion":"1.3.0","process":{"cwd":"/","scheduler":{"policy":"SCHED_NEVER"}}}"#,
            "config.json: process.scheduler.policy: unknown value \"SCHED_NEVER\""
        ),
        (
            #"{"ociVersion":"1.3.0","process":{"cwd":"/","ioPriority":{"class":"IOPRIO_CLASS_NONE"}}}"#,
            "config.json: process.ioPriority.class: unknown value \"IOPRIO_CLASS_NONE\""
        ),
        (
            #"{"ociVersion":"1.3.0","linux":{"memoryPolicy":{"mode":"MPOL_ANY"}}}"#,
            "config.json: linux.memoryPolicy.mode: unknown value \"MPOL_ANY\""
        ),
        (
            #"{"ociVersion":"1.3.0","linux":{"personality":{"domain":"BSD"}}}"#,
            "config.json: linux.personality.domain: unknown value \"BSD\""
        ),
        (#"[]"#, "config.json: expected an object"),
        (#"null"#, "config.json: missing"),
        ("{\n\"ociVersion\" \"1.3.0\"}", "config.json: not valid JSON: expected a colon in line 2, column 14"),
    ])
    func errorsNameTheField(text: String, message: String) {
        let error = #expect(throws: SpecError.self) { try Spec.decode(Array(text.utf8)) }
        #expect(error?.description.hasPrefix(message) == true, "\(error?.description ?? "none")")
    }
}
