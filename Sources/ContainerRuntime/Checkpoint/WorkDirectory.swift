import CheckpointImages
import LinuxSystem
import Logging

/// Where a checkpoint or restore leaves its log and its figures, under the names that clients look for.
struct WorkDirectory: ~Copyable {
    private let directory: OwnedDescriptor
    private let log: OwnedDescriptor
    let logger: Logger

    /// - Parameter name: `dump` or `restore`: `dump.log` and `stats-dump`, `restore.log` and `stats-restore`.
    init(_ path: String, name: String) throws(RuntimeError) {
        let opened = try launching("work directory \(path)") { () throws(SystemError) in
            try makeDirectories(path, mode: 0o700)
            return try openAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY)
        }
        let file = "\(name).log"
        let log = try launching("work directory \(path)") { () throws(SystemError) in
            try openAt(opened.raw, file, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK, mode: 0o600)
        }
        let handler = WorkLogHandler(descriptor: log.raw)
        var logger = Logger(label: name) { _ in handler }
        logger.logLevel = .debug
        self.logger = logger
        self.log = log
        directory = opened
    }

    /// Does something that a checkpoint or restore is complete without; its failure is a warning.
    func unlessItFails(_ body: () throws(RuntimeError) -> Void) {
        do throws(RuntimeError) { try body() } catch {
            logger.warning("\(error)")
            Warnings.add(error.message)
        }
    }

    /// Writes figures as CRIU's stats image, which podman and checkpointctl read.
    func save(_ kind: ImageKind, _ stats: StatsEntry) throws(RuntimeError) {
        do {
            var image = ImageWriter(kind)
            try image.append(stats)
            let name = kind.fileName()
            let file = try openAt(
                directory.raw, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK, mode: 0o600)
            try writeAll(file.raw, image.bytes, name: name)
        } catch {
            throw RuntimeError("cannot write figures", because: error)
        }
    }
}

/// Lines such as `(00.000123) Error: …`; clients show the end of this file when something failed.
private struct WorkLogHandler: LogHandler {
    let descriptor: CInt
    let start = microsecondsNow()
    var logLevel: Logger.Level = .debug
    var metadata: Logger.Metadata = [:]

    init(descriptor: CInt) { self.descriptor = descriptor }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let passed = microsecondsNow() - start
        let fraction = String(passed % 1_000_000)
        let padded = String(repeating: "0", count: 6 - fraction.count) + fraction
        let seconds = passed / 1_000_000
        let mark = event.level >= .error ? "Error: " : ""
        let line = "(\(seconds < 10 ? "0" : "")\(seconds).\(padded)) \(mark)\(event.message.description.printable)\n"
        try? writeAll(descriptor, Array(line.utf8), name: "log")
    }
}

private func microsecondsNow() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) * 1_000_000 + UInt64(now.tv_nsec) / 1000
}
