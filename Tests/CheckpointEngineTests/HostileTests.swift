import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages
@testable import Tracee

/// Single lies of an image, each of which once trapped, hung, or ran on.
@Suite
struct HostileTests {
    private func core(_ name: String = "core-1.img", _ change: (inout CoreEntry) -> Void) throws -> String {
        let copy = try ImageCopy()
        try copy.edit(name, as: CoreEntry.self, change)
        return failure { _ = try copy.tree() }
    }

    /// Signals that end nobody would leave the agent to run off the end of its program.
    @Test(arguments: [SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH, 65, 127])
    func aZombieThatNothingKilled(signal: CInt) throws {
        let message = try core("core-6.img") {
            $0.tc.taskState = 2
            $0.tc.exitCode = UInt32(signal)
        }
        #expect(message == "core-6.img: no process ends with exit code \(signal)")
    }

    @Test(arguments: [0, 9, 11 | 0x80, 34, 64, 0xff00, 0xffff_ff00] as [UInt32]) func zombiesThatMayBe(code: UInt32)
        throws
    {
        let message = try core("core-6.img") {
            $0.tc.taskState = 2
            $0.tc.exitCode = code
        }
        #expect(message == "no error")
    }

    @Test func theFirstProcessMustLive() throws {
        #expect(try core { $0.tc.taskState = 2 } == "pstree.img: its first process has ended")
    }

    @Test func whatWouldNotFitIntoAProgram() throws {
        let long = String(repeating: "x", count: 2 << 20)
        #expect(try core { $0.tc.comm = long } == "core-1.img: a name of 2097152 bytes")
        #expect(try core("core-7.img") { $0.threadCore.comm = long }.contains("too many or too long"))
        #expect(
            try core { $0.threadCore.creds.groups = Array(repeating: 1, count: 65_537) }.contains(
                "too many or too long"))
        #expect(try core { $0.threadCore.creds.groups = Array(repeating: 1, count: 65_536) } == "no error")
    }

    @Test(arguments: [-1, Int32.min, 2, 3, Int32.max]) func dumpableIsZeroOrOne(value: Int32) {
        var program = Program(InjectedArea(base: RemoteAddress(0x1000_0000), lanes: 1, extendedStateSize: 576).main)
        ProcessAttributes.recreateDumpable(.with { $0.dumpable = value }, in: &program)
        #expect(program.isEmpty)
        ProcessAttributes.recreateDumpable(.with { $0.dumpable = 1 }, in: &program)
        #expect(program.description == "prctl PR_SET_DUMPABLE(0x4, 0x1, 0x0, 0x0, 0x0)")
    }

    @Test func listsOfAnyLengthAreRunInParts() {
        #expect(ProgramRunner.portions([Int]()) == [])
        #expect(ProgramRunner.portions(Array(0..<450)).map(\.count) == [200, 200, 50])
        #expect(ProgramRunner.portions(Array(0..<450)).flatMap { $0 } == Array(0..<450))
    }

    private func filter(_ size: Int, previous: UInt32?) -> SeccompFilter {
        SeccompFilter.with {
            $0.filter = .init([UInt8](repeating: 0, count: size))
            if let previous { $0.prev = previous }
        }
    }

    @Test func filtersInOrder() throws {
        let all = [filter(16, previous: nil), filter(24, previous: 0), filter(32, previous: 1)]
        #expect(try Seccomp.chain(2, in: all).map(\.filter.count) == [16, 24, 32])
        #expect(try Seccomp.chain(nil, in: all).isEmpty)
    }

    @Test func impossibleFilters() {
        #expect(failure { _ = try Seccomp.chain(1, in: [filter(8, previous: nil)]) }.contains("is not there"))
        #expect(failure { _ = try Seccomp.chain(0, in: [filter(8, previous: 0)]) }.contains("circle"))
        #expect(failure { _ = try Seccomp.chain(0, in: [filter(0, previous: nil)]) }.contains("is empty"))
        let huge = filter(1 << 20, previous: nil)
        #expect(failure { _ = try Seccomp.chain(0, in: [huge]) }.contains("too long"))
        let many = (0..<10_000).map { filter(8, previous: $0 == 0 ? nil : UInt32($0 - 1)) }
        #expect(failure { _ = try Seccomp.chain(9_999, in: many) }.contains("too long"))
    }

    /// Each character once cost a copy of all before it.
    @Test(.timeLimit(.minutes(1))) func aLongNameOfAStream() throws {
        let copy = try ImageCopy()
        let name = String(repeating: "n", count: 60_000)
        try copy.put("descriptors.json", Array("[\"\(name)\", \"a\\\"b\", \"open".utf8))
        #expect(try copy.images().externalDescriptors == [name, "a\"b"])
    }

    @Test func filesAndImagesThatMustNotBe() throws {
        let copy = try ImageCopy()
        try copy.edit("inventory.img", as: InventoryEntry.self) { (entries: inout [InventoryEntry]) in entries = [] }
        #expect(failure { _ = try copy.images() } != "no error")
        let other = try ImageCopy()
        try other.edit("files.img", as: FileEntry.self) { (entries: inout [FileEntry]) in entries.append(entries[0]) }
        #expect(failure { _ = try other.images() }.hasSuffix("is there twice"))
    }

    @Test func sharedMemoryBeyondAllBounds() throws {
        func shared(_ offset: UInt64) throws -> String {
            let copy = try ImageCopy()
            try copy.edit("mm-1.img", as: MmEntry.self) { (mm: inout MmEntry) in
                mm.vmas[0].status = 1 | 1 << 8
                mm.vmas[0].pgoff = offset
            }
            let images = try copy.images()
            let first = try ProcessPlan.tree(from: images)
            return failure { _ = try SharedMemoryStore(first, images) }
        }
        #expect(try shared(0) == "no error")
        #expect(try shared(.max - 4095).contains("shared memory of "))
        #expect(try shared(1 << 46).contains("shared memory of "))
    }
}
