import ArgumentParser
import ContainerRuntime
import LinuxSystem

struct Events: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "events", abstract: "Display container events such as OOM notifications, and resource usage.")

    @Option(help: "Set the stats collection interval.") var interval = "5s"
    @Flag(help: "Display the container's stats then exit.") var stats = false
    @OptionGroup var id: ContainerArgument

    func perform(_ runtime: Runtime) throws -> CInt {
        let container = try runtime.container(id.containerID)
        guard let interval = milliseconds(interval.isEmpty ? "5s" : interval) else {
            throw RuntimeError("invalid value for interval: \"\(interval)\" is not a duration greater than 0")
        }
        if stats {
            show(try container.statisticsLine())
        } else {
            try container.watchEvents(interval: interval) { show($0) }
        }
        return 0
    }
}
