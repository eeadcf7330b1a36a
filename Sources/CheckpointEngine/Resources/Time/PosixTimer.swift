import CheckpointImages
import LinuxSystem
import Tracee

/// timer_create(2), with the very ids that the program knows.
enum PosixTimer: ProcessKind {
    static func ask(
        _ process: CapturedProcess, by session: AgentSession, into images: inout ProcessImages, of dump: Dump
    ) throws {
        images.task.timers.posix = try ProgramRunner.portions(try list(process)).flatMap { timers in
            var program = Program(session.area.main)
            let questions = timers.map { timer in
                let place = program.reserve(32)
                program.call("timer_gettime", Int(SYS_timer_gettime), [UInt64(timer.itID), place.raw])
                let overrun = program.call("timer_getoverrun", Int(SYS_timer_getoverrun), [UInt64(timer.itID)])
                return (place: place, overrun: overrun)
            }
            let results = try session.run(program)
            try results.check()
            return try zip(timers, questions).map { timer, question in
                guard let setting = results.value(question.place, as: SIMD4<UInt64>.self) else {
                    throw CheckpointError("timer \(timer.itID): the agent's answer is too short")
                }
                var timer = timer
                timer.overrun = UInt32(clamping: results[question.overrun])
                timer.isec = setting[0]
                timer.insec = setting[1]
                timer.vsec = setting[2]
                timer.vnsec = setting[3]
                return timer
            }
        }
    }

    /// /proc/PID/timers lists them: `ID: 0`, `signal: 14/0000…`, `notify: signal/tid.77`, `ClockID: 1`.
    private static func list(_ process: CapturedProcess) throws -> [PosixTimerEntry] {
        var entries: [PosixTimerEntry] = []
        var current = PosixTimerEntry()
        let text = try readText("/proc/\(process.task)/timers")
        for line in text.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].trimmed
            switch line[..<colon] {
            case "ID":
                current = PosixTimerEntry()
                current.itID = UInt32(value) ?? 0
            case "signal":
                let parts = value.split(separator: "/")
                current.siSigno = parts.first.flatMap { UInt32($0) } ?? 0
                current.sivalPtr = parts.count > 1 ? UInt64(parts[1], radix: 16) ?? 0 : 0
            case "notify": try notification(String(value), of: process, into: &current)
            case "ClockID":
                current.clockID = UInt32(bitPattern: Int32(value) ?? 0)
                entries.append(current)
            default: break
            }
        }
        return entries
    }

    private static func notification(
        _ text: String, of process: CapturedProcess, into entry: inout PosixTimerEntry
    ) throws {
        let parts = text.split(separator: "/")
        let kinds: [Substring: UInt32] = ["signal": 0, "none": 1, "thread": 2]
        guard let how = parts.first, let kind = kinds[how] else { throw CheckpointError("a timer notifies by \(text)") }
        entry.itSigevNotify = kind
        if parts.count > 1, parts[1].hasPrefix("tid."), let task = pid_t(parts[1].dropFirst(4)) {
            // SIGEV_THREAD_ID
            entry.itSigevNotify = kind | 4
            guard let index = process.threadNumbers[task] else {
                throw CheckpointError("a timer notifies thread \(task), which is none of its process")
            }
            entry.notifyThreadID = process.innerThreads[index]
        }
    }

    /// PR_TIMER_CREATE_RESTORE_IDS, Linux 6.15, takes the id that the caller asks for.
    static func recreate(_ timers: [PosixTimerEntry], in program: inout Program) {
        guard !timers.isEmpty else { return }
        program.call("prctl PR_TIMER_CREATE_RESTORE_IDS (Linux 6.15)", Int(SYS_prctl), [77, 1, 0, 0, 0])
        for timer in timers {
            // struct sigevent: value 8, signo 4, notify 4, thread id 4, padded to 64.
            var event = [UInt8](repeating: 0, count: 64)
            event.withUnsafeMutableBytes {
                $0.storeBytes(of: timer.sivalPtr, toByteOffset: 0, as: UInt64.self)
                $0.storeBytes(of: timer.siSigno, toByteOffset: 8, as: UInt32.self)
                $0.storeBytes(of: timer.itSigevNotify, toByteOffset: 12, as: UInt32.self)
                $0.storeBytes(of: timer.notifyThreadID, toByteOffset: 16, as: Int32.self)
            }
            let sigevent = program.place(event)
            let id = program.place(value: timer.itID)
            program.call(
                "timer_create \(timer.itID)", Int(SYS_timer_create), [UInt64(timer.clockID), sigevent.raw, id.raw])
        }
        program.call("prctl PR_TIMER_CREATE_RESTORE_IDS", Int(SYS_prctl), [77, 0, 0, 0, 0])
    }

    /// Lets them run: last of all, since what they do may be a signal to the process.
    static func arm(_ timers: [PosixTimerEntry], in program: inout Program) {
        for timer in timers {
            let isOut = timer.vsec == 0 && timer.vnsec == 0
            var left = isOut ? (timer.isec, timer.insec) : (timer.vsec, timer.vnsec)
            guard left != (0, 0) else { continue }
            // The release takes a few instructions of the process's own, which stops without end would not let it make.
            if timer.siSigno == UInt32(SIGSTOP), left.0 == 0 { left = (1, 0) }
            let setting = program.place(value: SIMD4<UInt64>(timer.isec, timer.insec, left.0, left.1))
            program.call(
                "timer_settime \(timer.itID)", Int(SYS_timer_settime), [UInt64(timer.itID), 0, setting.raw, 0])
        }
    }
}
