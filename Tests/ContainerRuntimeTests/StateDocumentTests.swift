import Cgroups
import FoundationEssentials
import Testing

@testable import ContainerRuntime

@Suite struct StateDocumentTests {
    /// What is written by hand is what the decoder reads: a member that was forgotten would be lost between commands.
    @Test func everythingComesBack() throws {
        var cgroups = CgroupSet(layout: .v2, paths: ["": "/sys/fs/cgroup/a.slice/p-x\\x2by.scope"])
        cgroups.unit = try SystemdUnit(id: "c", cgroupsPath: "a.slice:p:x+y", isUsers: true)
        var state = ContainerState(
            id: "c", ociVersion: "1.3.0", bundle: "/b \"q\"", rootfs: "/b/rootfs", cgroups: cgroups)
        state.initPid = 12
        state.initStartTime = 345
        state.annotations = ["a": "b\n"]
        state.externalDescriptors = ["/dev/null", "pipe:[1]", ""]
        state.namespacePaths = ["pid": "/proc/12/ns/pid"]
        state.restored = true
        #expect(try JSONDecoder().decode(ContainerState.self, from: Data(state.document())) == state)
    }
}
