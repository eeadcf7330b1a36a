import LinuxSystem
import Testing

@testable import Tracee

/// Whoever shares the container's network namespace can find the engine's socket there, and is not stopped.
@Suite struct ListenerTests {
    @Test func callersWithoutEndHoldNothingUp() async throws {
        let listener = try AgentListener()
        let address = listener.address
        let start = ContinuousClock.now
        let callers = Task.detached {
            var count = 0
            // Ends by itself, lest a listener that waits on waits for ever.
            while !Task.isCancelled, start.duration(to: .now) < .seconds(20) {
                let socket = socket(AF_UNIX, 5 | CInt(SOCK_NONBLOCK.rawValue), 0)
                let made = address.withUnsafeBytes {
                    clinux_syscall(
                        Int(SYS_connect), Int(socket), Int(bitPattern: $0.baseAddress), address.count, 0, 0, 0)
                }
                if made == 0 { count += 1 }
                close(socket)
            }
            return count
        }
        // Nobody has this number. Each look ends, however many come meanwhile.
        for _ in 0..<100 {
            #expect(try listener.take(from: .max) == nil)
            usleep(2000)
        }
        #expect(start.duration(to: .now) < .seconds(10))
        callers.cancel()
        #expect(await callers.value > 100)
    }
}
