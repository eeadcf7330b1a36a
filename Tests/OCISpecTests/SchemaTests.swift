import Testing

@testable import OCISpec

#if canImport(FoundationEssentials)
    import FoundationEssentials
#endif

/// Every property of the specification's JSON schema, given a value that the schema forbids, is refused by its name. The
/// schema is not part of this repository: the test reads ../shared/oci/schema where that is there.
@Suite struct SchemaTests {
    /// What is of other platforms, or taken more generously on purpose; see `Device.check`.
    private static let exceptions = ["process.commandLine", "linux.devices[0].fileMode: 512"]

    @Test(.enabled(if: Schema.exists, "needs ../shared/oci/schema"))
    func forbiddenValuesAreRefusedByField() throws {
        let violations = try Schema().violations()
        #expect(violations.count > 300)
        for violation in violations where !Self.exceptions.contains(where: violation.name.hasPrefix) {
            let text = violation.document.text()
            do {
                try Spec.decode(Array(text.utf8)).validate()
                Issue.record("\(violation.name) was accepted: \(text)")
            } catch {
                #expect("\(error)".hasPrefix("config.json: \(violation.field): "), "\(violation.name): \(error)")
            }
        }
    }
}

/// A document with one value that the schema forbids.
private struct Violation {
    var field: String
    var value: JSONText
    var document: JSONText
    var name: String { "\(field): \(value.text())" }
}

/// JSON schema (draft 4) as far as the specification uses it.
private struct Schema {
    static let folder: String = {
        let parts = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(4)
        return parts.joined(separator: "/") + "/shared/oci/schema/"
    }()
    static var exists: Bool { (try? text("config-schema.json")) != nil }

    private static func text(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(filePath: folder + name)))
    }

    /// A part of one of the files.
    private struct Node {
        var value: JSONValue
        var file: String

        subscript(name: String) -> JSONValue? {
            value.members?[name]
        }
    }

    private var files: [String: JSONValue] = [:]

    init() throws {
        for name in ["config-schema", "config-linux", "defs", "defs-linux"] {
            files["\(name).json"] = try JSONValue(try Self.text("\(name).json"))
        }
    }

    func violations() throws -> [Violation] {
        var found: [Violation] = []
        guard let root = files["config-schema.json"] else { return [] }
        walk(Node(value: root, file: "config-schema.json"), "", { $0 }, &found)
        return found
    }

    /// - Parameter wrap: puts a value for this node into an otherwise good document.
    private func walk(
        _ node: Node, _ field: String, _ wrap: @escaping (JSONText) -> JSONText, _ found: inout [Violation]
    ) {
        guard let node = resolved(node) else { return }
        func forbid(_ value: JSONText) {
            if !field.isEmpty { found.append(Violation(field: field, value: value, document: wrap(value))) }
        }
        switch node["type"] {
        case .string("string"):
            forbid(.bool(true))
            if node["enum"] != nil { forbid(.string("NO_SUCH_VALUE")) }
            if node["pattern"] != nil { forbid(.string("!\n")) }
        case .string("boolean"): forbid(.string("true"))
        case .string("integer"):
            forbid(.string("1"))
            if case .integer(let least)? = node["minimum"] { forbid(.literal("\(least - 1)")) }
            if case .integer(let most)? = node["maximum"] { forbid(.literal("\(most + 1)")) }
        case .string("array"):
            forbid(.string("x"))
            if let items = node["items"] {
                walk(Node(value: items, file: node.file), "\(field)[0]", { wrap(.array([$0])) }, &found)
            }
        default:
            forbid(.bool(true))
            for (name, member) in members(of: node) {
                let siblings = required(node, at: field).filter { $0.0 != name }
                walk(
                    member, field.isEmpty ? name : "\(field).\(name)",
                    { wrap(.object(siblings + [(name, $0)])) }, &found)
            }
        }
    }

    /// Of a map, one member with a name of its own.
    private func members(of node: Node) -> [(String, Node)] {
        var members: [(String, Node)] = []
        if let properties = node["properties"]?.members {
            members = properties.sorted { $0.key < $1.key }.map { ($0.key, Node(value: $0.value, file: node.file)) }
        }
        if let any = node["additionalProperties"] { members.append(("name", Node(value: any, file: node.file))) }
        if let patterns = node["patternProperties"]?.members, let any = patterns.values.first {
            members.append(("name", Node(value: any, file: node.file)))
        }
        return members
    }

    /// The members that an object must have, with the least of values.
    private func required(_ node: Node, at field: String) -> [(String, JSONText)] {
        var names: [String] = []
        if case .array(let list)? = node["required"] {
            names = list.compactMap { if case .string(let name) = $0 { name } else { nil } }
        }
        var values = names.compactMap { name -> (String, JSONText)? in
            guard let member = members(of: node).first(where: { $0.0 == name }) else { return nil }
            return (name, example(member.1, name))
        }
        // The schema asks for less than a container.
        if field == "process" { values.append(("args", .strings(["sh"]))) }
        return values
    }

    private func example(_ node: Node, _ name: String) -> JSONText {
        guard let node = resolved(node) else { return .bool(true) }
        if case .array(let values)? = node["enum"], case .string(let first)? = values.first { return .string(first) }
        switch node["type"] {
        case .string("string"):
            return .string(
                ["ociVersion": "1.3.0", "type": name == "type" ? exampleType(node) : "", "pageSize": "2MB"][name]
                    ?? "/x")
        case .string("integer"): return .number(1)
        case .string("boolean"): return .bool(true)
        case .string("array"): return .strings(["x"])
        default: return .object(required(node, at: ""))
        }
    }

    /// Of a device or of a limit.
    private func exampleType(_ node: Node) -> String {
        if case .string(let pattern)? = node["pattern"], pattern.hasPrefix("^RLIMIT") { return "RLIMIT_CORE" }
        return "p"
    }

    /// Without references, and with the parts of `allOf` in one.
    private func resolved(_ node: Node) -> Node? {
        if case .array(let parts)? = node["allOf"] { return merged(parts.map { Node(value: $0, file: node.file) }) }
        if case .array(let choices)? = node["anyOf"], let first = choices.first {
            return resolved(Node(value: first, file: node.file))
        }
        guard case .string(let reference)? = node["$ref"] else { return node }
        let parts = reference.split(separator: "#", omittingEmptySubsequences: false)
        let file = parts[0].isEmpty ? node.file : String(parts[0])
        guard var value = files[file] else { return nil }
        for step in parts[1].split(separator: "/") {
            guard let next = Node(value: value, file: file)[String(step)] else { return nil }
            value = next
        }
        return resolved(Node(value: value, file: file))
    }

    private func merged(_ parts: [Node]) -> Node? {
        var properties: [String: JSONValue] = [:]
        var required: [JSONValue] = []
        for part in parts.compactMap(resolved) {
            if let more = part["properties"]?.members { properties.merge(more) { $1 } }
            if case .array(let more)? = part["required"] { required += more }
        }
        guard let file = parts.first?.file else { return nil }
        let members = [
            JSONMember(name: "properties", value: .object(properties.map(JSONMember.init))),
            JSONMember(name: "required", value: .array(required)),
        ]
        return Node(value: .object(members), file: file)
    }
}

extension JSONValue {
    fileprivate var members: [String: JSONValue]? {
        guard case .object(let members) = self else { return nil }
        return Dictionary(members.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })
    }
}
