import LinuxSystem
import Testing

@Suite struct KernelFeatureTests {
    /// This machine's kernel is 6.18, with all that the engine asks for.
    @Test func thisMachineHasAllThatIsNeeded() {
        #expect(KernelFeature.missing.filter(\.isNeeded).isEmpty)
    }

    @Test func specsListThem() throws {
        let top = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let text = String(decoding: try readFile(top + "/specs/support.md"), as: UTF8.self)
        let rows = text.split(separator: "\n").filter { $0.hasPrefix("| `") }.map(String.init)
        for feature in KernelFeature.all {
            let row = "| `\(feature)` | \(feature.origin) | \(feature.since) | \(feature.purpose) |"
            #expect(rows.contains(row), "\(row)")
        }
    }
}
