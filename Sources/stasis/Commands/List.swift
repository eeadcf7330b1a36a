import ArgumentParser
import ContainerRuntime
import LinuxSystem

struct List: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the containers of the given root.")

    @Option(name: .shortAndLong, help: "Select one of: table or json.") var format = "table"
    @Flag(name: .shortAndLong, help: "Display only container IDs.") var quiet = false

    func perform(_ runtime: Runtime) throws -> CInt {
        let list = try ContainerList(runtime.store)
        if quiet {
            if !list.ids.isEmpty { show(list.ids) }
            return 0
        }
        guard let format = ContainerList.Format(rawValue: format) else { throw RuntimeError("invalid format option") }
        show(list.text(format))
        return 0
    }
}
