import LinuxSystem
import TestSupport
import Testing

@testable import Tracee

@Suite struct AgentTests {
    private func code(_ offset: Int, _ count: Int) -> [UInt8] { Array(Agent.code[offset..<offset + count]) }

    /// Where a two-byte jump (opcode, signed distance) at `offset` leads.
    private func target(_ offset: Int) -> Int { offset + 2 + Int(Int8(bitPattern: Agent.code[offset + 1])) }

    @Test func entries() {
        #expect(Agent.waitEntry == 0)
        #expect(code(Agent.waitEntry, 2) == [0x31, 0xc0], "xor eax, eax: read")
        #expect(code(Agent.runEntry, 3) == [0x48, 0x85, 0xed], "test rbp, rbp")
        #expect(code(Agent.systemCallInstruction, 2) == [0x0f, 0x05])
        #expect(Agent.code.count == 0xa3)
        #expect(Agent.code.count <= 4096)
    }

    @Test func jumpsLeadWhereTheCommentSays() {
        let (done, emergency) = (0x50, 0x70)
        #expect(code(0x13, 1) == [0x75], "jne")
        #expect(target(0x13) == emergency)
        #expect(code(0x21, 1) == [0x74], "je")
        #expect(target(0x21) == done)
        #expect(code(0x4e, 1) == [0xeb])
        #expect(target(0x4e) == Agent.runEntry)
        #expect(code(0x6e, 1) == [0xeb])
        #expect(target(0x6e) == Agent.waitEntry)
    }

    @Test func calls() {
        let places = Agent.code.indices.dropLast().filter { Agent.code[$0] == 0x0f && Agent.code[$0 + 1] == 0x05 }
        #expect(places == [0x0d, 0x3e, 0x6c, 0x8d, 0x97, 0xa1])
        #expect(code(0x50, 5) == [0xb8, UInt8(SYS_sendto), 0, 0, 0])
        #expect(code(0x60, 6) == [0x41, 0xba, 0, 0x40, 0, 0], "r10d = MSG_NOSIGNAL")
        #expect(code(0x70, 5) == [0x41, 0xc7, 0x44, 0x24, UInt8(Agent.parkingWord)], "the word that others wait on")
        #expect(code(0x79, 5) == [0xb8, UInt8(SYS_futex), 0, 0, 0])
        #expect(code(0x8f, 5) == [0xb8, UInt8(SYS_close), 0, 0, 0])
        #expect(code(0x99, 3) == [0x4c, 0x89, 0xfc], "rsp = r15")
        #expect(code(0x9c, 5) == [0xb8, UInt8(SYS_rt_sigreturn), 0, 0, 0])
        #expect(code(0x47, 4) == [0x48, 0x83, 0xc3, UInt8(Program.entrySize)], "rbx += an entry")
    }

    @Test(.enabled(if: access("/usr/bin/objdump", X_OK) == 0, "needs objdump"))
    func disassembly() throws {
        let scratch = Scratch()
        try scratch.put("agent", Agent.code)
        let text = try scratch.output(
            of: ["/usr/bin/objdump", "-D", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", scratch.path("agent")])
        let lines = text.split(separator: "\n").compactMap { line -> String? in
            let columns = line.split(separator: "\t")
            guard columns.count == 3 else { return nil }
            return columns[2].split(separator: " ").joined(separator: " ")
        }
        let expected = [
            "xor eax,eax", "mov edi,r13d", "mov rsi,r12", "mov edx,0x10", "syscall", "cmp rax,0x10", "jne 0x70",
            "mov rbx,QWORD PTR [r12]", "mov rbp,QWORD PTR [r12+0x8]", "test rbp,rbp", "je 0x50",
            "mov rax,QWORD PTR [rbx]", "mov rdi,QWORD PTR [rbx+0x8]", "mov rsi,QWORD PTR [rbx+0x10]",
            "mov rdx,QWORD PTR [rbx+0x18]", "mov r10,QWORD PTR [rbx+0x20]", "mov r8,QWORD PTR [rbx+0x28]",
            "mov r9,QWORD PTR [rbx+0x30]", "syscall", "mov rcx,QWORD PTR [rbx+0x38]", "mov QWORD PTR [rcx],rax",
            "add rbx,0x40", "dec rbp", "jmp 0x1e",
            "mov eax,0x2c", "mov edi,r13d", "mov rsi,r12", "mov edx,0x10", "mov r10d,0x4000", "xor r8d,r8d",
            "xor r9d,r9d", "syscall", "jmp 0x0",
            "mov DWORD PTR [r12+0x20],0x1", "mov eax,0xca", "lea rdi,[r12+0x20]", "mov esi,0x1", "mov edx,0x7fffffff",
            "syscall", "mov eax,0x3", "mov edi,r14d", "syscall", "mov rsp,r15", "mov eax,0xf", "syscall",
        ]
        #expect(lines == expected)
    }
}
