/// The names of a machine, as a UTS namespace has them. uname(2).
public struct HostNames: Equatable, Sendable {
    public var host: String
    public var domain: String

    public init(host: String, domain: String) {
        self.host = host
        self.domain = domain
    }

    /// Those of the caller's namespace.
    public static func current() throws(SystemError) -> HostNames {
        var names = utsname()
        try system("get host name") { uname(&names) }
        func text<T>(_ field: T) -> String {
            withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        }
        return HostNames(host: text(names.nodename), domain: text(names.__domainname))
    }

    /// Gives them to the caller's namespace. At most 64 bytes each.
    public func set() throws(SystemError) {
        try system("set host name \(host)") { sethostname(host, host.utf8.count) }
        try system("set domain name \(domain)") { setdomainname(domain, domain.utf8.count) }
    }
}
