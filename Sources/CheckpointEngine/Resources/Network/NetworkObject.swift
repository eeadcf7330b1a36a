import LinuxSystem

/// Something that is configured in a network namespace: an interface, an address, a route, a part of the firewall.
///
/// As a line of text: its kind, the interface that it belongs to (or `-`), the fixed part of its message, and each
/// attribute as `TYPE=VALUE`, all values in hexadecimal digits; behind `|` what traffic and time change. Interfaces are
/// called by their names in it, since their numbers may be others in another namespace. rtnetlink(7),
/// linux/netfilter/nf_tables.h
struct NetworkObject: Hashable, Sendable {
    enum Kind: String {
        case interface, address, route, rule, neighbour, forwarding
        case table, chain, set, element, visitor, object, flowtable, statement
        /// What is compared, and never made.
        case queueing, nexthop, label, legacy
    }

    let kind: Kind
    /// Empty for what belongs to none.
    let interface: String
    let header: [UInt8]
    let attributes: [NetlinkAttribute]
    /// Not compared. What has the type of one of ``attributes`` is what that one was when it was looked at.
    let passing: [NetlinkAttribute]
    /// What is compared.
    private let identity: String

    init(
        _ kind: Kind, of interface: String = "", header: [UInt8] = [], _ attributes: [NetlinkAttribute],
        passing: [NetlinkAttribute] = []
    ) {
        (self.kind, self.interface, self.header, self.passing) = (kind, interface, header, passing)
        self.attributes = attributes
        identity =
            "\(kind.rawValue) \(interface.isEmpty ? "-" : interface) \(header.isEmpty ? "-" : header.hex)"
            + attributes.map { " \($0.type)=\($0.value.hex)" }.joined()
    }

    static func == (one: Self, other: Self) -> Bool { one.identity == other.identity }

    func hash(into hasher: inout Hasher) { hasher.combine(identity) }

    subscript(_ type: UInt16) -> [UInt8]? { attributes.first { $0.type == type }?.value }

    func number(_ type: UInt16) -> UInt32? { self[type]?.integer(UInt32.self, at: 0) }

    func text(_ type: UInt16) -> String? {
        self[type].map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    /// As it was, with counters.
    var whole: [NetlinkAttribute] {
        attributes.map { attribute in passing.first { $0.type == attribute.type } ?? attribute }
    }

    // MARK: Text

    var line: String {
        identity + (passing.isEmpty ? "" : " |" + passing.map { " \($0.type)=\($0.value.hex)" }.joined())
    }

    /// Longer values fit into no message.
    private static let longest = 60_000

    /// Fails if it is no such line.
    init(line: some StringProtocol) throws {
        let words = line.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count >= 3, let kind = Kind(rawValue: String(words[0])) else { throw Self.malformed }
        func bytes(_ digits: Substring) throws -> [UInt8] {
            guard digits.utf8.count <= 2 * Self.longest, let bytes = [UInt8](hex: digits.utf8) else {
                throw Self.malformed
            }
            return bytes
        }
        var lists: [[NetlinkAttribute]] = [[]]
        for word in words.dropFirst(3) {
            if word == "|", lists.count == 1 {
                lists.append([])
                continue
            }
            let parts = Substring(word).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, let type = UInt16(parts[0]), type < 0x4000 else { throw Self.malformed }
            lists[lists.count - 1].append(NetlinkAttribute(type: type, value: try bytes(parts[1])))
        }
        self.init(
            kind, of: words[1] == "-" ? "" : String(words[1]),
            header: words[2] == "-" ? [] : try bytes(Substring(words[2])), lists[0],
            passing: lists.count > 1 ? lists[1] : [])
    }

    private static let malformed = CheckpointError("\(NetworkConfiguration.fileName): it is malformed")
}

// MARK: Names

extension NetworkObject: CustomStringConvertible {
    var description: String {
        let place = interface.isEmpty ? "" : " of \(interface)"
        switch kind {
        case .interface:
            let type = text(InterfaceAttribute.kind).map { " (\($0))" } ?? ""
            let address = self[1].map { ", address \($0.hex)" } ?? ""
            return
                "interface \(interface)\(type), \((header.first ?? 0) & 1 == 0 ? "down" : "up"), MTU \(number(4) ?? 0)\(address)"
        case .address:
            // IFA_LOCAL, IFA_ADDRESS: of a point-to-point link the second is the other end's.
            return "address \(numericAddress(self[2] ?? self[1] ?? [], family: family))/\(byte(1))\(place)"
        case .route:
            let target = self[1].map { numericAddress($0, family: family) + "/\(byte(1))" } ?? "default"
            let gateway = self[5].map { " via \(numericAddress($0, family: family))" } ?? ""
            return
                "route \(target) (\(familyName))\(gateway)\(text(4).map { " by \($0)" } ?? "") in table \(number(15) ?? 0)"
        case .rule: return "routing rule \(number(6) ?? 0) (\(familyName))"
        case .neighbour: return "neighbour \(numericAddress(self[1] ?? [], family: family))\(place)"
        case .forwarding: return "forwarding entry \((self[2] ?? []).hex)\(place)"
        case .queueing: return "queueing discipline \(text(1) ?? "")\(place)"
        case .nexthop: return "nexthop object \(number(1) ?? 0)"
        case .label: return "address label \(numericAddress(self[1] ?? [], family: family))/\(byte(1))"
        case .legacy: return text(1) ?? ""
        case .table: return "nftables table \(firewallPlace)"
        case .chain: return "nftables chain \(text(3) ?? "") in \(firewallPlace)"
        case .statement:
            return "nftables rule \(number(FirewallTable.position) ?? 0) in chain \(text(2) ?? "") of \(firewallPlace)"
        case .set: return "nftables set \(text(2) ?? "") in \(firewallPlace)"
        case .element, .visitor: return "element of nftables set \(text(2) ?? "") in \(firewallPlace)"
        case .object: return "nftables object \(text(2) ?? "") in \(firewallPlace)"
        case .flowtable: return "nftables flow table \(text(2) ?? "") in \(firewallPlace)"
        }
    }

    var family: UInt8 { header.first ?? 0 }

    private func byte(_ place: Int) -> UInt8 { place < header.count ? header[place] : 0 }

    private var familyName: String {
        switch CInt(family) {
        case AF_INET: "IPv4"
        case AF_INET6: "IPv6"
        default: "family \(family)"
        }
    }

    private var firewallPlace: String {
        let families: [UInt8: String] = [1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"]
        return "\(families[family] ?? "?") \(text(1) ?? "")"
    }
}
