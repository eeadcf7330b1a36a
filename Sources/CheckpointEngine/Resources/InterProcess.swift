import LinuxSystem
import Tracee

/// System V shared memory, semaphores and message queues: not carried over yet, so there must be none. svipc(7).
enum InterProcess {
    struct Question {
        let shared: RemoteAddress
        let semaphores: RemoteAddress
        let messages: RemoteAddress
    }

    static func ask(in program: inout Program) -> Question {
        let question = Question(
            shared: program.reserve(64), semaphores: program.reserve(64), messages: program.reserve(64))
        // SHM_INFO, SEM_INFO and MSG_INFO tell how many there are.
        program.call("shmctl", Int(SYS_shmctl), [0, 14, question.shared.raw], tolerated: nil)
        program.call("semctl", Int(SYS_semctl), [0, 0, 19, question.semaphores.raw], tolerated: nil)
        program.call("msgctl", Int(SYS_msgctl), [0, 12, question.messages.raw], tolerated: nil)
        return question
    }

    static func refuse(_ question: Question, _ results: Program.Results) throws {
        // struct shm_info: used_ids first; struct seminfo: semusz at 28; struct msginfo: msgpool first.
        let counts = [
            ("shared memory segments", results.value(question.shared, as: Int32.self)),
            ("semaphore sets", results.value(question.semaphores + 28, as: Int32.self)),
            ("message queues", results.value(question.messages, as: Int32.self)),
        ]
        for (name, count) in counts where (count ?? 0) > 0 {
            throw CheckpointError("\(count ?? 0) System V \(name) in the container cannot be checkpointed yet")
        }
    }
}
