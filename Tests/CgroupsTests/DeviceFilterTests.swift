import OCISpec
import Testing

@testable import Cgroups

@Suite struct DeviceFilterTests {
    private let read = 2
    private let write = 4
    private let mknod = 1

    @Test func everyContainersDevicesAndNoOthers() throws {
        let filter = DeviceFilter(try DeviceRules([]))
        #expect(filter.allows("c", 1, 3, read | write))
        #expect(filter.allows("c", 136, 7, read))
        #expect(filter.allows("b", 8, 0, mknod))
        #expect(!filter.allows("b", 8, 0, read))
        #expect(!filter.allows("c", 10, 229, read))
        #expect(!filter.allows("b", 1, 3, read))
    }

    @Test func oneRuleMustAllowAllThatIsAskedFor() throws {
        let filter = DeviceFilter(
            try DeviceRules([DeviceCgroup(allow: true, type: "c", major: 10, minor: 229, access: "r")]))
        #expect(filter.allows("c", 10, 229, read))
        #expect(!filter.allows("c", 10, 229, read | write))
        #expect(!filter.allows("c", 10, 230, read))
    }

    @Test func aPartThatIsDeniedDeniesItAll() throws {
        let filter = DeviceFilter(
            try DeviceRules([
                DeviceCgroup(allow: true, type: "a", access: "rwm"),
                DeviceCgroup(allow: false, type: "b", major: 8, access: "w"),
                DeviceCgroup(allow: false, type: "c", major: 10, minor: 229, access: "rwm"),
            ]))
        #expect(filter.allows("b", 8, 1, read))
        #expect(!filter.allows("b", 8, 1, read | write))
        #expect(filter.allows("b", 9, 1, read | write))
        #expect(!filter.allows("c", 10, 229, mknod))
        #expect(filter.allows("c", 10, 228, mknod))
    }

    @Test func aNumberThatCannotBeMatchesNothing() throws {
        let filter = DeviceFilter(
            try DeviceRules([DeviceCgroup(allow: true, type: "c", major: 1 << 40, minor: 229, access: "rw")]))
        #expect(!filter.allows("c", 0, 229, read))
    }
}

extension DeviceFilter {
    /// What the kernel would make of the instructions.
    fileprivate func allows(_ kind: Character, _ major: UInt32, _ minor: UInt32, _ access: Int) -> Bool {
        let context = [UInt32(access) << 16 | (kind == "b" ? 1 : 2), major, minor]
        var registers = [UInt64](repeating: 0, count: 11)
        var next = 0
        while instructions.indices.contains(next) {
            let word = instructions[next]
            let register = Int(word >> 8 & 0xf)
            let offset = Int(word >> 16 & 0xffff)
            let immediate = UInt64(UInt32(word >> 32))
            next += 1
            switch word & 0xff {
            case 0x61: registers[register] = UInt64(context[offset / 4])
            case 0x54: registers[register] &= immediate
            case 0x74: registers[register] >>= immediate
            case 0xb7: registers[register] = immediate
            case 0x56 where registers[register] != immediate: next += offset
            case 0x46 where registers[register] & immediate != 0: next += offset
            case 0x46, 0x56: break
            case 0x05: next += offset
            case 0x95: return registers[0] == 1
            case let other: Issue.record("unknown instruction \(other)")
            }
        }
        Issue.record("no return")
        return false
    }
}
