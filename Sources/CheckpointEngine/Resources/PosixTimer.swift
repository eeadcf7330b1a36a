import CheckpointImages
import LinuxSystem
import Tracee

/// timer_create(2), with the very ids that the program knows.
enum PosixTimer {
    struct Question {
        var entries: [PosixTimerEntry] = []
        var places: [RemoteAddress] = []
        var overruns: [Program.Reference] = []
    }

    /// /proc/PID/timers lists them: `ID: 0`, `signal: 14/0000…`, `notify: signal/tid.77`, `ClockID: 1`.
    static func ask(_ process: CapturedProcess, in program: inout Program) throws -> Question {
        var question = Question()
        var current = PosixTimerEntry()
        let text = try readText("/proc/\(process.hostPid)/timers")
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
                question.entries.append(current)
            default: break
            }
        }
        for entry in question.entries {
            let place = program.reserve(32)
            question.places.append(place)
            program.call("timer_gettime", Int(SYS_timer_gettime), [UInt64(entry.itID), place.raw])
            question.overruns.append(
                program.call("timer_getoverrun", Int(SYS_timer_getoverrun), [UInt64(entry.itID)]))
        }
        return question
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

    static func entries(_ question: Question, _ results: Program.Results) throws -> [PosixTimerEntry] {
        var entries = question.entries
        for index in entries.indices {
            guard let setting = results.value(question.places[index], as: SIMD4<UInt64>.self) else {
                throw CheckpointError("no timer")
            }
            entries[index].overrun = UInt32(clamping: results[question.overruns[index]])
            entries[index].isec = setting[0]
            entries[index].insec = setting[1]
            entries[index].vsec = setting[2]
            entries[index].vnsec = setting[3]
        }
        return entries
    }

    /// PR_TIMER_CREATE_RESTORE_IDS, Linux 6.15, takes the id that the caller asks for.
    static func recreate(_ timers: [PosixTimerEntry], in program: inout Program) {
        guard !timers.isEmpty else { return }
        program.call("prctl PR_TIMER_CREATE_RESTORE_IDS", Int(SYS_prctl), [77, 1, 0, 0, 0])
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
            let isOut = timer.vsec == 0 && timer.vnsec == 0
            let left = isOut ? (timer.isec, timer.insec) : (timer.vsec, timer.vnsec)
            guard left != (0, 0) else { continue }
            let setting = program.place(value: SIMD4<UInt64>(timer.isec, timer.insec, left.0, left.1))
            program.call(
                "timer_settime \(timer.itID)", Int(SYS_timer_settime), [UInt64(timer.itID), 0, setting.raw, 0])
        }
        program.call("prctl PR_TIMER_CREATE_RESTORE_IDS", Int(SYS_prctl), [77, 0, 0, 0, 0])
    }
}
