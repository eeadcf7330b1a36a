import ArgumentParser
import ContainerRuntime
import LinuxSystem

struct Events: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "events", abstract: "Display container events such as OOM notifications, and resource usage.")

    @Option(help: "Set the stats collection interval.") var interval = "5s"
    @Flag(help: "Display the container's stats then exit.") var stats = false
    @OptionGroup var id: ContainerArgument

    func perform(_ runtime: Runtime) throws -> CInt { throw notBuiltYet("events") }
}
