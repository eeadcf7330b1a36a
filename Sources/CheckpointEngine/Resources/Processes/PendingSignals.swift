import CheckpointImages
import LinuxSystem
import Tracee

/// Signals that were sent and not yet delivered, with what came along (siginfo).
enum PendingSignals: ProcessKind {
    static func capture(_ process: CapturedProcess, into images: inout ProcessImages, of dump: Dump) throws {
        let waiting = try process.threads[0].ptrace.pendingSignals(shared: true)
        let own = try process.threads.map { try $0.ptrace.pendingSignals(shared: false) }
        images.task.signalsS = entry(waiting)
        for (index, signals) in own.enumerated() { images.cores[index].threadCore.signalsP = entry(signals) }
        if let signal = process.stopSignal(pending: waiting + own.flatMap { $0 }) {
            images.task.taskState = 3
            images.task.stopSigno = UInt32(signal)
        }
    }

    /// Without SIGSTOP, which no process has waiting for long: it stops, as its image's state says.
    private static func entry(_ pending: [SignalInformation]) -> SignalQueueEntry {
        SignalQueueEntry.with {
            $0.signals = pending.filter { $0.signal != SIGSTOP }.map { information in
                SiginfoEntry.with { $0.siginfo = .init(information.bytes) }
            }
        }
    }

    static func numbers(_ queue: SignalQueueEntry) -> [CInt] {
        queue.signals.map { entry in
            Array(entry.siginfo.prefix(4)).withUnsafeBytes { $0.count == 4 ? $0.loadUnaligned(as: CInt.self) : 0 }
        }
    }

    /// Queues them again. Only a task itself may send what looks as if the kernel had (rt_sigqueueinfo(2)).
    static func recreate(
        _ queue: SignalQueueEntry, process: pid_t, thread: pid_t?, in program: inout Program
    ) throws {
        for (entry, signal) in zip(queue.signals, numbers(queue)) {
            let size = MemoryLayout<siginfo_t>.size
            // Those that nothing blocks never wait, and would stop or end the process under construction.
            guard entry.siginfo.count == size, (1...64).contains(signal), signal != SIGKILL, signal != SIGSTOP else {
                throw CheckpointError("a pending signal \(signal) with \(entry.siginfo.count) bytes of information")
            }
            let address = program.place(Array(entry.siginfo))
            if let thread {
                program.call(
                    "rt_tgsigqueueinfo \(signal)", Int(SYS_rt_tgsigqueueinfo),
                    [UInt64(process), UInt64(thread), UInt64(signal), address.raw])
            } else {
                program.call(
                    "rt_sigqueueinfo \(signal)", Int(SYS_rt_sigqueueinfo),
                    [UInt64(process), UInt64(signal), address.raw])
            }
        }
    }

    /// Takes a SIGCHLD that the end of a helper or zombie has left in a process under construction.
    static func forgetChildren(in program: inout Program) {
        let set = program.place(value: UInt64(1) << UInt64(SIGCHLD - 1))
        let now = program.place(value: SIMD2<UInt64>(0, 0))
        program.call(
            "rt_sigtimedwait", Int(SYS_rt_sigtimedwait), [set.raw, 0, now.raw, 8], tolerated: [EAGAIN])
    }
}
