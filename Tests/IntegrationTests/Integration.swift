import Testing

/// Tests of real containers. They need root, and a runtime: build it first (`hack/build`), or name one in `STASIS`.
/// One after the other, since they measure and fill the machine that they share.
@Suite(.serialized, .enabled(if: Runtime.canRun, "needs root and a runtime: see hack/test"))
enum Integration {}
