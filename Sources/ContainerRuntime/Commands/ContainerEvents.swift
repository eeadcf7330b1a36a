import Cgroups
import LinuxSystem
import OCISpec

extension Container {
    /// One line of `events --stats`.
    package func statisticsLine() throws(RuntimeError) -> String {
        if status() == .stopped { throw RuntimeError("container with id \(id) is not running") }
        return eventLine("stats", state.cgroups.statistics())
    }

    /// `events`: a line of figures every `interval` milliseconds, and one for each time that the kernel killed for want
    /// of memory. Returns when the container has ended.
    package func watchEvents(interval: Int, show: (String) -> Void) throws(RuntimeError) {
        if status() == .stopped { throw RuntimeError("container with id \(id) is not running") }
        let process = try launching { () throws(SystemError) in try Pidfd(pid: state.initPid) }
        guard initIsAlive else { throw RuntimeError("container with id \(id) is not running") }
        var watch: OutOfMemoryWatch?
        do { watch = try OutOfMemoryWatch.open(state.cgroups) } catch { throw RuntimeError(error.description) }
        var next = Self.milliseconds() + interval
        while true {
            var waiting = [pollfd(fd: process.raw, events: Int16(POLLIN), revents: 0)]
            // A negative descriptor is passed over.
            waiting.append(pollfd(fd: watch?.raw ?? -1, events: watch?.pollEvents ?? 0, revents: 0))
            let patience = CInt(clamping: max(0, next - Self.milliseconds()))
            _ = try launching { () throws(SystemError) in
                try system("wait for events") { clinux_poll(&waiting, 2, patience) }
            }
            // Before the container's end, since the kernel may have killed its first process.
            if waiting[1].revents != 0, watch?.take() == true { show(eventLine("oom", nil)) }
            if waiting[0].revents != 0 { return }
            if Self.milliseconds() >= next {
                show(eventLine("stats", state.cgroups.statistics()))
                next += interval
            }
        }
    }

    private func eventLine(_ type: String, _ data: JSONText?) -> String {
        let members: [(String, JSONText)] = [("type", .string(type)), ("id", .string(id))]
        return JSONText.object(members + (data.map { [("data", $0)] } ?? [])).text()
    }

    private static func milliseconds() -> Int {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return now.tv_sec * 1000 + now.tv_nsec / 1_000_000
    }
}

/// A duration as Go writes it, in milliseconds: `5s`, `1m30s`, `500ms`, `1.5h`. nil if it is none.
package func milliseconds(_ text: String) -> Int? {
    var rest = Substring(text)
    var total = 0.0
    if rest.isEmpty { return nil }
    while !rest.isEmpty {
        let digits = rest.prefix { $0.isASCII && $0.isNumber || $0 == "." }
        rest = rest.dropFirst(digits.count)
        let unit = rest.prefix { !$0.isNumber && $0 != "." }
        rest = rest.dropFirst(unit.count)
        let units: [Substring: Double] = ["ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1, "s": 1e3, "m": 6e4, "h": 3.6e6]
        guard let number = Double(digits), let scale = units[unit] else { return nil }
        total += number * scale
    }
    return total > 0 && total < 1e15 ? max(1, Int(total)) : nil
}
