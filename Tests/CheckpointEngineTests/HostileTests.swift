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

    /// What ends by exit(2) leaves a code in the second byte, and no other; somebody else must be there.
    @Test(arguments: [0, 0x900, 9, 0x1_0000, 0x80] as [UInt32]) func aFirstThreadThatHasEnded(code: UInt32) throws {
        let copy = try ImageCopy()
        try copy.put("core-11.img", copy.bytes("core-6.img"))
        try copy.edit("pstree.img", as: PstreeEntry.self) { (entries: inout [PstreeEntry]) in
            entries[1].threads = [6, 11]
        }
        try copy.edit("core-6.img", as: CoreEntry.self) { (core: inout CoreEntry) in
            core.clearThreadInfo()
            core.tc.exitCode = code
        }
        let message = failure {
            let plan = try #require(try copy.tree().children.first)
            #expect(plan.threads == [11] && plan.everyThread.map(\.id) == [6, 11])
        }
        let isPossible = [0, 0x900].contains(code)
        #expect(isPossible ? message == "no error" : message.hasPrefix("core-6.img: no first thread ends"))
    }

    @Test func aFirstThreadThatHasEndedAlone() throws {
        #expect(try core("core-6.img") { $0.clearThreadInfo() }.hasPrefix("core-6.img: no registers"))
        #expect(try core { $0.clearThreadInfo() } == "pstree.img: its first process has ended")
    }

    /// It may be nobody whom config.json does not give.
    @Test func aFirstThreadThatHasEndedWithRights() throws {
        let copy = try ImageCopy()
        try copy.put("core-11.img", copy.bytes("core-6.img"))
        try copy.edit("pstree.img", as: PstreeEntry.self) { (entries: inout [PstreeEntry]) in
            entries[1].threads = [6, 11]
        }
        try copy.edit("core-6.img", as: CoreEntry.self) { (core: inout CoreEntry) in
            core.clearThreadInfo()
            core.threadCore.creds.capPrm = [.max, .max]
        }
        let plan = try #require(try copy.tree().children.first)
        let policy = RestorePolicy(
            capabilities: ~(1 << 21), noNewPrivileges: false, seccomp: nil, user: 0, groups: [], limits: .most)
        #expect(failure { try policy.check(plan, try copy.images()) }.contains("permitted capabilities"))
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

    /// The working directory of a thread is a file of the checkpoint's.
    @Test func aThreadThatIsNowhere() throws {
        let copy = try ImageCopy()
        try copy.put("fs-7.img", copy.bytes("fs-1.img"))
        let (path, _) = try #require(try copy.tree().threadDirectories[7])
        #expect(path.isAbsolutePath)
        try copy.edit("fs-7.img", as: FsEntry.self) { (entry: inout FsEntry) in entry.cwdID = 4711 }
        #expect(failure { _ = try copy.tree() } == "fs-7.img: its directory is file 4711, which is none")
    }

    /// The descriptors of a thread that shares them with no other.
    @Test func tablesOfThreads() throws {
        func table(_ id: UInt32 = 99, _ change: (inout [FdinfoEntry]) -> Void = { _ in }) throws -> String {
            let copy = try ImageCopy()
            let process: TaskKobjIdsEntry = try copy.images().directory.entry(.ids, 1)
            try copy.put("ids-7.img", copy.bytes("ids-1.img"))
            try copy.edit("ids-7.img", as: TaskKobjIdsEntry.self) { (ids: inout TaskKobjIdsEntry) in ids.filesID = id }
            if id == 99 { try copy.put("fdinfo-99.img", copy.bytes("fdinfo-\(process.filesID).img")) }
            try copy.edit("files.img", as: FileEntry.self) { (files: inout [FileEntry]) in
                files.append(
                    .with {
                        ($0.type, $0.id) = (.inotify, 901)
                        $0.ify = .with { ($0.id, $0.flags, $0.fown) = (901, 0, .none) }
                    })
            }
            if id == 99 { try copy.edit("fdinfo-99.img", as: FdinfoEntry.self, change) }
            return failure {
                let first = try copy.tree()
                #expect(first.threadTables[7]?.count == first.descriptors.count)
            }
        }
        let own: TaskKobjIdsEntry = try Samples.images().directory.entry(.ids, 1)
        #expect(try table() == "no error")
        #expect(try table(own.filesID) == "ids-7.img: the table is its process's")
        #expect(try table(4711).contains("fdinfo-4711.img"))
        #expect(try table { $0[1].fd = $0[0].fd }.hasSuffix("is there twice"))
        #expect(try table { $0[0].fd = 1 << 20 }.hasSuffix("a number is too large"))
        #expect(try table { $0[0].id = 901 } == "fdinfo-99.img: file 901 cannot be a single thread's")
    }

    /// What the kernel maps is not for an image to seal.
    @Test func whatCanBeSealed() {
        var mapping = VmaEntry(guardPages: 0x1000..<0x2000)
        for (kind, isSealed) in [
            ([.regular, .anonymousPrivate, .sealed], true), ([.regular, .anonymousPrivate], false),
            ([.regular, .vdso, .sealed], false), ([.vsyscall, .sealed], false), ([.vvar, .sealed], false),
        ] as [(MappingKind, Bool)] {
            mapping.status = kind.rawValue
            #expect(mapping.isSealed == isSealed)
        }
    }

    /// A registration of epoll for another file than has its number.
    @Test(
        arguments: [
            ("90 0 91", "no error"), ("90 0", "no registration"),
            ("90 0 90", "no registration"), ("90 0 92", "no registration"), ("91 0 90", "no registration"),
            ("90 0 91 0 91", "no registration"), ("90 1 91", "no registration"), ("90 2 91", "no registration"),
            ("90 4294967295 91", "no registration"),
        ]) func aRegistrationOfAnotherFile(note: String, answer: String) throws
    {
        let copy = try ImageCopy()
        try copy.edit("files.img", as: FileEntry.self) { (entries: inout [FileEntry]) in
            entries.removeAll { [90, 91, 92].contains($0.id) }
            var set = FileEntry.with {
                $0.type = .eventpoll
                $0.id = 90
                $0.epfd = .with {
                    $0.id = 90
                    $0.flags = 2
                    $0.fown = .none
                }
            }
            set.epfd.tfd = [UInt32(5), 1 << 20].map { number in
                EventpollTfdEntry.with {
                    $0.id = 90
                    $0.tfd = number
                    $0.events = 1
                    $0.data = 0
                }
            }
            var event = FileEntry()
            event.type = .eventfd
            event.id = 91
            event.efd = .with {
                $0.id = 91
                $0.flags = 2
                $0.fown = .none
                $0.counter = 0
            }
            entries += [set, event]
        }
        try copy.put(FileNote.fileName, Array("departed \(note)\n".utf8))
        let message = copy.plan([FileNote.self, EventPoll.self])
        #expect(message == answer || message.contains(answer))
    }

    /// The sample's shared memory, as CRIU has it in `memfd.img`.
    private static let shared: UInt64 = 32_464

    @Test func sharedMemoryBeyondAllBounds() throws {
        func shared(_ offset: UInt64) throws -> String {
            let copy = try ImageCopy()
            try copy.edit("mm-1.img", as: MmEntry.self) { (mm: inout MmEntry) in
                mm.vmas[0].status = 1 | 1 << 8
                mm.vmas[0].pgoff = offset
                mm.vmas[0].shmid = Self.shared
            }
            return copy.plan([SharedMemory.self, MemFD.self])
        }
        #expect(try shared(0) == "no error")
        #expect(try shared(.max - 4095).contains("shared memory of "))
        #expect(try shared(1 << 46).contains("shared memory of "))
    }

    @Test func memoryFilesThatCannotBe() throws {
        func change(_ body: (inout MemfdInodeEntry) -> Void) throws -> String {
            let copy = try ImageCopy()
            try copy.edit("memfd.img", as: MemfdInodeEntry.self) { (entries: inout [MemfdInodeEntry]) in
                entries[0].name = "file"
                body(&entries[0])
            }
            return copy.plan([SharedMemory.self, MemFD.self])
        }
        #expect(try change { _ in } == "no error")
        for fault in [
            try change { $0.name = String(repeating: "n", count: 250) }, try change { $0.name = "a\0b" },
            try change { $0.size = 1 << 63 }, try change { $0.seals = 1 << 6 },
            try change { $0.hugetlbFlag = 21 << 26 },
            try change { $0.mode = UInt32(S_IFDIR) | 0o777 },
        ] {
            #expect(fault.hasSuffix("is none that can be restored"))
        }
        #expect(try change { $0.size = 0 }.hasSuffix("a page behind the end of the memory"))
        #expect(try change { $0.inodeID += 1 }.contains("no memory file"))
        let twice = try ImageCopy()
        try twice.edit("memfd.img", as: MemfdInodeEntry.self) { (entries: inout [MemfdInodeEntry]) in
            entries[0].name = "file"
            entries.append(entries[0])
            entries[1].inodeID += 1
        }
        #expect(twice.plan([SharedMemory.self, MemFD.self]).hasSuffix("is there twice"))
    }
}
