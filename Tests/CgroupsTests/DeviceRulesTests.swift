import OCISpec
import Testing

@testable import Cgroups

@Suite struct DeviceRulesTests {
    @Test func everyContainerHasItsDevices() throws {
        let rules = try DeviceRules([DeviceCgroup(allow: false, access: "rwm")])
        #expect(!rules.allowsByDefault)
        // What runc leaves in devices.list for the same configuration.
        #expect(
            Set(rules.exceptions.map(\.line)) == [
                "b *:* m", "c *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm",
                "c 5:2 rwm", "c 10:200 rwm", "c 136:* rwm",
            ])
    }

    @Test func laterRulesWin() throws {
        let rules = try DeviceRules([
            DeviceCgroup(allow: true, type: "b", major: 8, minor: 0, access: "rwm"),
            DeviceCgroup(allow: false, type: "b", major: 8, minor: 0, access: "w"),
            DeviceCgroup(allow: true, type: "c", major: 10, minor: -1, access: "r"),
            DeviceCgroup(allow: false, type: "c", major: 10, access: "r"),
        ])
        let lines = rules.exceptions.map(\.line)
        #expect(lines.contains("b 8:0 rm"))
        #expect(!lines.contains { $0.hasPrefix("c 10:* ") })
    }

    @Test func lettersComeInAnyOrder() throws {
        for access in ["rwm", "mwr", "wmr"] {
            let rules = try DeviceRules([DeviceCgroup(allow: true, type: "c", major: 10, minor: 229, access: access)])
            #expect(rules.exceptions.first?.line == "c 10:229 rwm")
        }
    }

    @Test func aRuleForAllForgetsTheOnesBefore() throws {
        let rules = try DeviceRules([
            DeviceCgroup(allow: false, type: "b", major: 8, minor: 0, access: "rwm"),
            DeviceCgroup(allow: true, type: "a", access: "rwm"),
            DeviceCgroup(allow: false, type: "b", major: 9, minor: 0, access: "rwm"),
        ])
        #expect(rules.allowsByDefault)
        #expect(rules.exceptions.map(\.line) == ["b 9:0 rwm"])
    }

    @Test func nonsenseIsRefusedByName() {
        let error = #expect(throws: CgroupError.self) {
            try DeviceRules([DeviceCgroup(allow: true, type: "c", access: "rx")])
        }
        #expect(error?.description == "linux.resources.devices[0].access: unknown letter \"x\"")
        #expect(throws: CgroupError.self) { try DeviceRules([DeviceCgroup(allow: true, type: "q", access: "r")]) }
    }
}
