/// Decodes the specification's types from a ``JSONValue``. Errors know their place in the document.
struct JSONTreeDecoder: Decoder {
    let value: JSONValue
    let place: Place

    init(_ value: JSONValue) {
        self.value = value
        place = Place()
    }

    init(_ value: JSONValue, _ place: Place) {
        self.value = value
        self.place = place
    }

    var codingPath: [any CodingKey] { place.path }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        guard case .object(let members) = value else { throw mismatch([String: Any].self) }
        return KeyedDecodingContainer(JSONObjectContainer<Key>(members: members, place: place))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        guard case .array(let elements) = value else { throw mismatch([Any].self) }
        return JSONArrayContainer(elements: elements, place: place)
    }

    func singleValueContainer() throws -> any SingleValueDecodingContainer { self }

    fileprivate func mismatch(_ type: any Any.Type) -> DecodingError {
        if value == .null { return .valueNotFound(type, .init(codingPath: codingPath, debugDescription: "null")) }
        return .typeMismatch(type, .init(codingPath: codingPath, debugDescription: ""))
    }
}

/// The way from the document's root, kept as a chain: it becomes an array only for an error.
final class Place: Sendable {
    private let parent: Place?
    private let key: (any CodingKey)?

    init() { (parent, key) = (nil, nil) }

    init(_ parent: Place, _ key: any CodingKey) { (self.parent, self.key) = (parent, key) }

    var path: [any CodingKey] { (parent?.path ?? []) + (key.map { [$0] } ?? []) }
}

private struct JSONIndex: CodingKey {
    let index: Int
    var intValue: Int? { index }
    var stringValue: String { String(index) }

    init(_ index: Int) { self.index = index }
    init?(intValue: Int) { index = intValue }
    init?(stringValue: String) { return nil }
}

private struct MemberName: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { return nil }
}

extension JSONTreeDecoder: SingleValueDecodingContainer {
    func decodeNil() -> Bool { value == .null }

    func decode(_ type: Bool.Type) throws -> Bool {
        guard case .bool(let bool) = value else { throw mismatch(type) }
        return bool
    }

    func decode(_ type: String.Type) throws -> String {
        guard case .string(let string) = value else { throw mismatch(type) }
        // The kernel would take what stands before it.
        if string.utf8.contains(0) { throw invalid("contains a NUL byte") }
        return string
    }

    func decode(_ type: Double.Type) throws -> Double {
        switch value {
        case .integer(let integer): return Double(integer)
        case .number(let text): if let double = Double(text) { return double }
        default: break
        }
        throw mismatch(type)
    }

    func decode(_ type: Float.Type) throws -> Float { Float(try decode(Double.self)) }
    func decode(_ type: Int.Type) throws -> Int { try integer(type) }
    func decode(_ type: Int8.Type) throws -> Int8 { try integer(type) }
    func decode(_ type: Int16.Type) throws -> Int16 { try integer(type) }
    func decode(_ type: Int32.Type) throws -> Int32 { try integer(type) }
    func decode(_ type: Int64.Type) throws -> Int64 { try integer(type) }
    func decode(_ type: UInt.Type) throws -> UInt { try integer(type) }
    func decode(_ type: UInt8.Type) throws -> UInt8 { try integer(type) }
    func decode(_ type: UInt16.Type) throws -> UInt16 { try integer(type) }
    func decode(_ type: UInt32.Type) throws -> UInt32 { try integer(type) }
    func decode(_ type: UInt64.Type) throws -> UInt64 { try integer(type) }
    func decode<T: Decodable>(_ type: T.Type) throws -> T {
        if type == [String: String].self, let texts = try texts() as? T { return texts }
        return try T(from: self)
    }

    /// Dictionary's own decoder casts every key, and for each goes through all conformances of the program.
    private func texts() throws -> [String: String] {
        guard case .object(let members) = value else { throw mismatch([String: Any].self) }
        var texts: [String: String] = [:]
        for member in members {
            let decoder = JSONTreeDecoder(member.value, Place(place, MemberName(stringValue: member.name)))
            if member.name.utf8.contains(0) { throw decoder.invalid("contains a NUL byte") }
            texts[member.name] = try decoder.decode(String.self)
        }
        return texts
    }

    private func integer<I: FixedWidthInteger>(_ type: I.Type) throws -> I {
        switch value {
        case .integer(let integer):
            if let exact = I(exactly: integer) { return exact }
            throw outOfRange("\(integer)")
        case .number(let text): throw outOfRange(text)
        default: throw mismatch(type)
        }
    }

    private func outOfRange(_ number: String) -> DecodingError { invalid("\(number) is out of range") }

    fileprivate func invalid(_ reason: String) -> DecodingError {
        .dataCorrupted(.init(codingPath: codingPath, debugDescription: reason))
    }
}

/// Names of the specification are found in any case, and of several members the last counts, as in Go. There are few of
/// them, so they are looked through; names that the document chooses are looked up.
private struct JSONObjectContainer<Key: CodingKey>: KeyedDecodingContainerProtocol {
    private let members: [JSONMember]
    private let chosen: [String: JSONValue]?
    let place: Place

    init(members: [JSONMember], place: Place) {
        self.members = members
        self.place = place
        // Dictionary's keys are numbers, too.
        chosen =
            Key(intValue: 0) == nil
            ? nil : Dictionary(members.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })
    }

    var codingPath: [any CodingKey] { place.path }
    var allKeys: [Key] {
        let names = chosen.map { Array($0.keys) } ?? members.map(\.name)
        return names.compactMap(Key.init(stringValue:))
    }

    private func value(_ key: Key) -> JSONValue? {
        if let chosen { return chosen[key.stringValue] }
        return members.last { equalButForCase($0.name, key.stringValue) }?.value
    }

    func contains(_ key: Key) -> Bool { value(key) != nil }

    func decodeNil(forKey key: Key) throws -> Bool { value(key) ?? .null == .null }

    func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T { try decoder(key).decode(type) }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<Nested> { try decoder(key).container(keyedBy: type) }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        try decoder(key).unkeyedContainer()
    }

    func superDecoder() throws -> any Decoder { JSONTreeDecoder(.object(members), place) }

    func superDecoder(forKey key: Key) throws -> any Decoder { try decoder(key) }

    private func decoder(_ key: Key) throws -> JSONTreeDecoder {
        guard let value = value(key) else {
            throw DecodingError.keyNotFound(key, .init(codingPath: codingPath, debugDescription: ""))
        }
        let decoder = JSONTreeDecoder(value, Place(place, key))
        // Of a dictionary, whose keys are the document's own.
        if key.stringValue.utf8.contains(0) { throw decoder.invalid("contains a NUL byte") }
        return decoder
    }
}

private func equalButForCase(_ name: String, _ other: String) -> Bool {
    if name == other { return true }
    guard name.utf8.count == other.utf8.count else { return false }
    return zip(name.utf8, other.utf8).allSatisfy {
        $0 == $1 || $0 ^ $1 == 0x20 && (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0 | 0x20)
    }
}

private struct JSONArrayContainer: UnkeyedDecodingContainer {
    let elements: [JSONValue]
    let place: Place
    var currentIndex = 0

    init(elements: [JSONValue], place: Place) {
        self.elements = elements
        self.place = place
    }

    var codingPath: [any CodingKey] { place.path }
    var count: Int? { elements.count }
    var isAtEnd: Bool { currentIndex >= elements.count }

    mutating func decodeNil() throws -> Bool {
        guard !isAtEnd, elements[currentIndex] == .null else { return false }
        currentIndex += 1
        return true
    }

    mutating func decode<T: Decodable>(_ type: T.Type) throws -> T { try next().decode(type) }

    mutating func nestedContainer<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        try next().container(keyedBy: type)
    }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer { try next().unkeyedContainer() }

    mutating func superDecoder() throws -> any Decoder { try next() }

    private mutating func next() throws -> JSONTreeDecoder {
        let place = Place(place, JSONIndex(currentIndex))
        guard !isAtEnd else {
            throw DecodingError.valueNotFound(Any.self, .init(codingPath: place.path, debugDescription: ""))
        }
        defer { currentIndex += 1 }
        return JSONTreeDecoder(elements[currentIndex], place)
    }
}
