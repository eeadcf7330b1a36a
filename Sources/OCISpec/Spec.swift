/// config.json: what a bundle asks for. runtime-spec 1.3, config.md; unknown properties are ignored.
package struct Spec: Codable, Equatable, Sendable {
    package var ociVersion: String
    package var process: Process?
    package var root: Root?
    package var hostname: String?
    package var domainname: String?
    @OrEmpty package var mounts: [Mount] = []
    package var hooks: Hooks?
    @OrEmpty package var annotations: [String: String] = [:]
    package var linux: Linux?

    package init(ociVersion: String) { self.ociVersion = ociVersion }

    /// Reads the text of a configuration. `name` is what an error calls the file.
    package static func decode(_ text: [UInt8], name: String = "config.json") throws(SpecError) -> Spec {
        try decodeDocument(Spec.self, text, name: name)
    }

    /// Some clients write destinations as they are on the host, below the root file system: what is meant is the rest.
    package mutating func stripRoot(_ root: String) {
        for index in mounts.indices where mounts[index].destination.hasPrefix(root + "/") {
            mounts[index].destination.removeFirst(root.count)
        }
    }
}

package struct Root: Codable, Equatable, Sendable {
    /// Absolute, or relative to the bundle.
    package var path: String
    @OrEmpty package var readonly: Bool = false

    package init(path: String) { self.path = path }
}

/// Why a document was refused, beginning with its name and the field.
package struct SpecError: Error, Equatable, CustomStringConvertible, Sendable {
    package var description: String

    package init(_ description: String) { self.description = description }
}

/// Decodes one of the specification's documents; an error names the field as a user would write it.
package func decodeDocument<Document: Decodable>(
    _ type: Document.Type, _ text: [UInt8], name: String
) throws(SpecError) -> Document {
    do {
        return try Document(from: JSONTreeDecoder(try JSONValue(text)))
    } catch let error as JSONSyntaxError {
        throw SpecError("\(name): not valid JSON: \(error)")
    } catch let error as DecodingError {
        throw SpecError(error, document: name)
    } catch {
        throw SpecError("\(name): \(error)")
    }
}

extension SpecError {
    init(_ error: DecodingError, document: String) {
        switch error {
        case .keyNotFound(let key, let context):
            self.init("\(document): \(field(context.codingPath + [key])): missing")
        case .valueNotFound(_, let context):
            self.init("\(place(document, context)): missing")
        case .typeMismatch(let type, let context):
            self.init("\(place(document, context)): expected \(noun(type))")
        case .dataCorrupted(let context):
            self.init("\(place(document, context)): \(reason(context.debugDescription))")
        @unknown default:
            self.init("\(document): \(error)")
        }
    }
}

private func place(_ document: String, _ context: DecodingError.Context) -> String {
    context.codingPath.isEmpty ? document : "\(document): \(field(context.codingPath))"
}

/// `linux.resources.devices[2].access`.
private func field(_ path: [any CodingKey]) -> String {
    path.reduce(into: "") { text, key in
        if let index = key.intValue {
            text += "[\(index)]"
        } else {
            text += text.isEmpty ? key.stringValue : ".\(key.stringValue)"
        }
    }
}

private func noun(_ type: any Any.Type) -> String {
    switch type {
    case is any BinaryInteger.Type, is any BinaryFloatingPoint.Type: "a number"
    case is String.Type: "a string"
    case is Bool.Type: "true or false"
    case is any Collection.Type: String(describing: type).hasPrefix("Dictionary") ? "an object" : "an array"
    default: "an object"
    }
}

/// What an enumeration says of a value that it does not have, in the user's words instead of Swift's.
private func reason(_ description: String) -> String {
    guard let value = description.split(separator: "invalid String value ", maxSplits: 1).dropFirst().first else {
        return description
    }
    return "unknown value \"\(value)\""
}
