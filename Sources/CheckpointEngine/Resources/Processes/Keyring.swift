import CheckpointImages
import LinuxSystem
import Tracee

/// Keys that threads have in keyrings of their own: of the thread, the process, the session. keyrings(7)
///
/// A restored container has an empty session keyring, as every one that begins. So keys in any of the three are refused; a
/// session keyring that is the engine's own, or the user's (`_uid_ses.0`), was not made inside, and is not the container's.
enum Keyring: ProcessKind {
    /// KEY_SPEC_THREAD_KEYRING and so on.
    private static let (ofThread, ofProcess, ofSession) = (-1, -2, -3)

    private struct Question {
        let name: String
        /// Bytes that it would take to read the keyring: four for each key.
        let size: Program.Reference

        init(_ name: String, _ keyring: Int, in program: inout Program) {
            self.name = name
            // KEYCTL_READ. There is none; no right to look at it; the kernel has no keys.
            size = program.call(
                "keyctl of the \(name) keyring", Int(SYS_keyctl), [11, UInt64(bitPattern: Int64(keyring)), 0, 0],
                tolerated: nil)
        }

        func refuse(_ results: Program.Results, _ holder: String) throws {
            guard results[size] > 0 else { return }
            throw CheckpointError(
                "\(holder) has \(results[size] / 4) key(s) in its \(name) keyring, which cannot be checkpointed; let it "
                    + "revoke or unlink them (keyctl)")
        }
    }

    static func ask(_ process: CapturedProcess, in program: inout Program, of dump: Dump) -> ProcessAnswer? {
        let question = Question("process", ofProcess, in: &program)
        return { results, _ in try question.refuse(results, "it") }
    }

    static func askThread(_ thread: CapturedThread, in program: inout Program, of dump: Dump) -> ThreadAnswer? {
        let (own, shared) = (
            Question("thread", ofThread, in: &program), Question("session", ofSession, in: &program)
        )
        // KEYCTL_GET_KEYRING_ID; KEYCTL_DESCRIBE: `keyring;0;0;3f1b0000;_ses.ID`
        let session = UInt64(bitPattern: Int64(ofSession))
        let id = program.call(
            "keyctl of the session keyring", Int(SYS_keyctl), [0, session, 0], tolerated: nil)
        let description = program.reserve(descriptionSize)
        program.call(
            "keyctl of the session keyring", Int(SYS_keyctl),
            [6, session, description.raw, UInt64(descriptionSize)], tolerated: nil)
        return { results, _ in
            try own.refuse(results, "thread \(thread.innerID)")
            guard results[shared.size] > 0, results[id] != engines else { return }
            let bytes = (0..<descriptionSize).map { results.value(description + $0, as: UInt8.self) ?? 0 }
            let text = String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            if text.split(separator: ";").last?.hasPrefix("_uid") == true { return }
            try shared.refuse(results, "thread \(thread.innerID)")
        }
    }

    private static let descriptionSize = 64

    /// The id of the engine's own.
    private static let engines: Int = (try? systemCall("keyctl", Int(SYS_keyctl), 0, ofSession, 0)) ?? 0
}
