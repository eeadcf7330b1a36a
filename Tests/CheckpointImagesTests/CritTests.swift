import Glibc
import LinuxSystem
import Testing

@testable import CheckpointImages

/// CRIU's own decoder reads what we write. It is run by `/usr/bin/python3 /usr/bin/crit`.
@Suite("crit", .enabled(if: access("/usr/bin/crit", R_OK) == 0, "crit is not installed"))
struct CritTests {
    @Test(
        "shows what was written",
        arguments: [
            ("inventory.img", "\"magic\": \"INVENTORY\""), ("pstree.img", "\"threads\": ["),
            ("pipes-data.img", "\"magic\": \"PIPES_DATA\""), ("pagemap-1.img", "\"vaddr\": \"0x7f0000000000\""),
        ])
    func show(name: String, expected: String) throws {
        let scratch = Scratch()
        try scratch.writeCheckpoint()
        let command = "exec /usr/bin/python3 /usr/bin/crit show \(scratch.path)/\(name) 2>&1"
        let pipe = try #require(popen(command, "re"))
        let output = try String(decoding: readAll(fileno(pipe)), as: UTF8.self)
        #expect(pclose(pipe) == 0, "\(output)")
        #expect(output.contains(expected), "\(output)")
    }
}
