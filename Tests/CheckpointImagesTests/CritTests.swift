import Glibc
import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointImages

private let critFolder = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" } + "/.build/crit/usr"

/// CRIU's own decoder reads what we write. hack/test unpacks it; nothing of CRIU is installed.
@Suite("crit", .enabled(if: access(critFolder + "/bin/crit", R_OK) == 0, "crit is missing: see hack/test"))
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
        let crit =
            "env PYTHONPATH=\(critFolder)/lib/python3/dist-packages /usr/bin/python3 \(critFolder)/bin/crit"
        let command = "exec \(crit) show \(scratch.path)/\(name) 2>&1"
        let pipe = try #require(popen(command, "re"))
        let output = try String(decoding: readAll(fileno(pipe)), as: UTF8.self)
        #expect(pclose(pipe) == 0, "\(output)")
        #expect(output.contains(expected), "\(output)")
    }
}
