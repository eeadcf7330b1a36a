import LinuxSystem
import Tracee

/// Runs calls in one stub, as many at once as fit.
struct ProgramRunner {
    let stub: Stub
    let area: InjectedArea
    private var program: Program

    init(_ stub: Stub, _ area: InjectedArea) {
        self.stub = stub
        self.area = area
        program = Program(area.main)
    }

    /// Adds calls; what one `body` adds runs together.
    mutating func add(_ body: (inout Program) throws -> Void) throws {
        if !program.fits(calls: 600, bytes: 128 << 10) { try flush() }
        try body(&program)
    }

    /// A list of any length, in parts that ``add(_:)`` always has room for.
    static func portions<Element>(_ list: [Element]) -> [[Element]] {
        stride(from: 0, to: list.count, by: 200).map { Array(list[$0..<min($0 + 200, list.count)]) }
    }

    /// Runs what was added.
    @discardableResult
    mutating func flush() throws -> Stub.Outcome {
        defer { program = Program(area.main) }
        return try stub.run(program, agent: area.base)
    }
}
