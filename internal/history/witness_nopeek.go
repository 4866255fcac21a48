//go:build !(linux || darwin || freebsd)

package history

import "net"

// gone cannot be asked here: an end may be noted after a begin that it made
// possible.
func gone(net.Conn) bool { return false }
