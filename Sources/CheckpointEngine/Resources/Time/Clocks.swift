import CheckpointImages
import LinuxSystem
import Tracee

/// The clocks that do not jump: a restored container gets a time namespace in which they go on from where they were.
/// time_namespaces(7), Linux 5.6.
enum Clocks: ProcessKind {
    private static let monotonic: CInt = 1
    private static let boot: CInt = 7

    /// The clocks as the container sees them, which may live in a time namespace already.
    static func ask(_ process: CapturedProcess, in program: inout Program, of dump: Dump) -> ProcessAnswer? {
        guard process === dump.first else { return nil }
        let (now, sinceBoot) = (program.reserve(16), program.reserve(16))
        program.call("clock_gettime", Int(SYS_clock_gettime), [UInt64(monotonic), now.raw])
        program.call("clock_gettime", Int(SYS_clock_gettime), [UInt64(boot), sinceBoot.raw])
        return { results, _ in try dump.images.add(.timens, 0, entries: [try entry(now, sinceBoot, results)]) }
    }

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
        func offset(_ clock: CInt, _ seconds: UInt64, _ nanoseconds: UInt64) throws -> timespec {
            guard seconds < 1 << 32, nanoseconds < 1_000_000_000 else {
                throw CheckpointError("timens-0.img: a clock at \(seconds) s, \(nanoseconds) ns")
            }
            var now = timespec()
            try system("clock_gettime") { clock_gettime(clock, &now) }
            let wanted = Int(seconds) * 1_000_000_000 + Int(nanoseconds)
            let difference = wanted - (now.tv_sec * 1_000_000_000 + now.tv_nsec)
            // timens_offsets takes a nanosecond part of 0…999999999 only.
            let whole = difference >= 0 ? difference / 1_000_000_000 : (difference - 999_999_999) / 1_000_000_000
            return timespec(tv_sec: whole, tv_nsec: difference - whole * 1_000_000_000)
        }
        return (
            try offset(monotonic, entry.monotonic.tvSec, entry.monotonic.tvNsec),
            try offset(boot, entry.boottime.tvSec, entry.boottime.tvNsec)
        )
    }
}
