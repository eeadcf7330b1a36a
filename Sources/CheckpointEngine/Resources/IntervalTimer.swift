import CheckpointImages
import LinuxSystem
import Tracee

/// getitimer(2): the three timers that every process has.
enum IntervalTimer {
    static func ask(in program: inout Program) -> [RemoteAddress] {
        (0..<3).map { which in
            let place = program.reserve(32)
            program.call("getitimer \(which)", Int(SYS_getitimer), [UInt64(which), place.raw])
            return place
        }
    }

    static func entries(_ places: [RemoteAddress], _ results: Program.Results) throws -> TaskTimersEntry {
        let timers = try places.map { place in
            guard let setting = results.value(place, as: SIMD4<UInt64>.self) else { throw CheckpointError("no timer") }
            return ItimerEntry.with {
                $0.isec = setting[0]
                $0.iusec = setting[1]
                $0.vsec = setting[2]
                $0.vusec = setting[3]
            }
        }
        return TaskTimersEntry.with {
            $0.real = timers[0]
            $0.virt = timers[1]
            $0.prof = timers[2]
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
