import LinuxSystem
import TestSupport
import Testing

@testable import CheckpointEngine
@testable import CheckpointImages
@testable import Tracee

@Suite struct ClocksTests {
    private func entry(_ seconds: UInt64, _ nanoseconds: UInt64) -> TimensEntry {
        TimensEntry.with {
            $0.monotonic = .with {
                $0.tvSec = seconds
                $0.tvNsec = nanoseconds
            }
            $0.boottime = $0.monotonic
        }
    }

    /// Before, at and after this machine's own clocks; years of uptime.
    @Test(
        arguments: [(0, 0), (0, 999_999_999), (1, 1), (100_000_000, 500_000_000), ((1 << 32) - 1, 999_999_999)]
            as [(UInt64, UInt64)])
    func clocksGoOnFromThere(seconds: UInt64, nanoseconds: UInt64) throws {
        let offsets = try Clocks.offsets(to: entry(seconds, nanoseconds))
        for (clock, offset) in [(CInt(1), offsets.monotonic), (7, offsets.boottime)] {
            #expect((0..<1_000_000_000).contains(offset.tv_nsec), "all that timens_offsets takes")
            var now = timespec()
            clock_gettime(clock, &now)
            let seen = (now.tv_sec + offset.tv_sec) * 1_000_000_000 + now.tv_nsec + offset.tv_nsec
            let late = seen - (Int(seconds) * 1_000_000_000 + Int(nanoseconds))
            #expect((0..<5_000_000_000).contains(late))
        }
    }

    @Test(arguments: [(1 << 32, 0), (.max, 0), (0, 1_000_000_000), (0, .max)] as [(UInt64, UInt64)])
    func impossibleClocks(seconds: UInt64, nanoseconds: UInt64) {
        #expect(
            failure { _ = try Clocks.offsets(to: entry(seconds, nanoseconds)) }.hasPrefix("timens-0.img: a clock at "))
    }
}

@Suite struct ExtendedStateTests {
    /// An area as ptrace gives it, every byte of each component that is marked as present set.
    private func area(features: UInt64, size: Int = 2696) -> [UInt8] {
        var area = [UInt8](repeating: 0, count: size)
        for index in 0..<416 { area[index] = UInt8(truncatingIfNeeded: index &* 13 &+ 1) }
        for (index, byte) in [0x80, 0x1f, 0, 0, 0xff, 0xff, 2, 0].enumerated() { area[24 + index] = UInt8(byte) }
        // The tag word has one byte and a reserved one.
        area[5] = 0
        for byte in 0..<8 { area[512 + byte] = UInt8(truncatingIfNeeded: features >> (8 * byte)) }
        for bit in [2, 5, 6, 7, 9] where features & 1 << UInt64(bit) != 0 {
            var offset: UInt32 = 0
            var count: UInt32 = 0
            clinux_xsave_component(UInt32(bit), &offset, &count)
            let end = min(Int(offset) + Int(count), size)
            guard count > 0, Int(offset) < end else { continue }
            // Protection keys are four bytes of eight.
            for index in Int(offset)..<(bit == 9 ? Int(offset) + 4 : end) {
                area[index] = UInt8(truncatingIfNeeded: index)
            }
        }
        return area
    }

    @Test(arguments: [3, 7, 0xe7, 0x2e7] as [UInt64]) func roundTrip(features: UInt64) throws {
        let before = area(features: features)
        let entry = try ExtendedState.entry(before)
        #expect(entry.xsave.xstateBv == features)
        #expect(entry.stSpace.count == 32)
        #expect(entry.xmmSpace.count == 64)
        #expect(try ExtendedState.area(entry, template: before) == before)
    }

    @Test func anEntryWithoutTheNewerParts() throws {
        let before = area(features: 3, size: 576)
        var entry = try ExtendedState.entry(before)
        entry.clearXsave()
        #expect(try ExtendedState.area(entry, template: before) == before)
    }

    @Test func whatHasNoFieldIsRefused() {
        #expect(failure { _ = try ExtendedState.entry(area(features: 1 << 17)) }.contains("AMX"))
        #expect(failure { _ = try ExtendedState.entry([1]) } == "an XSAVE area of 1 bytes")
    }

    @Test func hostileEntries() throws {
        let template = area(features: 7)
        let good = try ExtendedState.entry(template)
        func refused(_ change: (inout UserX86FpregsEntry) -> Void) -> String {
            var entry = good
            change(&entry)
            return failure { _ = try ExtendedState.area(entry, template: template) }
        }
        #expect(refused { $0.stSpace.removeLast() } == "floating point state of the wrong size")
        #expect(refused { $0.xmmSpace.append(1) } == "floating point state of the wrong size")
        #expect(refused { $0.xsave.xstateBv = .max }.hasPrefix("processor state "))
        #expect(refused { $0.xsave.ymmhSpace = Array(repeating: 1, count: 1 << 16) }.contains("component 2"))
        #expect(refused { $0.xsave.zmmUpper = Array(repeating: 1, count: 1000) }.contains("component 6"))
        #expect(failure { _ = try ExtendedState.area(good, template: []) } == "floating point state of the wrong size")
    }

    /// Bits that this processor does not have would make the kernel refuse everything.
    @Test func controlBitsAreMasked() throws {
        let template = area(features: 3)
        var entry = try ExtendedState.entry(template)
        entry.mxcsr = .max
        let made = try ExtendedState.area(entry, template: template)
        #expect(Array(made[24..<28]) == Array(template[28..<32]))
    }
}

@Suite struct RegistersTests {
    @Test func everyRegisterHasItsPlace() throws {
        let entry = UserX86RegsEntry.with {
            $0.r15 = 1
            $0.r14 = 2
            $0.r13 = 3
            $0.r12 = 4
            $0.bp = 5
            $0.bx = 6
            $0.r11 = 7
            $0.r10 = 8
            $0.r9 = 9
            $0.r8 = 10
            $0.ax = 11
            $0.cx = 12
            $0.dx = 13
            $0.si = 14
            $0.di = 15
            $0.origAx = 16
            $0.ip = .max
            $0.cs = 0x33
            $0.flags = 0x246
            $0.sp = 18
            $0.ss = 0x2b
            $0.fsBase = 19
            $0.gsBase = 20
            $0.ds = 21
            $0.es = 22
            $0.fs = 23
            $0.gs = 24
            $0.mode = .native
        }
        let registers = try Registers.registers(entry)
        let words = withUnsafeBytes(of: registers) { Array($0.bindMemory(to: UInt64.self)) }
        // The order of user_regs_struct; the sixteenth is no interrupted call, whatever the image says.
        #expect(words == Array(1...15) + [.max, .max, 0x33, 0x246, 18, 0x2b] + Array(19...24))
    }

    @Test func otherModesAreRefused() {
        var entry = UserX86RegsEntry()
        entry.cs = 0x23
        #expect(failure { _ = try Registers.registers(entry) } == "a 32-bit task cannot be restored yet")
        entry.cs = 0x33
        entry.mode = .compat
        #expect(failure { _ = try Registers.registers(entry) } == "a 32-bit task cannot be restored yet")
    }
}
