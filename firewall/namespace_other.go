//go:build !linux

package firewall

import "errors"

func newNamespace() error { return errors.New("nftables is part of Linux") }
