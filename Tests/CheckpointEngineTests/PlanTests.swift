import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages

@Suite
struct PlanTests {
    @Test func theTree() throws {
        let images = try Samples.images()
        let first = try ProcessPlan.tree(from: images)
        #expect(first.all.map(\.pid) == [1, 6])
        #expect(first.parent == nil)
        #expect(first.children.first?.parent === first)
        #expect(first.threads == [1, 7, 8, 9, 10])
        #expect(first.children.first?.threads == [6])
        #expect(first.all.allSatisfy { $0.cores.count == $0.threads.count && !$0.isZombie && !$0.isStopped })
        #expect(first.isSessionLeader)
        #expect(try images.clockOffsets() != nil)
    }

    @Test func aZombieHasNothingButItsEnd() throws {
        let copy = try ImageCopy()
        try copy.edit("core-6.img", as: CoreEntry.self) { (core: inout CoreEntry) in
            core.tc.taskState = 2
            core.tc.exitCode = 9
        }
        for name in ["mm-6.img", "pagemap-6.img", "ids-6.img", "fs-6.img"] { copy.drop(name) }
        let plan = try #require(try copy.tree().children.first)
        #expect(plan.isZombie)
        #expect(plan.threads == [6])
        #expect(plan.descriptors.isEmpty && plan.mm.vmas.isEmpty && plan.pages == nil)
    }

    private func tree(_ change: (inout [PstreeEntry]) -> Void) throws -> String {
        let copy = try ImageCopy()
        try copy.edit("pstree.img", as: PstreeEntry.self, change)
        return failure { _ = try copy.tree() }
    }

    @Test func impossibleTrees() throws {
        #expect(try tree { $0 = [] } == "pstree.img: no process in it")
        #expect(try tree { $0.append($0[1]) } == "pstree.img: task 6 is there twice")
        #expect(try tree { $0[1].ppid = 6 } == "pstree.img: task 6 has no parent 6")
        #expect(try tree { $0[1].ppid = 99 } == "pstree.img: task 6 has no parent 99")
        #expect(try tree { $0[1].pid = .max } == "pstree.img: 4294967295 is not a process id")
        #expect(try tree { $0[1].threads = [6, 1 << 22] } == "pstree.img: 4194304 is not a process id")
        #expect(try tree { $0[0].pid = 0 }.contains("core-0.img"))
    }

    /// Two processes that are each other's parents hang together with nobody.
    @Test func aCircle() throws {
        let copy = try ImageCopy()
        for name in ["core", "mm", "pagemap", "ids", "fs"] {
            try copy.put("\(name)-5.img", copy.bytes("\(name)-1.img"))
        }
        try copy.edit("pstree.img", as: PstreeEntry.self) { (entries: inout [PstreeEntry]) in
            var other = entries[0]
            other.pid = 5
            other.threads = [5]
            other.ppid = 6
            entries.append(other)
            entries[1].ppid = 5
        }
        #expect(failure { _ = try copy.tree() } == "pstree.img: the processes are no tree")
    }

    private func memory(_ change: (inout MmEntry) -> Void) throws -> String {
        let copy = try ImageCopy()
        try copy.edit("mm-1.img", as: MmEntry.self, change)
        return failure { _ = try copy.tree() }
    }

    @Test func impossibleMemory() throws {
        for change: (inout VmaEntry) -> Void in [
            { $0.end = $0.start }, { $0.start += 1 }, { $0.end += 1 }, { $0.start = $0.end + 4096 },
            { $0.end = 0x7fff_ffff_f000 }, { $0.end = .max & ~4095 },
            {
                $0.status = 4; $0.end = .max & ~4095
            },
        ] {
            #expect(try memory { change(&$0.vmas[0]) }.contains("is not possible"))
        }
        #expect(try memory { $0.vmas.swapAt(0, 1) }.contains("is not possible"))
        #expect(try memory { $0.mmSavedAuxv = Array(repeating: 0, count: 129) }.contains("a number is too large"))
    }

    /// CRIU writes them, as stasis does, behind the mappings.
    @Test func guardPages() throws {
        func guards(_ change: (inout VmaEntry, MmEntry) -> Void) throws -> String {
            try memory { mm in
                var pages = VmaEntry(guardPages: mm.vmas[0].start..<mm.vmas[0].start + 4096)
                change(&pages, mm)
                mm.vmas.append(pages)
            }
        }
        let copy = try ImageCopy()
        try copy.edit("mm-1.img", as: MmEntry.self) { mm in
            for place in [mm.vmas[1].start, mm.vmas[0].start] {
                mm.vmas.append(VmaEntry(guardPages: place..<place + 4096))
            }
        }
        let plan = try copy.tree()
        #expect(plan.guards.map(\.start) == plan.mm.vmas.prefix(2).map(\.start))
        for change: (inout VmaEntry, MmEntry) -> Void in [
            { pages, _ in pages.end = pages.start }, { pages, _ in pages.start += 1 }, { pages, _ in pages.end += 1 },
            { pages, mm in pages.end = mm.vmas[0].end + 4096 }, { pages, _ in pages.start -= 4096 },
            { pages, _ in pages.end = .max & ~4095 },
            { pages, mm in
                let code = mm.vmas.first { $0.kind.contains(.vdso) } ?? VmaEntry()
                (pages.start, pages.end) = (code.start, code.end)
            },
        ] {
            #expect(try guards(change).contains("are in no mapping"))
        }
    }

    @Test func impossibleDescriptors() throws {
        func descriptors(_ change: (inout [FdinfoEntry]) -> Void) throws -> String {
            let copy = try ImageCopy()
            try copy.edit("fdinfo-2.img", as: FdinfoEntry.self, change)
            return failure { _ = try copy.tree() }
        }
        #expect(try descriptors { $0[1].fd = $0[0].fd }.hasSuffix("is there twice"))
        #expect(try descriptors { $0[1].fd = .max }.contains("a number is too large"))
        #expect(try descriptors { $0 = [] } == "no error")
    }
}
