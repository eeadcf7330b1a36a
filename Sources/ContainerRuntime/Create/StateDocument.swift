import FoundationEssentials
import OCISpec

extension ContainerState {
    /// `state.json`, for the decoder that `Codable` makes. FoundationEssentials' encoder would take a quarter of a
    /// millisecond, twice in every `run`.
    func document() -> [UInt8] {
        var text = JSONText()
        text.object { object in
            object.member("id", id)
            object.member("ociVersion", ociVersion)
            object.member("initPid", "\(initPid)", isText: false)
            object.member("initStartTime", "\(initStartTime)", isText: false)
            object.member("bundle", bundle)
            object.member("rootfs", rootfs)
            object.member("created", created)
            object.member("annotations", annotations)
            object.key("cgroups")
            object.object { object in
                object.member("layout", cgroups.layout.rawValue)
                object.member("paths", cgroups.paths)
                if let unit = cgroups.unit {
                    object.key("unit")
                    object.object { object in
                        object.member("name", unit.name)
                        object.member("slice", unit.slice)
                        object.member("isUsers", "\(unit.isUsers)", isText: false)
                    }
                }
            }
            object.member("externalDescriptors", externalDescriptors)
            object.member("namespacePaths", namespacePaths)
            object.member("restored", "\(restored)", isText: false)
            object.member("netDevices", netDevices)
            if let netNamespace { object.member("netNamespace", netNamespace) }
            // Only an update has made them, so the encoder's time is not that of a start.
            if let resources, let encoded = try? JSONEncoder().encode(resources) {
                object.member("resources", String(decoding: encoded, as: UTF8.self), isText: false)
            }
        }
        return text.bytes
    }
}

/// JSON as it is written, from left to right.
private struct JSONText {
    private(set) var bytes: [UInt8] = []
    private var isFirst = true

    init() { bytes.reserveCapacity(2 << 10) }

    mutating func object(_ body: (inout JSONText) -> Void) {
        bytes.append(UInt8(ascii: "{"))
        isFirst = true
        body(&self)
        bytes.append(UInt8(ascii: "}"))
        isFirst = false
    }

    mutating func key(_ key: String) {
        separate()
        string(key)
        bytes.append(UInt8(ascii: ":"))
    }

    mutating func member(_ key: String, _ value: String, isText: Bool = true) {
        self.key(key)
        if isText { string(value) } else { bytes += value.utf8 }
    }

    mutating func member(_ key: String, _ members: [String: String]) {
        self.key(key)
        object { object in
            for (key, value) in members { object.member(key, value) }
        }
    }

    mutating func member(_ key: String, _ elements: [String]) {
        self.key(key)
        bytes.append(UInt8(ascii: "["))
        isFirst = true
        for element in elements {
            separate()
            string(element)
        }
        bytes.append(UInt8(ascii: "]"))
        isFirst = false
    }

    private mutating func separate() {
        if !isFirst { bytes.append(UInt8(ascii: ",")) }
        isFirst = false
    }

    /// RFC 8259, section 7: quotes, backslashes and control characters must be escaped.
    private mutating func string(_ value: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in value.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0..<0x20:
                bytes += "\\u00\(byte < 0x10 ? "0" : "")\(String(byte, radix: 16))".utf8
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
