/// The names of a file's extended attributes. flistxattr(2).
public func attributeNames(_ descriptor: CInt) throws(SystemError) -> [String] {
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    let count = try system("list attributes") {
        buffer.withUnsafeMutableBytes {
            clinux_syscall(
                Int(SYS_flistxattr), Int(descriptor), Int(bitPattern: $0.baseAddress), $0.count, 0, 0, 0)
        }
    }
    return buffer[..<Int(count)].split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
}

/// Those of a file that is not to be opened. listxattr(2).
public func attributeNames(of path: String) throws(SystemError) -> [String] {
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    let count = try system("list attributes") {
        path.withCString { path in
            buffer.withUnsafeMutableBytes {
                clinux_syscall(
                    Int(SYS_listxattr), Int(bitPattern: path), Int(bitPattern: $0.baseAddress), $0.count, 0, 0, 0)
            }
        }
    }
    return buffer[..<Int(count)].split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
}

/// The value of an extended attribute. fgetxattr(2).
public func attribute(_ descriptor: CInt, _ name: String) throws(SystemError) -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    let count = try system("get attribute \(name)") {
        name.withCString { name in
            buffer.withUnsafeMutableBytes {
                clinux_syscall(
                    Int(SYS_fgetxattr), Int(descriptor), Int(bitPattern: name), Int(bitPattern: $0.baseAddress),
                    $0.count, 0, 0)
            }
        }
    }
    return Array(buffer[..<Int(count)])
}

/// Sets an extended attribute. fsetxattr(2).
public func setAttribute(_ descriptor: CInt, _ name: String, _ value: [UInt8]) throws(SystemError) {
    try system("set attribute \(name)") {
        name.withCString { name in
            value.withUnsafeBytes {
                clinux_syscall(
                    Int(SYS_fsetxattr), Int(descriptor), Int(bitPattern: name), Int(bitPattern: $0.baseAddress),
                    $0.count, 0, 0)
            }
        }
    }
}
