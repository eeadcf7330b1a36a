// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [.treatAllWarnings(as: .error)]

let package = Package(
    name: "stasis",
    products: [.executable(name: "stasis", targets: ["stasis"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        // Its default traits would bring all of Foundation with them: 48 MB of ICU, and a slower start.
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: []),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    ],
    targets: [
        .executableTarget(
            name: "stasis",
            dependencies: [
                "ContainerRuntime", "CheckpointEngine", "OCISpec", "LinuxSystem",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),
        .target(
            name: "ContainerRuntime",
            dependencies: [
                "CheckpointEngine", "CheckpointImages", "Cgroups", "OCISpec", "LinuxSystem", "CSeccomp", "CCap",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),
        .target(
            name: "CheckpointEngine",
            dependencies: [
                "CheckpointImages", "Tracee", "LinuxSystem",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),
        .target(
            name: "CheckpointImages",
            dependencies: ["LinuxSystem", .product(name: "SwiftProtobuf", package: "swift-protobuf")],
            exclude: ["Protos"],
            swiftSettings: strict),
        .target(name: "Tracee", dependencies: ["LinuxSystem"], swiftSettings: strict),
        .target(name: "Cgroups", dependencies: ["DBus", "OCISpec", "LinuxSystem"], swiftSettings: strict),
        .target(name: "DBus", dependencies: ["LinuxSystem"], swiftSettings: strict),
        .target(name: "OCISpec", swiftSettings: strict),
        .target(
            name: "LinuxSystem",
            dependencies: ["CLinux", .product(name: "SystemPackage", package: "swift-system")],
            swiftSettings: strict),
        .target(name: "CLinux"),
        .systemLibrary(name: "CSeccomp", providers: [.apt(["libseccomp-dev"])]),
        .systemLibrary(name: "CCap", providers: [.apt(["libcap-dev"])]),

        .target(
            name: "TestSupport", dependencies: ["LinuxSystem"], path: "Tests/TestSupport", swiftSettings: strict),
        .testTarget(name: "LinuxSystemTests", dependencies: ["LinuxSystem", "TestSupport"], swiftSettings: strict),
        .testTarget(name: "OCISpecTests", dependencies: ["OCISpec"], swiftSettings: strict),
        .testTarget(name: "CgroupsTests", dependencies: ["Cgroups", "DBus", "OCISpec"], swiftSettings: strict),
        .testTarget(name: "DBusTests", dependencies: ["DBus", "LinuxSystem"], swiftSettings: strict),
        .testTarget(
            name: "CheckpointImagesTests", dependencies: ["CheckpointImages", "LinuxSystem", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "ContainerRuntimeTests",
            dependencies: ["Cgroups", "CheckpointImages", "ContainerRuntime", "OCISpec"],
            swiftSettings: strict),
        .testTarget(
            name: "TraceeTests", dependencies: ["Tracee", "LinuxSystem", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "CheckpointEngineTests",
            dependencies: [
                "CheckpointEngine", "CheckpointImages", "Tracee", "LinuxSystem", "TestSupport",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ],
            swiftSettings: strict),
        .testTarget(name: "IntegrationTests", dependencies: ["LinuxSystem", "OCISpec"], swiftSettings: strict),
    ],
    swiftLanguageModes: [.v6]
)
