import DBus
import OCISpec

/// A property of a unit. systemd.resource-control(5), org.freedesktop.systemd1(5).
struct SystemdProperty: Equatable {
    var name: String
    var value: DBusValue

    init(_ name: String, _ value: DBusValue) {
        self.name = name
        self.value = value
    }
}

extension [SystemdProperty] {
    /// As methods take them, `a(sv)`.
    var value: DBusValue {
        .array(of: "(sv)", map { .structure([.string($0.name), .variant($0.value)]) })
    }

    /// What a container's unit is, apart from its limits.
    ///
    /// - Parameter pid: who is in it from the start; systemd refuses a scope without processes.
    static func identity(of unit: SystemdUnit, id: String, pid: Int32?, isV2: Bool) -> [SystemdProperty] {
        var properties = [
            SystemdProperty("Description", .string("stasis container \(id)")),
            SystemdProperty("DefaultDependencies", .boolean(false)),
            SystemdProperty("MemoryAccounting", .boolean(true)),
            SystemdProperty("CPUAccounting", .boolean(true)),
            SystemdProperty(isV2 ? "IOAccounting" : "BlockIOAccounting", .boolean(true)),
            SystemdProperty("TasksAccounting", .boolean(true)),
        ]
        if unit.isSlice {
            properties.append(SystemdProperty("Wants", .array(of: "s", [.string(unit.slice)])))
        } else {
            // systemd leaves alone what is beneath, and enables the controllers for it.
            properties.append(SystemdProperty("Slice", .string(unit.slice)))
            properties.append(SystemdProperty("Delegate", .boolean(true)))
        }
        if let pid { properties.append(SystemdProperty("PIDs", .array(of: "u", [.uint32(UInt32(pid))]))) }
        return properties
    }

    /// Annotations `org.systemd.property.NAME`, in GVariant's text format. `…Sec` is in seconds, as in unit files.
    static func annotated(_ annotations: [String: String]) throws(CgroupError) -> [SystemdProperty] {
        let prefix = "org.systemd.property."
        var properties: [SystemdProperty] = []
        for (key, text) in annotations.sorted(by: { $0.key < $1.key }) where key.hasPrefix(prefix) {
            let name = String(key.dropFirst(prefix.count))
            guard name.utf8.count >= 3, name.allSatisfy({ $0.isASCII && $0.isLetter }) else {
                throw CgroupError("annotation \(key): not the name of a systemd property")
            }
            do throws(DBusError) {
                let value = try VariantText.parse(text)
                properties.append(try SystemdProperty(name, value).inMicroseconds())
            } catch {
                throw CgroupError("annotation \(key)=\(error)")
            }
        }
        return properties
    }
}

extension SystemdProperty {
    /// On the bus times are `…USec`.
    fileprivate func inMicroseconds() throws(DBusError) -> SystemdProperty {
        guard name.hasSuffix("Sec"), !name.hasSuffix("USec") else { return self }
        let seconds: Double? =
            switch value {
            case .int32(let number): Double(number)
            case .uint32(let number): Double(number)
            case .int64(let number): Double(number)
            case .uint64(let number): Double(number)
            case .double(let number): number
            default: nil
            }
        guard let seconds, seconds >= 0, seconds < 1e12 else { throw DBusError("\(name): not a number of seconds") }
        return SystemdProperty(name.dropLast(3) + "USec", .uint64(UInt64(seconds * 1e6)))
    }
}
