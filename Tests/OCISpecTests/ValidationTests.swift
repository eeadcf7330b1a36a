import Testing

@testable import OCISpec

@Suite struct ValidationTests {
    private func refusal(_ change: (inout Spec) -> Void) throws -> String? {
        var spec = try Spec.decode(Array(Spec.starterText.utf8))
        change(&spec)
        do {
            try spec.validate()
            return nil
        } catch {
            return "\(error)"
        }
    }

    @Test func whatACreateNeedsIsAskedFor() throws {
        #expect(try refusal { $0.root = nil } == "config.json: root: missing")
        #expect(try refusal { $0.process = nil } == "config.json: process property must not be empty")
        #expect(try refusal { $0.process?.cwd = "tmp" } == "Cwd must be an absolute path")
        #expect(try refusal { $0.process?.cwd = "" } == "Cwd property must not be empty")
        #expect(try refusal { $0.process?.args = [] } == "args must not be empty")
        #expect(try refusal { $0.process?.env = ["A=\0"] } == "config.json: process.env[0]: contains a NUL byte")
    }

    @Test func versions() throws {
        #expect(try refusal { $0.ociVersion = "1.9.0-rc1" } == nil)
        #expect(try refusal { $0.ociVersion = "2.0.0" } == "config.json: ociVersion: 2.0.0 is not supported (1.3.0 is)")
        #expect(try refusal { $0.ociVersion = "new" } == "config.json: ociVersion: \"new\" is not a version")
        #expect(try refusal { $0.ociVersion = "" } == "config.json: ociVersion: \"\" is not a version")
    }

    @Test func namespacesAreNamedOnce() throws {
        let message = try refusal { $0.linux?.namespaces.append(Namespace(type: .pid, path: "/proc/1/ns/pid")) }
        #expect(message == "malformed spec file: duplicated ns {\"pid\" \"/proc/1/ns/pid\"}")
    }

    @Test func whatWouldReachTheHostNeedsANamespace() throws {
        let without = { (kind: Namespace.Kind, spec: inout Spec) in
            spec.linux?.namespaces.removeAll { $0.type == kind }
        }
        #expect(
            try refusal { without(.uts, &$0) }
                == "config.json: hostname: unable to set hostname without a private UTS namespace")
        #expect(
            try refusal { without(.mount, &$0) }
                == "config.json: linux: unable to restrict sys entries without a private MNT namespace")
        #expect(try refusal { $0.linux?.sysctl = ["kernel.sem": "1"] } == nil)
        #expect(try refusal { $0.linux?.sysctl = ["net/ipv4/ip_forward": "1"] } == nil)
        #expect(
            try refusal {
                $0.linux?.sysctl = ["net.ipv4.ip_forward": "1"]
                without(.network, &$0)
            } == "sysctl \"net.ipv4.ip_forward\" is not allowed in the hosts network namespace")
        #expect(
            try refusal { $0.linux?.sysctl = ["vm.swappiness": "1"] }
                == "sysctl \"vm.swappiness\" is not in a separate kernel namespace")
    }

    @Test func devicesAndHooks() throws {
        #expect(
            try refusal { $0.linux?.devices = [Device(type: "x", path: "/dev/x")] }
                == "config.json: linux.devices[0].type: unknown value \"x\"")
        #expect(
            try refusal { $0.linux?.devices = [Device(type: "c", path: "/dev/x")] }
                == "config.json: linux.devices[0]: major and minor are needed")
        #expect(
            try refusal {
                $0.hooks = Hooks()
                $0.hooks?.poststart = [Hook(path: "relative")]
            } == "config.json: hooks.poststart[0].path: must be absolute")
    }
}
