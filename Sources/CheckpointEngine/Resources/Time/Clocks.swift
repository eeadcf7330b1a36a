import CheckpointImages
import LinuxSystem
import Tracee

/// The clocks that do not jump: a restored container gets a time namespace in which they go on from where they were.
/// time_namespaces(7), Linux 5.6.
enum Clocks: ProcessKind {
    private static let monotonic: CInt = 1
    private static let boot: CInt = 7

    final class DumpState: KindState {
        /// What the clocks of time namespaces of single processes are ahead of the container's, by their numbers.
        fileprivate var inner: [UInt32: Offsets] = [:]
    }

    final class RestoreState: KindState {
        fileprivate var inner: [UInt32: Offsets] = [:]
    }

    /// In nanoseconds.
    fileprivate struct Offsets: Equatable {
        var monotonic: Int
        var boottime: Int

        static let none = Self(monotonic: 0, boottime: 0)

        static func + (one: Self, other: Self) -> Self {
            Self(monotonic: one.monotonic + other.monotonic, boottime: one.boottime + other.boottime)
        }

        static func - (one: Self, other: Self) -> Self {
            Self(monotonic: one.monotonic - other.monotonic, boottime: one.boottime - other.boottime)
        }
    }

    /// The clocks as the container sees them, which may live in a time namespace already.
    static func ask(_ process: CapturedProcess, in program: inout Program, of dump: Dump) -> ProcessAnswer? {
        guard process === dump.first else { return nil }
        let (now, sinceBoot) = (program.reserve(16), program.reserve(16))
        program.call("clock_gettime", Int(SYS_clock_gettime), [UInt64(monotonic), now.raw])
        program.call("clock_gettime", Int(SYS_clock_gettime), [UInt64(boot), sinceBoot.raw])
        return { results, _ in
            let entry = try entry(now, sinceBoot, results)
            try dump.images.add(.timens, 0, entries: [entry])
            for (number, ahead) in dump[Self.self].inner {
                try dump.images.add(.timens, number, entries: [try TimensEntry(clocks(entry, 0) + ahead)])
            }
        }
    }

    // MARK: Namespaces of single processes

    /// Those of a process's own time namespace, which its children have, too.
    static func capture(_ number: UInt32, of process: CapturedProcess, into dump: Dump) throws {
        dump[Self.self].inner[number] = try offsets(of: process.task) - offsets(of: dump.first.task)
    }

    /// Fails if an image's clocks are none, or if nobody can have set them.
    static func plan(_ number: UInt32, of process: ProcessPlan, _ restore: RestorePlan) throws {
        guard let own = restore.images.clocks else { throw CheckpointError("timens-0.img is not there") }
        let ahead = try clocks(try restore.images.directory.entry(.timens, number), number) - clocks(own, 0)
        guard ahead == .none || restore.policy.capabilities & 1 << UInt64(CAP_SYS_TIME) != 0 else {
            throw CheckpointError("has other clocks than its container, and config.json does not grant CAP_SYS_TIME")
        }
        guard !process.shares(.memory) else {
            throw CheckpointError("shares its memory, and is in a time namespace of its own: this cannot be restored")
        }
        restore[Self.self].inner[number] = ahead
    }

    /// In the namespace that a process has made for its children, in which nobody is yet.
    static func recreate(_ number: UInt32, of process: pid_t, in workshop: Workshop) throws {
        guard let ahead = workshop[Self.self].inner[number] else { return }
        let wanted = try offsets(of: workshop.firstProcess) + ahead
        func line(_ clock: String, _ offset: Int) -> String {
            let time = timespec(nanoseconds: offset)
            return "\(clock) \(time.tv_sec) \(time.tv_nsec)\n"
        }
        try writeControl(
            "/proc/\(process)/timens_offsets",
            line("monotonic", wanted.monotonic) + line("boottime", wanted.boottime))
    }

    /// What its children's clocks are ahead of the machine's: a line for each clock, with seconds and nanoseconds.
    private static func offsets(of task: pid_t) throws -> Offsets {
        var offsets = Offsets.none
        for line in try readText("/proc/\(task)/timens_offsets").split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 3, let seconds = Int(words[1]), let rest = Int(words[2]) else { continue }
            if words[0] == "monotonic" { offsets.monotonic = seconds * 1_000_000_000 + rest }
            if words[0] == "boottime" { offsets.boottime = seconds * 1_000_000_000 + rest }
        }
        return offsets
    }

    private static func clocks(_ entry: TimensEntry, _ number: UInt32) throws -> Offsets {
        Offsets(
            monotonic: try nanoseconds(entry.monotonic.tvSec, entry.monotonic.tvNsec, number),
            boottime: try nanoseconds(entry.boottime.tvSec, entry.boottime.tvNsec, number))
    }

    private static func nanoseconds(_ seconds: UInt64, _ rest: UInt64, _ number: UInt32) throws -> Int {
        guard seconds < 1 << 32, rest < 1_000_000_000 else {
            throw CheckpointError("timens-\(number).img: a clock at \(seconds) s, \(rest) ns")
        }
        return Int(seconds) * 1_000_000_000 + Int(rest)
    }

    // MARK: The container's

    private static func entry(
        _ now: RemoteAddress, _ sinceBoot: RemoteAddress, _ results: Program.Results
    ) throws -> TimensEntry {
        guard let now = results.value(now, as: SIMD2<UInt64>.self),
            let boot = results.value(sinceBoot, as: SIMD2<UInt64>.self)
        else { throw CheckpointError("no clocks") }
        return TimensEntry.with {
            $0.monotonic = .with {
                $0.tvSec = now[0]
                $0.tvNsec = now[1]
            }
            $0.boottime = .with {
                $0.tvSec = boot[0]
                $0.tvNsec = boot[1]
            }
        }
    }

    /// What to add to this machine's clocks so that they go on from the dumped ones, in nanoseconds.
    static func offsets(to entry: TimensEntry) throws -> (monotonic: timespec, boottime: timespec) {
        func offset(_ clock: CInt, _ seconds: UInt64, _ rest: UInt64) throws -> timespec {
            let wanted = try nanoseconds(seconds, rest, 0)
            var now = timespec()
            try system("clock_gettime") { clock_gettime(clock, &now) }
            return timespec(nanoseconds: wanted - (now.tv_sec * 1_000_000_000 + now.tv_nsec))
        }
        return (
            try offset(monotonic, entry.monotonic.tvSec, entry.monotonic.tvNsec),
            try offset(boot, entry.boottime.tvSec, entry.boottime.tvNsec)
        )
    }
}

extension timespec {
    /// As timens_offsets takes it: with a nanosecond part of 0…999999999 only.
    fileprivate init(nanoseconds: Int) {
        let whole = nanoseconds >= 0 ? nanoseconds / 1_000_000_000 : (nanoseconds - 999_999_999) / 1_000_000_000
        self.init(tv_sec: whole, tv_nsec: nanoseconds - whole * 1_000_000_000)
    }
}

extension TimensEntry {
    /// Clocks at these times.
    fileprivate init(_ clocks: Clocks.Offsets) throws {
        guard clocks.monotonic >= 0, clocks.boottime >= 0 else { throw CheckpointError("a clock before its beginning") }
        self = .with {
            $0.monotonic = .with {
                ($0.tvSec, $0.tvNsec) = (
                    UInt64(clocks.monotonic) / 1_000_000_000, UInt64(clocks.monotonic) % 1_000_000_000
                )
            }
            $0.boottime = .with {
                ($0.tvSec, $0.tvNsec) = (
                    UInt64(clocks.boottime) / 1_000_000_000, UInt64(clocks.boottime) % 1_000_000_000
                )
            }
        }
    }
}
