import ArgumentParser
import ContainerRuntime
import LinuxSystem

struct ProcessStatus: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "ps", abstract: "Display the processes running inside a container.")

    @Option(name: .shortAndLong, help: "Select one of: table or json.") var format = "table"
    @OptionGroup var id: ContainerArgument
    @Argument(help: "Options of ps (default: -ef).") var options: [String] = []

    func perform(_ runtime: Runtime) throws -> CInt {
        let processes = try ProcessList(of: try runtime.container(id.containerID))
        switch format {
        case "json": show(processes.json)
        case "table": show(try processes.table(arguments: options))
        default: throw RuntimeError("invalid format option")
        }
        return 0
    }
}
