import LinuxSystem

/// Points in time as Go prints them, which clients parse.
package enum Timestamp {
    /// The present in UTC, RFC 3339 with as many fractional digits as needed: `2026-01-02T03:04:05.67Z`.
    package static func now() -> String {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return utc(seconds: time.tv_sec, nanoseconds: time.tv_nsec)
    }

    /// The same without a fraction, as log lines have it.
    package static func nowInSeconds() -> String {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return utc(seconds: time.tv_sec, nanoseconds: 0)
    }

    static func utc(seconds: Int, nanoseconds: Int) -> String {
        let (days, second) = seconds.quotientAndRemainder(dividingBy: 86_400)
        let (year, month, day) = civil(days)
        var text = "\(pad(year, 4))-\(pad(month))-\(pad(day))"
        text += "T\(pad(second / 3600)):\(pad(second / 60 % 60)):\(pad(second % 60))"
        var fraction = pad(nanoseconds, 9)
        while fraction.last == "0" { fraction.removeLast() }
        return text + (fraction.isEmpty ? "Z" : ".\(fraction)Z")
    }

    /// Days since 1970 as a date of the Gregorian calendar, counted from 1 March 0000 so that the leap day comes last.
    private static func civil(_ days: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * marchMonth + 2) / 5 + 1)
    }

    private static func pad(_ number: Int, _ width: Int = 2) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
