import Testing

/// What containers of clients do in tests.
enum ClientWorkload {
    /// Counts in /state/n.
    static let counter =
        "i=0; while :; do i=$((i+1)); echo $i >/state/m; mv /state/m /state/n; sleep 0.01; done"

    /// Waits until a container has counted beyond a number, and says how far it came.
    static func count(beyond: Int, _ read: () throws(Failure) -> String) throws(Failure) -> Int {
        var last = "", number = 0
        let came = until(seconds: 10) {
            do throws(Failure) {
                last = try read()
                number = Int(last) ?? 0
            } catch { last = "\(error)" }
            return number > beyond
        }
        guard came else { throw Failure("has not counted beyond \(beyond): \(last)") }
        return number
    }

    /// Where programs of the machine find themselves in a container: folders of the host and their places there.
    static let hostFolders = [("/usr", "/usr"), ("/usr/lib", "/lib"), ("/usr/lib64", "/lib64")]

    static let redis = [
        "redis-server", "--save", "", "--unixsocket", "/state/socket", "--enable-debug-command", "local",
    ]

    /// Fills redis-server in rounds. In each it has all keys of the rounds before, takes new ones, and goes through a
    /// checkpoint and a restore.
    static func fillRedis(
        rounds: ClosedRange<Int>, ask: (_ words: [String]) throws -> String, restore: (_ round: Int) throws -> Void
    ) throws {
        func redis(_ words: String...) throws -> String {
            try ask(["redis-cli", "-s", "/state/socket", "--raw"] + words)
        }
        try #require(until(seconds: 20) { (try? redis("ping")) == "PONG" })
        for round in rounds {
            let fill = "for i = 1, 2000 do redis.call('set', '\(round):' .. i, redis.sha1hex(i)) end return 'filled'"
            #expect(try redis("eval", fill, "0") == "filled")
            let digest = try redis("debug", "digest")
            try restore(round)
            #expect(try redis("debug", "digest") == digest, "round \(round)")
            #expect(try redis("dbsize") == "\(2000 * round)")
        }
    }
}
