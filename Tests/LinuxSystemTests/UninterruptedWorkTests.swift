import TestSupport
import Testing

@testable import LinuxSystem

/// What must not be left half done is done to its end.
@Suite struct UninterruptedWorkTests {
    @Test func itIsDoneInTheSameMemory() throws {
        var (sum, wasWanted) = (0, false)
        for number in 1...50 {
            try uninterrupted { isWanted in
                sum += number
                wasWanted = isWanted()
            }
        }
        #expect(sum == 1275 && wasWanted)
    }

    @Test func thoughItsProcessIsKilled() async throws {
        let scratch = Scratch()
        let path = scratch.path + "/said"
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
            let file = try openAt(AT_FDCWD, path, O_WRONLY | O_CREAT, mode: 0o600)
            let caller = getpid()
            try uninterrupted { isWanted in
                let before: UInt8 = isWanted() ? 1 : 0
                kill(caller, SIGKILL)
                // Until whoever has killed it has taken note of its end.
                while isWanted() { usleep(1000) }
                usleep(50_000)
                var said = [before, 2]
                write(file.raw, &said, said.count)
            }
        }
        var said: [UInt8] = []
        for _ in 0..<500 where said.isEmpty {
            usleep(10_000)
            said = try readFile(path)
        }
        #expect(said == [1, 2])
    }
}
