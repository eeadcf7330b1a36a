import ContainerRuntime
import LinuxSystem
import Logging

/// Where a command's failure goes: standard error, and the `--log` file that clients read.
struct ErrorLog {
    private let logger: Logger
    /// The log is a file: people still want to see why a command failed.
    private let repeatsOnStandardError: Bool

    /// For failures before the options are known.
    init() {
        logger = Self.logger(LineLogHandler(descriptor: 2, format: .text), debug: false)
        repeatsOnStandardError = false
    }

    init(_ options: GlobalOptions) throws(RuntimeError) {
        guard let format = LogFormat(rawValue: options.logFormat) else {
            throw RuntimeError("invalid log-format: \(options.logFormat)")
        }
        guard let path = options.log, !path.isEmpty else {
            logger = Self.logger(LineLogHandler(descriptor: 2, format: format), debug: options.debug)
            repeatsOnStandardError = false
            return
        }
        do {
            // Of a pipe without a reader it is an error, and what does not fit into one is lost: nothing is waited for.
            let flags = O_WRONLY | O_APPEND | O_CREAT | O_SYNC | O_NONBLOCK | O_NOCTTY
            let file = try openAt(AT_FDCWD, path, flags, mode: 0o644)
            // Open as long as the program runs.
            logger = Self.logger(LineLogHandler(descriptor: file.release(), format: format), debug: options.debug)
            repeatsOnStandardError = true
        } catch {
            throw RuntimeError(error.description)
        }
    }

    /// One line in the log and no more: podman cannot read a log of two.
    func report(_ message: String) {
        logger.error("\(message)")
        if repeatsOnStandardError { try? writeAll(2, Array((message.printable + "\n").utf8), name: "standard error") }
    }

    func debug(_ message: String) { logger.debug("\(message)") }

    func warn(_ message: String) { logger.warning("\(message)") }

    private static func logger(_ handler: LineLogHandler, debug: Bool) -> Logger {
        var logger = Logger(label: "stasis") { _ in handler }
        // A command that fails logs its error and no more: nothing below warns before it is known that it succeeds.
        logger.logLevel = debug ? .debug : .warning
        return logger
    }
}

/// Writes lines as runc does.
struct LineLogHandler: LogHandler {
    let descriptor: CInt
    let format: LogFormat
    var logLevel: Logger.Level = .warning
    var metadata: Logger.Metadata = [:]

    init(descriptor: CInt, format: LogFormat) {
        self.descriptor = descriptor
        self.format = format
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let line = format.line(
            level: event.level.rawValue, message: event.message.description, time: Timestamp.nowInSeconds())
        try? writeAll(descriptor, Array((line + "\n").utf8), name: "log")
    }
}
