import LinuxSystem
import Testing

@testable import CheckpointEngine

/// Every kind of kernel object has a row in specs/support.md, and what that names is there.
@Suite struct KindTests {
    private static let top: String = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

    /// The rows of the list of kinds: the name of each, and the files that show it.
    private static func rows() throws -> [String: [String]] {
        let text = String(decoding: try readFile(top + "/specs/support.md"), as: UTF8.self)
        var rows: [String: [String]] = [:]
        for line in text.split(separator: "## The kinds").last?.split(separator: "\n") ?? [] {
            let cells = line.split(separator: "|")
            guard cells.count == 3, cells[0].hasPrefix(" `") else { continue }
            let names = cells[2].split(separator: "`").map(String.init).filter { $0.contains(".") }
            rows[cells[0].split(separator: "`").dropFirst().first.map(String.init) ?? ""] = names
        }
        return rows
    }

    @Test func everyKindHasARowAndAWorkload() throws {
        let rows = try Self.rows()
        #expect(Set(rows.keys) == Set(kinds.map { "\($0)" }))
        for (kind, files) in rows {
            #expect(!files.isEmpty, "\(kind) is shown by nothing")
            for file in files {
                let places = ["Workloads", "IntegrationTests", "IntegrationTests/Clients"].map {
                    "\(Self.top)/Tests/\($0)/\(file)"
                }
                #expect(places.contains { access($0, F_OK) == 0 }, "\(kind): no \(file)")
            }
        }
    }

    @Test func aKindIsInOneListOnce() {
        #expect(Set(kinds.map(ObjectIdentifier.init)).count == kinds.count)
    }
}
