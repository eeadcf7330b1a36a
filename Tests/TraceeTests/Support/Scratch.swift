import Glibc
import LinuxSystem

/// An empty directory that is gone after the test.
final class Scratch {
    let directory: String

    init() {
        var template = Array("/tmp/stasis-tracee-XXXXXX".utf8CString)
        directory = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) } ?? ""
        }
    }

    deinit {
        for name in (try? directoryEntries(directory)) ?? [] { unlink(path(name)) }
        rmdir(directory)
    }

    func path(_ name: String) -> String { "\(directory)/\(name)" }

    func write(_ name: String, _ bytes: [UInt8]) throws {
        let file = try openAt(AT_FDCWD, path(name), O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
        try writeAll(file.raw, bytes)
    }

    /// Runs a program to its end; what it wrote to its standard output.
    func output(of command: [String]) throws -> String {
        let pipe = try makePipe()
        let writer = pipe.second.release()
        let reader = pipe.first
        let child = try Self.start(command, output: writer)
        close(writer)
        let bytes = try readAll(reader.raw)
        var status: CInt = 0
        try system("wait for \(command[0])") { waitpid(child, &status, 0) }
        guard status == 0 else { throw SystemError(.ioError, "\(command.joined(separator: " ")): status \(status)") }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Starts a program in a process of its own. posix_spawn(3).
    static func start(_ command: [String], output: CInt? = nil) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let output { posix_spawn_file_actions_adddup2(&actions, output, 1) }
        var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
        arguments.append(nil)
        defer { arguments.forEach { free($0) } }
        var child: pid_t = 0
        let error = posix_spawn(&child, command[0], &actions, nil, arguments, clinux_environ())
        guard error == 0 else { throw SystemError(Errno(rawValue: error), "start \(command[0])") }
        return child
    }
}
