import Glibc

/// What went wrong in a test's own machinery, or in what it drives; the text is the whole report.
struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }

    /// The failure of the C library call that was just made.
    static func call(_ attempted: String, errno code: Int32) -> Failure {
        Failure("cannot \(attempted): \(String(cString: strerror(code)))")
    }
}

/// Takes the place of a C call's −1.
@discardableResult
func check<Number: SignedInteger>(_ result: Number, _ attempted: @autoclosure () -> String) throws(Failure) -> Number {
    let code = errno
    guard result >= 0 else { throw .call(attempted(), errno: code) }
    return result
}
