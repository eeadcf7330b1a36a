import OCISpec

/// What there are several answers to: the code that refuses asks here, and `features` says the same.
package enum Supported {
    static let appArmor = false
    static let selinux = false
    static let intelRdt = false
    package static let systemdCgroups = false
}
