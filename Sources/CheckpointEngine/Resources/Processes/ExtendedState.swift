import CheckpointImages
import LinuxSystem
import Tracee

/// The floating point and vector registers: the XSAVE area that ptrace gives, and CRIU's entry for it.
///
/// Where a component lies in the area differs between processors and is asked of the processor (CPUID leaf 0xD).
enum ExtendedState: ProcessKind {
    static func capture(_ process: CapturedProcess, into images: inout ProcessImages, of dump: Dump) throws {
        for (index, thread) in process.threads.enumerated() {
            images.cores[index].threadInfo.fpregs = try entry(try thread.extendedState.get())
        }
    }

    private struct Component: Sendable {
        var bit: Int
        var offset: Int
        var size: Int

        init?(_ bit: Int) {
            var offset: UInt32 = 0
            var size: UInt32 = 0
            clinux_xsave_component(UInt32(bit), &offset, &size)
            guard size > 0 else { return nil }
            self.bit = bit
            self.offset = Int(offset)
            self.size = Int(size)
        }
    }

    /// Asked for once: a virtual machine's processor leaves the machine to answer.
    private static let components = (0..<64).map { Component($0) }

    /// x87, SSE, AVX, MPX, AVX-512 and protection keys: what the image format has fields for.
    private static let known: UInt64 = 0b10_1111_1111

    static func entry(_ area: [UInt8]) throws -> UserX86FpregsEntry {
        guard area.count >= 576 else { throw CheckpointError("an XSAVE area of \(area.count) bytes") }
        func word<T: FixedWidthInteger>(_ offset: Int, _ type: T.Type) -> T {
            area.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: T.self) }
        }
        func words<T: FixedWidthInteger>(_ bit: Int, _ type: T.Type) -> [T] {
            guard let part = components[bit], part.offset + part.size <= area.count else { return [] }
            return stride(from: part.offset, to: part.offset + part.size, by: T.bitWidth / 8).map { word($0, T.self) }
        }
        let present = word(512, UInt64.self)
        guard present & ~known == 0 else {
            throw CheckpointError(
                "processor state 0x\(String(present & ~known, radix: 16)) (AMX or a shadow stack) cannot be checkpointed yet"
            )
        }
        return UserX86FpregsEntry.with {
            $0.cwd = UInt32(word(0, UInt16.self))
            $0.swd = UInt32(word(2, UInt16.self))
            $0.twd = UInt32(word(4, UInt16.self))
            $0.fop = UInt32(word(6, UInt16.self))
            $0.rip = word(8, UInt64.self)
            $0.rdp = word(16, UInt64.self)
            $0.mxcsr = word(24, UInt32.self)
            $0.mxcsrMask = word(28, UInt32.self)
            $0.stSpace = (0..<32).map { word(32 + 4 * $0, UInt32.self) }
            $0.xmmSpace = (0..<64).map { word(160 + 4 * $0, UInt32.self) }
            $0.xsave = .with {
                $0.xstateBv = present
                $0.ymmhSpace = words(2, UInt32.self)
                $0.bndregState = words(3, UInt64.self)
                $0.bndcsrState = words(4, UInt64.self)
                $0.opmaskReg = words(5, UInt64.self)
                $0.zmmUpper = words(6, UInt64.self)
                $0.hi16Zmm = words(7, UInt64.self)
                $0.pkru = words(9, UInt32.self)
            }
        }
    }

    /// The XSAVE area for an entry.
    ///
    /// - Parameter template: an area of a task of this machine, for its size and the processor's own fields.
    static func area(_ entry: UserX86FpregsEntry, template: [UInt8]) throws -> [UInt8] {
        guard entry.stSpace.count == 32, entry.xmmSpace.count == 64, template.count >= 576 else {
            throw CheckpointError("floating point state of the wrong size")
        }
        var area = [UInt8](repeating: 0, count: template.count)
        func put<T: FixedWidthInteger>(_ value: T, _ offset: Int) {
            area.withUnsafeMutableBytes { $0.storeBytes(of: value, toByteOffset: offset, as: T.self) }
        }
        func put<T: FixedWidthInteger>(_ values: [T], _ bit: Int) throws {
            guard !values.isEmpty else { return }
            guard let part = components[bit], values.count * T.bitWidth / 8 <= part.size,
                part.offset + part.size <= area.count
            else {
                if values.allSatisfy({ $0 == 0 }) { return }
                throw CheckpointError("the processor state has component \(bit), which this processor does not know")
            }
            for (index, value) in values.enumerated() { put(value, part.offset + index * (T.bitWidth / 8)) }
        }
        put(UInt16(truncatingIfNeeded: entry.cwd), 0)
        put(UInt16(truncatingIfNeeded: entry.swd), 2)
        put(UInt16(truncatingIfNeeded: entry.twd), 4)
        put(UInt16(truncatingIfNeeded: entry.fop), 6)
        put(entry.rip, 8)
        put(entry.rdp, 16)
        // Bits that the processor does not allow would be refused.
        let allowed = template.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 28, as: UInt32.self) }
        put(entry.mxcsr & (allowed == 0 ? 0xffbf : allowed), 24)
        put(allowed, 28)
        for (index, word) in entry.stSpace.enumerated() { put(word, 32 + 4 * index) }
        for (index, word) in entry.xmmSpace.enumerated() { put(word, 160 + 4 * index) }
        guard entry.hasXsave else {
            put(UInt64(3), 512)
            return area
        }
        let state = entry.xsave
        guard state.xstateBv & ~known == 0 else {
            throw CheckpointError("processor state 0x\(String(state.xstateBv, radix: 16)) cannot be restored yet")
        }
        put(state.xstateBv, 512)
        try put(state.ymmhSpace, 2)
        try put(state.bndregState, 3)
        try put(state.bndcsrState, 4)
        try put(state.opmaskReg, 5)
        try put(state.zmmUpper, 6)
        try put(state.hi16Zmm, 7)
        try put(state.pkru, 9)
        return area
    }
}
