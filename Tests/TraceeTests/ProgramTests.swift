import LinuxSystem
import Testing

@testable import Tracee

@Suite struct ProgramTests {
    static let space = Program.Space(
        table: RemoteAddress(0x10000), callLimit: 4 + Program.ends - 1, data: RemoteAddress(0x20000), dataLimit: 256)

    @Test func tableOfAnEmptyProgram() {
        let program = Program(Self.space)
        #expect(program.isEmpty)
        #expect(program.table == [])
        #expect(program.description == "")
    }

    /// Per call: number, six arguments, and where the result goes, which is the call's own last word.
    @Test func tableWords() {
        var program = Program(Self.space)
        program.call("getpid", Int(SYS_getpid))
        program.call("mmap", Int(SYS_mmap), [1, 2, 3, 4, UInt64.max, 6])
        #expect(program.table == [39, 0, 0, 0, 0, 0, 0, 0x10038, 9, 1, 2, 3, 4, UInt64.max, 6, 0x10078])
        #expect(program.table.count * 8 == program.calls.count * Program.entrySize)
    }

    @Test(arguments: 0..<6) func passingAResultOn(argument: Int) {
        var program = Program(Self.space)
        let first = program.call("first", 1)
        program.call("between", 2)
        let last = program.call("last", 3)
        program.pass(first, to: last, argument: argument)
        // Entry 2 lies at 0x10080; its arguments begin one word later.
        #expect(program.table[7] == UInt64(0x10080 + 8 * (argument + 1)))
        #expect(program.table[15] == 0x10078)
        #expect(program.table[23] == 0x100b8)
    }

    @Test func dataIsAligned() {
        var program = Program(Self.space)
        #expect(program.place([1]) == RemoteAddress(0x20000))
        #expect(program.place(path: "/a") == RemoteAddress(0x20010))
        #expect(program.place(value: UInt32(0x0403_0201)) == RemoteAddress(0x20020))
        #expect(program.reserve(16) == RemoteAddress(0x20030))
        #expect(program.place([]) == RemoteAddress(0x20040))
        #expect(program.place([9]) == RemoteAddress(0x20040))
        #expect(program.data.count == 65)
        #expect(program.data[0] == 1)
        #expect(Array(program.data[16..<20]) == Array("/a".utf8) + [0, 0])
        #expect(Array(program.data[32..<36]) == [1, 2, 3, 4])
        #expect(program.data[64] == 9)
    }

    @Test func roomIsTold() {
        var program = Program(Self.space)
        #expect(program.fits(calls: 3))
        #expect(!program.fits(calls: 4), "the last entries are kept for the calls that end a stub's program")
        #expect(program.fits(calls: 1, bytes: 191))
        #expect(!program.fits(calls: 1, bytes: 192))
        program.call("getpid", 39)
        #expect(!program.fits(calls: 3))
    }

    @Test func printing() {
        var program = Program(Self.space)
        program.call("getpid", 39)
        program.call("close", 3, [0x1f, 0])
        #expect(program.description == "getpid()\nclose(0x1f, 0x0)")
    }

    /// The words that the agent leaves behind, made by hand.
    private func results(_ program: Program, _ values: [Int: Int]) -> Program.Results {
        var words = program.table
        for (word, value) in values { words[word] = UInt64(bitPattern: Int64(value)) }
        return Program.Results(program: program, words: words, task: 7, bytes: program.data)
    }

    @Test func resultsAreFoundWhereTheyWent() {
        var program = Program(Self.space)
        let opened = program.call("openat", 257)
        let closed = program.call("close", 3)
        program.pass(opened, to: closed, argument: 0)
        // `openat` wrote into word 1 of entry 1, `close` into the last word of its own entry.
        let results = results(program, [9: 5, 15: -9])
        #expect(results[opened] == 5)
        #expect(results[closed] == -9)
    }

    @Test func failuresAreThrown() throws {
        var program = Program(Self.space)
        program.call("strict", 1)
        program.call("lenient", 2, tolerated: [EAGAIN])
        program.call("any", 3, tolerated: nil)
        program.call("exact", 4, expecting: 100)
        try results(program, [7: 0, 15: -Int(EAGAIN), 23: -Int(ENOSYS), 31: 100]).check()
        // Addresses look negative but are no errors.
        try results(program, [7: -5000, 15: 0, 23: 0, 31: 100]).check()
        func message(_ values: [Int: Int]) -> String {
            do { try results(program, values).check() } catch { return "\(error)" }
            return "no error"
        }
        #expect(message([7: -Int(EPERM), 15: 0, 23: 0, 31: 100]).hasPrefix("in task 7: strict: "))
        #expect(message([7: 0, 15: -Int(EPERM), 23: 0, 31: 100]).hasPrefix("in task 7: lenient: "))
        #expect(message([7: 0, 15: 0, 23: 0, 31: 99]) == "task 7: exact: returned 99 instead of 100")
        #expect(message([7: 0, 15: 0, 23: 0, 31: -Int(EIO)]).hasPrefix("in task 7: exact: "))
        #expect(message([7: 0, 15: 0]) == "task 7: any: was not made")
    }

    @Test func valuesStayInsideTheData() {
        var program = Program(Self.space)
        let address = program.place(value: UInt64(77))
        let results = results(program, [:])
        #expect(results.value(address, as: UInt64.self) == 77)
        #expect(results.value(address + 1, as: UInt64.self) == nil)
        #expect(results.value(RemoteAddress(0), as: UInt8.self) == nil)
        #expect(results.value(RemoteAddress(UInt64.max), as: UInt64.self) == nil)
    }
}

@Suite struct InjectedAreaTests {
    @Test(arguments: [1, 2, 50], [576, 2696, 11_008])
    func partsDoNotOverlap(lanes: Int, state: Int) {
        let area = InjectedArea(base: RemoteAddress(0x7000_0000), lanes: lanes, extendedStateSize: state)
        var end = area.base + Agent.code.count
        func next(_ start: RemoteAddress, _ size: Int) {
            #expect(start >= end)
            end = start + size
        }
        for index in 0..<lanes {
            next(area.commandBuffer(index), 16)
            next(area.frame(index), SignalFrame.size(extendedState: state))
            let lane = area.lane(index)
            next(lane.table, lane.callLimit * Program.entrySize)
            next(lane.data, lane.dataLimit)
            #expect(area.frame(index).raw % 64 == 0)
        }
        next(area.main.table, area.main.callLimit * Program.entrySize)
        next(area.main.data, area.main.dataLimit)
        #expect(end == area.end)
        #expect(area.size % 4096 == 0)
    }
}
