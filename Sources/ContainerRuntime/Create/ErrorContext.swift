import LinuxSystem

extension RuntimeError {
    init(_ error: SystemError) { self.init(error.description) }
}

/// Runs system calls whose failure is the command's failure, with `what` in front if given.
func launching<Result: ~Copyable>(
    _ what: @autoclosure () -> String = "", _ body: () throws(SystemError) -> Result
) throws(RuntimeError) -> Result {
    do {
        return try body()
    } catch {
        let what = what()
        throw RuntimeError(what.isEmpty ? error.description : "\(what): \(error)")
    }
}

/// Puts `what` in front of an error of a larger step.
func within<Result: ~Copyable>(
    _ what: @autoclosure () -> String, _ body: () throws(RuntimeError) -> Result
) throws(RuntimeError) -> Result {
    do {
        return try body()
    } catch {
        throw RuntimeError("\(what()): \(error)", exitCode: error.exitCode)
    }
}
