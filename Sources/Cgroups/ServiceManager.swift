import DBus
import LinuxSystem

/// systemd, over D-Bus: org.freedesktop.systemd1(5). Connected to when it is needed, since most commands do not.
struct ServiceManager: ~Copyable {
    private static let name = "org.freedesktop.systemd1"
    private static let path = "/org/freedesktop/systemd1"
    private static let interface = "org.freedesktop.systemd1.Manager"

    private var bus: BusConnection

    /// The machine's, or the user's own.
    init(ofUser isUsers: Bool) throws(CgroupError) {
        guard (try? status("/run/systemd/system")) != nil else {
            throw CgroupError("systemd not running on this host, cannot use systemd cgroups manager")
        }
        bus = try asking { () throws(DBusError) in
            if isUsers { return try BusConnection.open(try Self.userBus()) }
            let systemBus = "/run/dbus/system_bus_socket"
            if (try? status(systemBus)) != nil { return try BusConnection.open(systemBus) }
            // A machine without a bus: systemd itself listens for root.
            return try BusConnection.open("/run/systemd/private", isBus: false)
        }
    }

    /// Whether callers have a service manager of their own: root of a user namespace is not the machine's root.
    static var isUsers: Bool {
        geteuid() != 0 || (try? readText("/proc/self/uid_map"))?.contains("4294967295") != true
    }

    private static func userBus() throws(DBusError) -> String {
        let environment = currentEnvironment()
        func variable(_ name: String) -> Substring? {
            environment.first { $0.hasPrefix(name + "=") }.map { $0.dropFirst(name.utf8.count + 1) }
        }
        if let address = variable("DBUS_SESSION_BUS_ADDRESS"), address.hasPrefix("unix:path=") {
            return String(address.dropFirst(10).prefix { $0 != "," && $0 != ";" })
        }
        guard let folder = variable("XDG_RUNTIME_DIR"), !folder.isEmpty else {
            throw DBusError("neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR says where the user's bus is")
        }
        return "\(folder)/bus"
    }

    /// Where in the hierarchy its units are: `/` for the machine's.
    mutating func controlGroup() throws(CgroupError) -> String {
        let value = try asking { () throws(DBusError) in
            try bus.call(
                Self.name, Self.path, "org.freedesktop.DBus.Properties", "Get",
                [.string(Self.interface), .string("ControlGroup")]
            ).first
        }
        guard case .variant(.string(let path))? = value else { throw CgroupError("systemd does not tell its cgroup") }
        return path
    }

    /// Makes a transient unit and waits until it is there.
    mutating func start(_ unit: SystemdUnit, _ properties: [SystemdProperty]) throws(CgroupError) {
        let arguments: [DBusValue] = [
            .string(unit.name), .string("replace"), properties.value, .array(of: "(sa(sv))", []),
        ]
        do throws(DBusError) {
            do throws(DBusError) {
                try run("StartTransientUnit", arguments)
            } catch  where error.name == "org.freedesktop.systemd1.UnitExists" {
                // A container of that name failed, and systemd remembers.
                try reset(unit)
                try run("StartTransientUnit", arguments)
            }
        } catch {
            throw CgroupError("start systemd unit \(unit.name): \(error)")
        }
    }

    /// Ends a unit, which may be gone already, and makes systemd forget it.
    mutating func stop(_ unit: SystemdUnit) throws(CgroupError) {
        do throws(DBusError) {
            try run("StopUnit", [.string(unit.name), .string("replace")])
        } catch {
            if error.name != noSuchUnit { throw CgroupError("stop systemd unit \(unit.name): \(error)") }
        }
        // Only a failed unit is remembered.
        try? reset(unit)
        try waitUntilForgotten(unit)
    }

    /// A unit is unloaded a moment after its end, and as long as it is there, there can be none of its name.
    private mutating func waitUntilForgotten(_ unit: SystemdUnit) throws(CgroupError) {
        for round in 0..<200 {
            do throws(DBusError) {
                try call("GetUnit", [.string(unit.name)])
            } catch {
                if error.name == noSuchUnit { return }
                throw CgroupError("wait for the end of systemd unit \(unit.name): \(error)")
            }
            usleep(round < 20 ? 500 : 10_000)
        }
    }

    mutating func set(_ properties: [SystemdProperty], of unit: SystemdUnit) throws(CgroupError) {
        do throws(DBusError) {
            // True is: until the next boot.
            try call("SetUnitProperties", [.string(unit.name), .boolean(true), properties.value])
        } catch {
            throw CgroupError("set properties of systemd unit \(unit.name): \(error)")
        }
    }

    private mutating func reset(_ unit: SystemdUnit) throws(DBusError) {
        try call("ResetFailedUnit", [.string(unit.name)])
    }

    /// Calls a method that starts a job, and waits for the job's end.
    private mutating func run(_ member: String, _ arguments: [DBusValue]) throws(DBusError) {
        try bus.listen(to: "JobRemoved", of: Self.interface)
        // Without subscribers systemd tells nobody of its jobs.
        do throws(DBusError) {
            try call("Subscribe")
        } catch  where error.name == "org.freedesktop.systemd1.AlreadySubscribed" {}
        let job = try call(member, arguments).first
        let end = try bus.waitForSignal("JobRemoved") { $0.count == 4 && $0[1] == job }
        if end[3] != .string("done") { throw DBusError("\(member): job \(end[3].text ?? "") (see the journal)") }
    }

    @discardableResult
    private mutating func call(_ member: String, _ arguments: [DBusValue] = []) throws(DBusError) -> [DBusValue] {
        try bus.call(Self.name, Self.path, Self.interface, member, arguments)
    }
}

private let noSuchUnit = "org.freedesktop.systemd1.NoSuchUnit"

private func asking<Result: ~Copyable>(_ body: () throws(DBusError) -> Result) throws(CgroupError) -> Result {
    do {
        return try body()
    } catch {
        throw CgroupError("ask systemd: \(error)")
    }
}
