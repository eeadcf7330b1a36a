import TestSupport
import Testing

@testable import LinuxSystem

/// Somebody to be looked at, who has no more than his ids.
@Suite struct BystanderTests {
    @Test(arguments: [UInt32(0), 1000]) func hasItsIDsAndNoRights(user: UInt32) throws {
        let process = try Pidfd(pid: getpid())
        let bystander = try Bystander(user: user, group: 1001, in: .mount, of: process.raw)
        let status = try readText("/proc/\(bystander.pid)/status")
        for line in [
            "PPid:\t\(getpid())", "Uid:\t\(user)\t\(user)\t\(user)\t\(user)", "Gid:\t1001\t1001\t1001\t1001",
            "CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2",
        ] { #expect(status.contains(line + "\n"), "\(status)") }
        #expect(try linkTarget("/proc/\(bystander.pid)/exe").contains("stasis-bystander"))
        let end = try linkTarget("/proc/\(bystander.pid)/fd/0")
        #expect(end.hasPrefix("pipe:"))
        #expect(try directoryEntries("/proc/\(bystander.pid)/fd") == ["0"])
        #expect(try linkTarget("/proc/\(bystander.pid)/cwd") == "/")
    }

    @Test func endsWithItsOwner() throws {
        let process = try Pidfd(pid: getpid())
        var bystander: Bystander? = try Bystander(user: 1000, group: 1000, in: .mount, of: process.raw)
        let pid = try #require(bystander?.pid)
        #expect(kill(pid, 0) == 0)
        bystander = nil
        #expect(kill(pid, 0) == -1 && Errno.current == .noSuchProcess)
    }

    @Test func endsWithItsMaker() async throws {
        let scratch = Scratch()
        let path = scratch.path + "/pid"
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
            let process = try Pidfd(pid: getpid())
            let bystander = try Bystander(user: 1000, group: 1000, in: .mount, of: process.raw)
            let file = try openAt(AT_FDCWD, path, O_WRONLY | O_CREAT, mode: 0o600)
            try writeAll(file.raw, Array("\(bystander.pid)".utf8))
            kill(getpid(), SIGKILL)
        }
        let pid = try #require(pid_t(try readText(path)))
        var isThere = true
        for _ in 0..<500 where isThere {
            usleep(10_000)
            isThere = (try? linkTarget("/proc/\(pid)/exe"))?.contains("stasis-bystander") == true
        }
        #expect(!isThere)
    }

    @Test func saysWhyThereIsNone() throws {
        // Nobody may enter the user namespace in which he is.
        let process = try Pidfd(pid: getpid())
        #expect(throws: SystemError.self) { try Bystander(user: 0, group: 0, in: .user, of: process.raw) }
    }
}
