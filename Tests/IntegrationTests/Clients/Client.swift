/// A client of the runtime, with all its state in a test's folder.
protocol Client {
    /// Ends everything that it started.
    func end()
}

extension TestBed {
    /// Runs a test's body with a client, and leaves nothing of it.
    static func use<Kind: Client>(_ make: (TestBed) throws -> Kind, _ body: (Kind) throws -> Void) throws {
        try use { bed in
            let client = try make(bed)
            defer { client.end() }
            try body(client)
        }
    }
}
