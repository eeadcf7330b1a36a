import CheckpointImages
import LinuxSystem
import Tracee

/// getitimer(2): the three timers that every process has.
enum IntervalTimer: ProcessKind {
    static func ask(_ process: CapturedProcess, in program: inout Program, of dump: Dump) -> ProcessAnswer? {
        let places = (0..<3).map { which in
            let place = program.reserve(32)
            program.call("getitimer \(which)", Int(SYS_getitimer), [UInt64(which), place.raw])
            return place
        }
        return { results, images in
            images.task.timers.real = try entry(places[0], results)
            images.task.timers.virt = try entry(places[1], results)
            images.task.timers.prof = try entry(places[2], results)
        }
    }

    private static func entry(_ place: RemoteAddress, _ results: Program.Results) throws -> ItimerEntry {
        guard let setting = results.value(place, as: SIMD4<UInt64>.self) else { throw CheckpointError("no timer") }
        return ItimerEntry.with {
            $0.isec = setting[0]
            $0.iusec = setting[1]
            $0.vsec = setting[2]
            $0.vusec = setting[3]
        }
    }

    /// After all else, as ``PosixTimer/arm(_:in:)``.
    ///
    /// One that has just run out, with its signal still pending, has an interval and nothing left: the next round begins.
    static func arm(_ timers: TaskTimersEntry, in program: inout Program) {
        for (which, timer) in [timers.real, timers.virt, timers.prof].enumerated() {
            let isOut = timer.vsec == 0 && timer.vusec == 0
            let left = isOut ? (timer.isec, timer.iusec) : (timer.vsec, timer.vusec)
            guard left != (0, 0) else { continue }
            let setting = program.place(value: SIMD4<UInt64>(timer.isec, timer.iusec, left.0, left.1))
            program.call("setitimer \(which)", Int(SYS_setitimer), [UInt64(which), setting.raw, 0])
        }
    }
}
