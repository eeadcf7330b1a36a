import CheckpointImages
import LinuxSystem

/// What CRIU's entries of open files have no place for: `file-notes.stasis`, a line for each: a word, an id in `files.img`
/// (of the pipe, where it is about what a pipe has in it), and numbers.
enum FileNote: Kind {
    static let fileName = "file-notes.stasis"

    enum Word: String {
        /// A FIFO's reader that had writers, the last of which has left: poll(2) says POLLHUP.
        case hungUp = "hung-up"
        /// The sizes of the packets in a pipe, and in a FIFO.
        case pipePackets = "pipe-packets"
        case fifoPackets = "fifo-packets"
        /// Of an epoll set: which of its registrations are for another file than has their number now, and for which:
        /// place in the list and id, in turn.
        case departed
        /// The outer end of a terminal whose inner end nobody has opened yet: poll(2) does not say POLLHUP.
        case unopened
        /// Of a file without a name, the bytes of each extended attribute's name and value, and before each how many.
        case attributes
        /// How the process of a pidfd has ended, as wait(2) tells it.
        case exitCode = "exit-code"
    }

    final class DumpState: KindState {
        fileprivate var notes: [Word: [UInt32: [UInt32]]] = [:]
    }

    final class RestoreState: KindState {
        fileprivate var notes: [Word: [UInt32: [UInt32]]] = [:]
    }

    static func add(_ word: Word, _ id: UInt32, _ numbers: [UInt32] = [], to dump: Dump) {
        dump[Self.self].notes[word, default: [:]][id] = numbers
    }

    /// Of all files that the word is said of.
    static func numbers(_ word: Word, in workshop: Workshop) -> [UInt32: [UInt32]] {
        workshop[Self.self].notes[word] ?? [:]
    }

    static func numbers(_ word: Word, in restore: RestorePlan) -> [UInt32: [UInt32]] {
        restore[Self.self].notes[word] ?? [:]
    }

    /// When every kind has said what it had to say.
    static func write(_ dump: Dump) throws {
        var lines: [String] = []
        for (word, files) in dump[Self.self].notes {
            for (id, numbers) in files {
                let values = ([id] + numbers).map { String($0) }
                lines.append(word.rawValue + " " + values.joined(separator: " ") + "\n")
            }
        }
        if !lines.isEmpty { try dump.images.add(fileName, Array(lines.sorted().joined().utf8)) }
    }

    static func plan(_ restore: RestorePlan) throws {
        guard try restore.images.directory.contains(fileName) else { return }
        let text = String(decoding: try restore.images.directory.bytes(fileName), as: UTF8.self)
        restore[Self.self].notes = try about(fileName) { try parse(text) }
    }

    static func parse(_ text: String) throws -> [Word: [UInt32: [UInt32]]] {
        var notes: [Word: [UInt32: [UInt32]]] = [:]
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            let numbers: [UInt32] = words.dropFirst().compactMap { UInt32($0) }
            guard let first = words.first, let word = Word(rawValue: first), let id = numbers.first,
                numbers.count == words.count - 1, notes[word]?[id] == nil
            else { throw CheckpointError("`\(line.prefix(80))` is no note") }
            notes[word, default: [:]][id] = Array(numbers.dropFirst())
        }
        return notes
    }
}
