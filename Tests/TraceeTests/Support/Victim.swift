import LinuxSystem
import TestSupport
import Testing

@testable import Tracee

/// A program that computes, sleeps and waits, and sees at every step whether anything in it was disturbed.
///
/// It shares a page with the test: a count of rounds for each thread, and what failed.
final class Victim {
    private static let source = #"""
        #define _GNU_SOURCE
        #include <errno.h>
        #include <fcntl.h>
        #include <pthread.h>
        #include <signal.h>
        #include <stdint.h>
        #include <stdlib.h>
        #include <sys/mman.h>
        #include <time.h>
        #include <unistd.h>

        static volatile uint64_t *page; // 0…2: rounds of each thread; 8: failure
        static int ends[2];
        static void fail(uint64_t what) { if (!page[8]) page[8] = what; }

        static void check_mask(uint64_t where) {
            sigset_t now;
            pthread_sigmask(SIG_SETMASK, 0, &now);
            if (!sigismember(&now, SIGUSR2) || sigismember(&now, SIGUSR1) || sigismember(&now, SIGTERM)) fail(where);
        }

        // Sleeps: a restart block. The sum in floating point must come out the same each time.
        static void *sleeper(void *unused) {
            double expected = 0;
            for (;;) {
                double sum = 0;
                for (int i = 1; i < 2000; i++) sum += 1.0 / i;
                if (expected == 0) expected = sum;
                if (sum != expected) fail(10);
                struct timespec time = {0, 2000000};
                if (nanosleep(&time, 0) != 0) fail(1000 + errno);
                check_mask(11);
                if (page[0] % 4 == 0 && ends[1] && write(ends[1], "x", 1) != 1) fail(2000 + errno);
                page[0]++;
            }
        }

        // Waits in a read(2) that restarts.
        static void *reader(void *unused) {
            for (;;) {
                char byte = 0;
                ssize_t count = read(ends[0], &byte, 1);
                if (count != 1 || byte != 'x') fail(3000 + (count < 0 ? errno : 0));
                check_mask(12);
                page[1]++;
            }
        }

        // Never in the kernel by itself: all registers are in use.
        static void *runner(void *unused) {
            for (;;) {
                uint64_t a = 1, b = 2, c = 3, d = 4, e = 5;
                for (int i = 0; i < 100000; i++) { a += b; b ^= c; c += d * 3; d ^= e; e += a; }
                static uint64_t expected;
                uint64_t sum = a ^ b ^ c ^ d ^ e;
                if (!expected) expected = sum;
                if (sum != expected) fail(13);
                page[2]++;
            }
        }

        int main(int count, char **arguments) {
            int file = open(arguments[1], O_RDWR);
            page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            sigset_t mask;
            sigemptyset(&mask);
            sigaddset(&mask, SIGUSR2);
            sigprocmask(SIG_SETMASK, &mask, 0);
            if (count > 2) {
                pthread_t thread;
                pipe(ends);
                pthread_create(&thread, 0, reader, 0);
                pthread_create(&thread, 0, runner, 0);
            }
            sleeper(0);
        }
        """#

    let pid: pid_t
    let isThreaded: Bool
    let scratch = Scratch()
    private let page: OwnedDescriptor

    init(threaded: Bool) throws {
        isThreaded = threaded
        try scratch.put("victim.c", Array(Self.source.utf8))
        try scratch.put("page", [UInt8](repeating: 0, count: 4096))
        page = try openAt(AT_FDCWD, scratch.path("page"), O_RDONLY)
        _ = try scratch.output(
            of: [
                "/usr/bin/cc", "-O1", "-w", "-static", "-pthread", "-o", scratch.path("victim"),
                scratch.path("victim.c"),
            ])
        pid = try Scratch.start([scratch.path("victim"), scratch.path("page")] + (threaded ? ["threads"] : []))
        try #require(goesOn(by: 3), "the program does not start")
    }

    deinit {
        kill(pid, SIGKILL)
        waitpid(pid, nil, 0)
    }

    static var canBeBuilt: Bool { access("/usr/bin/cc", X_OK) == 0 }

    private func word(_ index: Int) -> UInt64 {
        var value: UInt64 = 0
        pread(page.raw, &value, 8, off_t(index * 8))
        return value
    }

    /// Rounds of each thread.
    var rounds: [UInt64] { (0..<(isThreaded ? 3 : 1)).map(word) }

    /// What the program has found wrong with itself; 0 for nothing.
    var failure: UInt64 { word(8) }

    /// What the kernel tells of a process that does not go on.
    var whereabouts: String {
        ["status", "syscall", "stack"].map { (try? readText("/proc/\(pid)/\($0)")) ?? "no \($0)" }.joined(
            separator: "\n")
    }

    /// Whether every thread makes `count` rounds within five seconds.
    func goesOn(by count: UInt64) -> Bool {
        let start = rounds
        for _ in 0..<1000 {
            if zip(rounds, start).allSatisfy({ $0 >= $1 + count }) { return true }
            usleep(5000)
        }
        return false
    }

    var tasks: [pid_t] {
        get throws {
            let others = try directoryEntries("/proc/\(pid)/task").compactMap { pid_t($0) }.filter { $0 != pid }
            return [pid] + others.sorted()
        }
    }

    /// Everything about the process that an injection could leave traces in.
    struct Picture: Equatable {
        var maps: String
        var descriptors: [String: String] = [:]
        var status: [pid_t: [String]] = [:]
    }

    func picture() throws -> Picture {
        var picture = Picture(maps: try readText("/proc/\(pid)/maps"))
        for name in try directoryEntries("/proc/\(pid)/fd") {
            picture.descriptors[name] = try linkTarget("/proc/\(pid)/fd/\(name)")
        }
        let keys = ["SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "Threads", "NoNewPrivs", "Seccomp", "CapEff"]
        for task in try tasks {
            picture.status[task] = try readText("/proc/\(pid)/task/\(task)/status").split(separator: "\n")
                .filter { line in keys.contains { line.hasPrefix($0 + ":") } }.map(String.init)
        }
        return picture
    }
}

/// Seizes every thread of a process and brings it to its stop.
func seizeAll(_ tasks: [pid_t]) throws -> [TracedThread] {
    for task in tasks {
        try Ptrace(task).seize(TracedThread.options)
        try Ptrace(task).interrupt()
    }
    return try tasks.map { task in
        let stop = try Ptrace(task).waitUntilInterrupted()
        return try TracedThread(stopped: Ptrace(task), by: #require(stop))
    }
}

/// Puts the agent into a process, whose network namespace must be this one's.
func enter(_ threads: [TracedThread], of process: pid_t) throws -> AgentSession {
    try AgentSession(threads: threads, cave: codeCave(in: process), listener: AgentListener())
}

/// The unused end of the kernel's own code (vdso) in a process.
private func codeCave(in process: pid_t) throws -> RemoteAddress {
    let (base, code) = try kernelCode(in: process)
    // Not only zeros: what an engine that died has left there may be overwritten.
    return base + ((code.count - AgentSession.caveSize) & ~15)
}

/// The kernel's own code (vdso) in a process, and where it is.
func kernelCode(in process: pid_t) throws -> (base: RemoteAddress, code: [UInt8]) {
    for line in try readText("/proc/\(process)/maps").split(separator: "\n") where line.hasSuffix("[vdso]") {
        let bounds = line.split(separator: " ")[0].split(separator: "-").compactMap { UInt64($0, radix: 16) }
        guard bounds.count == 2 else { continue }
        let base = RemoteAddress(bounds[0])
        return (base, try TaskMemory(process).read(base, count: Int(bounds[1] - bounds[0])))
    }
    throw SystemError(.noSuchFileOrDirectory, "find the vdso of process \(process)")
}
