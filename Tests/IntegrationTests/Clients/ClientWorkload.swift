/// What containers of clients do in tests.
enum ClientWorkload {
    /// Counts in /state/n.
    static let counter =
        "i=0; while :; do i=$((i+1)); echo $i >/state/m; mv /state/m /state/n; sleep 0.01; done"

    /// Waits until a container has counted beyond a number, and says how far it came.
    static func count(beyond: Int, _ read: () throws(Failure) -> String) throws(Failure) -> Int {
        var last = "", number = 0
        let came = until(seconds: 10) {
            do throws(Failure) {
                last = try read()
                number = Int(last) ?? 0
            } catch { last = "\(error)" }
            return number > beyond
        }
        guard came else { throw Failure("has not counted beyond \(beyond): \(last)") }
        return number
    }
}
