import OCISpec
import Testing

@testable import ContainerRuntime

@Suite struct SeccompFilterTests {
    private func filter(_ change: (inout Seccomp) -> Void) throws -> SeccompFilter {
        var seccomp = Seccomp(defaultAction: .allow)
        change(&seccomp)
        return try #require(try SeccompFilter(seccomp))
    }

    @Test func flagsAreTheKernels() throws {
        let agent = Syscall(names: ["mkdir"], action: .notify)
        #expect(try filter { $0.flags = [] }.flags == 0)
        // Where nothing is said at all it is SPEC_ALLOW.
        #expect(try filter { $0.flags = nil }.flags == 0b100)
        // TSYNC says nothing about one thread, and WAIT_KILLABLE_RECV nothing without an agent.
        #expect(try filter { $0.flags = Seccomp.Flag.allCases }.flags == 0b000_0110)
        #expect(
            try filter {
                $0.flags = [.waitKillableRecv]
                $0.syscalls = [agent]
            }.flags == 0b10_1000)
        #expect(try filter { $0.syscalls = [agent] }.notifies)
    }

    /// libseccomp 2.5 knows all but four of the specification's architectures.
    @Test(arguments: Seccomp.Architecture.allCases)
    func architectures(_ architecture: Seccomp.Architecture) throws {
        let young: Set<Seccomp.Architecture> = [.loongarch64, .m68k, .sh, .sheb]
        if !young.contains(architecture) { #expect(architecture.token != nil) }
        var profile = Seccomp(defaultAction: .allow)
        profile.architectures = [architecture]
        do {
            _ = try compileSeccomp(profile)
        } catch {
            // One filter has one byte order; others are refused by name.
            #expect("\(error)".contains(architecture.rawValue), "\(error)")
        }
    }

    @Test func everyActionAndOperatorCompiles() throws {
        for action in Seccomp.Action.allCases {
            for comparison in Seccomp.Operator.allCases {
                var rule = Syscall(names: ["lseek"], action: action)
                rule.args = [Syscall.Argument(index: 1, value: 1, valueTwo: 1, op: comparison)]
                #expect(try !filter { $0.syscalls = [rule] }.program.isEmpty)
            }
        }
    }
}
