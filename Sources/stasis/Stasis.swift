import ArgumentParser

/// The root of help and completions; the commands themselves are parsed one by one, see ``Program``.
struct Stasis: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stasis",
        abstract: "Open Container Initiative runtime with checkpoint and restore.",
        discussion: """
            Runs containers from bundles: directories with a config.json and a root file system. Takes runc's place \
            under containerd, podman and docker, and brings its own checkpoint/restore engine.
            """,
        subcommands: commands.map { $0 as any ParsableCommand.Type })

    static let commands: [any RuntimeCommand.Type] = [
        Checkpoint.self, Create.self, Delete.self, Events.self, Exec.self, Features.self, Kill.self, List.self,
        Pause.self, ProcessStatus.self, Restore.self, Resume.self, Run.self, Starter.self, Start.self, StateReport.self,
        Update.self,
    ]

    @OptionGroup var global: GlobalOptions
}
