import Synchronization

/// The steps of a command as they are taken, for `--debug`. A process between clone and exec takes none of them down: it
/// must not wait for a lock.
package enum Trace {
    private static let sink = Mutex<(@Sendable (String) -> Void)?>(nil)

    package static func begin(_ write: @escaping @Sendable (String) -> Void) { sink.withLock { $0 = write } }

    static func note(_ text: @autoclosure () -> String) {
        guard let write = sink.withLock({ $0 }) else { return }
        write(text())
    }
}
