import CheckpointImages
import LinuxSystem
import Tracee

/// System V semaphores: semget(2), `ipcns-sem-N.img`.
///
/// What the kernel would take back at a process's end (SEM_UNDO) is told by no call, but semop(2) fails with ERANGE where it
/// would exceed 32767 either way. So each process tries, by operations that fail as a whole in any case, and one with such
/// a rest is refused.
enum SystemVSemaphores: ProcessKind {
    final class DumpState: KindState {
        fileprivate var sets: [(entry: IpcSemEntry, values: [UInt16])] = []
    }

    final class RestoreState: KindState {
        fileprivate var sets: [ImageRecord<IpcSemEntry>] = []
    }

    private static let most: UInt16 = 32_767

    static func capture(_ request: CheckpointRequest, into dump: Dump) throws {
        let found = try InterProcess.objects(.semaphores, called: "semaphore set", request, in: dump)
        dump[Self.self].sets = try found.map { object in
            let entry = try IpcSemEntry.with {
                $0.desc = try InterProcess.description(object, in: dump)
                $0.nsems = UInt32(truncatingIfNeeded: object["nsems"])
            }
            let values = try inNamespace(.ipc, of: dump.first.hostPid) {
                try SystemV.values(of: object.id, count: object["nsems"])
            }
            return (entry, values)
        }
        dump.account.keep(Self.self, count: found.count)
    }

    static func ask(
        _ process: CapturedProcess, by session: AgentSession, into images: inout ProcessImages, of dump: Dump
    ) throws {
        let all = dump[Self.self].sets.flatMap { set in
            set.values.enumerated().map { (set: set.entry.desc.id, number: $0, value: $1) }
        }
        // In an IPC namespace of its own there are none.
        guard try !all.isEmpty && !InnerNamespace.has(process, .ipc, in: dump) && canHaveRests(process, in: dump) else {
            return
        }
        for portion in ProgramRunner.portions(all) {
            var program = Program(session.area.main)
            let calls = portion.map { probe($0.set, $0.number, $0.value, in: &program) }
            let results = try session.run(program)
            for (semaphore, call) in zip(portion, calls) {
                switch CInt(truncatingIfNeeded: -results[call]) {
                // Who may not change it now.
                case EAGAIN, EACCES: continue
                case ERANGE:
                    throw CheckpointError(
                        "semaphore \(semaphore.number) of set \(semaphore.set) is to be put right at the process's end "
                            + "(SEM_UNDO); this cannot be checkpointed yet")
                case let errno:
                    throw SystemError(Errno(rawValue: errno), "semop of set \(semaphore.set)")
                }
            }
        }
    }

    /// Whether a process or its threads have ever had a list of such rests: those of several threads do.
    private static func canHaveRests(_ process: CapturedProcess, in dump: Dump) throws -> Bool {
        // A thread that has just joined a namespace has none, which others that have none are equal to. KCMP_SYSVSEM.
        try inNamespace(.ipc, of: dump.first.hostPid) {
            let own = try pid_t(systemCall("gettid", Int(SYS_gettid)))
            let leader = process.threads[0].tid
            for thread in process.threads.dropFirst() where try compareObjects(6, of: thread.tid, with: own) != .same {
                guard try compareObjects(6, of: thread.tid, with: leader) == .same else {
                    throw CheckpointError("a thread has a list of its own of what SEM_UNDO is to put right")
                }
            }
            return try compareObjects(6, of: leader, with: own) != .same
        }
    }

    /// Fails with EAGAIN, or with ERANGE where something is to be undone: steps of 32767 that are, and that are not, leave no
    /// room for anything else in between. The last one would wait for zero.
    private static func probe(
        _ set: UInt32, _ number: Int, _ value: UInt16, in program: inout Program
    ) -> Program.Reference {
        // SEM_UNDO
        let undone: Int16 = 0x1000
        let most = Int16(most)
        var steps: [(Int16, Int16)] = [
            (most - Int16(value), 0), (-most, undone), (most, undone), (-most, 0), (most, undone), (-most, 0),
            (1, undone),
        ]
        steps.removeAll { $0.0 == 0 }
        steps.append((0, 0))
        // struct sembuf: number, operation, flags; all with IPC_NOWAIT
        let words = steps.flatMap { [Int16(truncatingIfNeeded: number), $0.0, $0.1 | 0o4000] }
        let place = program.place(words.flatMap { word in withUnsafeBytes(of: word) { Array($0) } })
        return program.call(
            "semop", Int(SYS_semop), [UInt64(set), place.raw, UInt64(steps.count)], tolerated: nil)
    }

    static func seal(_ dump: Dump) throws {
        let sets = dump[Self.self].sets
        guard !sets.isEmpty else { return }
        let number = dump.rootIDs?.ipcNsID ?? 0
        try dump.images.add(
            .ipcSemaphores, number,
            records: sets.map { set in
                ImageRecord(
                    set.entry, payload: set.values.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }[...])
            })
    }

    static func plan(_ restore: RestorePlan) throws {
        let images = restore.images
        let number = images.inventory.rootIds.ipcNsID
        guard try images.directory.contains(.ipcSemaphores, number) else { return }
        let sets: [ImageRecord<IpcSemEntry>] = try images.directory.records(.ipcSemaphores, number)
        try InterProcess.check(sets.map(\.entry.desc), called: "semaphore set", restore)
        for set in sets {
            guard set.entry.nsems > 0, values(set).allSatisfy({ $0 <= most }) else {
                throw CheckpointError("ipcns-sem-\(number).img: set \(set.entry.desc.id) is none that can be restored")
            }
        }
        restore[Self.self].sets = sets
    }

    private static func values(_ set: ImageRecord<IpcSemEntry>) -> [UInt16] {
        let bytes = Array(set.payload)
        return stride(from: 0, to: bytes.count - 1, by: 2).map { UInt16(bytes[$0]) | UInt16(bytes[$0 + 1]) << 8 }
    }

    static func recreate(in workshop: Workshop) throws {
        let sets = workshop[Self.self].sets
        if sets.isEmpty { return }
        try inNamespace(.ipc, of: workshop.firstProcess) {
            for set in sets {
                let entry = set.entry
                try InterProcess.make(.semaphores, entry.desc, mode: 0, size: Int(entry.nsems), in: workshop)
                try SystemV.setValues(values(set), of: CInt(bitPattern: entry.desc.id))
                try InterProcess.settle(.semaphores, entry.desc, in: workshop)
            }
        }
    }
}
