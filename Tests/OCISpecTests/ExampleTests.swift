import Testing

@testable import OCISpec

#if canImport(FoundationEssentials)
    import FoundationEssentials
#endif

/// The specification's own samples: what is good loads, what is bad is refused for its reason.
@Suite struct ExampleTests {
    @Test(arguments: [
        "linux-netdevice", "linux-rdma", "minimal", "minimal-for-start", "spec-example",
    ])
    func goodOnesLoad(name: String) throws {
        let spec = try Spec.decode(try example("good/\(name)"))
        #expect(!spec.ociVersion.isEmpty)
    }

    /// The schema asks for less than a container needs: then that is what is missing, and nothing else is wrong.
    @Test(arguments: ["linux-netdevice", "linux-rdma", "minimal"])
    func goodOnesLackOnlyAProcess(name: String) throws {
        var spec = try Spec.decode(try example("good/\(name)"))
        if name == "linux-netdevice" { spec.linux?.namespaces = [Namespace(type: .network)] }
        let error = #expect(throws: SpecError.self) { try spec.validate() }
        #expect(error?.description == "config.json: process: property must not be empty")
    }

    @Test(arguments: ["minimal-for-start", "spec-example"])
    func completeOnesAreValid(name: String) throws {
        try Spec.decode(try example("good/\(name)")).validate()
    }

    @Test func theLongOneLoadsCompletely() throws {
        let spec = try Spec.decode(try example("good/spec-example"))
        #expect(spec.process?.rlimits.first?.type == "RLIMIT_CORE")
        #expect(spec.hooks?.prestart.count == 2)
        #expect(spec.linux?.seccomp?.defaultAction == .allow)
        #expect(spec.linux?.resources?.memory?.limit == 536_870_912)
        #expect(spec.mounts.count == 7)
    }

    @Test(arguments: [
        ("invalid-json", "config.json: not valid JSON"),
        ("linux-netdevice", "config.json: linux.netDevices.eth0.name: expected a string"),
        ("linux-rdma", "config.json: linux.resources.rdma.mlx5_1.hcaHandles: expected a number"),
        (
            "linux-hugepage",
            "config.json: linux.resources.hugepageLimits[0].pageSize: \"64kB\" is not a page size"
        ),
    ])
    func badOnesAreRefused(name: String, reason: String) throws {
        let text = try example("bad/\(name)")
        let error = #expect(throws: SpecError.self) { try Spec.decode(text).validate() }
        #expect(error?.description.hasPrefix(reason) == true, "\(error?.description ?? "accepted")")
    }
}

func example(_ name: String) throws -> [UInt8] {
    let folder = String(#filePath.prefix(upTo: #filePath.lastIndex(of: "/") ?? #filePath.endIndex))
    return Array(try Data(contentsOf: URL(filePath: "\(folder)/../Examples/\(name).json")))
}
