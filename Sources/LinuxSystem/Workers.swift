/// Runs the same in several threads, the calling one among them, and returns when all have ended. pthread_create(3).
///
/// - Parameter count: how many threads; where the system has no room for them, fewer do the work.
public func concurrently(_ count: Int, _ body: @Sendable () -> Void) {
    withoutActuallyEscaping(body) { body in
        let work = Work(body: body)
        var threads: [pthread_t] = []
        while threads.count + 1 < count {
            var thread = pthread_t()
            let started = pthread_create(
                &thread, nil,
                { context in
                    if let context { Unmanaged<Work>.fromOpaque(context).takeUnretainedValue().body() }
                    return nil
                }, Unmanaged.passUnretained(work).toOpaque())
            guard started == 0 else { break }
            threads.append(thread)
        }
        body()
        for thread in threads { pthread_join(thread, nil) }
        withExtendedLifetime(work) {}
    }
}

private final class Work: Sendable {
    let body: @Sendable () -> Void

    init(body: @escaping @Sendable () -> Void) { self.body = body }
}
