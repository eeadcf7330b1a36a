/// The starter bundle of `spec`: the text that runc 1.5 writes, so that either runtime runs the other's.
extension Spec {
    /// - Parameter cgroup: whether the container gets a cgroup namespace, as on pure v2.
    package static func starterText(cgroup: Bool = false) -> String {
        starterText(
            terminalGroup: ",\n\t\t\t\t\"gid=5\"", network: "\n\t\t\t{\n\t\t\t\t\"type\": \"network\"\n\t\t\t},",
            cgroup: cgroup, user: "",
            sys: """
                "type": "sysfs",
                			"source": "sysfs",
                			"options": [
                """,
            top: """
                		"resources": {
                			"devices": [
                				{
                					"allow": false,
                					"access": "rwm"
                				}
                			]
                		},
                """)
    }

    /// For a user without privileges: a user namespace that holds only `uid` and `gid`, and neither a network namespace,
    /// which could not be configured, nor limits.
    package static func rootlessStarterText(uid: UInt32, gid: UInt32, cgroup: Bool = false) -> String {
        starterText(
            terminalGroup: "", network: "", cgroup: cgroup, user: ",\n\t\t\t{\n\t\t\t\t\"type\": \"user\"\n\t\t\t}",
            sys: """
                "type": "none",
                			"source": "/sys",
                			"options": [
                				"rbind",
                """,
            top: """
                		"uidMappings": [
                			{
                				"containerID": 0,
                				"hostID": \(uid),
                				"size": 1
                			}
                		],
                		"gidMappings": [
                			{
                				"containerID": 0,
                				"hostID": \(gid),
                				"size": 1
                			}
                		],
                """)
    }

    private static func starterText(
        terminalGroup: String, network: String, cgroup: Bool, user: String, sys: String, top: String
    ) -> String {
        """
        {
        	"ociVersion": "1.3.0",
        	"process": {
        		"terminal": true,
        		"user": {
        			"uid": 0,
        			"gid": 0
        		},
        		"args": [
        			"sh"
        		],
        		"env": [
        			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        			"TERM=xterm"
        		],
        		"cwd": "/",
        		"capabilities": {
        			"bounding": [
        				"CAP_AUDIT_WRITE",
        				"CAP_KILL",
        				"CAP_NET_BIND_SERVICE"
        			],
        			"effective": [
        				"CAP_AUDIT_WRITE",
        				"CAP_KILL",
        				"CAP_NET_BIND_SERVICE"
        			],
        			"permitted": [
        				"CAP_AUDIT_WRITE",
        				"CAP_KILL",
        				"CAP_NET_BIND_SERVICE"
        			]
        		},
        		"rlimits": [
        			{
        				"type": "RLIMIT_NOFILE",
        				"hard": 1024,
        				"soft": 1024
        			}
        		],
        		"noNewPrivileges": true
        	},
        	"root": {
        		"path": "rootfs",
        		"readonly": true
        	},
        	"hostname": "runc",
        	"mounts": [
        		{
        			"destination": "/proc",
        			"type": "proc",
        			"source": "proc"
        		},
        		{
        			"destination": "/dev",
        			"type": "tmpfs",
        			"source": "tmpfs",
        			"options": [
        				"nosuid",
        				"strictatime",
        				"mode=755",
        				"size=65536k"
        			]
        		},
        		{
        			"destination": "/dev/pts",
        			"type": "devpts",
        			"source": "devpts",
        			"options": [
        				"nosuid",
        				"noexec",
        				"newinstance",
        				"ptmxmode=0666",
        				"mode=0620"\(terminalGroup)
        			]
        		},
        		{
        			"destination": "/dev/shm",
        			"type": "tmpfs",
        			"source": "shm",
        			"options": [
        				"nosuid",
        				"noexec",
        				"nodev",
        				"mode=1777",
        				"size=65536k"
        			]
        		},
        		{
        			"destination": "/dev/mqueue",
        			"type": "mqueue",
        			"source": "mqueue",
        			"options": [
        				"nosuid",
        				"noexec",
        				"nodev"
        			]
        		},
        		{
        			"destination": "/sys",
        			\(sys)
        				"nosuid",
        				"noexec",
        				"nodev",
        				"ro"
        			]
        		},
        		{
        			"destination": "/sys/fs/cgroup",
        			"type": "cgroup",
        			"source": "cgroup",
        			"options": [
        				"nosuid",
        				"noexec",
        				"nodev",
        				"relatime",
        				"ro"
        			]
        		}
        	],
        	"linux": {
        \(top)
        		"namespaces": [
        			{
        				"type": "pid"
        			},\(network)
        			{
        				"type": "ipc"
        			},
        			{
        				"type": "uts"
        			},
        			{
        				"type": "mount"
        			}\(cgroup ? ",\n\t\t\t{\n\t\t\t\t\"type\": \"cgroup\"\n\t\t\t}" : "")\(user)
        		],
        		"maskedPaths": [
        			"/proc/acpi",
        			"/proc/asound",
        			"/proc/kcore",
        			"/proc/keys",
        			"/proc/latency_stats",
        			"/proc/timer_list",
        			"/proc/timer_stats",
        			"/proc/sched_debug",
        			"/sys/firmware",
        			"/proc/scsi"
        		],
        		"readonlyPaths": [
        			"/proc/bus",
        			"/proc/fs",
        			"/proc/irq",
        			"/proc/sys",
        			"/proc/sysrq-trigger"
        		]
        	}
        }
        """
    }
}
