/// A value that the schema makes optional and whose absence means the same as its empty form: no mounts, not read-only.
package protocol Emptiable {
    static var empty: Self { get }
    var isAbsent: Bool { get }
}

extension Array: Emptiable {
    package static var empty: [Element] { [] }
    package var isAbsent: Bool { isEmpty }
}

extension Dictionary: Emptiable {
    package static var empty: [Key: Value] { [:] }
    package var isAbsent: Bool { isEmpty }
}

extension Bool: Emptiable {
    package static var empty: Bool { false }
    package var isAbsent: Bool { !self }
}

extension UInt32: Emptiable {
    package static var empty: UInt32 { 0 }
    package var isAbsent: Bool { self == 0 }
}

/// Decodes a missing key or `null` as the empty value, and leaves an empty value out when it encodes (Go's omitempty).
@propertyWrapper
package struct OrEmpty<Value: Emptiable & Codable & Sendable>: Codable, Sendable {
    package var wrappedValue: Value

    package init(wrappedValue: Value) { self.wrappedValue = wrappedValue }

    package init(from decoder: any Decoder) throws { wrappedValue = try Value(from: decoder) }

    package func encode(to encoder: any Encoder) throws { try wrappedValue.encode(to: encoder) }
}

extension OrEmpty: Equatable where Value: Equatable {}

// The compiler's own init(from:) and encode(to:) resolve to these overloads, because they are more specific.
extension KeyedDecodingContainer {
    package func decode<Value>(_: OrEmpty<Value>.Type, forKey key: Key) throws -> OrEmpty<Value> {
        OrEmpty(wrappedValue: try decodeIfPresent(Value.self, forKey: key) ?? .empty)
    }
}

extension KeyedEncodingContainer {
    package mutating func encode<Value>(_ value: OrEmpty<Value>, forKey key: Key) throws {
        if !value.wrappedValue.isAbsent { try encode(value.wrappedValue, forKey: key) }
    }
}
