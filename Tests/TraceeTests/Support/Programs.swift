import Glibc
import LinuxSystem
import TestSupport

extension Scratch {
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
