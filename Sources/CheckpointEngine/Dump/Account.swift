/// What a checkpoint has met: how many objects of each kind are kept, and which kind refuses what. The log has it, whatever
/// becomes of the checkpoint.
struct Account: CustomStringConvertible {
    private var kept: [ObjectIdentifier: Int] = [:]
    private var refused: (kind: String, reason: String)?

    mutating func keep(_ kind: any Kind.Type, count: Int = 1) {
        if count > 0 { kept[ObjectIdentifier(kind), default: 0] += count }
    }

    /// Whose phase has failed first.
    mutating func refuse(_ kind: any Kind.Type, _ error: any Error) {
        refused = refused ?? ("\(kind)", "\(error)")
    }

    var description: String {
        let all = kinds.compactMap { kind in kept[ObjectIdentifier(kind)].map { "\($0) \(kind)" } }.joined(
            separator: ", ")
        let refusal = refused.map { "; refused by \($0.kind): \($0.reason)" } ?? ""
        return "kept: \(all.isEmpty ? "nothing yet" : all)\(refusal)"
    }
}

extension Dump {
    /// Does a kind's part in a phase.
    func by<R>(_ kind: any Kind.Type, _ body: () throws -> R) throws -> R {
        do { return try body() } catch {
            account.refuse(kind, error)
            throw error
        }
    }
}
