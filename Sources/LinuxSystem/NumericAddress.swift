/// As inet_ntop(3) writes it.
package func numericAddress(_ value: [UInt8], family: UInt8) -> String {
    let size = family == UInt8(AF_INET) ? 4 : 16
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    guard value.count == size, inet_ntop(CInt(family), value, &text, socklen_t(text.count)) != nil else {
        return value.hex
    }
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

extension [NetlinkAttribute] {
    /// The value of the first one of a type.
    package func value(_ type: UInt16) -> [UInt8]? { first { $0.type == type }?.value }
}
