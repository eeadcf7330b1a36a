import CheckpointImages
import LinuxSystem
import Tracee

/// sigaction(2) of every signal but SIGKILL and SIGSTOP, which have none.
enum SignalActions: ProcessKind {
    static let signals = (CInt(1)...64).filter { $0 != SIGKILL && $0 != SIGSTOP }

    /// struct sigaction of the kernel: handler, flags, restorer, mask.
    typealias Action = SIMD4<UInt64>

    static func ask(_ process: CapturedProcess, in program: inout Program, of dump: Dump) -> ProcessAnswer? {
        let places = signals.map { _ in program.reserve(32) }
        for (signal, place) in zip(signals, places) {
            program.call("rt_sigaction \(signal)", Int(SYS_rt_sigaction), [UInt64(signal), 0, place.raw, 8])
        }
        return { results, images in images.task.sigactions = try entries(places, results) }
    }

    private static func entries(_ places: [RemoteAddress], _ results: Program.Results) throws -> [SaEntry] {
        try places.map { place in
            guard let action = results.value(place, as: Action.self) else { throw CheckpointError("no signal action") }
            return SaEntry.with {
                $0.sigaction = action[0]
                $0.flags = action[1]
                $0.restorer = action[2]
                $0.mask = action[3]
                $0.compatSigaction = false
            }
        }
    }

    /// Whether a handler of the program's own stands behind a signal.
    static func hasHandler(_ entries: [SaEntry], _ signal: CInt) -> Bool {
        guard let index = signals.firstIndex(of: signal), index < entries.count else { return false }
        return entries[index].sigaction > 1
    }

    /// Whether a signal does something else than the kernel's default.
    static func isChanged(_ entries: [SaEntry], _ signal: CInt) -> Bool {
        guard let index = signals.firstIndex(of: signal), index < entries.count else { return true }
        return entries[index].sigaction != 0
    }

    /// Whether a call that the handler interrupts is made again (SA_RESTART).
    static func restarts(_ entries: [SaEntry], _ signal: CInt) -> Bool {
        guard let index = signals.firstIndex(of: signal), index < entries.count else { return false }
        return entries[index].flags & 0x1000_0000 != 0
    }

    static func recreate(_ entries: [SaEntry], in program: inout Program) throws {
        guard entries.count == signals.count else {
            throw CheckpointError("\(entries.count) signal actions instead of \(signals.count)")
        }
        for (signal, entry) in zip(signals, entries) {
            let action = Action(entry.sigaction, entry.flags, entry.restorer, entry.mask)
            let address = program.place(value: action)
            program.call("rt_sigaction \(signal)", Int(SYS_rt_sigaction), [UInt64(signal), address.raw, 0, 8])
        }
    }
}
