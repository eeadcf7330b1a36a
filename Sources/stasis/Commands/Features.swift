import ArgumentParser
import ContainerRuntime
import LinuxSystem

struct Features: RuntimeCommand {
    static let configuration = CommandConfiguration(commandName: "features", abstract: "Show the enabled features.")

    func perform(_ runtime: Runtime) throws -> CInt {
        show(ContainerRuntime.Features.text(version: Version.number))
        return 0
    }
}
