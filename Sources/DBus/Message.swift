/// One message on a bus. D-Bus specification, "Message Format".
struct Message: Equatable {
    enum Kind: UInt8 { case call = 1, reply, error, signal }

    enum Field: UInt8 {
        case path = 1
        case interface, member, errorName, replySerial, destination, sender, signature
    }

    var kind: Kind
    var serial: UInt32
    var fields: [Field: DBusValue] = [:]
    var body: [DBusValue] = []

    /// Length of the part that says how long the rest is.
    static let prefixLength = 16
    /// The specification's limit is 128 MiB; nobody here has that much to say.
    static let limit = 4 << 20

    func encoded() -> [UInt8] {
        var body = MessageWriter()
        for value in self.body { body.write(value) }
        var fields = self.fields
        let signature = self.body.map(\.signature).joined()
        if !signature.isEmpty { fields[.signature] = .signature(signature) }
        var writer = MessageWriter()
        for byte in [UInt8(ascii: "l"), kind.rawValue, 0, 1] { writer.write(.byte(byte)) }
        writer.write(.uint32(UInt32(body.bytes.count)))
        writer.write(.uint32(serial))
        let entries = fields.sorted { $0.key.rawValue < $1.key.rawValue }.map {
            DBusValue.structure([.byte($0.key.rawValue), .variant($0.value)])
        }
        writer.write(.array(of: "(yv)", entries))
        writer.align(8)
        return writer.bytes + body.bytes
    }

    /// How long the message is that begins with these bytes; nil while they do not say it.
    static func length(_ bytes: ArraySlice<UInt8>) throws(DBusError) -> Int? {
        guard bytes.count >= prefixLength else { return nil }
        guard bytes[bytes.startIndex] == UInt8(ascii: "l") else { throw DBusError("message that is not little-endian") }
        var reader = MessageReader(bytes)
        guard case .uint32(let body) = try reader.read("yyyyuuu")[4] else { return nil }
        reader = MessageReader(bytes.dropFirst(12))
        guard case .uint32(let fields)? = try reader.read("u").first else { return nil }
        let length = (prefixLength + Int(fields) + 7) & ~7 + Int(body)
        guard length <= limit else { throw DBusError("message of \(length) bytes") }
        return length
    }

    /// - Parameter bytes: exactly one message.
    init(decoding bytes: ArraySlice<UInt8>) throws(DBusError) {
        var reader = MessageReader(bytes)
        let head = try reader.read("yyyyuua(yv)")
        guard case .byte(let kind) = head[1], let known = Kind(rawValue: kind), case .uint32(let serial) = head[5],
            case .array(_, let entries) = head[6]
        else { throw DBusError("message of an unknown type") }
        self.kind = known
        self.serial = serial
        for case .structure(let entry) in entries {
            if case .byte(let code) = entry[0], let field = Field(rawValue: code), case .variant(let value) = entry[1] {
                fields[field] = value
            }
        }
        reader.align(8)
        if case .signature(let signature)? = fields[.signature] { body = try reader.read(signature) }
    }

    init(_ kind: Kind, serial: UInt32, fields: [Field: DBusValue], body: [DBusValue]) {
        self.kind = kind
        self.serial = serial
        self.fields = fields
        self.body = body
    }
}
