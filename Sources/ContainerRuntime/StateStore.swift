import Glibc
import LinuxSystem
import OCISpec

/// The containers of one `--root`: a directory for each, with `state.json`, `config.json` and, until start, a socket.
///
/// `state.json` is only ever replaced as a whole, so readers need no lock. A command that changes a container holds
/// its ``ContainerDirectory``, which is a lock against every other such command.
package struct StateStore: Sendable {
    package let root: String

    /// `--root` was given: then the directory has to be there.
    private let isGiven: Bool

    package init(root: String, isGiven: Bool = false) {
        self.root = root
        self.isGiven = isGiven
    }

    /// Where runc would look under its own name: `/run/stasis`, or the user's runtime directory. Root of a user namespace
    /// counts as a user (under rootless podman it is one), unless it says that it is root (as in a system container).
    package static func defaultRoot(environment: (String) -> String?) -> String {
        guard let directory = environment("XDG_RUNTIME_DIR"), !directory.isEmpty else { return "/run/stasis" }
        let isUser = geteuid() != 0 || (Rootless.isMapped && environment("USER") != "root")
        return isUser ? directory + "/stasis" : "/run/stasis"
    }

    package func path(_ id: String) -> String { "\(root)/\(id)" }

    package func startSocketPath(_ id: String) -> String { "\(root)/\(id)/\(StartSocket.name)" }

    /// `[\w+\-.]+`, but no directory's own name.
    package static func validate(_ id: String) throws(RuntimeError) {
        let letters = id.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
            case UInt8(ascii: "0")...UInt8(ascii: "9"): true
            case UInt8(ascii: "_"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."): true
            default: false
            }
        }
        if id.isEmpty { throw .emptyID }
        guard letters, id.utf8.count <= 255, id != ".", id != ".." else { throw .invalidID }
    }

    /// Claims the id. Nobody else can use it until the directory is removed again.
    package func create(_ id: String) throws(RuntimeError) -> ContainerDirectory {
        try Self.validate(id)
        do throws(SystemError) {
            try makeDirectories(root, mode: 0o700)
            try system("mkdir \(path(id))") { mkdir(path(id), 0o711) }
        } catch {
            if error.errno == .fileExists { throw .alreadyExists }
            throw RuntimeError("cannot create the container's state directory", because: error)
        }
        return try lock(id)
    }

    /// The container's directory, once no other command is changing it.
    package func lock(_ id: String) throws(RuntimeError) -> ContainerDirectory {
        try lock(id) { raw throws(SystemError) in
            try system("lock \(path(id))") { flock(raw, LOCK_EX) }
        }
    }

    /// The same; nil if another command has not done with it after so many seconds.
    package func lock(_ id: String, within seconds: Int) throws(RuntimeError) -> ContainerDirectory? {
        var isLocked = false
        let directory = try lock(id) { raw throws(SystemError) in
            for round in 0...seconds * 100 where !isLocked {
                if round > 0 { usleep(10_000) }
                isLocked = flock(raw, LOCK_EX | LOCK_NB) == 0
            }
        }
        return isLocked ? consume directory : nil
    }

    private func lock(
        _ id: String, by take: (CInt) throws(SystemError) -> Void
    ) throws(RuntimeError) -> ContainerDirectory {
        try Self.validate(id)
        do throws(SystemError) {
            let directory = try openAt(AT_FDCWD, path(id), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
            try take(directory.raw)
            // Whoever held the lock may have removed the container, and someone may have made it anew.
            let held = try status(of: directory.raw)
            let named = try status(path(id))
            if held.st_ino != named.st_ino || held.st_dev != named.st_dev {
                throw SystemError(.noSuchFileOrDirectory, id)
            }
            return ContainerDirectory(path: path(id), descriptor: directory)
        } catch {
            throw Self.missing(error)
        }
    }

    /// The state of a container that was completely made.
    package func load(_ id: String) throws(RuntimeError) -> ContainerState {
        let state = try loadEvenHalfMade(id)
        if state.initPid == 0 { throw .doesNotExist }
        return state
    }

    /// For `delete --force`: also what a create that was killed left behind.
    package func loadEvenHalfMade(_ id: String) throws(RuntimeError) -> ContainerState {
        try Self.validate(id)
        let name = "\(path(id))/state.json"
        let text: [UInt8]
        do {
            text = try readRegularFile(name, O_NOFOLLOW)
        } catch {
            throw Self.missing(error)
        }
        do {
            let state = try decodeDocument(ContainerState.self, text, name: name)
            // It says what is killed and removed.
            guard state.id == id else { throw RuntimeError("\(name): is about container \(state.id.quoted)") }
            if let path = state.cgroups.strayPath {
                throw RuntimeError("\(name): \(path.quoted) cannot be a container's cgroup")
            }
            return state
        } catch {
            throw error as? RuntimeError ?? RuntimeError("\(error)")
        }
    }

    package func save(_ state: ContainerState) throws(RuntimeError) {
        do {
            try replaceFile("state.json", of: state.id, with: state.document())
        } catch {
            throw RuntimeError("cannot save the container's state", because: error)
        }
    }

    /// Freezes the configuration that the container was created from.
    package func saveConfiguration(_ text: [UInt8], of id: String) throws(RuntimeError) {
        do {
            // Nobody looks at it before `state.json` speaks of a complete container.
            try writeNewFile("\(path(id))/config.json", text)
        } catch {
            throw RuntimeError("cannot save the container's configuration", because: error)
        }
    }

    package func loadConfiguration(_ id: String) throws(RuntimeError) -> Spec {
        let name = "\(path(id))/config.json"
        do {
            return try Spec.decode(try readRegularFile(name, O_NOFOLLOW), name: name)
        } catch let error as SpecError {
            throw RuntimeError(error.description)
        } catch {
            throw RuntimeError("cannot load the container's configuration", because: error)
        }
    }

    /// Forgets the container. `state.json` goes first, so that a removal that is cut short leaves nothing listed.
    package func remove(_ id: String) throws(RuntimeError) {
        do throws(SystemError) {
            for name in ["state.json", "config.json", Self.mountsName, Self.networkName] {
                try removeFile(name, of: id)
            }
            do throws(SystemError) {
                try system("rmdir \(path(id))") { rmdir(path(id)) }
            } catch  where error.errno == .directoryNotEmpty {
                for name in try directoryEntries(path(id)) { try removeFile(name, of: id) }
                try system("rmdir \(path(id))") { rmdir(path(id)) }
            }
        } catch  where error.errno == .noSuchFileOrDirectory {
        } catch {
            throw RuntimeError("cannot remove the container's state", because: error)
        }
    }

    /// Every container that was completely made, by id. Containers that vanish meanwhile are left out, and those whose
    /// state cannot be read are warned of.
    package func list(warning: Bool = true) throws(RuntimeError) -> [ContainerState] {
        let names: [String]
        do throws(SystemError) {
            names = try directoryEntries(root)
        } catch {
            if error.errno == .noSuchFileOrDirectory, !isGiven { return [] }
            throw RuntimeError("open \(root): \(error.reason)")
        }
        var states: [ContainerState] = []
        for name in names.sorted() {
            do throws(RuntimeError) {
                states.append(try load(name))
            } catch  where error.message == RuntimeError.doesNotExist.message {
            } catch {
                if warning { Warnings.add("load container \(name): \(error)") }
            }
        }
        return states
    }

    private static func missing(_ error: SystemError) -> RuntimeError {
        switch error.errno {
        case .noSuchFileOrDirectory, .notDirectory: .doesNotExist
        default: RuntimeError("cannot open the container's state", because: error)
        }
    }

    private func removeFile(_ name: String, of id: String) throws(SystemError) {
        do throws(SystemError) {
            try system("unlink \(path(id))/\(name)") { unlink("\(path(id))/\(name)") }
        } catch  where error.errno == .noSuchFileOrDirectory {
        } catch  where error.errno == .isDirectory {
            let directory = try openAt(AT_FDCWD, path(id), CLINUX_O_PATH | O_DIRECTORY | O_NOFOLLOW)
            try removeDirectory(at: directory.raw, name)
        }
    }

    private func replaceFile(_ name: String, of id: String, with bytes: [UInt8]) throws(SystemError) {
        let target = "\(path(id))/\(name)"
        let new = "\(path(id))/.\(name).\(getpid())"
        try writeNewFile(new, bytes)
        // ext4 writes a file that is renamed over another to the disk at once (mount option auto_da_alloc), and its
        // removal then waits 2 ms for that. An exchange is as atomic and has no such effect.
        do {
            try exchangeFiles(new, target)
        } catch {
            // There is no old one yet, or the file system cannot exchange.
            try system("rename \(new)") { rename(new, target) }
            return
        }
        try system("unlink \(new)") { unlink(new) }
    }

    func writeNewFile(_ path: String, _ bytes: [UInt8]) throws(SystemError) {
        let file = try openAt(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600)
        try writeAll(file.raw, bytes, name: path)
    }
}

/// mkdir -p: existing directories are kept as they are.
package func makeDirectories(_ path: String, mode: mode_t) throws(SystemError) {
    do throws(SystemError) {
        try system("mkdir \(path)") { mkdir(path, mode) }
    } catch {
        if error.errno == .fileExists { return }
        guard error.errno == .noSuchFileOrDirectory, let slash = path.lastIndex(of: "/"), slash > path.startIndex else {
            throw error
        }
        try makeDirectories(String(path[..<slash]), mode: mode)
        try makeDirectories(path, mode: mode)
    }
}

/// A container's directory and the lock on it, given up when the value goes.
///
/// A child that the holder forks has a copy of the descriptor, which is why the lock is released by name: a close
/// alone would leave the container locked for as long as its init lives. `run` must not hold one while it waits.
package struct ContainerDirectory: ~Copyable, Sendable {
    package let path: String
    private let descriptor: OwnedDescriptor

    init(path: String, descriptor: consuming OwnedDescriptor) {
        self.path = path
        self.descriptor = descriptor
    }

    deinit { flock(descriptor.raw, LOCK_UN) }
}
