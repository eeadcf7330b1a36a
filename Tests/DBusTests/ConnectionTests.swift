import Glibc
import LinuxSystem
import Testing

@testable import DBus

@Suite struct ConnectionTests {
    /// What a service reads together with BEGIN it may leave lying: nothing follows before it has answered.
    @Test func everythingIsSaidAtOnce() throws {
        let name = "@stasis-dbus-\(getpid())"
        let listener = try listenOnUnixSocket(name, type: CInt(SOCK_STREAM.rawValue))
        #expect(throws: DBusError.self) { _ = try BusConnection.open(name, isBus: false, seconds: 0.1) }
        let connection = try acceptConnection(listener.raw)
        let said = try receiveMessage(connection.raw, limit: 1000).bytes
        #expect(String(decoding: said, as: UTF8.self) == "\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")
    }
}
