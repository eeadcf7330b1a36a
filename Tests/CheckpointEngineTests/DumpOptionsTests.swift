import Testing

@testable import CheckpointEngine

/// The options that travel in an image.
struct DumpOptionsTests {
    @Test func travel() throws {
        var options = DumpOptions()
        for (name, value) in [
            ("file-locks", ""), ("skip-in-flight", ""), ("ghost-limit", "2M"), ("manage-cgroups", "ignore"),
        ] {
            let isKnown = options.set(name, value)
            #expect(isKnown, "\(name)")
        }
        let read = try DumpOptions(text: options.text)
        #expect(read == options)
        #expect(read.fileLocks && read.tcpSkipInFlight && !read.tcpEstablished && read.ghostLimit == 2 << 20)
        #expect(read.manageCgroupsMode == "ignore")
    }

    @Test(arguments: [
        ("no-such-option", ""), ("file-locks", "yes"), ("ghost-limit", "much"), ("ghost-limit", ""),
        ("manage-cgroups-mode", "gently"), ("log-level", "4"),
    ])
    func unknown(name: String, value: String) {
        var options = DumpOptions()
        let isKnown = options.set(name, value)
        #expect(!isKnown)
        #expect(options == DumpOptions())
        #expect(throws: CheckpointError.self) { try DumpOptions(text: "\(name) \(value)\n") }
    }

    @Test func flagsAddToTheImage() {
        var image = DumpOptions()
        image.fileLocks = true
        var flags = DumpOptions()
        flags.shellJob = true
        image.formUnion(flags)
        #expect(image.fileLocks && image.shellJob && !image.tcpClose)
    }
}
