import CheckpointImages

/// What is to be restored, and where: what kinds look over before anything is touched.
struct RestorePlan {
    let images: RestoreImages
    let first: ProcessPlan
    let policy: RestorePolicy
    /// What may be brought back.
    let options: DumpOptions
    let states: KindStates

    /// What a kind remembers of this container.
    subscript<K: Kind>(kind: K.Type) -> K.RestoreState { states[restore: kind] }
}
