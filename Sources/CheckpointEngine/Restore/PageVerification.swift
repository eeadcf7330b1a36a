import CheckpointImages
import LinuxSystem

/// Compares the pages with their checksums on the other processor, while the container is being built. Nothing of it
/// runs before this is over.
final class PageVerification: @unchecked Sendable {
    private let files: [(name: String, descriptor: CInt, sum: UInt64)]
    private var thread: pthread_t?
    private var failure: ImageError?

    init(_ directory: borrowing ImageDirectory) throws {
        files = try directory.pageSums()
    }

    deinit {
        join()
        for file in files { close(file.descriptor) }
    }

    /// Begins. Only after the container's first process was cloned: a clone wants a single thread.
    func start() {
        var started = pthread_t()
        let context = Unmanaged.passUnretained(self).toOpaque()
        let result = pthread_create(
            &started, nil,
            { context in
                if let context { Unmanaged<PageVerification>.fromOpaque(context).takeUnretainedValue().work() }
                return nil
            }, context)
        if result == 0 { thread = started } else { work() }
    }

    private func work() {
        do throws(ImageError) {
            for file in files where try PageSum.of(file.descriptor, name: file.name) != file.sum {
                throw ImageError(file.name, .malformed("is damaged: its checksum is not that in checksums.stasis"))
            }
        } catch { failure = error }
    }

    private func join() {
        guard let started = thread else { return }
        pthread_join(started, nil)
        thread = nil
    }

    /// Waits for the end; throws what was found.
    func finish() throws {
        join()
        if let failure { throw failure }
    }
}
