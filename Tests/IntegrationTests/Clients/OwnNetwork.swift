/// A network namespace of a test's own with `lo` up: what a client publishes, bridges and filters, the machine does not see.
struct OwnNetwork {
    private let name: String

    /// - Parameter name: by which the leak check knows it.
    init(named name: String) throws(Failure) {
        self.name = name
        try Command("ip", "netns", "add", name).run().succeeded()
        try command(["ip", "link", "set", "lo", "up"]).run().succeeded()
    }

    func command(_ words: [String]) -> Command {
        Command(["nsenter", "--net=/run/netns/" + name] + words)
    }

    func remove() {
        _ = try? Command("ip", "netns", "delete", name).run()
    }
}
