import OCISpec

/// What there are several answers to: the code that refuses asks here, and `features` says the same.
package enum Supported {
    static let intelRdt = false
}
