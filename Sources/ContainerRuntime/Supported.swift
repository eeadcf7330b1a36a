import OCISpec

/// What there are several answers to: the code that refuses asks here, and `features` says the same.
package enum Supported {
    static let namespaces = Set(Namespace.Kind.allCases).subtracting([.user])
    static let idMappedMounts = false
    static let appArmor = false
    static let selinux = false
    static let intelRdt = false
    package static let systemdCgroups = false
}
