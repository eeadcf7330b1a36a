import TestSupport
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages

/// Who is born of whom, so that processes share what they did.
@Suite
struct SharedObjectTests {
    /// A tree of processes like the second one of the samples. Each has a parent and, by kind of object, whose it has.
    private func tree(
        _ processes: [(pid: UInt32, parent: UInt32)], _ change: (UInt32, inout TaskKobjIdsEntry) -> Void = { _, _ in },
        session: (UInt32) -> UInt32 = { _ in 1 }
    ) throws -> ProcessPlan {
        let copy = try ImageCopy()
        for (pid, _) in processes {
            for name in ["core", "mm", "pagemap", "fs"] {
                try copy.put("\(name)-\(pid).img", copy.bytes("\(name)-6.img"))
            }
        }
        try copy.edit("pstree.img", as: PstreeEntry.self) { (entries: inout [PstreeEntry]) in
            let model = entries[1]
            entries = [entries[0]]
            for (pid, parent) in processes {
                var entry = model
                (entry.pid, entry.threads, entry.ppid) = (pid, [pid], parent)
                (entry.sid, entry.pgid) = (session(pid), session(pid))
                entries.append(entry)
            }
        }
        let model = try copy.bytes("ids-6.img")
        for (pid, _) in processes {
            try copy.put("ids-\(pid).img", model)
            try copy.edit("ids-\(pid).img", as: TaskKobjIdsEntry.self) { (ids: inout TaskKobjIdsEntry) in
                (ids.vmID, ids.filesID, ids.fsID, ids.sighandID) = (pid, pid, pid, pid)
                change(pid, &ids)
            }
            let ids: TaskKobjIdsEntry = try copy.images().directory.entry(.ids, Int32(pid))
            try copy.put("fdinfo-\(ids.filesID).img", copy.bytes("fdinfo-2.img"))
        }
        let first = try copy.tree()
        try Growth.check(first)
        return first
    }

    private func find(_ pid: Int32, in first: ProcessPlan) throws -> ProcessPlan {
        try #require(first.all.first { $0.pid == pid })
    }

    /// 10 and 11 have one table; the parent of both another one.
    @Test func brothers() throws {
        let first = try tree([(10, 1), (11, 1), (12, 1)]) { $1.filesID = $0 == 12 ? 12 : 10 }
        let (elder, younger) = (try find(10, in: first), try find(11, in: first))
        #expect(elder.source == nil && elder.born.isEmpty && !elder.completed.contains(.descriptors))
        #expect(younger.source === elder && younger.born == [.descriptors] && younger.completed.contains(.descriptors))
        let other = try find(12, in: first)
        #expect(other.source == nil && other.born.isEmpty && other.completed == Set(SharedObject.allCases))
    }

    @Test func aParentAndAllBelow() throws {
        let first = try tree([(10, 1), (11, 10), (12, 11)]) { pid, ids in (ids.filesID, ids.fsID) = (10, 10) }
        for pid in [11, 12] as [Int32] {
            let plan = try find(pid, in: first)
            #expect(plan.source == nil && plan.born == [.descriptors, .directory])
        }
        #expect(try find(10, in: first).born.isEmpty)
        #expect(first.all.filter { $0.completed.contains(.directory) }.map(\.pid) == [1, 12])
    }

    /// Whose parent is gone, with the session that it led.
    @Test func orphans() throws {
        let first = try tree([(10, 1), (11, 1)], { pid, ids in ids.filesID = 10 }, session: { _ in 9 })
        #expect(try find(11, in: first).source === find(10, in: first))
    }

    @Test func whatNobodyIsBornTo() throws {
        // Cousins; and a grandchild whose parent has a table of its own.
        #expect(
            failure { _ = try tree([(10, 1), (11, 1), (12, 10), (13, 11)]) { $1.filesID = $0 < 12 ? $0 : 12 } }
                .contains(
                    "which is neither its parent nor a child"))
        #expect(
            failure { _ = try tree([(10, 1), (11, 10), (12, 11)]) { $1.filesID = $0 == 11 ? 11 : 10 } }.contains(
                "shares its table of descriptors with task 10"))
        // Of two brothers one thing each.
        #expect(
            failure {
                _ = try tree([(10, 1), (11, 1), (12, 1)]) { pid, ids in
                    ids.filesID = pid == 11 ? 11 : 10
                    ids.fsID = pid == 10 ? 10 : 11
                }
            }.hasSuffix(
                "shares its table of descriptors and working directory with one process each; this cannot be restored yet"
            ))
        // Brothers, of whom one was born before the parent led its session.
        #expect(
            failure {
                _ = try tree([(10, 1), (11, 10), (12, 10)], { $1.filesID = $0 == 10 ? 10 : 11 }) { $0 == 12 ? 1 : 10 }
            }.contains("shares its table of descriptors with task "))
    }

    @Test func whatIsTwoThings() throws {
        let copy = try ImageCopy()
        let own: TaskKobjIdsEntry = try copy.images().directory.entry(.ids, 1)
        try copy.edit("ids-6.img", as: TaskKobjIdsEntry.self) { (ids: inout TaskKobjIdsEntry) in ids.fsID = own.fsID }
        try copy.edit("fs-6.img", as: FsEntry.self) { (entry: inout FsEntry) in entry.umask = 0o777 }
        #expect(failure { _ = try copy.tree() }.hasSuffix("and has another one"))
    }

    @Test func memoryAndActions() throws {
        let first = try tree([(10, 1), (11, 10), (12, 11)]) { pid, ids in
            ids.vmID = 10
            ids.sighandID = pid == 12 ? 12 : 10
        }
        #expect(try find(11, in: first).born == [.memory, .actions])
        let last = try find(12, in: first)
        #expect(last.born == [.memory] && last.memory === first.children.first?.memory)
        #expect(last.completed == Set(SharedObject.allCases))
        #expect(
            failure { _ = try tree([(10, 1), (11, 10)]) { $1.sighandID = 10 } }.hasSuffix("and has another one"))
        let copy = try ImageCopy()
        let own: TaskKobjIdsEntry = try copy.images().directory.entry(.ids, 1)
        try copy.edit("ids-6.img", as: TaskKobjIdsEntry.self) { (ids: inout TaskKobjIdsEntry) in ids.vmID = own.vmID }
        #expect(failure { _ = try copy.tree() }.contains("shares its memory with task 1"))
    }
}
