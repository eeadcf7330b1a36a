import LinuxSystem
import Tracee

/// System V shared memory, semaphores and message queues: not carried over yet, so there must be none. svipc(7).
enum InterProcess: ProcessKind {
    static func ask(_ process: CapturedProcess, in program: inout Program, of dump: Dump) -> ProcessAnswer? {
        guard process === dump.first else { return nil }
        let (shared, semaphores, messages) = (program.reserve(64), program.reserve(64), program.reserve(64))
        // SHM_INFO, SEM_INFO and MSG_INFO tell how many there are.
        program.call("shmctl", Int(SYS_shmctl), [0, 14, shared.raw], tolerated: nil)
        program.call("semctl", Int(SYS_semctl), [0, 0, 19, semaphores.raw], tolerated: nil)
        program.call("msgctl", Int(SYS_msgctl), [0, 12, messages.raw], tolerated: nil)
        return { results, _ in
            // struct shm_info: used_ids first; struct seminfo: semusz at 28; struct msginfo: msgpool first.
            let counts = [
                ("shared memory segments", results.value(shared, as: Int32.self)),
                ("semaphore sets", results.value(semaphores + 28, as: Int32.self)),
                ("message queues", results.value(messages, as: Int32.self)),
            ]
            for (name, count) in counts where (count ?? 0) > 0 {
                throw CheckpointError("\(count ?? 0) System V \(name) in the container cannot be checkpointed yet")
            }
        }
    }
}
