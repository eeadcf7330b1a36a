import LinuxSystem
import OCISpec

/// What `ps` prints: the container's processes by the ids that they have for the caller.
package struct ProcessList: Sendable {
    private let processes: [pid_t]

    package init(of container: Container) throws(RuntimeError) {
        processes = try container.processes()
    }

    /// As Go encodes a list that was never made, if there are none.
    package var json: String {
        if processes.isEmpty { return "null" }
        return JSONText.array(processes.map { .number(Int($0)) }).text()
    }

    /// The lines of the system's ps that are about these processes, and its heading.
    package func table(arguments: [String]) throws(RuntimeError) -> String {
        try table(of: try runProgram("ps", arguments.isEmpty ? ["-ef"] : arguments))
    }

    func table(of output: String) throws(RuntimeError) -> String {
        let lines = output.split(separator: "\n")
        guard let heading = lines.first,
            let column = heading.split(whereSeparator: \.isWhitespace).firstIndex(of: "PID")
        else { throw RuntimeError("couldn't find PID field in ps output") }
        let wanted = Set(processes)
        var ours: [Substring] = []
        for line in lines.dropFirst() {
            let fields = line.split(whereSeparator: \.isWhitespace)
            guard fields.count > column, let pid = pid_t(fields[column]) else {
                throw RuntimeError("unable to parse pid in ps output: \(line)")
            }
            if wanted.contains(pid) { ours.append(line) }
        }
        return ([heading] + ours).map { $0 + "\n" }.joined()
    }
}

/// Runs a program of the host and returns what it wrote to its standard output.
private func runProgram(_ name: String, _ arguments: [String]) throws(RuntimeError) -> String {
    guard let path = findProgram(name) else {
        throw RuntimeError("exec: \"\(name)\": executable file not found in $PATH")
    }
    do throws(SystemError) {
        let output = try makeMemoryFile("output of \(name)")
        let result = try cloneProcess(CloneRequest())
        switch consume result {
        case .child:
            dup2(output.raw, 1)
            try? CallingProcess.closeOnExec(from: 3)
            try? CallingProcess.execute(
                path: path, arguments: [name] + arguments, environment: currentEnvironment())
            _exit(127)
        case .parent(_, let process):
            let exit = try process.wait()
            try system("rewind") { lseek(output.raw, 0, SEEK_SET) }
            let text = String(decoding: try readAll(output.raw), as: UTF8.self)
            if exit != .exited(0) {
                throw SystemError(.invalidArgument, "\(name): exit status \(exit.code): \(text)")
            }
            return text
        }
    } catch {
        throw RuntimeError(error.description)
    }
}

private func findProgram(_ name: String) -> String? {
    let variable =
        currentEnvironment().first { $0.hasPrefix("PATH=") }?.dropFirst(5) ?? "/usr/bin:/bin"
    return variable.split(separator: ":").lazy.map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
}
