import CheckpointEngine
import LinuxSystem
import Logging

/// The files in which users of docker and containerd, who cannot pass flags, say what a checkpoint may carry over:
/// `/etc/criu/default.conf`, then the file that the annotation `org.criu.config` names, else `/etc/criu/runc.conf`.
/// criu(8), CONFIGURATION FILES: an option a line, without dashes, its value behind a blank; `#` begins a comment.
struct EngineConfiguration {
    private static let annotation = "org.criu.config"

    /// What the files allow. Keys that mean nothing to this engine are logged and passed over.
    static func read(annotations: [String: String], logger: Logger) throws(RuntimeError) -> DumpOptions {
        var options = DumpOptions()
        let named = annotations[annotation].flatMap { $0.isEmpty ? nil : $0 }
        for path in ["/etc/criu/default.conf", named ?? "/etc/criu/runc.conf"] {
            guard let text = try content(of: path, mustExist: path == named) else { continue }
            for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
                let words = line.prefix { $0 != "#" }.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == "\r" })
                guard let key = words.first else { continue }
                let value = words.dropFirst().joined(separator: " ")
                if !options.set(String(key), value) {
                    // Not quoted: an annotation may name any file of the host.
                    logger.warning("\(path): line \(index + 1) has no effect here")
                }
            }
        }
        return options
    }

    private static func content(of path: String, mustExist: Bool) throws(RuntimeError) -> String? {
        do throws(SystemError) {
            let file = try openAt(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
            guard try status(of: file.raw).isRegular else { throw SystemError(.invalidArgument, "read \(path)") }
            return String(decoding: try readAll(file.raw, limit: 64 << 10, name: path), as: UTF8.self)
        } catch {
            if error.errno == .noSuchFileOrDirectory, !mustExist { return nil }
            throw RuntimeError("annotation \(annotation): \(error)")
        }
    }
}
