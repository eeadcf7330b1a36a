import CheckpointImages
import LinuxSystem

/// timerfd_create(2).
///
/// The images tell what is left until the timer's next end, so the timer goes on where it was, whatever the clock says. One
/// that ends at a time of the wall clock gets such a time again, and is ended by a change of that clock as before
/// (TFD_TIMER_CANCEL_ON_SET).
enum TimerFD: FileKind {
    static func capture(_ file: borrowing OpenFile, id: UInt32, into dump: Dump) throws -> FileEntry? {
        guard file.link == "anon_inode:[timerfd]" else { return nil }
        func number(_ key: Substring, radix: Int = 10) throws -> UInt32 {
            guard let value = file.info.value(key).flatMap({ UInt32($0, radix: radix) }) else {
                throw CheckpointError("the kernel does not tell `\(key)` of a timerfd")
            }
            return value
        }
        let left = try pair(file, "it_value")
        let interval = try pair(file, "it_interval")
        return FileEntry.with {
            $0.type = .timerfd
            $0.id = id
            $0.tfd = .with {
                $0.id = id
                $0.flags = file.info.flags
                $0.fown = .none
                $0.clockid = (try? number("clockid")) ?? 0
                $0.ticks = UInt64((try? number("ticks")) ?? 0)
                $0.settimeFlags = (try? number("settime flags", radix: 8)) ?? 0
                $0.vsec = left.seconds
                $0.vnsec = left.nanoseconds
                $0.isec = interval.seconds
                $0.insec = interval.nanoseconds
            }
        }
    }

    /// `it_value: (1, 500000000)`
    private static func pair(
        _ file: borrowing OpenFile, _ key: Substring
    ) throws -> (seconds: UInt64, nanoseconds: UInt64) {
        let numbers = (file.info.value(key) ?? "").split(whereSeparator: { !$0.isNumber }).compactMap { UInt64($0) }
        guard numbers.count == 2 else { throw CheckpointError("the kernel does not tell `\(key)` of a timerfd") }
        return (numbers[0], numbers[1])
    }

    /// By the wall clock, the time after which a rest is over.
    private static func end(_ rest: timespec) -> timespec {
        var end = timespec()
        clock_gettime(CLOCK_REALTIME, &end)
        let nanoseconds = end.tv_nsec + rest.tv_nsec
        end.tv_sec += min(rest.tv_sec, .max / 2) + nanoseconds / 1_000_000_000
        end.tv_nsec = nanoseconds % 1_000_000_000
        return end
    }

    static func recreate(_ entry: FileEntry, in workshop: Workshop) throws -> OwnedDescriptor? {
        guard entry.hasTfd else { return nil }
        let timer = entry.tfd
        let flags = timer.flags & UInt32(O_NONBLOCK) | UInt32(O_CLOEXEC)
        let made = OwnedDescriptor(
            CInt(try systemCall("timerfd_create", Int(SYS_timerfd_create), Int(timer.clockid), Int(flags))))
        guard timer.vnsec < 1_000_000_000, timer.insec < 1_000_000_000 else {
            throw CheckpointError("timerfd \(timer.id): a nanosecond part of \(max(timer.vnsec, timer.insec))")
        }
        // One that has run out has nothing left until its end is read: its next round begins now.
        let isOut = timer.vsec == 0 && timer.vnsec == 0
        let left = isOut ? (timer.isec, timer.insec) : (timer.vsec, timer.vnsec)
        if left != (0, 0) {
            var setting = itimerspec()
            setting.it_value = timespec(tv_sec: Int(clamping: left.0), tv_nsec: Int(left.1))
            // TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET; CLOCK_REALTIME, CLOCK_REALTIME_ALARM
            let isAbsolute = timer.settimeFlags & 1 != 0 && (timer.clockid == 0 || timer.clockid == 8)
            if isAbsolute { setting.it_value = Self.end(setting.it_value) }
            setting.it_interval = timespec(tv_sec: Int(clamping: timer.isec), tv_nsec: Int(timer.insec))
            try withUnsafePointer(to: &setting) {
                _ = try systemCall(
                    "timerfd_settime", Int(SYS_timerfd_settime), Int(made.raw),
                    isAbsolute ? Int(timer.settimeFlags & 3) : 0, Int(bitPattern: $0), 0)
            }
        }
        if timer.ticks > 0 {
            // TFD_IOC_SET_TICKS, Linux 3.17.
            var ticks = timer.ticks
            try system("set ticks of timerfd") {
                withUnsafePointer(to: &ticks) { clinux_ioctl(made.raw, 0x4008_5400, UInt(bitPattern: $0)) }
            }
        }
        return made
    }
}
