import CheckpointImages
import LinuxSystem
import Tracee

/// The working directory and umask of a thread that shares them with no other (unshare(2) CLONE_FS), as file servers have
/// them. Its root directory is the container's.
enum ThreadDirectory {
    static func capture(_ index: Int, of process: CapturedProcess, into dump: Dump) throws {
        let (thread, id) = (process.threads[index].tid, process.innerThreads[index])
        let place = "/proc/\(process.hostPid)/task/\(thread)"
        let root = try status(of: dump.root.raw)
        for other in try [status(at: AT_FDCWD, "\(place)/root"), status(at: AT_FDCWD, "/proc/\(process.task)/root")] {
            guard other.st_ino == root.st_ino, other.st_dev == root.st_dev else {
                throw CheckpointError("has a working directory of its own beneath another root directory (chroot)")
            }
        }
        guard try status(at: AT_FDCWD, "\(place)/cwd").st_nlink > 0 else {
            throw CheckpointError("has a working directory of its own, which was unlinked")
        }
        let entry = try FsEntry.with {
            let link = "\(place)/cwd"
            $0.cwdID = try dump.files.id(of: try linkTarget(link), link: link, flags: O_DIRECTORY, in: dump)
            $0.rootID = try dump.files.id(of: "/", link: "\(place)/root", flags: O_DIRECTORY, in: dump)
            $0.umask = try ProcessStatus(thread: thread, of: process.hostPid).umask
        }
        try dump.images.add(.fs, id, entries: [entry])
    }

    /// - Returns: where it has gone.
    static func plan(_ entry: FsEntry, of thread: pid_t, in images: RestoreImages) throws -> String {
        guard let file = images.files[entry.cwdID], file.hasReg, !file.reg.ext, file.reg.name.isAbsolutePath else {
            throw CheckpointError("fs-\(thread).img: its directory is file \(entry.cwdID), which is none")
        }
        return file.reg.name
    }

    /// By the thread itself, when it has no more rights than it should.
    ///
    /// - Parameter free: the number that a new descriptor gets.
    static func recreate(_ path: String, umask: UInt32, descriptor free: UInt64, in program: inout Program) {
        let name = program.place(path: path)
        // struct open_how
        let flags = UInt64(UInt32(bitPattern: CLINUX_O_PATH | O_DIRECTORY | O_CLOEXEC))
        let how = program.place(value: SIMD4<UInt64>(flags, 0, Resolve.noSymlinks.rawValue, 0))
        let here = UInt64(bitPattern: Int64(AT_FDCWD))
        program.call("unshare CLONE_FS", Int(SYS_unshare), [0x200])
        program.call("umask", Int(SYS_umask), [UInt64(umask)])
        program.call("open \(path)", Int(CLINUX_SYS_openat2), [here, name.raw, how.raw, 24], expecting: Int(free))
        program.call("fchdir to \(path)", Int(SYS_fchdir), [free])
        program.call("close", Int(SYS_close), [free])
    }
}
