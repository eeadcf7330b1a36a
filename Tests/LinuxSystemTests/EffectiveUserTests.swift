import LinuxSystem
import Testing

/// Being somebody else for what is made.
@Suite(.enabled(if: geteuid() == 0, "needs root"))
struct EffectiveUserTests {
    @Test func filesBelongToTheOtherAndRightsStay() throws {
        let path = "/tmp/stasis-effective-user-\(getpid())"
        defer { unlink(path) }
        let rights = try CapabilitySets.current()
        try CallingProcess.setParentDeathSignal(SIGUSR1)
        defer { try? CallingProcess.setParentDeathSignal(0) }
        struct Stop: Error {}
        #expect(throws: Stop.self) {
            try withEffectiveUser(4711, group: 815) {
                _ = try openAt(AT_FDCWD, path, O_CREAT | O_EXCL | O_RDWR, mode: 0o600)
                let made = try status(path)
                #expect(made.st_uid == 4711 && made.st_gid == 815)
                #expect(try CapabilitySets.current() == rights)
                throw Stop()
            }
        }
        #expect(geteuid() == 0 && getegid() == 0)
        #expect(try CapabilitySets.current() == rights)
        #expect(try CallingProcess.parentDeathSignal() == SIGUSR1)
    }
}
