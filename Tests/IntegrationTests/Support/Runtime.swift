import Glibc

/// The runtime under test: stasis, or the one that `STASIS` names, which the Lifecycle suite must also pass.
struct Runtime {
    let executable: String
    /// Its `--root`.
    let stateFolder: String

    static let packageFolder = Files.parent(
        of: Files.parent(of: Files.parent(of: Files.parent(of: Files.resolved(#filePath)))))

    static let executableUnderTest: String =
        getenv("STASIS").map { String(cString: $0) } ?? packageFolder + "/.build/release/stasis"

    static var isStasis: Bool { Files.name(of: executableUnderTest) == "stasis" }
    static var isRoot: Bool { geteuid() == 0 }

    /// Whether tests of running containers can run here at all.
    static var canRun: Bool { isRoot && Files.exists(executableUnderTest) }
    static var canCheckpoint: Bool { canRun && isStasis }

    func command(_ arguments: [String]) -> Command {
        Command([executable, "--root", stateFolder] + arguments)
    }

    @discardableResult
    func run(_ arguments: String..., seconds: Double = 60) throws(Failure) -> Outcome {
        try command(arguments).run(seconds: seconds)
    }
}
